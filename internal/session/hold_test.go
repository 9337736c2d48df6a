package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// say handles a stanza of the client, held or not.
func say(s *Session, p *pen, held bool) (release func()) {
	s.Begin(p)
	defer s.End()
	if held {
		return s.Hold()
	}
	return nil
}

// What is held is not acknowledged, nor what comes after it; a request is answered when all that came before it is
// handled, each request once.
func TestHeldStanzasAreNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		said := func(want string) {
			t.Helper()
			synctest.Wait()
			all := strings.Split(p.text(), "<a xmlns='urn:xmpp:sm:3' h='")
			got := ""
			for _, a := range all[1:] {
				got += a[:1]
			}
			if got != want {
				t.Errorf("acknowledged %q, not %q", got, want)
			}
		}
		say(s, p, false)
		s.Acknowledge(p)
		said("1")
		second := say(s, p, true)
		s.Acknowledge(p)
		third := say(s, p, true)
		say(s, p, false)
		s.Acknowledge(p)
		said("1")
		third()
		third() // counts once
		said("1")
		fifth := say(s, p, true)
		second()
		said("144")
		s.Acknowledge(p)
		said("144")
		fifth()
		said("1445")
		s.Acknowledge(p)
		said("14455")
	})
}

func TestStanzaThatIsHeldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		s.Begin(p)
		one, other := s.Hold(), s.Hold()
		s.End()
		s.Acknowledge(p)
		one()
		synctest.Wait()
		if strings.Contains(p.text(), "<a ") {
			t.Error("acknowledged while one holds it")
		}
		other()
		synctest.Wait()
		if !strings.HasSuffix(p.text(), "h='1'/>") {
			t.Error(p.text())
		}
	})
}

// A client that comes back is told what was handled only when nothing is held: otherwise it would send again what is
// being stored.
func TestResumeWaitsForWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := managedSession(t, Options{})
		release := say(s, p, true)
		s.Leave(p, errCut)
		second := newPen()
		done := make(chan error)
		go func() { done <- s.Resume(t.Context(), second, 0) }()
		synctest.Wait()
		if second.text() != "" {
			t.Fatalf("it did not wait: %s", second.text())
		}
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !strings.HasSuffix(second.text(), "h='1'/>") {
			t.Error(second.text())
		}
		// Who gives up while waiting leaves the session as it was, to be resumed or to expire.
		release = say(s, second, true)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- s.Resume(ctx, newPen(), 0) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !s.Detached() {
			t.Error(err)
		}
		time.Sleep(61 * time.Second)
		<-s.Ended()
		receipt, _ := s.Receipt()
		known := make(chan uint32)
		go func() {
			n, _ := receipt.Handled(t.Context())
			known <- n
		}()
		synctest.Wait()
		release()
		if n := <-known; n != 2 {
			t.Errorf("%d were handled", n)
		}
	})
}

// A connection is not read while too much of it is held, with stream management or without.
func TestTooMuchIsHeld(t *testing.T) {
	for _, managed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &pen{}
			s, wg := open(t, p, Options{Resume: time.Minute, Unacked: 500})
			if managed {
				s.Manage(true, 0, credential)
			}
			var releases []func()
			read := 0
			reader := func() {
				for s.Context().Err() == nil {
					releases = append(releases, say(s, p, true))
					read++
					s.Pause()
				}
			}
			done := make(chan struct{})
			go func() { defer close(done); reader() }()
			synctest.Wait()
			if read != maxHolds {
				t.Errorf("%d were read", read)
			}
			releases[5]()
			synctest.Wait()
			if read != maxHolds+1 {
				t.Errorf("%d were read", read)
			}
			s.Close(nil)
			<-done
			for _, release := range releases {
				release()
			}
			wg.Wait()
		})
	}
}

// What was held before stream management began does not count.
func TestHeldBeforeItIsEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{}
		s, wg := open(t, p, Options{Resume: time.Minute, Unacked: 500})
		release := say(s, p, true)
		s.Manage(true, 0, credential)
		say(s, p, false)
		s.Acknowledge(p)
		synctest.Wait()
		if !strings.HasSuffix(p.text(), "<a xmlns='urn:xmpp:sm:3' h='1'/>") {
			t.Error(p.text())
		}
		release()
		s.Close(nil)
		wg.Wait()
	})
}
