package roster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
