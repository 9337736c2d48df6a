package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/webhook"
	"rollcall/internal/xmpptest"
)

const key = "0123456789abcdef01234567"

// An application takes events. answer gives the status for one, by the members of its data; it may wait.
type application struct {
	t      *testing.T
	answer func(data map[string]any) int
	header http.Header // of its answers

	mu       sync.Mutex
	took     []string // "user n" of those that it has answered with 2xx
	ids      map[string]string
	requests int
	at, most int
	key      string // of the signatures
	results  map[string]int
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	id, timestamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	if got, want := r.Header.Get("webhook-signature"), webhook.Signature([]byte(a.key), id, timestamp, body); got != want {
		a.t.Errorf("the signature is %q, want %q", got, want)
	}
	if seconds, err := strconv.ParseInt(timestamp, 10, 64); err != nil || seconds != time.Now().Unix() {
		a.t.Errorf("the timestamp is %q at %d", timestamp, time.Now().Unix())
	}
	var event struct {
		Type, Timestamp string
		Data            map[string]any
	}
	if err := json.Unmarshal(body, &event); err != nil || event.Type != "test" || event.Data["host"] != "localhost" {
		a.t.Errorf("%s: %v", body, err)
	}
	name := fmt.Sprint(event.Data["user"], " ", event.Data["n"])
	a.mu.Lock()
	a.requests++
	a.at++
	a.most = max(a.most, a.at)
	if known := a.ids[name]; known != "" && known != id {
		a.t.Errorf("%s has the id %s, and had %s", name, id, known)
	}
	a.ids[name] = id
	a.mu.Unlock()
	status := a.answer(event.Data)
	a.mu.Lock()
	a.at--
	if status < 300 {
		a.took = append(a.took, name)
	}
	a.mu.Unlock()
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
}

// told plays with a Sender in a bubble of fake time.
func told(t *testing.T, o webhook.Options, answer func(data map[string]any) int, play func(a *application, s *webhook.Sender)) {
	synctest.Test(t, func(t *testing.T) {
		a := &application{t: t, answer: answer, key: key, ids: map[string]string{}, results: map[string]int{}, header: http.Header{}}
		l := xmpptest.NewPipeListener(80)
		server := &http.Server{Handler: a}
		go server.Serve(l)
		o.Host, o.URL, o.Key, o.Log = "localhost", "http://app/hooks", []byte(key), slog.New(slog.DiscardHandler)
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) }
		o.Told = func(result string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.results[result]++
		}
		s, err := webhook.New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		play(a, s)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour) // a handler that has not answered yet must end in the bubble
	})
}

func (a *application) expect(what string, want ...string) {
	a.t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := cmp.Diff(want, a.took); diff != "" {
		a.t.Errorf("%s: what the application took (-want +got)\n%s", what, diff)
	}
	a.took = nil
}

// seen is what an application has seen by now.
type seen struct {
	took           []string
	requests, most int
	results        map[string]int
}

func (a *application) now() seen {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return seen{slices.Clone(a.took), a.requests, a.most, maps.Clone(a.results)}
}

func n(i int) map[string]any { return map[string]any{"n": i} }

func TestInOrder(t *testing.T) {
	told(t, webhook.Options{}, func(map[string]any) int { return 204 }, func(a *application, s *webhook.Sender) {
		var want []string
		for i := range 50 {
			s.Tell("john", "test", n(i))
			want = append(want, fmt.Sprintf("john %d", i))
		}
		a.expect("one user's events", want...)
	})
}

// Events of several users are told at the same time, a few at a time, and never two of one user.
func TestAtATime(t *testing.T) {
	var mu sync.Mutex
	busy := map[any]bool{}
	told(t, webhook.Options{}, func(data map[string]any) int {
		mu.Lock()
		if busy[data["user"]] {
			t.Error("two events of one user at the same time")
		}
		busy[data["user"]] = true
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		busy[data["user"]] = false
		mu.Unlock()
		return 200
	}, func(a *application, s *webhook.Sender) {
		for i := range 60 {
			s.Tell(fmt.Sprintf("user%d", i%20), "test", n(i))
		}
		time.Sleep(time.Minute)
		if now := a.now(); len(now.took) != 60 || now.most != 8 {
			t.Errorf("%d events were taken, at most %d at a time; want 60 and 8", len(now.took), now.most)
		}
	})
}

// While the application is down one request at a time asks whether it is back, ever less often, and nothing is lost.
func TestDown(t *testing.T) {
	for _, status := range []int{500, 503, 408, 425, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var up sync.Map
			told(t, webhook.Options{}, func(map[string]any) int {
				if _, ok := up.Load("up"); ok {
					return 200
				}
				return status
			}, func(a *application, s *webhook.Sender) {
				s.Tell("john", "test", n(0))
				synctest.Wait()
				s.Tell("marie", "test", n(1))
				s.Tell("john", "test", n(2))
				time.Sleep(time.Hour)
				a.expect("while it is down")
				if now := a.now(); now.requests < 15 || now.requests > 30 || now.most != 1 {
					t.Errorf("%d requests in an hour, %d at a time", now.requests, now.most)
				}
				up.Store("up", true)
				time.Sleep(10 * time.Minute)
				took := a.now().took
				johns := strings.Join(took, ",")
				if len(took) != 3 || strings.Index(johns, "john 0") > strings.Index(johns, "john 2") {
					t.Errorf("when it was back it took %v", took)
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	told(t, webhook.Options{}, func(map[string]any) int { return 503 }, func(a *application, s *webhook.Sender) {
		a.header.Set("Retry-After", "1800")
		s.Tell("john", "test", n(0))
		time.Sleep(29 * time.Minute)
		if n := a.now().requests; n != 1 {
			t.Errorf("%d requests before it was time", n)
		}
		time.Sleep(2 * time.Minute)
		if n := a.now().requests; n != 2 {
			t.Errorf("%d requests when it was", n)
		}
	})
}

// An event that the application refuses holds up its own user's, for a while, and nobody else's.
func TestRefused(t *testing.T) {
	told(t, webhook.Options{}, func(data map[string]any) int {
		if data["n"] == 0.0 {
			return 422
		}
		return 200
	}, func(a *application, s *webhook.Sender) {
		s.Tell("john", "test", n(0))
		s.Tell("john", "test", n(1))
		s.Tell("marie", "test", n(2))
		a.expect("at once", "marie 2")
		time.Sleep(15 * time.Minute)
		a.expect("later", "john 1")
		if now := a.now(); now.requests != 6 || now.results["refused"] != 1 || now.results["delivered"] != 2 {
			t.Errorf("%d requests, %v; want four of the one that was refused", now.requests, now.results)
		}
	})
}

func TestTooOld(t *testing.T) {
	told(t, webhook.Options{MaxAge: time.Hour}, func(map[string]any) int { return 500 }, func(a *application, s *webhook.Sender) {
		s.Tell("john", "test", n(0))
		time.Sleep(2 * time.Hour)
		before := a.now()
		if before.results["expired"] != 1 {
			t.Errorf("results %v, want that one has expired", before.results)
		}
		time.Sleep(time.Hour)
		if a.now().requests != before.requests {
			t.Error("it is still told")
		}
	})
}

func TestOverflow(t *testing.T) {
	told(t, webhook.Options{Most: 10}, func(map[string]any) int { return 500 }, func(a *application, s *webhook.Sender) {
		for i := range 25 {
			s.Tell("john", "test", n(i))
		}
		if results := a.now().results; results["overflow"] != 15 {
			t.Errorf("results %v, want 15 that found no room", results)
		}
	})
}

// An application that takes the request and says nothing is down, and the request ends.
func TestSilence(t *testing.T) {
	told(t, webhook.Options{Timeout: 5 * time.Second}, func(data map[string]any) int {
		time.Sleep(time.Minute)
		return 200
	}, func(a *application, s *webhook.Sender) {
		s.Tell("john", "test", n(0))
		s.Tell("marie", "test", n(1))
		time.Sleep(10 * time.Minute)
		if now := a.now(); now.requests < 3 || now.results["delivered"] != 0 {
			t.Errorf("%d requests, %v", now.requests, now.results)
		}
	})
}

func TestURLs(t *testing.T) {
	for _, url := range []string{"", "app/hooks", "ftp://app/", "http://", "http://user:canary@app/", "http://app/#x", "http://%zz/"} {
		_, err := webhook.New(webhook.Options{URL: url, Log: slog.New(slog.DiscardHandler)})
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Another key signs what is told from then on, what has waited included.
func TestMove(t *testing.T) {
	status := atomic.Int32{}
	status.Store(503)
	told(t, webhook.Options{}, func(map[string]any) int { return int(status.Load()) }, func(a *application, s *webhook.Sender) {
		s.Tell("john", "test", map[string]any{"n": 1})
		time.Sleep(time.Hour)
		a.expect("while it is down")
		if _, err := s.Move(webhook.Options{URL: "mailto:john@localhost"}); err == nil {
			t.Error("a URL that is none was taken")
		}
		a.mu.Lock()
		a.key = "another-key-of-24-bytes!"
		a.mu.Unlock()
		status.Store(200)
		move, err := s.Move(webhook.Options{URL: "http://app/elsewhere", Key: []byte(a.key)})
		if err != nil {
			t.Fatal(err)
		}
		move()
		a.expect("at once after it has moved", "john 1")
	})
}
