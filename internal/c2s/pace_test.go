package c2s_test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coder "github.com/coder/websocket"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
)

// paced are the options of a server with the rates of the shipped configuration, for everybody.
func paced(h *c2stest.Hosts) c2s.Options {
	return c2s.Options{Hosts: h, Pace: c2s.Pace{Rate: 16 << 10, Burst: 64 << 10}}
}

// took gives the time that something takes.
func took(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

// between fails when a time is not within bounds.
func between(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s took %v, want %v to %v", what, got, least, most)
	}
}

// Attack case 13, the sender's side: whoever sends more than the rate is read more slowly, loses nothing, and is alone in
// that.
func TestPace(t *testing.T) {
	inBubbleWith(t, paced, func(t *testing.T, _ *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Bind("x")
		witness := dial()
		witness.SignIn()
		witness.Bind("w")
		time.Sleep(10 * time.Second)

		body := strings.Repeat("x", 4<<10)
		send := func(p *c2stest.Peer, from, to int) {
			for i := from; i < to; i++ {
				p.SendStanza(fmt.Sprintf("<message id='m%d'><body>%s</body></message>", i, body))
				if el := p.Receive(); el.Attr("id") != fmt.Sprintf("m%d", i) {
					t.Fatalf("received %.100s", el)
				}
			}
		}
		between(t, "48 KiB after silence", took(func() { send(p, 0, 12) }), 0, time.Second)
		both := make(chan time.Duration)
		go func() { both <- took(func() { send(p, 12, 12+50) }) }()
		synctest.Wait() // the flood is held up
		between(t, "somebody else's message", took(func() { witness.Echo("w") }), 0, time.Millisecond)
		between(t, "200 KiB more", <-both, 11*time.Second, 20*time.Second)
		time.Sleep(30 * time.Second)
		between(t, "48 KiB after silence", took(func() { send(p, 100, 112) }), 0, time.Second)
	})
}

// Attack case 36: what goes to every contact is what costs most; and small stanzas cost more than their bytes.
func TestPaceOfStanzas(t *testing.T) {
	for _, tc := range []struct {
		name, xml   string
		n           int
		least, most time.Duration
	}{
		{"presence", "<presence/>", 44, 39 * time.Second, 50 * time.Second},
		{"presence to one", "<presence to='x@localhost'/>", 44, 0, time.Second},
		{"messages", "<message/>", 256 + 640, 10 * time.Second, 20 * time.Second},
	} {
		inBubbleWith(t, paced, func(t *testing.T, _ *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
			p := dial()
			p.SignIn()
			p.Bind("x")
			time.Sleep(10 * time.Second)
			if p.BOSH != nil && tc.name == "messages" {
				tc.most *= 3 // a request costs more
			}
			between(t, tc.name, took(func() {
				for range tc.n {
					p.SendStanza(tc.xml)
					if tc.name == "messages" {
						p.Receive()
					}
				}
				p.Echo("done")
			}), tc.least, tc.most)
		})
	}
}

// What carries nothing is counted too. (Requests of BOSH that carry nothing are too frequent before they are too much, see
// bosh/rules.go.)
func TestPaceOfNothing(t *testing.T) {
	inBubbleWith(t, paced, func(t *testing.T, _ *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		p := dial()
		if p.BOSH != nil {
			t.SkipNow()
		}
		p.SignIn()
		p.Bind("x")
		time.Sleep(10 * time.Second)
		const all = 64<<10 + 30*16<<10
		between(t, "half a megabyte of nothing", took(func() {
			if p.Conn != nil {
				space := strings.Repeat(" ", 1<<10)
				for range all >> 10 {
					p.Send(space)
				}
			} else {
				space := strings.Repeat(" ", 4000)
				for sent := 0; sent < all; sent += len(space) + 8 {
					if err := p.WebSocket.Write(t.Context(), coder.MessageText, []byte(p.Framed("<message "+space+"/>"))); err != nil {
						t.Fatal(err)
					}
					p.Receive()
				}
			}
			p.Echo("done")
		}), 27*time.Second, 45*time.Second)
	})
}

// One stanza as large as it may be holds its sender up for a while, and nothing is wrong with that.
func TestPaceOfOneStanza(t *testing.T) {
	inBubbleWith(t, paced, func(t *testing.T, hosts *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Bind("x")
		time.Sleep(10 * time.Second)
		between(t, "a stanza of 250 KiB and one more", took(func() {
			p.SendStanza("<message><body>" + strings.Repeat("x", 250<<10) + "</body></message>")
			if el := p.Receive(); len(el.First().Text()) != 250<<10 {
				t.Errorf("received %.100s", el)
			}
			p.Echo("next")
		}), 10*time.Second, 15*time.Second)
	})
}

// A client that is held up is not in the way of the end.
func TestEndOfThePaced(t *testing.T) {
	inBubbleWith(t, paced, func(t *testing.T, _ *c2stest.Hosts, stop func(), dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Bind("x")
		for range 8 {
			p.SendStanza("<presence/>")
		}
		flood := make(chan bool)
		go func() {
			defer close(flood)
			for p.TrySend(p.Framed("<presence/>")) == nil {
			}
		}()
		synctest.Wait()
		between(t, "stopping", took(stop), 0, 5*time.Second)
		if p.BOSH == nil {
			<-flood
		}
	})
}

// Who is trusted is not measured; a rate of 0 measures nobody.
func TestUnpaced(t *testing.T) {
	for _, pace := range []c2s.Pace{{}, {Rate: 16 << 10, Burst: 64 << 10, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}} {
		options := func(h *c2stest.Hosts) c2s.Options { return c2s.Options{Hosts: h, Pace: pace} }
		inBubbleWith(t, options, func(t *testing.T, _ *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
			p := dial()
			p.SignIn()
			p.Bind("x")
			between(t, "1 MiB", took(func() {
				for range 16 {
					p.SendStanza("<message><body>" + strings.Repeat("x", 64<<10) + "</body></message>")
					p.Receive()
				}
			}), 0, time.Second)
		})
	}
}

// While there is no memory to spare nobody is let in, and who is there stays.
func TestNoMemoryToSpare(t *testing.T) {
	var full atomic.Bool
	onEach(t, c2s.Options{Full: full.Load}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		full.Store(false)
		there := dial()
		there.SignIn()
		there.Bind("x")
		full.Store(true)
		switch {
		case there.Conn != nil:
			if _, err := dial().Conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("refused with %v", err)
			}
		case there.BOSH != nil:
			p := dial()
			if status, body, err := p.BOSH.Post(t.Context(), p.BOSH.Body("to='localhost'", "")); status != 503 || err != nil {
				t.Errorf("refused with %d %s, %v", status, body, err)
			}
		}
		there.Echo("still there")
		full.Store(false)
		dial().SignIn()
	})
}
