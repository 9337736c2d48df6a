package roster

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/store"
)

// A client that was told that its roster comes later, for the store could not be read, gets it when it can.
func TestCopyIsReadWhenTheStoreIsBack(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(false, func(w world) { w.write("john", `{"ann@h": {}}`, false) })
		l.live(false, func(w world) {
			e := &ear{}
			l.disk.fail(errors.New("disk on fire"))
			u := w.Attach("john", e)
			if o := <-w.ask(u); o.Known != nil || o.Err == nil {
				t.Errorf("%+v", o)
			}
			time.Sleep(3 * loadRetry)
			l.disk.fail(nil)
			time.Sleep(2 * loadRetry)
			synctest.Wait()
			if fmt.Sprint(e.heard) != "[first +ann]" {
				t.Errorf("heard %q", e.heard)
			}
		})
	})
}

// A write that was stored and reported as failed, for the store took too long, does not stand in the way of the next.
func TestWriteThatMayBeStored(t *testing.T) {
	for _, asks := range []bool{false, true} {
		inLives(t, func(l lives) {
			last := ""
			l.live(asks, func(w world) {
				w.write("john", `{"ann@h": {}}`, false)
				time.Sleep(2 * flushAfter)
				l.disk.lie(errors.New("too slow"))
				if r := w.write("john", `{"ben@h": {}}`, true); asks == (r.Kind == Failed) {
					t.Errorf("%+v", r)
				}
				time.Sleep(2 * flushAfter)
				l.disk.fail(nil)
				if r := w.write("john", `{"cid@h": {}}`, true); r.Added != 1 {
					t.Errorf("%+v", r)
				}
				time.Sleep(2 * flushRetry)
				if w.keep.waiting() > 0 || w.keep.failing.Load() {
					t.Error("it cannot be written any more")
				}
				// Nor does it come back when what was known before is confirmed.
				was := names(w.lookup("john").Current())
				document := string(w.lookup("john").Current().Roster.AppendJSON(nil))
				l.disk.lie(errors.New("too slow"))
				w.write("john", `{"dot@h": {}}`, true)
				l.disk.fail(nil)
				if r := w.write("john", document, false); r.Err != nil || names(w.lookup("john").Current()) != was {
					t.Errorf("%+v", r)
				}
				last = was
			})
			l.live(asks, func(w world) {
				u := w.Attach("john", &ear{})
				w.ask(u)
				synctest.Wait()
				if got := names(u.Current()); got != last {
					t.Errorf("after a restart there is %s instead of %s", got, last)
				}
			})
		})
	}
}

// A copy that was stored before the clock was set back by an hour is no newer than what is told now.
func TestCopyFromTheFuture(t *testing.T) {
	inLives(t, func(l lives) {
		l.live(true, func(w world) {
			u := w.Attach("john", &ear{})
			got := w.ask(u)
			(<-w.src.asked).gives("ann@h")
			<-got
		})
		row, err := l.disk.Store.Roster(l.Context(), "h", "john")
		if err != nil {
			l.Fatal(err)
		}
		row.AsOf = row.AsOf.Add(time.Hour)
		if err := l.disk.SaveRosters(l.Context(), []store.RosterSave{{Roster: row}}); err != nil {
			l.Fatal(err)
		}
		l.live(true, func(w world) {
			r := w.Write(w.ctx, "john", Write{Document: []byte(`{"ben@h": {}}`), Arrived: time.Now()})
			if r.Kind != Changed || names(w.lookup("john").Current()) != "ben" {
				l.Errorf("%+v, %s", r, names(w.lookup("john").Current()))
			}
		})
	})
}
