package rosterhttp

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flaky is a service that answers with a status, which the test may change, and counts its requests.
type flaky struct {
	status     atomic.Int32
	requests   atomic.Int32
	retryAfter atomic.Int32
	stall      atomic.Bool // wait until the client gives up
}

func (f *flaky) serve(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	if f.stall.Load() {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if n := f.retryAfter.Load(); n > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(n)))
	}
	w.WriteHeader(int(f.status.Load()))
	if f.status.Load() == 200 {
		w.Write([]byte("{}"))
	}
}

// trip makes five failures, which open the breaker.
func (f *flaky) trip(t *testing.T, c *Client) {
	t.Helper()
	f.status.Store(503)
	for range breakerFailures {
		wantFail(t, c, t.Context(), john, Status, "503")
	}
	if h := c.Health(); h.Breaker != "open" || h.NextProbe <= 0 {
		t.Fatalf("health: %+v", h)
	}
}

func TestBreakerOpensProbesAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flaky
		var log bytes.Buffer
		c := inMemory(t, f.serve, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		f.trip(t, c)

		// Nobody asks while it is open.
		for range 100 {
			e := wantFail(t, c, t.Context(), john, BreakerOpen, "has failed 5 times in a row, and is tried again in")
			if e.RetryAfter <= 0 || e.RetryAfter > 6*time.Second {
				t.Fatalf("to be tried again in %v", e.RetryAfter)
			}
		}
		if n := f.requests.Load(); n != breakerFailures {
			t.Fatalf("%d requests", n)
		}

		// One request about every five seconds asks, and fails.
		var gaps []time.Duration
		for range 20 {
			begun := time.Now()
			pass(c.Health().NextProbe)
			wantFail(t, c, t.Context(), john, Status, "503")
			wantFail(t, c, t.Context(), john, BreakerOpen, "")
			gaps = append(gaps, time.Since(begun))
		}
		different := false
		for _, g := range gaps {
			if g < 4*time.Second || g > 6*time.Second {
				t.Errorf("a probe after %v", g)
			}
			different = different || g != gaps[0]
		}
		if !different || f.requests.Load() != breakerFailures+20 {
			t.Errorf("%d requests, %v apart", f.requests.Load(), gaps)
		}

		// The first that succeeds opens the way for all.
		f.status.Store(200)
		pass(c.Health().NextProbe)
		for range 10 {
			if _, err := c.Fetch(t.Context(), john); err != nil {
				t.Fatal(err)
			}
		}
		if h := c.Health(); h.Breaker != "closed" || h.ConsecutiveFailures != 0 || h.NextProbe != 0 {
			t.Errorf("health: %+v", h)
		}
		if s := log.String(); strings.Count(s, "service is failing") != 1 || strings.Count(s, "service is back") != 1 || strings.Count(s, "\n") != 2 {
			t.Errorf("the log has\n%s", s)
		}
	})
}

// Only one request at a time is a probe.
func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flaky
		c := inMemory(t, f.serve)
		f.trip(t, c)
		f.stall.Store(true)
		pass(c.Health().NextProbe)
		before := f.requests.Load()
		results := make(chan error, 50)
		for i := range cap(results) {
			go func() {
				_, err := c.Fetch(t.Context(), Request{User: "john", Notified: i%2 == 0})
				results <- err
			}()
		}
		synctest.Wait()
		if h := c.Health(); h.Breaker != "half-open" || h.InFlight != 1 || f.requests.Load() != before+1 || len(results) != 49 {
			t.Errorf("%d requests, %d refused, health: %+v", f.requests.Load()-before, len(results), h)
		}
		for range cap(results) {
			if <-results == nil {
				t.Error("one was answered")
			}
		}
		if h := c.Health(); h.Breaker != "open" {
			t.Errorf("health: %+v", h)
		}
	})
}

// The service has just spoken to us: that request asks at once.
func TestNotifiedRequestIsTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flaky
		c := inMemory(t, f.serve)
		f.retryAfter.Store(30)
		f.trip(t, c)
		notified := Request{User: "john", Notified: true}
		wantFail(t, c, t.Context(), notified, Status, "503") // still down: open again
		wantFail(t, c, t.Context(), john, BreakerOpen, "")
		f.status.Store(200)
		if _, err := c.Fetch(t.Context(), notified); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Fetch(t.Context(), john); err != nil {
			t.Fatal(err)
		}
		if n := f.requests.Load(); n != breakerFailures+3 {
			t.Errorf("%d requests", n)
		}
	})
}

// A probe that its caller gave up tells nothing: the next request may be one at once.
func TestProbeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flaky
		c := inMemory(t, f.serve)
		f.trip(t, c)
		pass(c.Health().NextProbe)
		f.stall.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantFail(t, c, ctx, john, Canceled, "")
		if h := c.Health(); h.Breaker != "open" || h.NextProbe != 0 {
			t.Errorf("health: %+v", h)
		}
		f.stall.Store(false)
		f.status.Store(200)
		if _, err := c.Fetch(t.Context(), john); err != nil {
			t.Fatal(err)
		}
		if h := c.Health(); h.Breaker != "closed" {
			t.Errorf("health: %+v", h)
		}
	})
}

// A service that says how long it will be gone is not probed before, but for a minute at most.
func TestBreakerHonoursRetryAfter(t *testing.T) {
	for seconds, want := range map[int32]time.Duration{30: 30 * time.Second, 3000: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			var f flaky
			c := inMemory(t, f.serve)
			f.retryAfter.Store(seconds)
			f.trip(t, c)
			if h := c.Health(); h.NextProbe != want {
				t.Errorf("Retry-After %d: next probe in %v", seconds, h.NextProbe)
			}
			pass(want - time.Millisecond)
			wantFail(t, c, t.Context(), john, BreakerOpen, "")
			pass(time.Millisecond)
			wantFail(t, c, t.Context(), john, Status, "503")
		})
	}
}

// What counts and what does not: a user whom the service does not know, a wrong token, a login page do not
// keep everybody's rosters away, and show that somebody is at home.
func TestWhatTheBreakerCounts(t *testing.T) {
	for _, tc := range []struct {
		status int32
		opens  bool
	}{{302, false}, {304, false}, {400, false}, {401, false}, {403, false}, {404, false}, {408, true}, {410, false}, {429, true}, {500, true}, {502, true}, {503, true}, {504, true}} {
		synctest.Test(t, func(t *testing.T) {
			var f flaky
			c := inMemory(t, f.serve)
			f.status.Store(tc.status)
			for range 20 {
				_, err := c.Fetch(t.Context(), john)
				if err == nil {
					t.Fatalf("%d: no error", tc.status)
				}
			}
			want := int32(20)
			if tc.opens {
				want = breakerFailures
			}
			if n := f.requests.Load(); n != want {
				t.Errorf("%d: %d requests, want %d", tc.status, n, want)
			}
		})
	}
}

// Failures count when they are in a row.
func TestFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flaky
		c := inMemory(t, f.serve)
		for range 10 {
			f.status.Store(500)
			for range breakerFailures - 1 {
				wantFail(t, c, t.Context(), john, Status, "500")
			}
			f.status.Store(404) // it is there, after all
			wantFail(t, c, t.Context(), john, Status, "404")
		}
		if h := c.Health(); h.Breaker != "closed" || h.ConsecutiveFailures != 10*breakerFailures {
			t.Errorf("health: %+v", h)
		}
	})
}

// Requests that began before the breaker opened say nothing about the probe.
func TestLateResultsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker()
		var early []permit
		for range 32 {
			p, _, ok := b.admit(false)
			if !ok {
				t.Fatal("refused")
			}
			early = append(early, p)
		}
		for _, p := range early[:breakerFailures] {
			b.done(p, down, 0)
		}
		probe, _, ok := b.admit(true)
		if !ok {
			t.Fatal("the probe was refused")
		}
		for i, p := range early[breakerFailures:] {
			b.done(p, verdict(i%3), 0)
			if _, _, ok := b.admit(true); ok {
				t.Fatal("there are two probes")
			}
			if s, _ := b.state(); s.String() != "half-open" {
				t.Fatalf("it is %v", s)
			}
		}
		if _, after := b.done(probe, alive, 0); after.String() != "closed" {
			t.Errorf("it is %v", after)
		}
	})
}

// Retry-After holds for those too who were waiting for a slot when the breaker opened.
func TestHoldAtTheSecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker()
		for range breakerFailures {
			p, _, _ := b.admit(false)
			b.done(p, down, 30*time.Second)
		}
		pass(20 * time.Second) // longer than the breaker's own delay
		if _, wait, ok := b.admit(false); ok || wait != 10*time.Second {
			t.Errorf("admitted: %v, to wait %v", ok, wait)
		}
		pass(10 * time.Second)
		if p, _, ok := b.admit(false); !ok || !p.probe {
			t.Errorf("admitted: %v, %+v", ok, p)
		}
	})
}

// A service that hangs opens the breaker after five timeouts, and those who wait for a slot hear of it.
func TestSlowService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flaky
		f.stall.Store(true)
		c := inMemory(t, f.serve)
		begun := time.Now()
		results := make(chan error, 1000)
		for range cap(results) {
			go func() {
				_, err := c.Fetch(t.Context(), john)
				results <- err
			}()
		}
		kinds := map[Kind]int{}
		for range cap(results) {
			kinds[(<-results).(*Error).Kind]++
		}
		// The breaker opens in the middle of the first 32 ending, so some of the others may have begun.
		if took := time.Since(begun); took > 2*DefaultTimeout || kinds[Timeout] > 32+breakerFailures || kinds[Timeout]+kinds[BreakerOpen] != cap(results) {
			t.Errorf("%v after %v", kinds, took)
		}
	})
}
