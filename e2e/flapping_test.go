package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	flappers = 10                      // users whose contacts change with the service
	halfTime = 2500 * time.Millisecond // that the service is down, and then well, at least
)

// A service comes and goes, every five seconds, and contacts change whenever it goes. Who signs in meanwhile has the last roster that was
// known, messages flow, and when the service has stayed, a notification reaches everybody.
func TestServiceFlaps(t *testing.T) {
	t.Parallel()
	f := &flapping{t: t, r: startOpen(t, `data_dir = "data"`)}
	t.Cleanup(func() {
		for _, w := range f.wires {
			if w != nil {
				w.conn.Close()
			}
		}
	})
	f.rename("Anna 0")
	for _, got := range f.signIn() {
		if got != "Anna 0" {
			t.Fatalf("a first sign-in has the contact %q", got)
		}
	}
	c := converse(t, f.r, 0)
	c.all(c.readers, "hear something", func(l *talker) bool { return len(l.seen) > 50 })

	for i, fault := range []answer{{http.StatusServiceUnavailable, "text/plain", "try later"}, {status: hangUp}} {
		before, after := fmt.Sprint("Anna ", i), fmt.Sprint("Anna ", i+1)
		f.r.service.fail(fault)
		f.rename(after) // which nobody can know before it is back
		answer := make(chan refreshed, 1)
		go func() {
			defer close(answer)
			answer <- f.r.notify(f.users()...) // which waits for the service for a while, and so perhaps for its return
		}()
		f.down(before)
		f.r.process.waitCount(t, "the roster service is failing", i+1)
		c.goesOn()
		f.r.service.recover()
		f.well(before, after)
		f.r.process.waitCount(t, "the roster service is back", i+1)
		c.goesOn()
		if got := <-answer; got.Updated+got.Errors != flappers {
			t.Errorf("a notification with the service down: %+v, want all users counted", got)
		}
	}

	f.rename("Marie")
	if got := f.r.notify(f.users()...); got.Updated != flappers || got.Errors != 0 {
		t.Errorf("a notification with the service back: %+v, want %d updates", got, flappers)
	}
	for i, w := range f.wires {
		for name := ""; name != "Marie"; {
			n, err := w.next()
			if err != nil {
				t.Fatalf("flapper%d is not told of the last change: %v", i, err)
			}
			name = contactName(n)
		}
	}
	c.end()
	for _, l := range append(c.senders, c.readers...) {
		if l.began != 1 || l.resumed != 0 {
			t.Errorf("%s has had %d sessions, resumed %d times", l.user, l.began, l.resumed)
		}
	}
}

// flapping is users with one contact each, who sign in again and again.
type flapping struct {
	t     *testing.T
	r     *rollcall
	wires [flappers]*wire
}

func (f *flapping) users() (all []string) {
	for i := range flappers {
		all = append(all, fmt.Sprint("flapper", i))
	}
	return all
}

// rename gives everybody's contact another name, in the service alone.
func (f *flapping) rename(name string) {
	for _, u := range f.users() {
		f.r.service.set(u, fmt.Sprintf(`{"anna@localhost": {"name": %q}}`, name))
	}
}

// down has everybody sign in, again and again while the service is down, with a name that must be the one before.
func (f *flapping) down(before string) {
	f.t.Helper()
	for over := time.After(halfTime); !done(over); {
		for _, got := range f.signIn() {
			if got != before {
				f.t.Fatalf("who signs in while the service is down has the contact %q, want %q", got, before)
			}
		}
	}
}

// well does the same while the service is well, and has everybody notified: from the first notification on that is answered without an
// error, the name is the one after.
func (f *flapping) well(before, after string) {
	f.t.Helper()
	refreshed := false
	deadline := time.After(patience)
	for over := time.After(halfTime); !refreshed || !done(over); {
		if done(deadline) {
			f.t.Fatal("with the service back, each notification is answered with errors")
		}
		refreshed = f.r.notify(f.users()...).Errors == 0 || refreshed
		for _, got := range f.signIn() {
			if got != after && (refreshed || got != before) {
				f.t.Fatalf("who signs in with the service back has the contact %q, want %q", got, after)
			}
		}
	}
}

func done(over <-chan time.Time) bool {
	select {
	case <-over:
		return true
	default:
		return false
	}
}

// signIn has everybody sign in anew at once, and gives the name of the contact in the roster that each gets.
func (f *flapping) signIn() (names [flappers]string) {
	f.t.Helper()
	var errs [flappers]error
	var all sync.WaitGroup
	for i, user := range f.users() {
		all.Go(func() {
			if f.wires[i] != nil {
				f.wires[i].conn.Close()
			}
			if f.wires[i], errs[i] = f.r.dial(user); errs[i] == nil {
				names[i], errs[i] = f.wires[i].contact()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		f.t.Fatalf("signing in: %v", err)
	}
	return names
}

// contact begins a session, and gives the name of the contact in its roster. From then on the connection has to be done in patience.
func (w *wire) contact() (name string, err error) {
	if err := errors.Join(w.conn.SetDeadline(time.Now().Add(patience)), w.bind("r")); err != nil {
		return "", err
	}
	if err := w.write("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>"); err != nil {
		return "", err
	}
	for {
		n, err := w.next()
		if err != nil {
			return "", err
		}
		if n.attr("id") == "roster" {
			return contactName(n), nil
		}
	}
}

// contactName is the name of the first contact in a roster, or in a push; "" when there is none.
func contactName(n *element) string {
	if q := n.child("query"); q != nil && len(q.Nodes) > 0 {
		return q.Nodes[0].attr("name")
	}
	return ""
}
