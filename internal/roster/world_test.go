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

	"go.uber.org/goleak"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a service whose every answer the test decides.
type source struct {
	mu      sync.Mutex
	asked   chan *question // each fetch, as it begins
	fetches int
}

type question struct {
	rosterhttp.Request
	answer chan func() (rosterhttp.Result, error)
}

func (s *source) Fetch(ctx context.Context, r rosterhttp.Request) (rosterhttp.Result, error) {
	s.mu.Lock()
	s.fetches++
	s.mu.Unlock()
	q := &question{r, make(chan func() (rosterhttp.Result, error))}
	select {
	case s.asked <- q:
	case <-ctx.Done():
		return rosterhttp.Result{}, ctx.Err()
	}
	select {
	case f := <-q.answer:
		return f()
	case <-ctx.Done():
		return rosterhttp.Result{}, ctx.Err()
	}
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// gives answers with a roster of these contacts.
func (q *question) gives(contacts ...string) {
	q.answer <- func() (rosterhttp.Result, error) {
		return rosterhttp.Result{Roster: rosterOf(contacts...), MaxAge: -1, StaleIfError: -1}, nil
	}
}

func (q *question) fails(err error) {
	q.answer <- func() (rosterhttp.Result, error) { return rosterhttp.Result{}, err }
}

var (
	errDown    = &rosterhttp.Error{Kind: rosterhttp.Unavailable, Err: errors.New("connection refused")}
	errMissing = &rosterhttp.Error{Kind: rosterhttp.Status, Status: 404, Err: errors.New("not found")}
)

func rosterOf(contacts ...string) *rosterdoc.Roster {
	var items []rosterdoc.Item
	for _, c := range contacts {
		items = append(items, rosterdoc.Item{JID: jid.MustParse(c), Subscription: rosterdoc.Both})
	}
	return rosterdoc.Build(items)
}

// ear is a listener that writes down what it hears.
type ear struct{ heard []string }

func (e *ear) RosterChanged(old, known *Known, changes []rosterdoc.Change) {
	var b strings.Builder
	if old == nil {
		b.WriteString("first ")
		for item := range known.Roster.All() {
			fmt.Fprintf(&b, "+%s", item.JID.Local())
		}
	}
	for _, c := range changes {
		switch c.Kind {
		case rosterdoc.Added:
			fmt.Fprintf(&b, "+%s", c.New.JID.Local())
		case rosterdoc.Removed:
			fmt.Fprintf(&b, "-%s", c.Old.JID.Local())
		case rosterdoc.Changed:
			fmt.Fprintf(&b, "~%s", c.New.JID.Local())
		}
	}
	if b.Len() > 0 {
		e.heard = append(e.heard, b.String())
	}
}

// world is an engine with a source in a bubble of its own.
type world struct {
	*testing.T
	*Engine
	src *source
}

func inWorld(t *testing.T, play func(w world)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		src := &source{asked: make(chan *question)}
		e := New(ctx, Options{Source: src, MaxAge: 10 * time.Minute, LoginWait: 2 * time.Second, Waiting: 4,
			Host: "h", Guard: true, KeepBytes: 2*userBytes + userBytes/2,
			Log: slog.New(slog.DiscardHandler)})
		play(world{t, e, src})
		cancel()
		e.Stop()
	})
}

// ask asks for a user's roster as a client does and gives the outcome when it comes.
func (w world) ask(u *User) <-chan Outcome {
	out := make(chan Outcome, 1)
	u.Do(func() { u.Ask(func(o Outcome) { out <- o }) })
	return out
}

func (w world) refresh(names ...string) <-chan []Result {
	out := make(chan []Result, 1)
	w.Engine.wg.Go(func() { out <- w.Refresh(w.Engine.ctx, names) })
	return out
}

func (w world) none(out <-chan Outcome) {
	w.Helper()
	synctest.Wait()
	select {
	case o := <-out:
		w.Fatalf("answered too early: %+v", o)
	default:
	}
}
