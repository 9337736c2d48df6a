package roster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/rosterhttp"
)

func TestOneFetchForManyAskers(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		var outs []<-chan Outcome
		for range 5 {
			outs = append(outs, w.ask(u))
		}
		(<-w.src.asked).gives("marie@h")
		for _, out := range outs {
			if o := <-out; o.Err != nil || o.Known.Roster.Len() != 1 {
				t.Errorf("outcome: %+v", o)
			}
		}
		if o := <-w.ask(u); o.Known == nil { // from memory
			t.Errorf("outcome: %+v", o)
		}
		if n := w.src.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// A user who leaves while somebody still waits for the roster is the same user when he comes back: there is one fetch at
// a time.
func TestOneFetchForAUserWhoComesBack(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		out := w.refresh("john")
		(<-w.src.asked).fails(errDown) // and it is going to be tried again
		synctest.Wait()
		w.Detach(u)
		u = w.Attach("john", &ear{})
		w.ask(u)
		first := <-w.src.asked
		time.Sleep(2 * time.Second)
		if n := w.src.count(); n != 2 {
			t.Errorf("%d fetches have begun, and one has ended", n)
		}
		first.gives("marie@h")
		if r := <-out; r[0].Kind != Changed {
			t.Errorf("result: %+v", r)
		}
		w.Detach(u)
		if o := <-w.ask(w.Attach("john", &ear{})); o.Known == nil {
			t.Errorf("outcome: %+v", o)
		}
		// Nobody is kept whom nobody waits for.
		w.Attach("aaron", &ear{})
		out = w.refresh("aaron")
		go func() {
			for q := range w.src.asked {
				q.fails(errDown)
			}
		}()
		synctest.Wait()
		w.Detach(w.lookup("aaron"))
		<-out
		synctest.Wait()
		if w.lookup("aaron") != nil {
			t.Error("a user is kept of whom nothing is known")
		}
		close(w.src.asked)
	})
}

// The same while the notification is on its way to the fetch: it was counted for a user who is online.
func TestOneFetchForAUserWhoComesBackAmidARefresh(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		release := make(chan struct{})
		w.Engine.wg.Go(func() { u.Do(func() { <-release }) }) // the owner is busy, and the notification waits for it
		synctest.Wait()
		out := w.refresh("john")
		synctest.Wait()
		w.Detach(u)
		again := w.Attach("john", &ear{})
		if again != u {
			t.Error("there are two of him")
		}
		close(release)
		w.ask(again)
		q := <-w.src.asked
		synctest.Wait()
		if n := w.src.count(); n != 1 {
			t.Errorf("%d fetches at a time", n)
		}
		q.gives("marie@h")
		<-out
	})
}

// Who signs in when the service has told that the roster has changed is served nothing older, though a fetch from before
// is under way.
func TestSignInAfterANotification(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		w.ask(u)
		first := <-w.src.asked
		w.Detach(u)
		if r := <-w.refresh("john"); r[0].Kind != Offline {
			t.Errorf("result: %+v", r)
		}
		out := w.ask(w.Attach("john", &ear{}))
		first.gives("old@h")
		w.none(out)
		(<-w.src.asked).gives("new@h")
		if o := <-out; names(o.Known) != "new" {
			t.Errorf("outcome: %+v", o)
		}
	})
}

// The contract, section 2: the roster applied in answer to a notification comes from a fetch that began after the
// notification arrived; many notifications during a fetch cause one more.
func TestFreshness(t *testing.T) {
	inWorld(t, func(w world) {
		l := &ear{}
		u := w.Attach("john", l)
		login := w.ask(u)
		first := <-w.src.asked
		var answers []<-chan []Result
		for range 10 {
			answers = append(answers, w.refresh("john"))
		}
		synctest.Wait()
		first.gives("old@h")
		<-login
		second := <-w.src.asked
		for _, a := range answers {
			select {
			case r := <-a:
				t.Fatalf("a fetch from before the notification answered it: %v", r)
			default:
			}
		}
		second.gives("new@h")
		for _, a := range answers {
			if r := <-a; r[0].Kind != Changed || r[0].Added != 1 || r[0].Removed != 1 {
				t.Errorf("result: %+v", r)
			}
		}
		if n := w.src.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
		if got := fmt.Sprint(l.heard); got != "[first +old +new-old]" && got != "[first +old -old+new]" {
			t.Errorf("heard %s", got)
		}
	})
}

func TestRefreshOfOfflineUsersFetchesNothing(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		out := w.ask(u)
		(<-w.src.asked).gives("marie@h")
		<-out
		w.Detach(u)
		for _, r := range <-w.refresh("john", "nobody") {
			if r.Kind != Offline {
				t.Errorf("result: %+v", r)
			}
		}
		u = w.Attach("john", &ear{}) // the copy is kept, but it is out of date now
		out = w.ask(u)
		w.none(out)
		(<-w.src.asked).gives("aaron@h")
		if o := <-out; o.Known == nil || o.Known.Roster.Len() != 1 {
			t.Errorf("outcome: %+v", o)
		} else if _, ok := o.Known.Roster.Get(jid.MustParse("aaron@h")); !ok {
			t.Error("the old copy was served")
		}
	})
}

// Unknown is not empty: an error within 5 s, and the roster when the service is back.
func TestServiceDownAtFirstLogin(t *testing.T) {
	inWorld(t, func(w world) {
		l := &ear{}
		u := w.Attach("john", l)
		began := time.Now()
		out := w.ask(u)
		for {
			select {
			case q := <-w.src.asked:
				q.fails(errDown)
				continue
			case o := <-out:
				if o.Known != nil || !errors.Is(o.Err, errDown) {
					t.Errorf("outcome: %+v", o)
				}
			}
			break
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("the error took %v", d)
		}
		(<-w.src.asked).fails(errDown) // it goes on trying
		(<-w.src.asked).gives("marie@h")
		synctest.Wait()
		if fmt.Sprint(l.heard) != "[first +marie]" {
			t.Errorf("heard %v", l.heard)
		}
	})
}

// What a retry cannot mend is told at once, and tried again all the same.
func TestNotFoundAtFirstLogin(t *testing.T) {
	inWorld(t, func(w world) {
		l := &ear{}
		u := w.Attach("john", l)
		out := w.ask(u)
		(<-w.src.asked).fails(errMissing)
		if o := <-out; !errors.Is(o.Err, errMissing) || o.Known != nil {
			t.Errorf("outcome: %+v", o)
		}
		(<-w.src.asked).gives("marie@h")
		synctest.Wait()
		if fmt.Sprint(l.heard) != "[first +marie]" {
			t.Errorf("heard %v", l.heard)
		}
	})
}

func TestFailureKeepsTheLastRoster(t *testing.T) {
	inWorld(t, func(w world) {
		l := &ear{}
		u := w.Attach("john", l)
		out := w.ask(u)
		(<-w.src.asked).gives("marie@h")
		<-out
		results := w.refresh("john")
		for range refreshTries {
			(<-w.src.asked).fails(errDown)
		}
		if r := <-results; r[0].Kind != Failed || !errors.Is(r[0].Err, errDown) {
			t.Errorf("result: %+v", r)
		}
		if u.Current().Roster.Len() != 1 {
			t.Error("the roster is gone")
		}
		// A client that asks now waits for the service no longer than it must, and gets the copy.
		began := time.Now()
		out = w.ask(u)
		for {
			select {
			case q := <-w.src.asked:
				q.fails(errDown)
				continue
			case o := <-out:
				if o.Known == nil || o.Known.Roster.Len() != 1 {
					t.Errorf("outcome: %+v", o)
				}
			}
			break
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("the copy took %v", d)
		}
		(<-w.src.asked).gives("marie@h", "aaron@h") // the notification is not forgotten
		synctest.Wait()
		if fmt.Sprint(l.heard) != "[first +marie +aaron]" {
			t.Errorf("heard %v", l.heard)
		}
		if c := w.Counts(); c != (Counts{Online: 1}) {
			t.Errorf("counts: %+v", c)
		}
	})
}

// A notification that comes while the engine waits to try again is a reason to try at once.
func TestNotificationEndsTheWait(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		out := w.ask(u)
		(<-w.src.asked).fails(&rosterhttp.Error{Kind: rosterhttp.Status, Status: 503, RetryAfter: 5 * time.Minute, Err: errors.New("busy")})
		w.none(out)
		began := time.Now()
		results := w.refresh("john")
		q := <-w.src.asked
		if time.Since(began) > 0 || !q.Notified {
			t.Errorf("asked after %v, notified: %v", time.Since(began), q.Notified)
		}
		q.gives("marie@h")
		if r := <-results; r[0].Kind != Changed || r[0].Added != 1 {
			t.Errorf("result: %+v", r)
		}
		if o := <-out; o.Known == nil {
			t.Errorf("outcome: %+v", o)
		}
	})
}

func TestNotModified(t *testing.T) {
	inWorld(t, func(w world) {
		l := &ear{}
		u := w.Attach("john", l)
		out := w.ask(u)
		q := <-w.src.asked
		q.answer <- func() (rosterhttp.Result, error) {
			return rosterhttp.Result{Roster: rosterOf("marie@h"), ETag: `"1"`, MaxAge: -1}, nil
		}
		<-out
		results := w.refresh("john")
		q = <-w.src.asked
		if q.ETag != `"1"` {
			t.Errorf("If-None-Match: %s", q.ETag)
		}
		q.answer <- func() (rosterhttp.Result, error) { return rosterhttp.Result{NotModified: true, MaxAge: -1}, nil }
		if r := <-results; r[0].Kind != Unchanged {
			t.Errorf("result: %+v", r)
		}
		if len(l.heard) != 1 || u.Current().Roster.Len() != 1 || u.Current().ETag != `"1"` {
			t.Errorf("heard %v, known %+v", l.heard, u.Current())
		}
	})
}

// 304 to a question that named no version says nothing about the roster.
func TestNotModifiedWithoutACopy(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		out := w.ask(u)
		q := <-w.src.asked
		q.answer <- func() (rosterhttp.Result, error) { return rosterhttp.Result{NotModified: true, MaxAge: -1}, nil }
		if o := <-out; o.Known != nil || o.Err == nil {
			// it is temporary for all we know, so the client may also wait; but never an empty roster
			t.Errorf("outcome: %+v", o)
		}
	})
}

// A lost notification heals: the copies of online users are renewed within their age.
func TestRenewal(t *testing.T) {
	inWorld(t, func(w world) {
		ctx, stop := context.WithCancel(w.T.Context())
		w.Engine.wg.Go(func() {
			if err := w.Engine.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		l := &ear{}
		u := w.Attach("john", l)
		out := w.ask(u)
		(<-w.src.asked).gives("marie@h")
		<-out
		began := time.Now()
		q := <-w.src.asked
		if d := time.Since(began); d > 10*time.Minute || d < 7*time.Minute {
			t.Errorf("renewed after %v", d)
		}
		q.gives("aaron@h")
		synctest.Wait()
		if len(l.heard) != 2 {
			t.Errorf("heard %v", l.heard)
		}
		stop()
	})
}

func TestRefreshOfManyIsBounded(t *testing.T) {
	inWorld(t, func(w world) {
		var names []string
		for i := range 20 {
			name := fmt.Sprintf("user%d", i)
			names = append(names, name)
			w.Attach(name, &ear{})
		}
		results := w.refresh(names...)
		served := 0
		for served < 20 {
			synctest.Wait()
			if n := w.src.count() - served; n > 4 {
				t.Fatalf("%d fetches at a time", n)
			}
			(<-w.src.asked).gives("marie@h")
			served++
		}
		for _, r := range <-results {
			if r.Kind != Changed {
				t.Errorf("result: %+v", r)
			}
		}
	})
}

func TestOfflineCopiesAreBounded(t *testing.T) {
	inWorld(t, func(w world) {
		for i := range 5 {
			u := w.Attach(fmt.Sprintf("user%d", i), &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives("marie@h")
			<-out
			w.Detach(u)
		}
		unknown := w.Attach("unknown", &ear{})
		w.Detach(unknown)
		synctest.Wait() // a fetch that is just ending puts its user away itself
		if len(w.users) != 2 || w.Counts().Kept != 2 {
			t.Errorf("%d users, counts %+v", len(w.users), w.Counts())
		}
	})
}

// The owner runs one function at a time, in order, and survives a fault in one.
func TestOwner(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		var wg sync.WaitGroup
		running, total := 0, 0
		for range 50 {
			wg.Go(func() {
				for range 20 {
					u.Do(func() {
						running++
						if running != 1 {
							t.Error("two at a time")
						}
						total++
						running--
					})
				}
			})
		}
		wg.Wait()
		if total != 1000 {
			t.Errorf("%d of 1000 ran", total)
		}
		u.Do(func() { panic("fault") })
		ran := false
		u.Do(func() {
			u.Post(func() { ran = true })
			if ran {
				t.Error("a posted function ran inside another")
			}
		})
		u.Do(func() {})
		if !ran {
			t.Error("the owner is gone")
		}
	})
}

// When the service answers anybody, everybody's fetch that waits to be tried again is tried now.
func TestServiceIsBack(t *testing.T) {
	inWorld(t, func(w world) {
		ann, ben := w.Attach("ann", &ear{}), w.Attach("ben", &ear{})
		first := w.ask(ann)
		(<-w.src.asked).fails(&rosterhttp.Error{Kind: rosterhttp.BreakerOpen, RetryAfter: time.Minute, Err: errors.New("down")})
		w.none(first)
		began := time.Now()
		second := w.ask(ben)
		(<-w.src.asked).gives("marie@h")
		<-second
		q := <-w.src.asked
		if q.User != "ann" || time.Since(began) > 0 {
			t.Errorf("%s is asked about after %v", q.User, time.Since(began))
		}
		q.gives("aaron@h")
		if o := <-first; o.Known == nil {
			t.Errorf("outcome: %+v", o)
		}
	})
}
