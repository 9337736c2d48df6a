package last

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// fakeStore is a store that takes a millisecond for each write, and can fail.
type fakeStore struct {
	others
	mu     sync.Mutex
	values map[string]string // by username
	writes int
	fail   error
	pace   time.Duration // of a write; 0: a millisecond
}

type others interface{ store.Values }

func (f *fakeStore) SetValue(ctx context.Context, k store.Key, value []byte, _ int) error {
	select {
	case <-time.After(cmp.Or(f.pace, time.Millisecond)):
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.values[k.Username] = string(value)
	f.writes++
	return nil
}

func (f *fakeStore) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fakeStore) has(local string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.values[local]
}

func newLast(f *fakeStore) *Last {
	o := Options{Host: "localhost", Log: slog.New(slog.DiscardHandler)}
	if f != nil {
		f.values = map[string]string{}
		o.Store = f
	}
	return &Last{opts: o, moments: newMoments()}
}

func newSession(ctx context.Context, full string) *session.Session {
	return session.New(ctx, &sync.WaitGroup{}, jid.MustParse(full), nil, &session.Options{OutboxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
}

// Ends are written behind everybody's back, again when the store has failed, and at last when the host stops.
func TestEndsAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		l := newLast(f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.run(ctx) }()
		goOffline := func(local, status string) {
			s := newSession(t.Context(), local+"@localhost/r")
			l.moments.begin(s)
			l.ended(s, time.Now(), status)
			l.ended(s, time.Now().Add(time.Hour), "twice")
		}
		goOffline("john", "bye")
		if m, ok := l.moments.recall("john"); !ok || m.status != "bye" {
			t.Errorf("before it is written: %v, %v", m, ok)
		}
		time.Sleep(time.Second)
		if want := fmt.Sprintf("%d\nbye", time.Now().Unix()-1); f.has("john") != want || f.writes != 1 {
			t.Errorf("%q was written, in %d writes, want %q", f.has("john"), f.writes, want)
		}
		if _, ok := l.moments.recall("john"); ok {
			t.Error("what is written is kept in memory")
		}
		f.set(store.ErrUnavailable)
		goOffline("marie", "one")
		time.Sleep(time.Second)
		goOffline("marie", "two")
		time.Sleep(time.Second)
		if m, ok := l.moments.recall("marie"); !ok || m.status != "two" || f.has("marie") != "" {
			t.Errorf("while the store fails: %v, %v, %q", m, ok, f.has("marie"))
		}
		f.set(nil)
		time.Sleep(writeAgain)
		if !strings.HasSuffix(f.has("marie"), "\ntwo") {
			t.Errorf("when it works again: %q", f.has("marie"))
		}
		for n := range 1000 {
			goOffline(fmt.Sprint("u", n), "")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if f.writes != 1002 || len(l.moments.pending) != 0 {
			t.Errorf("after the end %d were written, %d are left", f.writes, len(l.moments.pending))
		}
	})
}

// What the end of the host cuts off is written all the same, and nobody is told of something that has not happened; what is not is told.
func TestEndWhileItIsWritten(t *testing.T) {
	for name, pace := range map[string]time.Duration{"slow": time.Second, "too slow": 2 * goodbyeTime} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				l := newLast(&fakeStore{pace: pace})
				l.opts.Log = slog.New(slog.NewTextHandler(&log, nil))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- l.run(ctx) }()
				s := newSession(t.Context(), "john@localhost/r")
				l.moments.begin(s)
				l.ended(s, time.Now(), "")
				time.Sleep(time.Millisecond) // it is being written
				cancel()
				<-done
				written := len(l.moments.waiting()) == 0
				if written != (pace < goodbyeTime) || written != (log.Len() == 0) {
					t.Errorf("written: %v; the log: %s", written, &log)
				}
			})
		})
	}
}

// A store that is down does not keep the host from stopping, nor what waits from being bounded.
func TestStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{fail: store.ErrUnavailable}
		l := newLast(f)
		s := newSession(t.Context(), "u@localhost/r")
		for n := range maxPending + 10 {
			s := newSession(t.Context(), fmt.Sprintf("u%d@localhost/r", n))
			l.moments.begin(s)
			if room := l.moments.end(s, moment{}, true); room != (n < maxPending) {
				t.Fatalf("%d: %v", n, room)
			}
		}
		l.moments.begin(s)
		if l.moments.isAvailable("u"); len(l.moments.pending) != maxPending {
			t.Errorf("%d wait", len(l.moments.pending))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if err := l.run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > goodbyeTime {
			t.Errorf("it took %v to stop", took)
		}
	})
}

func TestEndsInMemoryAreBounded(t *testing.T) {
	l := newLast(nil)
	for n := range maxRecent + 1 {
		s := newSession(t.Context(), fmt.Sprintf("u%d@localhost/r", n))
		l.moments.begin(s)
		l.ended(s, time.Unix(int64(n), 0), "")
	}
	ms := l.moments
	if len(ms.recent) != maxRecent || ms.order.Len() != maxRecent || len(ms.available) != 0 {
		t.Errorf("%d, %d, %d", len(ms.recent), ms.order.Len(), len(ms.available))
	}
	if _, ok := ms.recall("u0"); ok {
		t.Error("the oldest is kept")
	}
	if m, ok := ms.recall(fmt.Sprint("u", maxRecent)); !ok || m.at.Unix() != maxRecent {
		t.Errorf("%v, %v", m, ok)
	}
}

// A presence that is read when its session has ended already does not make the user available for ever.
func TestPresenceAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSession(ctx, "john@localhost/r")
	cancel()
	l := newLast(nil)
	l.closed(t.Context(), s)
	l.moments.begin(s)
	if l.moments.isAvailable("john") {
		t.Error("he is there")
	}
}

func TestMomentsAreStoredAsTheyAre(t *testing.T) {
	for _, m := range []moment{{time.Unix(1e9, 0), "Heading Home"}, {time.Unix(0, 0), ""}, {time.Unix(-5, 0), "two\nlines\n"}} {
		if got, err := parseMoment(m.encode()); err != nil || got != m {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	for _, wrong := range []string{"", "5", "x\ny", "\n"} {
		if m, err := parseMoment([]byte(wrong)); err == nil {
			t.Errorf("%q is %v", wrong, m)
		}
	}
	presence := xmlstream.New(ns.Client, "presence").Append(xmlstream.New(ns.Client, "status").AppendText("x" + strings.Repeat("é", maxStatus)))
	if got := statusOf(presence); got != "x"+strings.Repeat("é", (maxStatus-1)/2) {
		t.Errorf("%d bytes", len(got))
	}
}
