package roster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
	"rollcall/internal/store"
)

// disk is a store that can be told to fail, and that outlives engines.
type disk struct {
	*store.Store
	mu     sync.Mutex
	broken error
	lies   bool // what was written is said not to have been
	saves  int
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
}

func (d *disk) lie(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken, d.lies = err, true
}

func (d *disk) state() (saves int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saves, d.broken
}

func (d *disk) SaveRosters(ctx context.Context, saves []store.RosterSave) error {
	d.mu.Lock()
	err, lies := d.broken, d.lies
	d.saves++
	d.mu.Unlock()
	if err != nil && !lies {
		return err
	}
	return errors.Join(d.Store.SaveRosters(ctx, saves), err)
}

func (d *disk) Roster(ctx context.Context, host, user string) (store.Roster, error) {
	if _, err := d.state(); err != nil {
		return store.Roster{}, err
	}
	return d.Store.Roster(ctx, host, user)
}

// lives is a host whose engine is started again and again.
type lives struct {
	*testing.T
	disk *disk // nil: memory, and one life only
	opts Options
}

func inLives(t *testing.T, play func(l lives)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		play(lives{t, &disk{Store: s}, Options{Host: "h", MaxAge: 10 * time.Minute, LoginWait: 2 * time.Second, Guard: true,
			Waiting: 4, KeepBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)}})
	})
}

// live plays with one engine, which is stopped in good order at the end. With asks there is a service.
func (l lives) live(asks bool, play func(w world)) {
	ctx, cancel := context.WithCancel(l.Context())
	o := l.opts
	if l.disk != nil {
		o.Store = l.disk
	}
	src := &source{asked: make(chan *question)}
	if asks {
		o.Source = src
	}
	w := world{l.T, New(ctx, o), src}
	play(w)
	cancel()
	w.Stop()
}

// write writes and gives the result when it comes.
func (w world) write(name, document string, patch bool) Result {
	return w.Write(w.ctx, name, Write{Document: []byte(document), Patch: patch})
}

func documentOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"c%d@h":{}`, i)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func contactsOf(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("c%d@h", i))
	}
	return all
}

func names(k *Known) string {
	if k == nil {
		return "unknown"
	}
	var all []string
	for item := range k.Roster.All() {
		all = append(all, item.JID.Local())
	}
	return strings.Join(all, " ")
}

func TestCopiesOutliveTheProcess(t *testing.T) {
	inLives(t, func(l lives) {
		ver := ""
		l.live(true, func(w world) {
			out := w.ask(w.Attach("john", &ear{}))
			q := <-w.src.asked
			q.answer <- func() (rosterhttp.Result, error) {
				return rosterhttp.Result{Roster: rosterOf("ann@h", "ben@h"), ETag: `"1"`, MaxAge: -1, StaleIfError: -1}, nil
			}
			ver = (<-out).Known.Ver()
		})
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			began := time.Now()
			out := w.ask(u)
			q := <-w.src.asked // a copy from before is asked for again, with its tag
			if q.ETag != `"1"` || q.Like.Len() != 2 {
				t.Errorf("asked with %q and %d contacts", q.ETag, q.Like.Len())
			}
			o := <-out // and served when the answer takes long
			if names(o.Known) != "ann ben" || o.Known.Ver() != ver || time.Since(began) != 2*time.Second {
				t.Errorf("%s, version %s (was %s), after %v", names(o.Known), o.Known.Ver(), ver, time.Since(began))
			}
			q.answer <- func() (rosterhttp.Result, error) {
				return rosterhttp.Result{NotModified: true, MaxAge: -1, StaleIfError: -1}, nil
			}
			synctest.Wait()
			if o := <-w.ask(u); o.Known.Ver() != ver || o.Known.ETag != `"1"` {
				t.Errorf("version %s, tag %s", o.Known.Ver(), o.Known.ETag)
			}
		})
	})
}

func TestCopyIsServedWhileTheServiceIsDown(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			out := w.ask(w.Attach("john", &ear{}))
			(<-w.src.asked).gives("ann@h")
			<-out
		})
		l.live(true, func(w world) {
			out := w.ask(w.Attach("john", &ear{}))
			for {
				select {
				case q := <-w.src.asked:
					q.fails(errDown)
					continue
				case o := <-out:
					if names(o.Known) != "ann" || !errors.Is(o.Err, errDown) {
						t.Errorf("%s, %v", names(o.Known), o.Err)
					}
				}
				break
			}
		})
	})
}

// A copy that was forgotten in memory may have missed a notification, so it is asked for again.
func TestForgottenCopyIsAskedForAgain(t *testing.T) {
	inLives(t, func(l lives) {
		l.opts.KeepBytes = 1
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			out := w.ask(u)
			(<-w.src.asked).gives("ann@h")
			<-out
			synctest.Wait()
			w.Detach(u)
			if w.lookup("john") != nil {
				t.Error("john is still in memory")
			}
			if r := w.Refresh(w.ctx, []string{"john"}); r[0].Kind != Offline {
				t.Errorf("%+v", r)
			}
			out = w.ask(w.Attach("john", &ear{}))
			(<-w.src.asked).gives("ben@h")
			if o := <-out; names(o.Known) != "ben" {
				t.Errorf("%s", names(o.Known))
			}
		})
	})
}

// "Put" of a whole roster and a fetch that began before it: the fetch's answer is dropped, and nobody asks again.
func TestWriteOvertakesFetch(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			e := &ear{}
			u := w.Attach("john", e)
			out := w.ask(u)
			q := <-w.src.asked
			if r := w.write("john", `{"new@h": {}}`, false); r.Kind != Changed || r.Added != 1 || r.Version == "" {
				t.Errorf("%+v", r)
			}
			if o := <-out; names(o.Known) != "new" { // whoever waits for the fetch has what is newer
				t.Errorf("%s", names(o.Known))
			}
			q.gives("old@h")
			synctest.Wait()
			if names(u.Current()) != "new" || w.src.count() != 1 || strings.Join(e.heard, "; ") != "first +new" {
				t.Errorf("%s, %d fetches, heard %q", names(u.Current()), w.src.count(), e.heard)
			}
		})
	})
}

// A patch is a part of the truth: a fetch that was wanted is made again, and the patch stands meanwhile.
func TestPatchAmidAFetch(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			e := &ear{}
			u := w.Attach("john", e)
			out := w.ask(u)
			(<-w.src.asked).gives("ann@h")
			<-out
			results := w.refresh("john")
			q := <-w.src.asked
			if r := w.write("john", `{"ben@h": {}, "ann@h": null}`, true); r.Kind != Changed || r.Added != 1 || r.Removed != 1 {
				t.Errorf("%+v", r)
			}
			q.gives("ann@h", "cid@h") // computed before the patch, perhaps
			(<-w.src.asked).gives("ben@h", "cid@h")
			if r := <-results; r[0].Kind != Changed || r[0].Added != 1 {
				t.Errorf("%+v", r)
			}
			if got := strings.Join(e.heard, "; "); got != "first +ann; -ann+ben; +cid" {
				t.Errorf("heard %q", got)
			}
			if names(u.Current()) != "ben cid" {
				t.Errorf("%s", names(u.Current()))
			}
			// Without a fetch under way a patch is all there is.
			if r := w.write("john", `{"cid@h": null}`, true); r.Removed != 1 {
				t.Errorf("%+v", r)
			}
			synctest.Wait()
			if o := <-w.ask(u); names(o.Known) != "ben" || w.src.count() != 3 {
				t.Errorf("%s after %d fetches", names(o.Known), w.src.count())
			}
		})
	})
}

func TestWriteThatWaitedWhileSomethingNewerCame(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		arrived := time.Now()
		time.Sleep(time.Second)
		out := w.ask(u)
		(<-w.src.asked).gives("ann@h")
		<-out
		late := Write{Document: []byte(`{"ann@h": null, "ben@h": {}}`), Patch: true, Arrived: arrived}
		if r := w.Write(w.ctx, "john", late); r.Kind != Unchanged || r.Version != u.Current().Ver() || names(u.Current()) != "ann" {
			t.Errorf("%+v, %s", r, names(u.Current()))
		}
		late.Arrived = time.Now()
		if r := w.Write(w.ctx, "john", late); r.Kind != Changed || names(u.Current()) != "ben" {
			t.Errorf("%+v, %s", r, names(u.Current()))
		}
		late.Document = []byte(`{"cid@h": {}}`) // what was written since is no reason
		if r := w.Write(w.ctx, "john", late); r.Kind != Changed || names(u.Current()) != "ben cid" {
			t.Errorf("%+v, %s", r, names(u.Current()))
		}
	})
}

// A copy that is patched all the time is asked for again at its age all the same: a patch says nothing of the rest.
func TestPatchesDoNotKeepACopyYoung(t *testing.T) {
	inWorld(t, func(w world) {
		u := w.Attach("john", &ear{})
		out := w.ask(u)
		(<-w.src.asked).gives("ann@h")
		<-out
		ctx, cancel := context.WithCancel(w.ctx)
		w.wg.Go(func() { w.Engine.Run(ctx) })
		for i := range 10 {
			time.Sleep(time.Minute)
			w.write("john", fmt.Sprintf(`{"ann@h": {"name": "%d"}}`, i), true)
		}
		synctest.Wait()
		select {
		case q := <-w.src.asked:
			q.gives("ann@h", "ben@h")
		default:
			t.Error("it was not asked for again")
		}
		synctest.Wait()
		if got := names(u.Current()); w.src.count() == 2 && got != "ann ben" {
			t.Errorf("%s", got)
		}
		cancel()
	})
}

func TestPatchOfAnUnknownRosterIsARefresh(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			if r := w.write("john", `{"ann@h": {}}`, true); r.Kind != Offline {
				t.Errorf("%+v", r)
			}
			w.Attach("john", &ear{})
			done := make(chan Result, 1)
			w.wg.Go(func() { done <- w.write("john", `{"ann@h": {}}`, true) })
			(<-w.src.asked).gives("ann@h", "ben@h")
			if r := <-done; r.Kind != Changed || r.Added != 2 {
				t.Errorf("%+v", r)
			}
		})
	})
}

func TestWritesThatAreRefused(t *testing.T) {
	inLives(t, func(l lives) {
		for _, asks := range []bool{true, false} {
			l.live(asks, func(w world) {
				name := fmt.Sprint("john", asks)
				if r := w.write(name, `{"ann@h": {}}`, false); r.Kind != Changed {
					t.Fatalf("%+v", r)
				}
				ver := w.write(name, `{}`, true).Version
				for _, bad := range []string{``, `[]`, `{"a": `, `{"a@h":{},"a@h":{}}`} {
					for _, patch := range []bool{true, false} {
						if r := w.write(name, bad, patch); r.Kind != Failed || !errors.Is(r.Err, ErrDocument) || r.Version != ver {
							t.Errorf("%q: %+v", bad, r)
						}
					}
				}
				is := func(want string) func(string) bool { return func(v string) bool { return v == want } }
				r := w.Write(w.ctx, name, Write{Document: []byte(`{}`), IfMatch: is("1-other")})
				if !errors.Is(r.Err, ErrPrecondition) || r.Version != ver {
					t.Errorf("%+v", r)
				}
				r = w.Write(w.ctx, name, Write{Document: []byte(`{}`), IfMatch: is(ver)})
				if r.Kind != Changed || r.Removed != 1 || r.Version == ver {
					t.Errorf("%+v", r)
				}
				r = w.write(name, `{"ann@h": {"name": 1}, "ben@h": {}}`, false)
				if len(r.Dropped) != 1 || r.Added != 1 {
					t.Errorf("%+v", r)
				}
			})
		}
	})
}

func TestHostThatIsOnlyTold(t *testing.T) {
	inLives(t, func(l lives) {
		ver := ""
		l.live(false, func(w world) {
			e := &ear{}
			u := w.Attach("john", e)
			if o := <-w.ask(u); o.Known != nil || !errors.Is(o.Err, ErrNoRoster) {
				t.Errorf("%+v", o)
			}
			if r := w.write("john", `{"ann@h": {}}`, true); !errors.Is(r.Err, ErrNoRoster) {
				t.Errorf("%+v", r)
			}
			if r := w.Refresh(w.ctx, []string{"john"}); !errors.Is(r[0].Err, ErrNoService) {
				t.Errorf("%+v", r)
			}
			w.write("john", documentOf(30), false)
			r := w.write("john", `{}`, false) // the guard is for what is fetched
			if r.Removed != 30 || strings.Count(strings.Join(e.heard, ""), "-c") != 30 {
				t.Errorf("%+v, heard %q", r, e.heard)
			}
			r = w.write("john", `{"ann@h": {}}`, true)
			ver = r.Version
			// What was answered is stored: nothing waits to be written.
			if row, err := l.disk.Store.Roster(l.Context(), "h", "john"); err != nil || string(row.Document) != `{"ann@h":{}}` {
				t.Errorf("%s, %v", row.Document, err)
			}
		})
		l.live(false, func(w world) {
			if r := w.write("marie", `{"john@h": {}}`, false); r.Added != 1 { // nobody is online
				t.Errorf("%+v", r)
			}
			time.Sleep(24 * time.Hour) // it does not grow stale; of the bubble's clock
			if o := <-w.ask(w.Attach("john", &ear{})); names(o.Known) != "ann" || o.Known.Ver() != ver || o.Err != nil {
				t.Errorf("%+v", o)
			}
		})
	})
}

// A write that cannot be stored has not happened.
func TestNothingIsToldThatIsNotStored(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(false, func(w world) {
			e := &ear{}
			u := w.Attach("john", e)
			w.write("john", `{"ann@h": {}}`, false)
			l.disk.fail(errors.New("disk full"))
			if r := w.write("john", `{"ben@h": {}}`, true); r.Kind != Failed || !strings.Contains(r.Err.Error(), "disk full") {
				t.Errorf("%+v", r)
			}
			if names(u.Current()) != "ann" || len(e.heard) != 1 {
				t.Errorf("%s, heard %q", names(u.Current()), e.heard)
			}
			l.disk.fail(nil)
			if r := w.write("john", `{"ben@h": {}}`, true); r.Added != 1 {
				t.Errorf("%+v", r)
			}
		})
		// A copy that cannot be read is not an empty one.
		l.disk.fail(errors.New("disk on fire"))
		l.live(false, func(w world) {
			if o := <-w.ask(w.Attach("john", &ear{})); o.Known != nil || o.Err == nil || errors.Is(o.Err, ErrNoRoster) {
				t.Errorf("%+v", o)
			}
			if r := w.write("john", `{}`, true); r.Kind != Failed {
				t.Errorf("%+v", r)
			}
			l.disk.fail(nil)
			if r := w.write("john", `{"cid@h": {}}`, true); r.Added != 1 {
				t.Errorf("%+v", r)
			}
			if o := <-w.ask(w.lookup("john")); names(o.Known) != "ann ben cid" {
				t.Errorf("%+v", o)
			}
		})
	})
}

// What could not be written is written later, many users in one transaction.
func TestStoreThatFailsForAWhile(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			l.disk.fail(errors.New("disk full"))
			for i := range 20 {
				out := w.ask(w.Attach(fmt.Sprint("u", i), &ear{}))
				(<-w.src.asked).gives("ann@h")
				<-out
			}
			time.Sleep(time.Minute) // of the bubble's clock
			if c := w.Counts(); c.Unsaved != 20 || !c.Failing {
				t.Errorf("%+v", c)
			}
			results := w.refresh("u0") // changes meanwhile follow those that failed
			(<-w.src.asked).gives("ann@h", "ben@h")
			<-results
			l.disk.fail(nil)
			before, _ := l.disk.state()
			time.Sleep(time.Minute)
			after, _ := l.disk.state()
			if c := w.Counts(); c.Unsaved != 0 || c.Failing || after-before != 1 {
				t.Errorf("%+v, %d transactions", c, after-before)
			}
			for i := range 20 {
				if row, err := l.disk.Store.Roster(l.Context(), "h", fmt.Sprint("u", i)); err != nil || row.Version != 1+int64(btoi(i == 0)) {
					t.Errorf("%+v %v", row, err)
				}
			}
			if journal, err := l.disk.RosterJournal(l.Context(), "h", "u0", 0); err != nil || len(journal) != 2 {
				t.Errorf("%v %v", journal, err)
			}
		})
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

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
