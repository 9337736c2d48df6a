package rosterhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/jid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a real HTTP server and a client that asks it.
type service struct {
	*Client
	srv *httptest.Server

	mu    sync.Mutex
	seen  []*http.Request
	conns int
	log   bytes.Buffer
}

// serve starts a service; change may alter the client's configuration.
func serve(t *testing.T, h http.HandlerFunc, change ...func(*Config)) *service {
	t.Helper()
	s := newService(h)
	s.srv.Start()
	s.connect(t, change...)
	return s
}

func newService(h http.HandlerFunc) *service {
	s := &service{}
	s.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		h(w, r)
	}))
	s.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
		}
	}
	return s
}

func (s *service) connect(t *testing.T, change ...func(*Config)) {
	t.Helper()
	cfg := Config{Host: "example.com", URL: s.srv.URL + "/contacts/%s", UserAgent: "rollcall/1.2", Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Client = c
	t.Cleanup(func() {
		c.Close()
		s.srv.Close()
	})
}

func (s *service) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// good fetches and wants a roster.
func (s *service) good(t *testing.T, r Request) Result {
	t.Helper()
	res, err := s.Fetch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// bad fetches and wants an error of that kind that says this.
func (s *service) bad(t *testing.T, r Request, kind Kind, says string) *Error {
	t.Helper()
	res, err := s.Fetch(t.Context(), r)
	return wantError(t, res, err, kind, says)
}

func wantError(t *testing.T, res Result, err error, kind Kind, says string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v and the error %v, want a *Error", res.Roster.Len(), err)
	}
	if res.Roster != nil || res.NotModified {
		t.Errorf("a roster beside the error")
	}
	if e.Kind != kind || !strings.Contains(e.Error(), says) {
		t.Errorf("%v: %v\nwant %v: %q", e.Kind, e, kind, says)
	}
	return e
}

var john = Request{User: "john"}

const marie = `{"marie@example.com":{"name":"Marie"}}`

func answer(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType == "" {
			w.Header()["Content-Type"] = nil // none, not even a guessed one
		} else {
			w.Header().Set("Content-Type", contentType)
		}
		io.WriteString(w, body)
	}
}

func TestRequestAsSent(t *testing.T) {
	s := serve(t, answer("application/json", marie), func(c *Config) { c.Token = "s3cret" })
	s.good(t, Request{User: "john", ETag: `W/"7"`})
	s.good(t, john)
	seen := s.requests()
	for i, r := range seen {
		if r.Method != "GET" || r.RequestURI != "/contacts/john" || r.ContentLength != 0 {
			t.Errorf("%s %s with %d bytes", r.Method, r.RequestURI, r.ContentLength)
		}
		want := http.Header{
			"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"rollcall/1.2"},
			"Authorization": {"Bearer s3cret"},
		}
		if i == 0 {
			want["If-None-Match"] = []string{`W/"7"`}
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("headers %v\nwant    %v", r.Header, want)
		}
	}
	if len(seen) != 2 || s.conns != 1 {
		t.Errorf("%d requests on %d connections", len(seen), s.conns)
	}
}

// Whatever a user is called, the service sees one path segment, and the name in it.
func TestUserIsOneSegment(t *testing.T) {
	s := serve(t, answer("application/json", "{}"))
	for _, name := range []string{
		"john", "%2f", "%", "%s", "%00", "a?x=1", "a#b", "a;b", "a+b", "a=b", "a,b", "...", ".a", "-", "~", `a\b`, `..\admin`,
		"\u00e9lodie", "\u03c0", "{user}", "a(b)*c!d$e", strings.Repeat("x", jid.MaxPart),
	} {
		s.good(t, Request{User: name})
		seen := s.requests()
		r := seen[len(seen)-1]
		if r.URL.Path != "/contacts/"+name || strings.Count(r.RequestURI, "/") != 2 || r.URL.RawQuery != "" {
			t.Errorf("%q was asked for as %s", name, r.RequestURI)
		}
	}
}

func TestUserRefused(t *testing.T) {
	s := serve(t, answer("application/json", marie), func(c *Config) { c.Token = "s3cret" })
	for _, name := range []string{
		"", ".", "..", "a/b", "../admin", "a b", "a\r\nX-Admin: 1", "a\x00", "a@b", "a:b", "\xff", "a\uff0fb", "\uff0e", "\uff0e\uff0e",
		strings.Repeat("x", jid.MaxPart+1), strings.Repeat("x", 1<<20),
	} {
		e := s.bad(t, Request{User: name}, Refused, "")
		if len(e.Error()) > 500 || strings.ContainsAny(e.Error(), "\r\n\x00") {
			t.Errorf("the error is %q", e)
		}
	}
	if n := len(s.requests()); n > 0 {
		t.Errorf("%d requests were made", n)
	}
	if h := s.Health(); h.Fetches != 0 || h.Failures != 0 || h.Breaker != "closed" {
		t.Errorf("it counts: %+v", h)
	}
}

// A redirect takes neither us nor the token anywhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked %s with %v", r.URL, r.Header)
	}))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/x", code) }, func(c *Config) { c.Token = "s3cret" })
		if e := s.bad(t, john, Status, other.URL+"/x"); e.Status != code {
			t.Errorf("%d: %v", code, e)
		}
	}
	loop := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	loop.bad(t, john, Status, "was not followed")
	if n := len(loop.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// The environment's proxy is not for us: the token would go there.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://proxy.invalid:3128")
	}
	var dialled []string
	c, err := New(Config{Host: "example.com", URL: "http://app.invalid/%s", Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return nil, &net.OpError{Op: "dial", Err: errors.New("no network in this test")}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Fetch(t.Context(), john)
	wantError(t, res, err, Unavailable, "no network in this test")
	if len(dialled) != 1 || dialled[0] != "app.invalid:80" {
		t.Errorf("dialled %v", dialled)
	}
}

// What is no HTTP, or ends too early, is a service that is down.
func TestBrokenExchanges(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for _, tc := range []struct{ name, sent, says string }{
		{"nothing", "", "no answer came"},
		{"another protocol", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "no answer came"},
		{"an echo of our own request", "GET /contacts/john HTTP/1.1 s3cret\r\n\r\n", "no answer came"},
		{"headers cut off", head, "no answer came"},
		{"shorter than it says", head + "Content-Length: 100\r\n\r\n{}", "was not whole (2 bytes of it came)"},
		{"chunks cut off", head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "was not whole"},
		{"chunks that are none", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "was not whole"},
		{"gzip, connection cut off", head + "Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n" + pack(marie)[:20], "was not whole"},
		{"endless headers", head + "X: " + strings.Repeat("x", 100<<10) + "\r\n\r\n{}", "no answer came"},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "no answer came"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				io.WriteString(conn, tc.sent)
			}, func(c *Config) { c.Token = "s3cret" })
			e := s.bad(t, john, Unavailable, tc.says)
			if strings.Contains(e.Error(), "s3cret") || len(e.Error()) > 700 || e.verdict() != down {
				t.Errorf("%v: %v", e.verdict(), e)
			}
		})
	}
}

// A body that is longer than it says is cut there.
func TestLongerThanItSays(t *testing.T) {
	log.SetOutput(io.Discard) // net/http tells about the rest on the standard logger
	defer log.SetOutput(os.Stderr)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"+marie)
	})
	if res := s.good(t, john); res.Roster.Len() != 0 || res.Bytes != 2 {
		t.Errorf("%+v", res)
	}
}

// Messages stay short, and without the token, whatever the user and the service are called.
func TestLongMessages(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	if e := s.bad(t, Request{User: strings.Repeat("\u00e9", jid.MaxPart/2)}, Status, "404"); len(e.Error()) > 600 {
		t.Errorf("%d bytes", len(e.Error()))
	}
	s = serve(t, nil, func(c *Config) {
		c.Token = "s3cret"
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("s3cret " + strings.Repeat("x", 10000))}
		}
	})
	if e := s.bad(t, john, Unavailable, "(the token)"); len(e.Error()) > 700 || strings.Contains(e.Error(), "s3cret") {
		t.Errorf("%v", e)
	}
}

// A connection that is not made in the time of the network itself is a timeout too.
func TestTimeoutOfTheNetwork(t *testing.T) {
	s := serve(t, nil, func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
	})
	if e := s.bad(t, john, Timeout, "no answer came in time"); e.verdict() != down {
		t.Errorf("%v", e)
	}
}

func TestNobodyListens(t *testing.T) {
	s := serve(t, answer("application/json", marie))
	s.srv.Close()
	e := s.bad(t, john, Unavailable, "connection refused")
	if !strings.HasPrefix(e.Error(), "GET http://127.0.0.1:") || !strings.Contains(e.Error(), "/contacts/john: ") || e.verdict() != down {
		t.Errorf("%v", e)
	}
	h := s.Health()
	if h.LastError != e.Error() || h.ConsecutiveFailures != 1 {
		t.Errorf("health: %+v", h)
	}
}

// Connections are kept, also after failures with a short body.
func TestConnectionsAreKept(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n%2 == 0 {
			http.Error(w, "not here", 404)
			return
		}
		answer("application/json", marie)(w, r)
	})
	for range 5 {
		s.good(t, john)
		s.bad(t, john, Status, "404")
	}
	if s.conns != 1 {
		t.Errorf("%d connections", s.conns)
	}
}

func TestQueryIsNotTold(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, func(c *Config) { c.URL = c.URL + "?key=hunter2" })
	if e := s.bad(t, john, Status, "/contacts/john: "); strings.Contains(e.Error(), "hunter2") {
		t.Errorf("%v", e)
	}
	if q := s.requests()[0].URL.RawQuery; q != "key=hunter2" {
		t.Errorf("the query was %q", q)
	}
}

func TestHTTP2(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newService(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("asked by %s", r.Proto)
		}
		if r.URL.Path == "/contacts/wait" {
			arrived <- struct{}{}
			<-release
		}
		encoded("gzip", pack(marie))(w, r)
	})
	s.srv.EnableHTTP2 = true
	s.srv.StartTLS()
	s.connect(t, func(c *Config) { c.TLS = s.srv.Client().Transport.(*http.Transport).TLSClientConfig })
	s.good(t, john) // the connection that the others share

	const users = 20
	results := make(chan error, users)
	for range users {
		go func() {
			res, err := s.Fetch(t.Context(), Request{User: "wait"})
			if err == nil && res.Roster.Len() != 1 {
				err = fmt.Errorf("%d contacts", res.Roster.Len())
			}
			results <- err
		}()
	}
	for range users { // all at once
		<-arrived
	}
	close(release)
	for range users {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if s.conns != 1 {
		t.Errorf("%d connections", s.conns)
	}
}

// A certificate that nobody vouches for is a service that is not there; the token is not sent.
func TestUnknownCertificate(t *testing.T) {
	s := newService(answer("application/json", marie))
	s.srv.StartTLS()
	s.connect(t, func(c *Config) { c.Token = "s3cret" })
	s.bad(t, john, Unavailable, "certificate")
	if n := len(s.requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestClosed(t *testing.T) {
	s := serve(t, answer("application/json", marie))
	s.good(t, john)
	s.Close()
	s.bad(t, john, Canceled, "shutting down")
}
