package session

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

var errCut = errors.New("cut")

// credential is what the clients of these tests have signed in with.
const credential = 7

// managedSession opens a session with stream management on a pen that writes at once.
func managedSession(t *testing.T, o Options) (s *Session, p *pen, closed *[]Left) {
	closed = new([]Left)
	p = &pen{}
	o.Resume = time.Minute
	if o.Unacked == 0 {
		o.Unacked = 500
	}
	o.Closed = func(_ *Session, _ error, left []Left) { *closed = left }
	s, wg := open(t, p, o)
	t.Cleanup(func() {
		s.Close(nil)
		wg.Wait()
	})
	if !s.Manage(true, 0, credential) || s.Manage(true, 0, credential) {
		t.Error("it is not enabled just once")
	}
	synctest.Wait()
	return s, p, closed
}

// ids gives the ids of the messages that were written, in order.
func (p *pen) ids() string {
	var all []string
	for _, m := range regexp.MustCompile(`<message id='(\d+)'`).FindAllStringSubmatch(p.text(), -1) {
		all = append(all, m[1])
	}
	return strings.Join(all, " ")
}

// leftIDs likewise of what a session left.
func leftIDs(left []Left) string {
	p := &pen{}
	for _, l := range left {
		p.paper = append(p.paper, l.Wire.String())
	}
	return p.ids()
}

func newPen() *pen { return &pen{gone: make(chan struct{})} }

func (p *pen) aborted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// Stanzas that were sent before <enabled/> are not counted by the client (XEP-0198 section 4), however many are sent at
// that moment.
func TestCountingBeginsWithEnabled(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			p := &pen{}
			s, wg := open(t, p, Options{Resume: time.Minute, Unacked: 500})
			go func() {
				for n := range 20 {
					s.Send(message(n))
				}
			}()
			s.Manage(true, 0, credential)
			synctest.Wait()
			_, after, _ := strings.Cut(p.text(), "<enabled ")
			counted := strings.Count(after, "<message ")
			m := s.managed.Load()
			if int(m.sent) != counted || len(m.unacked) != counted {
				t.Fatalf("%d are counted, %d wait, %d were sent after it", m.sent, len(m.unacked), counted)
			}
			s.Close(nil)
			wg.Wait()
		})
	}
}

func TestWindowIsTheShorterOfBoth(t *testing.T) {
	for _, tc := range []struct {
		resume bool
		max    time.Duration
		want   string
	}{
		{true, 0, " resume='true' max='60'/>"},
		{true, 10 * time.Second, " resume='true' max='10'/>"},
		{true, time.Hour, " resume='true' max='60'/>"},
		{false, 0, "<enabled xmlns='urn:xmpp:sm:3'/>"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &pen{}
			s, wg := open(t, p, Options{Resume: time.Minute, Unacked: 500})
			s.Manage(tc.resume, tc.max, credential)
			synctest.Wait()
			if !strings.HasSuffix(p.text(), tc.want) {
				t.Errorf("%v, %v: %s", tc.resume, tc.max, p.text())
			}
			s.Close(nil)
			wg.Wait()
		})
	}
}

// The client is asked once for what is written at a time, and not again before it has answered.
func TestAcknowledgementsAreAskedForSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		asked := func() int { return strings.Count(p.text(), "<r ") }
		for n := range 100 {
			s.Send(message(n))
			synctest.Wait()
		}
		if asked() != 1 {
			t.Errorf("asked %d times", asked())
		}
		if err := s.Acknowledged(p, 99); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if asked() != 2 { // the last one is not acknowledged
			t.Errorf("asked %d times", asked())
		}
		if err := s.Acknowledged(p, 100); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the bubble's clock
		if asked() != 2 || s.Context().Err() != nil {
			t.Errorf("asked %d times, %v", asked(), s.Context().Err())
		}
	})
}

// A client that counts too little, as @xmpp/client 0.14 does, which leaves out the answers to its requests, is not asked for
// ever.
func TestClientThatCountsTooLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		answered := 0
		for sent := range uint32(10) {
			s.Send(message(int(sent)))
			synctest.Wait()
			for ; answered < strings.Count(p.text(), "<r "); synctest.Wait() {
				if answered++; answered > 100 {
					t.Fatal("it is asked for ever")
				}
				if err := s.Acknowledged(p, max(sent, 1)-1); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// Attack case 32: counts that cannot be; 2^32 comes after 2^32-1.
func TestCountsThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		m := s.managed.Load()
		m.sent = math.MaxUint32 - 1
		for n := range 4 {
			s.Send(message(n))
		}
		synctest.Wait()
		for _, h := range []uint32{3, 1000, 1 << 30} {
			var wrong *TooHigh
			if err := s.Acknowledged(p, h); !errors.As(err, &wrong) || *wrong != (TooHigh{h, 2}) {
				t.Errorf("%d: %v", h, err)
			}
		}
		for _, tc := range []struct {
			h    uint32
			left int
		}{{math.MaxUint32 - 1, 4}, {math.MaxUint32, 3}, {0, 2}, {math.MaxUint32, 2}, {2, 0}} {
			if err := s.Acknowledged(p, tc.h); err != nil || len(m.unacked) != tc.left {
				t.Errorf("%d: %d are left, %v", tc.h, len(m.unacked), err)
			}
		}
		if m.bytes != 0 {
			t.Errorf("%d bytes of nothing", m.bytes)
		}
		s.Leave(p, errCut)
		var wrong *TooHigh
		if err := s.Resume(t.Context(), newPen(), 3); !errors.As(err, &wrong) || !s.Detached() {
			t.Error(err)
		}
		// Ours wraps likewise.
		m.received.Store(math.MaxUint32)
		next := newPen()
		if err := s.Resume(t.Context(), next, 2); err != nil {
			t.Fatal(err)
		}
		s.Begin(next)
		s.End()
		s.Acknowledge(next)
		synctest.Wait()
		if !strings.HasSuffix(strings.ReplaceAll(next.text(), "|", ""), "h='4294967295'/><a xmlns='urn:xmpp:sm:3' h='0'/>") {
			t.Error(next.text())
		}
	})
}

// Attack case 32: a client that reads and never acknowledges holds a bounded queue: so many bytes, or so many stanzas for
// a while. What it has not acknowledged is not lost.
func TestNeverAcknowledging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{OutboxBytes: 10_000})
		sent := 0
		for ; s.Send(message(sent)); sent++ {
			synctest.Wait()
			if sent > 10_000 {
				t.Fatal("no bound")
			}
		}
		<-s.Ended()
		<-s.StreamEnded()
		if p.serr != errUnacked || len(*left) != sent {
			t.Errorf("ended with %v, left %d of %d", p.serr, len(*left), sent)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{Unacked: 20})
		sent := 0
		send := func() bool {
			s.Begin(p) // it is not silent
			s.End()
			ok := s.Send(message(sent))
			if ok {
				sent++
			}
			synctest.Wait()
			return ok
		}
		for range 100 { // a burst of presence, say
			if !send() {
				t.Fatal("a burst is too much")
			}
		}
		if err := s.Acknowledged(p, 70); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Hour); send(); time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				t.Fatal("no bound")
			}
		}
		<-s.Ended()
		<-s.StreamEnded()
		if p.serr != errUnacked || len(*left) != sent-70 {
			t.Errorf("ended with %v, left %d of %d", p.serr, len(*left), sent)
		}
	})
}

// A connection that is half open is noticed when the client does not answer within 90 seconds, and at once no more is
// lost than with any other.
func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		time.Sleep(time.Hour) // nothing is asked, so nothing is answered
		s.Send(message(1))
		time.Sleep(answerWithin - time.Second)
		s.Begin(p) // it says something else
		s.End()
		time.Sleep(2 * time.Second)
		if s.Detached() {
			t.Fatal("a client that is heard of was given up")
		}
		time.Sleep(2 * answerWithin)
		if !s.Detached() || !p.aborted() {
			t.Fatal("a silent client is kept")
		}
		next := newPen()
		if err := s.Resume(t.Context(), next, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if next.ids() != "1" {
			t.Error(next.text())
		}
		if err := s.Acknowledged(next, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s.Detached() || s.Context().Err() != nil {
			t.Error("a client that has answered was given up")
		}
	})
}

// A client that closes its stream, or is told an error, does not come back. What it has not acknowledged is not lost.
func TestOrderlyEndsAreFinal(t *testing.T) {
	for _, reason := range []error{nil, &stanza.StreamError{Condition: stanza.StreamPolicyViolation}} {
		synctest.Test(t, func(t *testing.T) {
			s, p, left := managedSession(t, Options{})
			s.Send(message(1))
			s.Send(message(2))
			synctest.Wait()
			if err := s.Acknowledged(p, 1); err != nil {
				t.Fatal(err)
			}
			s.Leave(p, reason)
			<-s.Ended()
			<-s.StreamEnded()
			if p.ended != 1 || leftIDs(*left) != "2" {
				t.Errorf("%v: ended %d times, left %v", reason, p.ended, *left)
			}
			if err := s.Resume(t.Context(), newPen(), 1); !errors.Is(err, errGone) {
				t.Error(err)
			}
		})
	}
}

// What is still to be written when a session ends goes to the client, except messages: those go elsewhere, and are not
// doubled. An error does not, and the client is told that what was refused is handled.
func TestMessagesAreNotWrittenAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{})
		p.ink = make(chan struct{})
		s.Send(message(1))
		synctest.Wait() // the writer has it
		s.Send(message(2))
		s.Send(presence(3))
		s.Send(stanza.NewWire(xmlstream.New(ns.Client, "message", "id", "4", "type", "error")))
		s.Send(acknowledgement(1))
		s.Close(&stanza.StreamError{Condition: stanza.SystemShutdown})
		p.ink <- struct{}{}
		p.ink <- struct{}{}
		<-s.StreamEnded()
		<-s.Ended()
		if p.ids() != "1 4" || !strings.Contains(p.text(), "<presence id='3'") || !strings.Contains(p.text(), "<a ") || leftIDs(*left) != "1 2 4" {
			t.Errorf("written %s, left %s", p.text(), leftIDs(*left))
		}
	})
}
