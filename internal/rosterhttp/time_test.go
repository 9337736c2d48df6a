package rosterhttp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network of one service in memory, for tests in fake time.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accept <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inMemory starts a service and its client within a synctest bubble; all of it ends with the test.
func inMemory(t *testing.T, h http.HandlerFunc, change ...func(*Config)) *Client {
	t.Helper()
	p := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	var handlers sync.WaitGroup
	handler := func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		h(w, r)
	}
	srv := &http.Server{Handler: http.HandlerFunc(handler), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(p) }()
	cfg := Config{Host: "example.com", URL: "http://app.invalid/contacts/%s", Dial: p.dial}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if c.batches != nil {
		c.batches.slow = true // what goes out together is then certain
	}
	t.Cleanup(func() {
		c.Close()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		// Handlers may be asleep yet; that none begins any more, this wait makes sure of.
		synctest.Wait()
		handlers.Wait()
	})
	return c
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }

func wantFail(t *testing.T, c *Client, ctx context.Context, r Request, kind Kind, says string) *Error {
	t.Helper()
	res, err := c.Fetch(ctx, r)
	return wantError(t, res, err, kind, says)
}

// Five seconds are all that an exchange gets, wherever it is slow.
func TestDeadline(t *testing.T) {
	slowly := func(w http.ResponseWriter, r *http.Request, s string) {
		for i := range len(s) {
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return
			}
			io.WriteString(w, s[i:i+1])
			w.(http.Flusher).Flush()
		}
	}
	for _, tc := range []struct {
		name, says string
		h          http.HandlerFunc
	}{
		{"silence", "no answer came within 5s", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"headers at one byte a second", "no answer came within 5s", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n") {
				pass(time.Second)
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}},
		{"early hints without end", "no answer came within 5s", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.WriteHeader(103)
				pass(time.Second)
			}
		}},
		{"body at one byte a second", "was not whole (4 bytes of it came) within 5s", func(w http.ResponseWriter, r *http.Request) {
			pass(time.Millisecond)
			slowly(w, r, marie)
		}},
		{"stall in the body", "was not whole (1 bytes of it came) within 5s", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"stall in gzip", "within 5s", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, pack(marie)[:20])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"headers late and body late", "within 5s", func(w http.ResponseWriter, r *http.Request) {
			pass(3 * time.Second)
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			pass(3 * time.Second)
			io.WriteString(w, marie)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					tc.h(w, r)
				})
				begun := time.Now()
				e := wantFail(t, c, t.Context(), john, Timeout, tc.says)
				if took := time.Since(begun); took != 5*time.Second {
					t.Errorf("it took %v", took)
				}
				if e.verdict() != down {
					t.Errorf("verdict %v", e.verdict())
				}
			})
		})
	}
}

// A connection that is not made is not waited for either.
func TestDeadlineOfDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, nil, func(c *Config) {
			c.Timeout = 2 * time.Second
			c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		begun := time.Now()
		wantFail(t, c, t.Context(), john, Timeout, "no answer came within 2s")
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// The bad answer is told when it is read; what is left of it is not waited for beyond the deadline.
func TestFailureWithASlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		begun := time.Now()
		wantFail(t, c, t.Context(), john, Status, "404")
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A caller that gives up gets its answer at once, and the service is not blamed.
func TestCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		for range 2 * breakerFailures {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begun := time.Now()
			e := wantFail(t, c, ctx, john, Canceled, "given up before the answer came")
			cancel()
			if took := time.Since(begun); took != time.Second || !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("it took %v: %v", took, e)
			}
		}
		if h := c.Health(); h.Breaker != "closed" || h.Failures != 0 || h.LastError != "" || h.InFlight != 0 {
			t.Errorf("health: %+v", h)
		}
	})
}

// No more than 32 requests are under way, whoever waits; who gives up waiting is let go.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, all atomic.Int32
		release := make(chan struct{})
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request) {
			all.Add(1)
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-release
			now.Add(-1)
			answer("application/json", marie)(w, nil)
		})
		const users = 100
		results := make(chan error, users)
		fetch := func(ctx context.Context) {
			_, err := c.Fetch(ctx, john)
			results <- err
		}
		for range users {
			go fetch(t.Context())
		}
		synctest.Wait()
		if h := c.Health(); h.InFlight != 32 || h.Waiting != 68 || now.Load() != 32 {
			t.Errorf("%d at the service, health: %+v", now.Load(), h)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go fetch(ctx)
		synctest.Wait()
		cancel()
		var e *Error
		if err := <-results; !errors.As(err, &e) || e.Kind != Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		close(release)
		for range users {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if h := c.Health(); most.Load() != 32 || all.Load() != users || h.InFlight != 0 || h.Waiting != 0 || h.Fetches != users {
			t.Errorf("%d at once, %d in all, health: %+v", most.Load(), all.Load(), h)
		}
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delay := 80 * time.Millisecond
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request) {
			pass(delay)
			answer("application/json", marie)(w, nil)
		})
		for _, want := range []time.Duration{80 * time.Millisecond, 80 * time.Millisecond, 90 * time.Millisecond} {
			if want > delay {
				delay = 160 * time.Millisecond
			}
			if _, err := c.Fetch(t.Context(), john); err != nil {
				t.Fatal(err)
			}
			if h := c.Health(); h.Latency != want || h.LastLatency != delay || !h.LastSuccess.Equal(time.Now()) {
				t.Errorf("want %v: %+v", want, h)
			}
		}
	})
}

// A kept connection that the service has closed meanwhile costs nobody a failure.
func TestConnectionClosedWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := 0
		c := inMemory(t, func(w http.ResponseWriter, _ *http.Request) {
			conns++
			w.Header().Set("Connection", "close")
			answer("application/json", marie)(w, nil)
		})
		for range 3 {
			if _, err := c.Fetch(t.Context(), john); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
		}
		if conns != 3 || !strings.HasPrefix(c.Health().Breaker, "closed") {
			t.Errorf("%d connections, %+v", conns, c.Health())
		}
	})
}
