package demo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fixture is a running demo with a fake rollcall that takes its notifications.
type fixture struct {
	t   *testing.T
	svc *Service
	url string // of the demo, without a slash at the end
	end func() // stops Run and waits for it
	// told gets the body of each notification; answers gives what to answer, one for each.
	told    chan string
	answers chan fakeAnswer
	hungUp  chan struct{} // gets one for each notification that was given up before its answer
}

type fakeAnswer struct {
	status int
	body   string
}

// allWell is rollcall's answer when everything was refreshed.
func allWell(updated string) fakeAnswer {
	return fakeAnswer{http.StatusOK, `{"status":"ok","message":"roster update complete","updated":` + updated + `,"errors":0}`}
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, told: make(chan string, 16), answers: make(chan fakeAnswer, 16), hungUp: make(chan struct{}, 16)}
	rollcall := httptest.NewServer(http.HandlerFunc(f.refresh))
	t.Cleanup(rollcall.Close)
	f.svc = New(Options{
		NotifyURL: func() string { return rollcall.URL + "/roster_admin/refresh" },
		Log:       slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.svc.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	f.end = func() { cancel(); running.Wait() }
	server := httptest.NewServer(f.svc.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(f.end)
	f.url = server.URL
	return f
}

// refresh is the fake's POST /roster_admin/refresh.
func (f *fixture) refresh(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/roster_admin/refresh" || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("not a notification: %s %s, %q, %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	f.told <- string(body)
	select {
	case a := <-f.answers:
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body) // an application that hung up is what some tests are about
	case <-r.Context().Done():
		f.hungUp <- struct{}{}
	}
}

// request sends a request and gives the answer with its body read.
func (f *fixture) request(method, path, body string, header ...string) (*http.Response, string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, string(b)
}

// act does something on the panel, which must work.
func (f *fixture) act(what, body string) {
	f.t.Helper()
	if resp, b := f.request("POST", "/app/"+what, body); resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s %s: %s %s", what, body, resp.Status, b)
	}
}

// list gives somebody's contacts, as rollcall would get them.
func (f *fixture) list(user string) string {
	f.t.Helper()
	resp, body := f.request("GET", "/contacts/"+user, "")
	if resp.StatusCode != http.StatusOK {
		f.t.Fatalf("GET /contacts/%s: %s %s", user, resp.Status, body)
	}
	return body
}

// A follower is a page that follows the feed.
type follower struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
}

// An event is one server-sent event.
type event struct{ id, name, data string }

// follow opens the feed, from the event with the ID last if that is not "".
func (f *fixture) follow(last string) *follower {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), "GET", f.url+"/app/feed", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatalf("the feed is %q", resp.Header.Get("Content-Type"))
	}
	return &follower{f.t, resp, bufio.NewScanner(resp.Body)}
}

// next waits for the next event; ok is false at the end of the feed.
func (f *follower) next() (e event, ok bool) {
	for f.in.Scan() {
		key, value, _ := strings.Cut(f.in.Text(), ": ")
		switch key {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e, true
			}
		}
	}
	return event{}, false
}

// line waits for a line that is as wanted, and gives it with its event's ID.
func (f *follower) line(want func(Line) bool) (Line, string) {
	f.t.Helper()
	for {
		e, ok := f.next()
		if !ok {
			f.t.Fatalf("the feed ended: %v", f.in.Err())
		}
		if e.name != "line" {
			continue
		}
		var l Line
		if err := json.Unmarshal([]byte(e.data), &l); err != nil {
			f.t.Fatalf("%q: %v", e.data, err)
		}
		if want(l) {
			return l, e.id
		}
	}
}

// state waits for the next state.
func (f *follower) state() state {
	f.t.Helper()
	for {
		e, ok := f.next()
		if !ok {
			f.t.Fatalf("the feed ended: %v", f.in.Err())
		}
		if e.name == "state" {
			var s state
			if err := json.Unmarshal([]byte(e.data), &s); err != nil {
				f.t.Fatalf("%q: %v", e.data, err)
			}
			return s
		}
	}
}
