package session

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// about is what may wait in these tests: presence, of which the last from each sender is enough.
func about(w stanza.Wire) (string, bool) {
	from := regexp.MustCompile(`from='(.*?)'`).FindStringSubmatch(w.String())
	if !w.IsPresence() || from == nil {
		return "", false
	}
	return from[1], true
}

func presenceOf(from string, n int) stanza.Wire {
	return stanza.NewWire(xmlstream.New(ns.Client, "presence", "from", from, "id", strconv.Itoa(n)))
}

// sent gives the numbers of all stanzas that were written, in order.
func (p *pen) sent() string {
	var all []string
	for _, m := range regexp.MustCompile(`<(?:message|presence)[^>]* id='(\d+)'`).FindAllStringSubmatch(p.text(), -1) {
		all = append(all, m[1])
	}
	return strings.Join(all, " ")
}

func idleSession(t *testing.T, o Options) (*Session, *pen) {
	t.Helper()
	if o.Idle == 0 {
		o.Idle = 100
	}
	p := &pen{}
	s, wg := open(t, p, o)
	t.Cleanup(func() {
		s.Close(nil)
		wg.Wait()
	})
	return s, p
}

func (p *pen) expect(t *testing.T, when, want string) {
	t.Helper()
	synctest.Wait()
	if got := p.sent(); got != want {
		t.Errorf("%s: %q was written, want %q", when, got, want)
	}
}

func TestWhatWaitsWhileNobodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := idleSession(t, Options{})
		s.Send(presenceOf("a", 1))
		p.expect(t, "somebody looks", "1")
		s.SetIdle(about)
		s.Send(presenceOf("a", 2))
		s.Send(presenceOf("b", 3))
		s.Send(presenceOf("a", 4))
		s.Send(ackRequest) // no stanza, and no reason to wake up
		p.expect(t, "nobody looks", "1")
		s.SetIdle(about) // said twice
		p.expect(t, "nobody looks", "1")
		s.Send(message(5))
		p.expect(t, "a message brings along what is still true", "1 3 4 5")
		s.Send(presenceOf("a", 6))
		p.expect(t, "and it goes on", "1 3 4 5")
		s.SetIdle(nil)
		p.expect(t, "somebody looks", "1 3 4 5 6")
		s.Send(presenceOf("a", 7))
		s.SetIdle(nil)
		p.expect(t, "somebody still looks", "1 3 4 5 6 7")
	})
}

// The client says that somebody looks just when it is considered whether a stanza may wait.
func TestSomebodyLooksMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := idleSession(t, Options{})
		s.SetIdle(func(w stanza.Wire) (string, bool) {
			s.SetIdle(nil)
			return about(w)
		})
		s.Send(presenceOf("a", 1))
		p.expect(t, "somebody looks", "1")
	})
}

func TestNothingWaitsWhereItMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := idleSession(t, Options{Idle: -1})
		s.SetIdle(about)
		s.Send(presenceOf("a", 1))
		p.expect(t, "0 stanzas may wait", "1")
	})
}

// What waits is bounded, in number and in bytes; beyond that it is sent.
func TestWhatWaitsWhileNobodyLooksIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := idleSession(t, Options{Idle: 3})
		s.SetIdle(about)
		for n := range 3 {
			s.Send(presenceOf(fmt.Sprint(n), n))
		}
		for range 1000 {
			s.Send(presenceOf("1", 7))
		}
		if i := s.idle.Load(); len(i.queue) > 2*3+17 {
			t.Errorf("places of %d that were replaced are kept", len(i.queue))
		}
		p.expect(t, "three", "")
		s.Send(presenceOf("3", 8))
		p.expect(t, "one too many", "0 2 7 8")

		s, p = idleSession(t, Options{OutboxBytes: 8 << 10})
		s.SetIdle(about)
		long := xmlstream.New(ns.Client, "presence", "from", "a", "id", "1").AppendText(strings.Repeat("x", 1500))
		s.Send(stanza.NewWire(long))
		s.Send(stanza.NewWire(long))
		p.expect(t, "the second is in the place of the first", "")
		s.Send(presenceOf("b", 2))
		s.Send(stanza.NewWire(long.Clone().SetAttr("from", "c").SetAttr("id", "3")))
		p.expect(t, "a quarter of the outbox", "1 2 3")
		if i := s.idle.Load(); i.bytes != 0 || len(i.places) != 0 {
			t.Errorf("%d bytes, %d places are left", i.bytes, len(i.places))
		}
	})
}

// What waits was not sent, and does not count (XEP-0198); the client that resumes has it all, and somebody looks at it.
func TestNobodyLooksAndTheConnectionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{Idle: 100})
		s.SetIdle(about)
		s.Send(message(1))
		s.Send(presenceOf("a", 2))
		synctest.Wait()
		if err := s.Acknowledged(first, 1); err != nil {
			t.Error(err)
		}
		if err := s.Acknowledged(first, 2); err == nil {
			t.Error("what waits was counted")
		}
		s.Leave(first, errCut)
		s.Send(presenceOf("b", 3))
		s.Send(presenceOf("a", 4))
		s.Send(message(5))
		s.Send(presenceOf("b", 6))
		second := newPen()
		resume(t, s, second, 1)
		second.expect(t, "resumed", "3 4 5 6")
		if err := s.Acknowledged(second, 5); err != nil {
			t.Error(err)
		}
		s.Send(presenceOf("b", 7))
		second.expect(t, "the new connection is active", "3 4 5 6 7")
		first.expect(t, "the old one", "1")
	})
}

// A session that ends lets go of what waits: nobody else needs it.
func TestNobodyLooksUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, closed := managedSession(t, Options{Idle: 100})
		s.SetIdle(about)
		s.Send(presenceOf("a", 1))
		s.Close(nil)
		s.SetIdle(nil)
		s.SetIdle(about)
		p.expect(t, "closed", "")
		if len(*closed) != 0 || s.idle.Load() != nil {
			t.Errorf("left: %v", *closed)
		}
	})
}

// Whatever comes in whatever order, from several senders at once, while the client looks and does not look, and loses its
// connection: each message arrives once, in order; of each sender's presence the last that was sent before a message has
// arrived before it, and nothing arrives after what was sent later.
func TestWaitingAtRandom(t *testing.T) {
	const senders, each = 4, 60
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			s, p, _ := managedSession(t, Options{Idle: 3, Unacked: 10_000})
			pens := []*pen{p}
			kinds := make([][]bool, senders) // is number n of a sender a message?
			for k := range kinds {
				for range each {
					kinds[k] = append(kinds[k], r.IntN(4) == 0)
				}
			}
			var all sync.WaitGroup
			for k, kind := range kinds {
				all.Go(func() {
					for n, isMessage := range kind {
						w := presenceOf(fmt.Sprint(k), k*1000+n)
						if isMessage {
							w = message(k*1000 + n)
						}
						if !s.Send(w) {
							t.Error("not taken")
						}
					}
				})
			}
			for range 20 {
				switch r.IntN(3) {
				case 0:
					s.SetIdle(about)
				case 1:
					s.SetIdle(nil)
				default:
					synctest.Wait()
					last := pens[len(pens)-1]
					s.Leave(last, errCut)
					next := newPen()
					resume(t, s, next, uint32(countOf(pens)))
					pens = append(pens, next)
				}
			}
			all.Wait()
			s.SetIdle(nil)
			synctest.Wait()
			checkOrder(t, kinds, pens)
		})
	}
}

// countOf is how many stanzas were written on all connections of a client that gets whatever was written.
func countOf(pens []*pen) (n int) {
	for _, p := range pens {
		n += len(strings.Fields(p.sent()))
	}
	return n
}

func checkOrder(t *testing.T, kinds [][]bool, pens []*pen) {
	t.Helper()
	next := make([]int, len(kinds)) // the number that may come next of each sender
	for _, p := range pens {
		for _, id := range strings.Fields(p.sent()) {
			n, _ := strconv.Atoi(id)
			k, n := n/1000, n%1000
			if n < next[k] {
				t.Fatalf("sender %d: %d after %d", k, n, next[k]-1)
			}
			for skipped := next[k]; skipped < n; skipped++ {
				if kinds[k][skipped] {
					t.Fatalf("sender %d: the message %d is lost", k, skipped)
				}
				if kinds[k][skipped+1] {
					t.Fatalf("sender %d: the presence %d was not there before the message after it", k, skipped)
				}
			}
			next[k] = n + 1
		}
	}
	for k, n := range next {
		if n != len(kinds[k]) {
			t.Errorf("sender %d: the last is %d of %d", k, n-1, len(kinds[k]))
		}
	}
}
