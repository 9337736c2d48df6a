package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

func presence(n int) stanza.Wire {
	return stanza.NewWire(xmlstream.New(ns.Client, "presence", "id", strconv.Itoa(n)))
}

func resume(t *testing.T, s *Session, p *pen, h uint32) {
	t.Helper()
	if err := s.Resume(t.Context(), p, h); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestSessionOutlivesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{})
		found := regexp.MustCompile(`<enabled xmlns='urn:xmpp:sm:3' id='([^']{22})' resume='true' max='60'/>`).FindStringSubmatch(first.text())
		if found == nil {
			t.Fatalf("answered %s", first.text())
		}
		id := found[1]
		if !s.ResumedBy(id, credential) || s.ResumedBy("", credential) || s.ResumedBy(id+"x", credential) || s.ResumedBy(id, 8) {
			t.Error("the wrong client may resume it")
		}
		for n := range 3 {
			s.Send(message(n))
		}
		synctest.Wait()
		if err := s.Acknowledged(first, 1); err != nil {
			t.Error(err)
		}
		for range 4 { // stanzas of the client
			s.Begin(first)
			s.End()
		}
		s.Leave(first, errCut)
		s.Send(message(3))
		s.Send(ackRequest)           // about a connection that is no more
		time.Sleep(59 * time.Second) // of the bubble's clock
		second := newPen()
		resume(t, s, second, 2) // one more has arrived than was acknowledged
		if want := "<resumed xmlns='urn:xmpp:sm:3' previd='" + id + "' h='4'/><message id='2'/><message id='3'/><r xmlns='urn:xmpp:sm:3'/>"; second.text() != want {
			t.Errorf("the new connection gets %s", second.text())
		}
		if !first.aborted() || second.aborted() {
			t.Error("the wrong connection was cut")
		}
		if err := s.Acknowledged(second, 4); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if s.Context().Err() != nil {
			t.Errorf("it ended: %v", context.Cause(s.Context()))
		}
	})
}

// Attack case 31: an old connection, whatever still comes of it, has nothing to do with a session that has gone on.
func TestOldConnectionIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{})
		for n := range 3 {
			s.Send(message(n))
		}
		synctest.Wait()
		second := newPen()
		resume(t, s, second, 1)
		if first.serr != replaced || first.aborted() {
			t.Errorf("the old connection was told %v", first.serr)
		}
		before := second.text()
		if s.Begin(first) {
			t.Error("a stanza of the old connection is handled")
		}
		if err := s.Acknowledged(first, 1000); err != nil {
			t.Errorf("its counts matter: %v", err)
		}
		if err := s.Acknowledged(first, 3); err != nil || len(s.managed.Load().unacked) != 2 {
			t.Errorf("its acknowledgement counts: %v", err)
		}
		s.Acknowledge(first)
		for _, err := range []error{errCut, nil, &stanza.StreamError{Condition: stanza.StreamConflict}} {
			s.Leave(first, err)
		}
		synctest.Wait()
		if second.text() != before || s.Context().Err() != nil || s.Detached() {
			t.Errorf("%s, %v", second.text(), s.Context().Err())
		}
	})
}

// A write that hangs on the old connection neither delays the new one nor reaches it.
func TestResumeTakesASessionOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{})
		first.ink = make(chan struct{})
		s.Send(message(1))
		synctest.Wait() // the writer hangs
		s.Send(message(2))
		second := newPen()
		resume(t, s, second, 0)
		if second.ids() != "1 2" || first.serr != replaced || first.ids() != "" {
			t.Errorf("the new one has %q, the old one %q", second.ids(), first.ids())
		}
		if n := strings.Count(second.text(), "<resumed "); n != 1 || !strings.HasPrefix(second.text(), "<resumed ") {
			t.Errorf("%s", second.text())
		}
	})
}

// A stanza of the old connection may wait for the store for long; who resumes the session waits for it as long as its context lets
// it, and may come again.
func TestResumeWaitsNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, _ := managedSession(t, Options{})
		if !s.Begin(first) {
			t.Fatal("the connection is not the session's")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Resume(ctx, newPen(), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("resumed while a stanza was handled: %v", err)
		}
		s.End()
		resume(t, s, newPen(), 0)
	})
}

// Attack case 31: of two connections that resume a session at once, one has it in the end, and no stanza is doubled.
func TestResumedTwiceAtOnce(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			s, first, _ := managedSession(t, Options{})
			s.Send(message(1))
			synctest.Wait()
			s.Leave(first, errCut)
			pens := []*pen{newPen(), newPen(), newPen()}
			var all sync.WaitGroup
			for _, p := range pens {
				all.Go(func() {
					if err := s.Resume(t.Context(), p, 0); err != nil && !errors.Is(err, errGone) {
						t.Error(err)
					}
				})
			}
			all.Wait()
			synctest.Wait()
			var has *pen
			for _, p := range pens {
				if s.connection() == Conn(p) {
					has = p
					continue
				}
				if p.text() != "" && p.serr != replaced {
					t.Errorf("it was resumed on a connection that was not told of its end: %s", p.text())
				}
			}
			if has == nil || has.ids() != "1" {
				t.Fatal("nobody has it")
			}
			s.Send(message(2))
			synctest.Wait()
			if has.ids() != "1 2" {
				t.Errorf("it gets %s", has.text())
			}
		})
	}
}

func TestSessionThatIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{})
		start := time.Now()
		s.Send(message(1))
		s.Send(message(2))
		synctest.Wait()
		if err := s.Acknowledged(p, 1); err != nil {
			t.Error(err)
		}
		for range 5 {
			s.Begin(p)
			s.End()
		}
		s.Leave(p, errCut)
		s.Leave(p, errCut) // reader and writer both say so
		time.Sleep(30 * time.Second)
		s.Send(message(3))
		time.Sleep(31 * time.Second)
		<-s.Ended()
		if leftIDs(*left) != "2 3" || s.Send(message(4)) {
			t.Errorf("left: %v", *left)
		}
		if at := (*left)[0].At.Sub(start); at != 0 {
			t.Errorf("the first was sent after %v", at)
		}
		if at := (*left)[1].At.Sub(start); at != 30*time.Second {
			t.Errorf("the second was sent after %v", at)
		}
		if !errors.Is(context.Cause(s.Context()), ErrExpired) {
			t.Errorf("it ended with %v", context.Cause(s.Context()))
		}
		if err := s.Resume(t.Context(), newPen(), 1); !errors.Is(err, errGone) {
			t.Errorf("a session that has ended was resumed: %v", err)
		}
		receipt, ok := s.Receipt()
		if n, known := receipt.Handled(t.Context()); !ok || n != 5 || !known {
			t.Errorf("%d were handled", n)
		}
	})
}

// A stanza keeps the time at which it was first sent, however often its session is resumed.
func TestTimesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, left := managedSession(t, Options{})
		start := time.Now()
		for n := range 3 {
			s.Send(message(n))
			time.Sleep(time.Second)
			s.Leave(p, errCut)
			time.Sleep(time.Second)
			p = newPen()
			resume(t, s, p, 0)
		}
		s.Leave(p, errCut)
		time.Sleep(time.Hour)
		<-s.Ended()
		for n, l := range *left {
			if l.At.Sub(start) != time.Duration(n)*2*time.Second {
				t.Errorf("%d was sent after %v", n, l.At.Sub(start))
			}
		}
		if len(*left) != 3 {
			t.Errorf("left %d", len(*left))
		}
	})
}

// Attack case 32: a client that does not come back holds a bounded queue, in stanzas and bytes.
func TestWhatWaitsIsBounded(t *testing.T) {
	for _, tc := range []struct {
		o    Options
		want int
	}{
		{Options{Unacked: 20}, 20},
		{Options{OutboxBytes: 10 * (wireOverhead + message(1).Len())}, 10},
		{Options{OutboxBytes: 1}, 1}, // a stanza that finds nothing waiting is taken whatever its size
	} {
		synctest.Test(t, func(t *testing.T) {
			s, p, left := managedSession(t, tc.o)
			s.Leave(p, errCut)
			sent := 0
			for s.Send(message(1)) {
				sent++
			}
			<-s.Ended()
			if sent != tc.want || len(*left) != sent || !errors.Is(context.Cause(s.Context()), ErrTooMuch) {
				t.Errorf("%d were taken, %d left, %v", sent, len(*left), context.Cause(s.Context()))
			}
		})
	}
}

// Features are told of lost connections and new ones in order, each before anything is written on the new one, and of the
// end last and once.
func TestFeaturesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var next *pen
		s, first, _ := managedSession(t, Options{
			Detached: func(_ *Session, old ConnInfo) { told = append(told, "detached from "+old.RemoteAddr) },
			Resumed: func(s *Session, old, new ConnInfo) {
				if next.text() != "" {
					t.Errorf("written: %s", next.text())
				}
				s.Send(message(9)) // it may do that
				told = append(told, "resumed from "+old.RemoteAddr+" on "+new.RemoteAddr)
			},
		})
		first.name = "1"
		s.Leave(first, errCut)
		next = newPen()
		next.name = "2"
		resume(t, s, next, 0)
		if next.ids() != "9" {
			t.Error(next.text())
		}
		last := next
		next = newPen()
		next.name = "3"
		resume(t, s, next, 1) // while the second seems to live
		if last.serr != replaced {
			t.Error("it was not told")
		}
		s.Leave(next, errCut)
		s.Close(ErrExpired)
		<-s.Ended()
		want := "detached from 1, resumed from 1 on 2, resumed from 2 on 3, detached from 3"
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("told: %s", got)
		}
	})
}

// path is a connection and the client's end of it: what is lost on the way is lost.
type path struct {
	t    *testing.T
	s    *Session
	rnd  *rand.Rand
	conn *pen
	read int // bytes of what is written that the client has

	got, handled []int    // by the client, and by the session
	acked        uint32   // what the client was told of its own
	sent         []int    // by the client, since acked
	next         int      // its next stanza
	release      []func() // of the session's holds
}

// hear has the client take what has arrived, or a part of it when the connection is cut.
func (c *path) hear(all bool) {
	text := strings.ReplaceAll(c.conn.text(), "|", "")[c.read:]
	elements := regexp.MustCompile(`<[^>]*>`).FindAllString(text, -1)
	if !all {
		elements = elements[:c.rnd.IntN(len(elements)+1)]
	}
	for _, el := range elements {
		c.read += len(el)
		var n int
		switch name, _, _ := strings.Cut(el, " "); name {
		case "<message":
			fmt.Sscanf(el, "<message id='%d'", &n)
			c.got = append(c.got, n)
		case "<a", "<resumed":
			fmt.Sscanf(el[strings.Index(el, " h='"):], " h='%d'", &n)
			c.told(uint32(n))
		case "<r":
			if all && c.rnd.IntN(2) == 0 {
				if err := c.s.Acknowledged(c.conn, uint32(len(c.got))); err != nil {
					c.t.Fatal(err)
				}
			}
		}
	}
}

// told has the client forget what the session has handled.
func (c *path) told(h uint32) {
	n := int(h - c.acked)
	if n < 0 || n > len(c.sent) {
		c.t.Fatalf("told that %d are handled, after %d, with %d on the way", h, c.acked, len(c.sent))
	}
	if int(h) > len(c.handled)-len(c.release) { // once one is held, all that follow are
		c.t.Fatalf("told that %d are handled, and %d of %d are held", h, len(c.release), len(c.handled))
	}
	c.sent = c.sent[n:]
	c.acked = h
}

// say has the session handle a stanza of the client, which somebody may hold.
func (c *path) say(n int) {
	if !c.s.Begin(c.conn) {
		return
	}
	if len(c.release) > 0 || c.rnd.IntN(2) == 0 {
		c.release = append(c.release, c.s.Hold())
	}
	c.handled = append(c.handled, n)
	c.s.End()
}

// letGo releases the holds, in any order.
func (c *path) letGo() {
	c.rnd.Shuffle(len(c.release), func(i, j int) { c.release[i], c.release[j] = c.release[j], c.release[i] })
	for len(c.release) > 0 {
		release := c.release[0]
		c.release = c.release[1:]
		release()
	}
}

// resume goes on with another connection.
func (c *path) resume() {
	next := newPen()
	synctest.Wait()
	c.hear(false)
	c.conn, c.read = next, 0
	done := make(chan error, 1)
	go func() { done <- c.s.Resume(c.t.Context(), next, uint32(len(c.got))) }()
	if c.rnd.IntN(2) == 0 {
		synctest.Wait()
	}
	c.letGo() // otherwise it waits
	if err := <-done; err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
	c.hear(true)
	for _, n := range c.sent { // what is left of it was not handled
		c.say(n)
	}
}

// Whatever is cut when, and whatever is held, each stanza of either side reaches the other once, in order.
func TestCutAtRandom(t *testing.T) {
	for seed := range uint64(500) {
		synctest.Test(t, func(t *testing.T) {
			s, p, _ := managedSession(t, Options{})
			c := &path{t: t, s: s, rnd: rand.New(rand.NewPCG(seed, 1)), conn: p, read: len(p.text())}
			sent := 0
			for range 60 {
				switch c.rnd.IntN(8) {
				case 0:
					synctest.Wait()
					c.hear(true)
				case 1:
					s.Acknowledge(c.conn)
				case 2:
					c.letGo()
				case 3:
					if c.rnd.IntN(2) == 0 {
						synctest.Wait()
					}
					if c.rnd.IntN(2) == 0 {
						s.Leave(c.conn, errCut)
						c.conn.Abort()
					}
					if c.rnd.IntN(2) == 0 {
						s.Send(message(sent))
						sent++
					}
					c.resume()
				case 4, 5:
					c.sent = append(c.sent, c.next)
					c.next++
					c.say(c.next - 1)
				default:
					s.Send(message(sent))
					sent++
				}
			}
			c.letGo()
			c.resume()
			for what, got := range map[string][]int{"the client": c.got, "the session": c.handled} {
				for i, n := range got {
					if i != n {
						t.Fatalf("seed %d: %s got %v", seed, what, got)
					}
				}
			}
			if len(c.got) != sent || len(c.handled) != c.next {
				t.Errorf("seed %d: %d of %d, %d of %d", seed, len(c.got), sent, len(c.handled), c.next)
			}
		})
	}
}
