package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/rosterapi"
	"rollcall/rosterapi/conformance"
)

// An app is an application with one user, John.
type app struct {
	*httptest.Server
	mu     sync.Mutex
	roster rosterapi.Roster
	err    error
}

func newApp(t *testing.T) *app {
	a := &app{roster: rosterapi.Roster{"marie@localhost": {Name: "Marie"}}}
	mux := http.NewServeMux()
	mux.Handle("/contacts/{user}", &rosterapi.Handler{Log: slog.New(slog.DiscardHandler), Roster: func(_ context.Context, user string) (rosterapi.Roster, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if user != "john" {
			return nil, rosterapi.ErrUnknownUser
		}
		return a.roster, a.err
	}})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *app) set(roster rosterapi.Roster, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roster, a.err = roster, err
}

func options(a *app, out io.Writer) Options {
	return Options{Config: conformance.Config{URL: a.URL + "/contacts/%s", User: "John", Timeout: time.Minute}, Out: out}
}

// A session is a check that follows, told of as JSON.
type session struct {
	t    *testing.T
	url  string
	dec  *json.Decoder
	done chan error
}

func start(t *testing.T, ctx context.Context, o Options) *session {
	t.Helper()
	r, w := io.Pipe()
	o.Notify, o.JSON, o.Out = "127.0.0.1:0", true, w
	s := &session{t: t, dec: json.NewDecoder(r), done: make(chan error, 1)}
	go func() {
		s.done <- Run(ctx, o)
		_ = w.Close()
	}()
	var report conformance.Report
	s.next(&report)
	if !report.OK {
		t.Fatalf("the check before: %+v", report)
	}
	var waiting struct{ Event, URL string }
	s.next(&waiting)
	if s.url = waiting.URL; waiting.Event != "waiting" || s.url == "" {
		t.Fatalf("got %+v", waiting)
	}
	return s
}

func (s *session) next(v any) {
	s.t.Helper()
	if err := s.dec.Decode(v); err != nil {
		s.t.Fatal(err)
	}
}

// send makes a request and returns its answer, the event that it caused, and the status.
func (s *session) send(method, target, body string) (answer, event, int) {
	s.t.Helper()
	type result struct {
		a    answer
		code int
		err  error
	}
	got := make(chan result, 1)
	go func() {
		req, err := http.NewRequest(method, target, strings.NewReader(body))
		if err != nil {
			got <- result{err: err}
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			got <- result{err: err}
			return
		}
		defer resp.Body.Close()
		var a answer
		err = json.NewDecoder(resp.Body).Decode(&a)
		got <- result{a, resp.StatusCode, err}
	}()
	var e event
	s.next(&e)
	r := <-got
	if r.err != nil {
		s.t.Fatal(r.err)
	}
	return r.a, e, r.code
}

// Notifications that bring no change are answered, told of, and waited beyond; the one that does ends it.
func TestFollow(t *testing.T) {
	a := newApp(t)
	s := start(t, t.Context(), options(a, nil))
	base := strings.TrimSuffix(s.url, refreshPath)
	ok := answer{Status: "ok", Message: "roster update complete", Updated: 1}
	for _, c := range []struct {
		method, path, body string
		code               int
		answer             answer
		event, hint        string
	}{
		{"POST", refreshPath, `["aaron"]`, 200, ok, "other", "does not name john"},
		{"POST", refreshPath, `["john@example.com"]`, 200, ok, "other", "does not name john"},
		{"POST", refreshPath, `["john"]`, 200, ok, "unchanged", "is the change saved before"},
		{"GET", refreshPath + "/john", ``, 200, ok, "unchanged", "is the change saved before"},
		{"POST", refreshPath, `{"users": ["john"]}`, 400, answer{Status: "error"}, "refused", "no JSON array of names"},
		{"POST", refreshPath, `null`, 400, answer{Status: "error"}, "refused", "no JSON array of names"},
		{"POST", refreshPath, `["` + strings.Repeat("x", maxBody) + `"]`, 413, answer{Status: "error"}, "refused", "1 MiB"},
		{"PUT", refreshPath, `["john"]`, 405, answer{Status: "error"}, "refused", "use POST"},
		{"POST", "/refresh", `["john"]`, 404, answer{Status: "error"}, "refused", "notifications go to POST /roster_admin/refresh"},
	} {
		got, e, code := s.send(c.method, base+c.path, c.body)
		if c.answer.Status == "error" {
			c.answer.Message = got.Message
		}
		if code != c.code || got != c.answer || e.Event != c.event || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s %s %.30s: %d %+v, %+v", c.method, c.path, c.body, code, got, e)
		}
	}

	a.set(nil, errors.New("on fire"))
	got, e, code := s.send("POST", s.url, `["john"]`)
	if code != 200 || got.Status != "error" || got.Errors != 1 || e.Event != "failed" || !strings.Contains(e.Error, "500 Internal Server Error") {
		t.Errorf("%d %+v, %+v", code, got, e)
	}

	a.set(rosterapi.Roster{"<&'@localhost": {}, "anna@localhost": {Name: "A & 'B'", Groups: []string{"x<y"}, Subscription: rosterapi.From, Ask: true}}, nil)
	got, e, _ = s.send("POST", s.url, `["aaron", "John@localhost"]`)
	want := []push{
		{"added", "<item jid='anna@localhost' name='A &amp; &#39;B&#39;' subscription='from' ask='subscribe'><group>x&lt;y</group></item>"},
		{"removed", "<item jid='marie@localhost' subscription='remove'/>"},
	}
	if diff := cmp.Diff(want, e.Pushes); diff != "" || e.Event != "changed" || got.Updated != 2 {
		t.Errorf("%+v, %s (-want +got)\n%s", got, e.Event, diff)
	}
	if err := <-s.done; err != nil {
		t.Errorf("the end: %v", err)
	}
}

// An application that answers nothing while it waits for the answer to its notification is told so.
func TestFollowDeadlock(t *testing.T) {
	a := newApp(t)
	var out bytes.Buffer
	o := options(a, &out)
	o.Timeout = time.Millisecond // for a fetch that is never answered
	client, err := clientOf(o)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f := &follower{o: o, user: "john", host: "localhost", client: client, print: &printer{out: &out}}
	a.mu.Lock()
	got, changed := f.take(t.Context(), notice{line: "POST", names: []string{"john"}})
	a.mu.Unlock()
	if changed || got.Status != "error" || got.Errors != 1 || !strings.Contains(out.String(), "waits for itself") {
		t.Errorf("%+v\n%s", got, out.String())
	}
}

// The wait ends with an error after its time, and without one when it is interrupted.
func TestFollowEnds(t *testing.T) {
	a := newApp(t)
	o := options(a, nil)
	o.Wait = time.Nanosecond
	if err := <-start(t, t.Context(), o).done; !errors.Is(err, errNoChange) {
		t.Errorf("after the time: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := start(t, ctx, options(a, nil))
	cancel()
	if err := <-s.done; err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

func TestRun(t *testing.T) {
	a := newApp(t)
	var out bytes.Buffer
	if err := Run(t.Context(), options(a, &out)); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "Clients of john would see:\n\n  CONTACT") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%s", out.String())
	}
	a.set(nil, errors.New("on fire"))
	o := options(a, &out)
	o.Notify = "127.0.0.1:0" // there is nothing to compare with, so nothing is waited for
	if err := Run(t.Context(), o); !errors.Is(err, ErrBroken) {
		t.Errorf("a service that fails: %v", err)
	}
	for _, change := range []func(*Options){
		func(o *Options) { o.URL = "http://localhost/contacts" },
		func(o *Options) { o.URL = "http://localhost/%s#x" },
		func(o *Options) { o.User = "a b" },
		func(o *Options) { o.Host = "a b" },
		func(o *Options) { o.BatchURL = "x" },
		func(o *Options) { o.Notify = "nowhere" },
	} {
		o := options(a, &out)
		change(&o)
		var mistake UsageError
		if err := Run(t.Context(), o); !errors.As(err, &mistake) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestPrint(t *testing.T) {
	roster := rosterapi.Roster{"anna@localhost": {Name: "Anna \x1b[31m", Groups: []string{"A", "B"}, Subscription: rosterapi.To, Ask: true}, "é@localhost": {Subscription: rosterapi.Both}}
	report := &conformance.Report{OK: true, User: "john", Roster: roster, Results: []conformance.Result{
		{ID: "reach", Title: "It answers", Status: conformance.Pass, Asked: "GET x", Got: "200 OK"},
		{ID: "type", Title: "It is JSON", Status: conformance.Warn, Asked: "GET x", Got: "200 OK", Hint: "say \x07so"},
		{ID: "batch", Title: "A batch", Status: conformance.Skip, Hint: "optional"},
		{ID: "batch-more", Title: "Another", Status: conformance.Skip, Hint: "optional"},
		{ID: "status", Title: "It is 200", Status: conformance.Fail, Asked: "GET y", Got: "404", Hint: "what"},
	}}
	want := `
GET x
  200 OK
  ok    reach                It answers
  warn  type                 It is JSON
        say ?so

GET y
  404
  FAIL  status               It is 200
        what

Skipped: batch, batch-more
  optional

Clients of john would see:

  CONTACT         NAME        GROUPS  SUBSCRIPTION
  anna@localhost  Anna ?[31m  A, B    to, asked
  é@localhost                         both

1 ok, 1 warned of, 1 failed, 2 skipped. Clients would get the right roster.
`
	var got bytes.Buffer
	p := &printer{out: &got}
	if p.report(report); p.err != nil || got.String() != want {
		t.Errorf("%v (-want +got)\n%s", p.err, cmp.Diff(want, got.String()))
	}
	got.Reset()
	p.color = true
	if p.report(report); !strings.Contains(got.String(), "\x1b[1;31mFAIL\x1b[0m") || strings.Contains(got.String(), "\x1b[31m ") {
		t.Errorf("in color: %q", got.String())
	}
	got.Reset()
	large := rosterapi.Roster{}
	for i := range shown + 3 {
		large[fmt.Sprintf("user%03d@localhost", i)] = rosterapi.Item{}
	}
	if p.roster("john", large); !strings.Contains(got.String(), "  and 3 more\n") || strings.Contains(got.String(), "user101") {
		t.Errorf("%s", got.String())
	}
	got.Reset()
	if p.roster("john", rosterapi.Roster{}); got.String() != "Clients of john would see an empty list.\n" {
		t.Errorf("%s", got.String())
	}
}
