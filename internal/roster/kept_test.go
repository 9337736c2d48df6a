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
