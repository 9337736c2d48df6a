package roster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

func TestGuard(t *testing.T) {
	most := contactsOf(30)
	for _, tc := range []struct {
		what    string
		next    []string
		removed int
		held    bool
	}{
		{"everything", nil, 30, true},
		{"more than half and more than twenty", most[:9], 21, true},
		{"not more than twenty", most[:10], 20, false},
		{"one added and most removed", append([]string{"new@h"}, most[:9]...), 21, true},
	} {
		inLives(t, func(l lives) {
			l.live(true, func(w world) {
				e := &ear{}
				u := w.Attach("john", e)
				out := w.ask(u)
				(<-w.src.asked).gives(most...)
				<-out
				results := w.refresh("john")
				(<-w.src.asked).gives(tc.next...)
				r := (<-results)[0]
				if (r.Kind == OnHold) != tc.held || errors.Is(r.Err, ErrHeld) != tc.held || r.Removed != tc.removed {
					t.Errorf("%s: %+v", tc.what, r)
				}
				if got := u.Current().Roster.Len(); (got == 30) != tc.held {
					t.Errorf("%s: %d contacts", tc.what, got)
				}
			})
		})
	}
}

func TestHeldRosterIsConfirmed(t *testing.T) {
	inLives(t, func(l lives) {
		hold := func(w world) *User {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives(contactsOf(30)...)
			<-out
			results := w.refresh("john")
			(<-w.src.asked).gives("c1@h")
			if r := (<-results)[0]; r.Kind != OnHold || r.Removed != 29 {
				t.Errorf("%+v", r)
			}
			return u
		}
		l.live(true, func(w world) { // by a later fetch that says the same
			u := hold(w)
			if w.Counts().Held != 1 {
				t.Errorf("%+v", w.Counts())
			}
			results := w.refresh("john")
			(<-w.src.asked).gives("c1@h")
			if r := (<-results)[0]; r.Kind != Changed || r.Removed != 29 || u.Current().Roster.Len() != 1 || w.Counts().Held != 0 {
				t.Errorf("%+v", r)
			}
		})
		l.live(true, func(w world) { // not by one that says something else
			u := hold(w)
			results := w.refresh("john")
			(<-w.src.asked).gives("c2@h")
			if r := (<-results)[0]; r.Kind != OnHold {
				t.Errorf("%+v", r)
			}
			results = w.refresh("john")
			(<-w.src.asked).gives(contactsOf(29)...)
			if r := (<-results)[0]; r.Kind != Changed || u.Current().Roster.Len() != 29 || w.Counts().Held != 0 {
				t.Errorf("%+v", r)
			}
		})
		l.live(true, func(w world) { // by somebody, after a restart
			hold(w)
		})
		l.live(true, func(w world) {
			v, err := w.View(w.ctx, "john")
			if err != nil || v.Held == nil || v.Held.Removed != 29 || v.Known.Roster.Len() != 30 || v.Online || !v.Stale {
				t.Fatalf("%+v %v", v, err)
			}
			if r := w.Confirm(w.ctx, "john"); r.Kind != Changed || r.Removed != 29 {
				t.Errorf("%+v", r)
			}
			if r := w.Confirm(w.ctx, "john"); !errors.Is(r.Err, ErrNothingHeld) {
				t.Errorf("%+v", r)
			}
			if v, err := w.View(w.ctx, "john"); err != nil || v.Held != nil || v.Known.Roster.Len() != 1 {
				t.Errorf("%+v %v", v, err)
			}
		})
	})
}

// A sign-in is no second opinion: only what comes by notification, or when the copy has grown old, confirms a removal.
func TestSignInsDoNotConfirm(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives(contactsOf(30)...)
			<-out
			results := w.refresh("john")
			(<-w.src.asked).gives()
			<-results
			for range 3 {
				if o := <-w.ask(u); o.Known.Roster.Len() != 30 {
					t.Errorf("%s", names(o.Known))
				}
			}
			ctx, cancel := context.WithCancel(w.ctx)
			w.wg.Go(func() { w.Engine.Run(ctx) })
			(<-w.src.asked).gives() // at its max age
			synctest.Wait()
			if u.Current().Roster.Len() != 0 {
				t.Errorf("%s", names(u.Current()))
			}
			cancel()
		})
	})
}

// An error message in JSON is no empty roster, however short the list is.
func TestErrorDocumentIsHeld(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives("ann@h")
			<-out
			results := w.refresh("john")
			q := <-w.src.asked
			q.answer <- func() (rosterhttp.Result, error) {
				return rosterhttp.Result{Roster: rosterOf(), MaxAge: -1, StaleIfError: -1,
					Dropped: []rosterdoc.Dropped{{Key: "error", Reason: "is a string"}}}, nil
			}
			if r := (<-results)[0]; r.Kind != OnHold || names(u.Current()) != "ann" {
				t.Errorf("%+v, %s", r, names(u.Current()))
			}
		})
	})
}
