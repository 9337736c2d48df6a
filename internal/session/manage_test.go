package session

import (
	"errors"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/stanza"
)

var errCut = errors.New("cut")

// managedSession opens a session with stream management on a pen that writes at once.
func managedSession(t *testing.T, o Options) (s *Session, p *pen, closed *[]Left) {
	closed = new([]Left)
	p = &pen{}
	o.Resume = time.Minute
	o.Closed = func(_ *Session, _ error, left []Left) { *closed = left }
	s, wg := open(t, p, o)
	t.Cleanup(func() {
		s.Close(nil)
		wg.Wait()
	})
	if !s.Manage(true, 0) || s.Manage(true, 0) {
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

func newPen() *pen { return &pen{gone: make(chan struct{})} }

func (p *pen) aborted() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

func TestSessionOutlivesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{})
		id := regexp.MustCompile(`<enabled xmlns='urn:xmpp:sm:3' id='([^']{22})' resume='true' max='60'/>`).FindStringSubmatch(first.text())
		if id == nil || !s.ResumedBy(id[1]) || s.ResumedBy("") || s.ResumedBy(id[1]+"x") {
			t.Fatalf("answered %s", first.text())
		}
		for n := range 3 {
			s.Send(message(n))
		}
		synctest.Wait()
		if err := s.Acknowledged(1); err != nil {
			t.Error(err)
		}
		for range 4 { // stanzas of the client
			s.Begin(first)
			s.End()
		}
		s.Leave(first, errCut)
		s.Send(message(3))
		time.Sleep(59 * time.Second) // of the bubble's clock
		second := newPen()
		if ok, err := s.Resume(second, 2); !ok || err != nil { // one more has arrived than was acknowledged
			t.Fatal(ok, err)
		}
		synctest.Wait()
		if !strings.HasPrefix(second.text(), "<resumed xmlns='urn:xmpp:sm:3' previd='"+id[1]+"' h='4'/>") || second.ids() != "2 3" {
			t.Errorf("the new connection gets %s", second.text())
		}
		if !first.aborted() || second.aborted() {
			t.Error("the wrong connection was cut")
		}
		// The old connection has nothing more to say.
		if s.Begin(first) {
			t.Error("a stanza of the old connection is handled")
		}
		s.Leave(first, nil)
		s.Leave(first, &stanza.StreamError{Condition: stanza.StreamConflict})
		s.Send(message(4))
		synctest.Wait()
		time.Sleep(time.Hour)
		if second.ids() != "2 3 4" || s.Context().Err() != nil {
			t.Errorf("%s, %v", second.ids(), s.Context().Err())
		}
	})
}

// A connection that seems to live is cut when its session is resumed elsewhere, a write that hangs included.
func TestResumeTakesASessionOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{})
		first.ink = make(chan struct{})
		s.Send(message(1))
		synctest.Wait() // the writer hangs
		s.Send(message(2))
		second := newPen()
		if ok, err := s.Resume(second, 0); !ok || err != nil {
			t.Fatal(ok, err)
		}
		synctest.Wait()
		if second.ids() != "1 2" || !first.aborted() || first.ids() != "" {
			t.Errorf("the new one has %q, the old one %q", second.ids(), first.ids())
		}
	})
}

func TestSessionThatIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{})
		s.Send(message(1))
		s.Send(message(2))
		synctest.Wait()
		if err := s.Acknowledged(1); err != nil {
			t.Error(err)
		}
		s.Leave(p, errCut)
		s.Leave(p, errCut) // reader and writer both say so
		s.Send(message(3))
		time.Sleep(61 * time.Second)
		<-s.Ended()
		if len(*left) != 2 || s.Send(message(4)) {
			t.Errorf("left: %v", *left)
		}
		if ok, err := s.Resume(newPen(), 1); ok || err != nil {
			t.Error("a session that has ended was resumed")
		}
	})
}

// A client that closes its stream, or is told an error, does not come back.
func TestOrderlyEndsAreFinal(t *testing.T) {
	for _, reason := range []error{nil, &stanza.StreamError{Condition: stanza.StreamPolicyViolation}} {
		synctest.Test(t, func(t *testing.T) {
			s, p, left := managedSession(t, Options{})
			s.Send(message(1))
			synctest.Wait()
			s.Leave(p, reason)
			<-s.Ended()
			<-s.StreamEnded()
			if p.ended != 1 || len(*left) != 0 {
				t.Errorf("%v: ended %d times, left %v", reason, p.ended, *left)
			}
		})
	}
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
		if s.Counts() != 2 {
			t.Errorf("%d were sent", s.Counts())
		}
		for _, h := range []uint32{3, 1000, 1 << 30} {
			if err := s.Acknowledged(h); !errors.Is(err, ErrHandled) {
				t.Errorf("%d: %v", h, err)
			}
		}
		for _, tc := range []struct {
			h    uint32
			left int
		}{{math.MaxUint32 - 1, 4}, {math.MaxUint32, 3}, {0, 2}, {math.MaxUint32, 2}, {2, 0}} {
			if err := s.Acknowledged(tc.h); err != nil || len(m.unacked) != tc.left {
				t.Errorf("%d: %d are left, %v", tc.h, len(m.unacked), err)
			}
		}
		if m.bytes != 0 {
			t.Errorf("%d bytes of nothing", m.bytes)
		}
		s.Leave(p, errCut)
		if ok, err := s.Resume(newPen(), 3); !ok || !errors.Is(err, ErrHandled) {
			t.Error(ok, err)
		}
	})
}

// Attack case 32: a client that never acknowledges, and one that never comes back, hold a bounded queue.
func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{OutboxBytes: 10_000})
		for n := 0; s.Send(message(n)); n++ {
			synctest.Wait()
			if n > 10_000 {
				t.Fatal("no bound")
			}
		}
		<-s.Ended()
		if !p.aborted() || len(*left) != 0 {
			t.Errorf("aborted: %v, left: %d", p.aborted(), len(*left))
		}
		s, p, left = managedSession(t, Options{})
		s.Leave(p, errCut)
		sent := 0
		for s.Send(message(sent)) {
			sent++
		}
		<-s.Ended()
		if sent != maxHeld || len(*left) != maxHeld {
			t.Errorf("%d were taken, %d left", sent, len(*left))
		}
	})
}

// Whatever is cut when, a client that comes back gets each message once, in order.
func TestCutAtRandom(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			s, p, _ := managedSession(t, Options{})
			got := []string{} // by the client
			take := func() {
				all := strings.Fields(p.ids())
				got = append(got, all[:rnd.IntN(len(all)+1)]...) // the rest is lost on the way
			}
			sent := 0
			for range 40 {
				switch rnd.IntN(5) {
				case 0: // what has arrived is acknowledged, all of it or what had come some time ago
					synctest.Wait()
					if err := s.Acknowledged(uint32(len(got))); err != nil {
						t.Fatal(err)
					}
				case 1:
					if rnd.IntN(2) == 0 {
						synctest.Wait()
					}
					if rnd.IntN(2) == 0 {
						s.Leave(p, errCut)
					}
					s.Send(message(sent))
					sent++
					next := newPen()
					p.Abort()
					synctest.Wait()
					take()
					p = next
					if ok, err := s.Resume(next, uint32(len(got))); !ok || err != nil {
						t.Fatal(ok, err)
					}
				default:
					s.Send(message(sent))
					sent++
				}
			}
			synctest.Wait()
			got = append(got, strings.Fields(p.ids())...)
			for n, id := range got {
				if id != strconv.Itoa(n) {
					t.Fatalf("seed %d: got %v", seed, got)
				}
			}
			if len(got) != sent {
				t.Errorf("seed %d: %d of %d", seed, len(got), sent)
			}
		})
	}
}
