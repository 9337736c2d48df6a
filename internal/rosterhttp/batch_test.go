package rosterhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Who asks at about the same time is in one request, in order, and a millisecond is all that it costs.
func TestBatchGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: numbered}
		c := batchInMemory(t, b)
		begun := time.Now()
		for _, f := range asking(c, t.Context(), users("john", "aaron", "\u00e9lodie", `a\b`)...)() {
			if name := f.nameOf(t); name != "1" || f.res.Took != 0 {
				t.Errorf("from request %s, in %v", name, f.res.Took)
			}
		}
		if took := time.Since(begun); took != time.Millisecond {
			t.Errorf("it took %v", took)
		}
		asking(c, t.Context(), users("john")...)()
		if took := time.Since(begun); took != 2*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		wantRequests(t, b, `john aaron élodie a\b`, "john")
	})
}

// Full requests go at once; the rest waits its millisecond.
func TestBatchSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: numbered}
		c := batchInMemory(t, b, func(c *Config) { c.BatchSize = 3 })
		ended := asking(c, t.Context(), users("a", "b", "c", "d", "e", "f", "g", "h")...)
		wantRequests(t, b, "a b c", "d e f")
		for i, f := range ended() {
			if name := f.nameOf(t); name != fmt.Sprint(i/3+1) {
				t.Errorf("user %d got the answer to request %s", i, name)
			}
		}
		wantRequests(t, b, "a b c", "d e f", "g h")
		begun := time.Now()
		asking(c, t.Context(), users("a", "b", "c")...)()
		if took := time.Since(begun); took != 0 {
			t.Errorf("a full request waited %v", took)
		}
	})
}

// A sound answer that has nothing for anybody is a failed request, though not one of a service that is down.
func TestBatchForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(w http.ResponseWriter, _ *http.Request, _ []string, _ int) { fmt.Fprint(w, "{}") }}
		c := batchInMemory(t, b)
		for i := range 2 * breakerFailures {
			for _, f := range asking(c, t.Context(), users("a", "b")...)() {
				wantError(t, f.res, f.err, Missing, "no member for this user")
			}
			synctest.Wait()
			if h := c.Health(); h.Fetches != uint64(i+1) || h.Failures != uint64(i+1) || h.ConsecutiveFailures != i+1 || h.Breaker != "closed" {
				t.Errorf("%+v", h)
			}
		}
	})
}

// While all slots are taken everything that waits is collected, and then goes in as few requests as can be.
// Nobody is answered from a request that was sent before.
func TestBatchCollectsWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &bulk{answer: func(w http.ResponseWriter, r *http.Request, asked []string, n int) {
			<-release
			numbered(w, r, asked, n)
		}}
		c := batchInMemory(t, b, func(c *Config) { c.Concurrency, c.BatchSize = 2, 4 })
		first := asking(c, t.Context(), users("a")...)
		pass(time.Second)
		second := asking(c, t.Context(), users("b")...)
		pass(time.Second)
		rest := asking(c, t.Context(), users("a", "c", "d", "b", "a", "e", "f")...)
		pass(time.Second)
		if h := c.Health(); h.InFlight != 2 || h.Waiting != 7 {
			t.Errorf("%+v", h)
		}
		wantRequests(t, b, "a", "b")
		close(release)
		f := slices.Concat(first(), second(), rest())
		var got []string
		for i := range f {
			got = append(got, f[i].nameOf(t))
		}
		if want := "[1 2 3 3 3 3 4 4 4]"; fmt.Sprint(got) != want {
			t.Errorf("answered from the requests %v, want %v", got, want)
		}
		wantRequests(t, b, "a", "b", "a c d b", "a e f")
		synctest.Wait()
		if h := c.Health(); h.InFlight != 0 || h.Waiting != 0 || h.Fetches != 4 || h.Failures != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// A user is never twice in a request: the second asker waits for the next one.
func TestBatchSameUserTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: numbered}
		c := batchInMemory(t, b)
		f := asking(c, t.Context(), users("john", "John", "aaron", "john")...)()
		wantRequests(t, b, "john aaron", "john", "john")
		for i, want := range []string{"1", "2", "1", "3"} {
			if name := f[i].nameOf(t); name != want {
				t.Errorf("asker %d got the answer to request %s, want %s", i, name, want)
			}
		}
	})
}

// Who gives up is let go at once and leaves the others alone, in the queue and in a request.
func TestBatchCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(w http.ResponseWriter, r *http.Request, asked []string, n int) {
			pass(2 * time.Second)
			numbered(w, r, asked, n)
		}}
		counted := &counter{}
		c := batchInMemory(t, b, func(c *Config) { c.Concurrency, c.Observe = 1, counted.observe })
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := asking(c, impatient, users("a", "b")...)
		stays := asking(c, t.Context(), users("c")...)
		pass(10 * time.Millisecond)
		goneToo := asking(c, impatient, users("d")...)
		staysToo := asking(c, t.Context(), users("e")...)
		begun := time.Now()
		for _, f := range append(gone(), goneToo()...) {
			e := wantError(t, f.res, f.err, Canceled, "POST http://app.invalid/batch: given up before the answer came")
			if !errors.Is(e, context.DeadlineExceeded) {
				t.Error(e)
			}
		}
		if took := time.Since(begun); took != 990*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if h := c.Health(); h.InFlight != 1 || h.Waiting != 1 {
			t.Errorf("%+v", h)
		}
		for i, f := range append(stays(), staysToo()...) {
			if name := f.nameOf(t); name != fmt.Sprint(i+1) {
				t.Errorf("from request %s", name)
			}
		}
		wantRequests(t, b, "a b c", "e")
		synctest.Wait()
		if h := c.Health(); h.Breaker != "closed" || h.Failures != 0 || h.LastError != "" || h.InFlight != 0 || h.Waiting != 0 {
			t.Errorf("health: %+v", h)
		}
		counted.want(t, "canceled:3 ok:2", 2)
	})
}

// A request that nobody waits for any more is given up, and its slot is free again.
func TestBatchGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		b := &bulk{answer: func(_ http.ResponseWriter, r *http.Request, _ []string, _ int) {
			<-r.Context().Done()
			ended <- time.Now()
		}}
		c := batchInMemory(t, b, func(c *Config) { c.Concurrency = 1 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		asking(c, ctx, users("a", "b")...)()
		if took := (<-ended).Sub(begun); took != time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if h := c.Health(); h.Breaker != "closed" || h.Failures != 0 || h.InFlight != 0 {
			t.Errorf("health: %+v", h)
		}
		// Nobody waits in the queue either.
		ctx, cancel = context.WithCancel(t.Context())
		waits := asking(c, ctx, users("c")...)
		cancel()
		waits()
		pass(time.Second)
		wantRequests(t, b, "a b")
	})
}

// Those who gave up in the queue do not stay in it while the service hangs.
func TestBatchQueueIsSweptOfThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(_ http.ResponseWriter, r *http.Request, _ []string, _ int) { <-r.Context().Done() }}
		c := batchInMemory(t, b, func(c *Config) { c.Concurrency, c.BatchSize = 1, 2 })
		first := asking(c, t.Context(), users("a")...)
		pass(time.Millisecond)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			gone := asking(c, ctx, users("b")...)
			cancel()
			gone()
		}
		c.batches.mu.Lock()
		if n := len(c.batches.queue); n > 4 {
			t.Errorf("%d in the queue", n)
		}
		c.batches.mu.Unlock()
		first()
	})
}

// The time for an exchange is that of one request, however many are in it.
func TestBatchDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(w http.ResponseWriter, r *http.Request, _ []string, _ int) {
			io.WriteString(w, `{"john":{}`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}}
		c := batchInMemory(t, b)
		begun := time.Now()
		for _, f := range asking(c, t.Context(), users("john", "aaron")...)() {
			e := wantError(t, f.res, f.err, Timeout, "was not whole (10 bytes of it came) within 5s")
			if e.verdict() != down || e.Status != 200 {
				t.Errorf("%+v", e)
			}
		}
		if took := time.Since(begun); took != 5*time.Second+time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// To the breaker a batch is one request; who waits behind it when it opens is told at once.
func TestBatchBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := false
		b := &bulk{answer: func(w http.ResponseWriter, r *http.Request, asked []string, n int) {
			if !up {
				w.WriteHeader(503)
				return
			}
			numbered(w, r, asked, n)
		}}
		counted := &counter{}
		c := batchInMemory(t, b, func(c *Config) { c.Concurrency, c.BatchSize, c.Observe = 1, 2, counted.observe })
		for i := range breakerFailures - 1 {
			for _, f := range asking(c, t.Context(), users("a", "b")...)() {
				wantError(t, f.res, f.err, Status, "503")
			}
			synctest.Wait()
			if h := c.Health(); h.Breaker != "closed" || h.ConsecutiveFailures != i+1 {
				t.Fatalf("%+v", h)
			}
		}
		f := asking(c, t.Context(), users("a", "b", "c", "d", "e")...)()
		for i := range f {
			if i < 2 {
				wantError(t, f[i].res, f[i].err, Status, "503")
			} else {
				wantError(t, f[i].res, f[i].err, BreakerOpen, "POST http://app.invalid/batch: not asked: the service has failed 5 times")
			}
		}
		wantFail(t, c, t.Context(), john, BreakerOpen, "not asked")
		synctest.Wait()
		if h := c.Health(); h.Breaker != "open" || h.Fetches != breakerFailures || len(b.requests()) != breakerFailures {
			t.Errorf("%+v", h)
		}
		counted.want(t, "breaker-open:4 status:10", breakerFailures)

		// One who was notified takes the others along.
		up = true
		f = asking(c, t.Context(), Request{User: "a", Notified: true}, Request{User: "b", Notified: true})()
		for i := range f {
			f[i].nameOf(t)
		}
		if h := c.Health(); h.Breaker != "closed" {
			t.Errorf("%+v", h)
		}
	})
}

// When the server stops, whoever waits is told at once, in the queue and in a request.
func TestBatchClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(_ http.ResponseWriter, r *http.Request, _ []string, _ int) { <-r.Context().Done() }}
		counted := &counter{}
		c := batchInMemory(t, b, func(c *Config) { c.Concurrency, c.Observe = 1, counted.observe })
		inRequest := asking(c, t.Context(), users("a", "b")...)
		pass(time.Second)
		inQueue := asking(c, t.Context(), users("c", "d")...)
		pass(time.Second)
		last := asking(c, t.Context(), users("e")...)
		begun := time.Now()
		c.Close()
		for _, f := range slices.Concat(inRequest(), inQueue(), last()) {
			wantError(t, f.res, f.err, Canceled, "the server is shutting down")
		}
		wantFail(t, c, t.Context(), john, Canceled, "the server is shutting down")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		if h := c.Health(); h.InFlight != 0 || h.Waiting != 0 || h.Failures != 0 {
			t.Errorf("%+v", h)
		}
		counted.want(t, "canceled:6", 1)
		c.Close()
	})
}

// A kept connection that the service is just closing costs a batch nothing: it is sent again on a new one.
func TestBatchOnAConnectionThatCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(w http.ResponseWriter, r *http.Request, asked []string, n int) {
			if n%2 == 1 {
				numbered(w, r, asked, n)
				return
			}
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}}
		c := batchInMemory(t, b)
		for _, want := range []string{"1", "3", "5"} {
			if name := asking(c, t.Context(), users("john")...)()[0].nameOf(t); name != want {
				t.Errorf("from request %s, want %s", name, want)
			}
		}
		synctest.Wait()
		if h := c.Health(); h.Fetches != 3 || h.Failures != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// counter adds up observations.
type counter struct {
	mu      sync.Mutex
	results map[string]int
	sent    int
	all     []Observation
}

func (c *counter) observe(o Observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.results == nil {
		c.results = map[string]int{}
	}
	n := 0
	for r, users := range o.Results {
		c.results[r] += users
		n += users
	}
	if n != o.Users {
		panic(fmt.Sprintf("results for %d users: %+v", n, o))
	}
	if o.Sent {
		c.sent++
	}
	c.all = append(c.all, o)
}

// want compares what was observed: users by result, and requests.
func (c *counter) want(t *testing.T, results string, sent int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(c.results), "map["), "]"); got != results || c.sent != sent {
		t.Errorf("observed %s in %d requests, want %s in %d", got, c.sent, results, sent)
	}
}

// A name that is wanted alone does not wait for company; those that come meanwhile go out together.
func TestBatchAloneGoesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &bulk{answer: func(w http.ResponseWriter, r *http.Request, asked []string, n int) {
			<-release
			numbered(w, r, asked, n)
		}}
		c := batchInMemory(t, b)
		c.batches.slow = false
		began := time.Now()
		first := asking(c, t.Context(), users("john")...)
		if waited := time.Since(began); waited != 0 || len(b.requests()) != 1 {
			t.Errorf("%v until %d requests", waited, len(b.requests()))
		}
		rest := asking(c, t.Context(), users("a", "b", "c")...)
		time.Sleep(gatherTime) // of the bubble's clock
		close(release)
		first()
		rest()
		if got := b.requests(); len(got) != 2 || len(got[1]) != 3 {
			t.Errorf("requests for %v", got)
		}
	})
}
