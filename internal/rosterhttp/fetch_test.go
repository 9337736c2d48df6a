package rosterhttp

import (
	"bytes"
	"compress/gzip"
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
	"time"

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

func TestAnswersThatAreRosters(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		want int
	}{
		{"200", answer("application/json", marie), 1},
		{"200 {}", answer("application/json", "{}"), 0},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 0},
		{"204 of some type", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(204)
		}, 0},
		{"charset", answer("application/json; charset=utf-8", marie), 1},
		{"wrong charset", answer("application/json; charset=iso-8859-1", marie), 1},
		{"uppercase", answer("Application/JSON", marie), 1},
		{"broken parameters", answer("application/json; charset; charset=x; charset=y;", marie), 1},
		{"+json", answer("application/hal+json", marie), 1},
		{"text/plain", answer("text/plain; charset=utf-8", marie), 1},
		{"text/javascript", answer("text/javascript", marie), 1},
		{"application/javascript", answer("application/javascript", marie), 1},
		{"octet-stream, as static files have it", answer("application/octet-stream", marie), 1},
		{"no type", answer("", marie), 1},
		{"identity", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "identity")
			answer("application/json", marie)(w, r)
		}, 1},
		{"chunks", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := range len(marie) {
				io.WriteString(w, marie[i:i+1])
				w.(http.Flusher).Flush()
			}
		}, 1},
		{"trailers", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			answer("application/json", marie)(w, r)
			w.Header().Set("X-Sum", "1")
		}, 1},
		{"early hints", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			answer("application/json", marie)(w, r)
		}, 1},
		{"MongooseIM's form", answer("application/json", `{"ver":"1","items":[{"jid":"a@b"},{"jid":"c@d"}]}`), 2},
		{"ejabberd's form, localparts", answer("application/json", `{"roster":[{"username":"marie"}]}`), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, tc.h)
			res := s.good(t, john)
			if res.Roster == nil || res.Roster.Len() != tc.want || res.NotModified || len(res.Dropped) > 0 {
				t.Errorf("%+v", res)
			}
			if h := s.Health(); h.Fetches != 1 || h.Failures != 0 || h.LastSuccess.IsZero() || h.Latency <= 0 || h.Latency != res.Took || h.LastLatency != res.Took {
				t.Errorf("health: %+v", h)
			}
		})
	}
}

// The owner's host is the virtual host's: a bare localpart is a contact there, and oneself is dropped.
func TestDroppedContacts(t *testing.T) {
	s := serve(t, answer("application/json", `{"roster":[{"username":"marie"},{"username":"john"},{"username":"a b"},{"username":"x@y/z"}]}`))
	res := s.good(t, john)
	if _, ok := res.Roster.Get(jid.MustParse("marie@example.com")); !ok || res.Roster.Len() != 2 || len(res.Dropped) != 3 {
		t.Errorf("%d contacts, dropped: %+v", res.Roster.Len(), res.Dropped)
	}
	log := s.log.String()
	if !strings.Contains(log, "user=john@example.com dropped=2 changed=1") || strings.Contains(log, "x@y") {
		t.Errorf("the log has %q", log)
	}
}

func TestNotModified(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("If-None-Match") {
		case `"old"`:
			w.Header().Set("ETag", `W/"new"`)
			w.Header().Set("Cache-Control", "max-age=30")
			w.WriteHeader(304)
		case "bare words":
			w.WriteHeader(304)
		case "":
			w.Header().Set("ETag", "bare words")
			answer("application/json", marie)(w, r)
		}
	})
	if res := s.good(t, Request{User: "john", ETag: `"old"`}); !res.NotModified || res.Roster != nil || res.ETag != `W/"new"` || res.MaxAge != 30*time.Second || res.StaleIfError >= 0 {
		t.Errorf("%+v", res)
	}
	first := s.good(t, john)
	if first.ETag != "bare words" || first.NotModified || first.MaxAge >= 0 {
		t.Errorf("%+v", first)
	}
	if res := s.good(t, Request{User: "john", ETag: first.ETag}); !res.NotModified || res.ETag != first.ETag {
		t.Errorf("%+v", res)
	}
	// A tag that cannot be sent is not sent, and the whole roster comes.
	if res := s.good(t, Request{User: "john", ETag: "a\r\nX: 1"}); res.NotModified || res.Roster.Len() != 1 {
		t.Errorf("%+v", res)
	}
}

func TestNotModifiedUnasked(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) })
	e := s.bad(t, john, Status, "was not asked whether anything was")
	if e.Status != 304 {
		t.Errorf("status %d", e.Status)
	}
}

// Every status but 200, 204 and 304 is a failure, whatever comes with it.
func TestEveryStatus(t *testing.T) {
	var status int
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(status)
		if status >= 200 && status != 204 && status != 304 {
			io.WriteString(w, "{}")
		}
	}, func(c *Config) { c.Token = "s3cret" })
	hints := map[int]string{401: "check roster.token", 403: "check roster.token", 404: "an empty roster is {} or 204", 429: "roster.concurrency", 500: "its own log", 206: "200, 204 or 304", 301: "200, 204 or 304"}
	for status = 200; status < 600; status++ {
		if status == 200 || status == 204 || status == 304 {
			continue
		}
		e := s.bad(t, Request{User: "john", Notified: true}, Status, fmt.Sprintf("answered %d", status)) // notified: past the breaker
		if e.Status != status || e.RetryAfter != 7*time.Second || !strings.Contains(e.Error(), hints[status]) || strings.Contains(e.Error(), "s3cret") {
			t.Errorf("%d: %+v", status, e)
		}
		wantDown := status >= 500 || status == 408 || status == 429
		if (e.verdict() == down) != wantDown {
			t.Errorf("%d says that the service is down: %v", status, !wantDown)
		}
	}
	if h := s.Health(); h.ConsecutiveFailures != 397 || h.LastError == "" || h.LastFailure.IsZero() || !h.LastSuccess.IsZero() {
		t.Errorf("health: %+v", h)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		kind Kind
		says string
	}{
		{"login page", answer("text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title>"), Type, "a login or error page"},
		{"JSON that says it is HTML", answer("text/html", marie), Type, "Content-Type: application/json"},
		{"XHTML", answer("application/xhtml+xml", "<html/>"), Type, "application/json"},
		{"XML", answer("application/xml", "<a/>"), Type, `"application/xml"`},
		{"image", answer("image/png", "\x89PNG"), Type, "application/json"},
		{"type that is none", answer("json", marie), Type, "application/json"},
		{"long type", answer("x/"+strings.Repeat("y", 10000), marie), Type, "yyy..."},
		{"text that is no JSON", answer("text/plain", "Please sign in"), Document, "not strict JSON"},
		{"no type and no JSON", answer("", "<html>"), Document, "not strict JSON"},
		{"empty body", answer("application/json", ""), Document, "an empty roster is {}"},
		{"array", answer("application/json", "[]"), Document, "is an array"},
		{"duplicate", answer("application/json", `{"a@b":{},"a@b":{}}`), Document, "duplicate"},
		{"byte order mark", answer("application/json", "\xef\xbb\xbf{}"), Document, "byte order mark"},
		{"truncated JSON", answer("application/json", `{"a@b":{}`), Document, "cut off"},
		{"too many contacts", answer("application/json", `{"a@b":{},"c@b":{},"d@b":{},"e@b":{}}`), TooLarge, "more than 3 contacts"},
		{"too many bytes", answer("application/json", `{"a@b":{"x":"`+strings.Repeat("x", 5000)+`"}}`), TooLarge, "more than 4096 bytes"},
		{"too many bytes, not announced", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1000)); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		}, TooLarge, "roster.max_bytes"},
		{"deflate", encoded("deflate", "x"), Type, `"deflate"`},
		{"gzip twice", encoded("gzip, gzip", "x"), Type, "only gzip was asked for"},
		{"brotli", encoded("br", "x"), Type, `"br"`},
		{"gzip that is none", encoded("gzip", marie), Document, "cannot be decompressed"},
		{"gzip cut off", encoded("gzip", pack(marie)[:20]), Document, "cannot be decompressed"},
		{"gzip with a tail", encoded("gzip", pack(marie)+"tail"), Document, "cannot be decompressed"},
		{"gzip, empty", encoded("gzip", ""), Document, "an empty roster is {}"},
		{"gzip bomb", encoded("gzip", pack("{"+strings.Repeat(" ", 8<<20)+"}")), TooLarge, "more than 4096 bytes"},
		{"gzip of nothing, much of it", encoded("gzip", strings.Repeat(pack(""), 1000)), TooLarge, "more than 4096 bytes"},
		{"redirect", redirectTo("https://sso.example/login?token=s3cret&u=john"), Status, `a redirect to "https://sso.example/login"`},
		{"redirect with credentials", redirectTo("http://admin:hunter2@localhost:1/x#frag"), Status, `a redirect to "http://localhost:1/x"`},
		{"redirect to a file", redirectTo("file:///etc/passwd"), Status, "was not followed"},
		{"redirect to metadata", redirectTo("http://169.254.169.254/latest"), Status, `"http://169.254.169.254/latest"`},
		{"redirect to no URL", redirectTo("http://[::1"), Status, "a redirect to no URL"},
		{"redirect to something opaque", redirectTo("mailto:s3cret@example.com"), Status, `"mailto:..."`},
		{"redirect with the token in its path", redirectTo("/back/s3cret"), Status, "(the token)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, tc.h, func(c *Config) { c.MaxBytes, c.MaxItems, c.Token = 4096, 3, "s3cret" })
			e := s.bad(t, john, tc.kind, tc.says)
			for _, secret := range []string{"s3cret", "hunter2", "Please sign in", "\n"} {
				if strings.Contains(e.Error(), secret) {
					t.Errorf("the error tells %q: %v", secret, e)
				}
			}
			if len(e.Error()) > 600 {
				t.Errorf("the error has %d bytes", len(e.Error()))
			}
			if e.verdict() != alive || e.Status == 0 {
				t.Errorf("verdict %v, status %d", e.verdict(), e.Status)
			}
			if n := len(s.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func encoded(encoding, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		answer("application/json", body)(w, r)
	}
}

func redirectTo(target string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", target)
		w.WriteHeader(302)
	}
}

func pack(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func TestGzip(t *testing.T) {
	// Two members, which are as good as one (RFC 1952 section 2.2).
	s := serve(t, encoded("GZIP", pack(marie[:10])+pack(marie[10:])), func(c *Config) { c.MaxBytes = int64(2 * len(marie) * 2) })
	for range 3 { // readers are used again
		if res := s.good(t, john); res.Roster.Len() != 1 || res.Bytes != len(marie) {
			t.Errorf("%+v", res)
		}
	}
	if s.conns != 1 {
		t.Errorf("%d connections", s.conns)
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
		return nil, errors.New("no network in this test")
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

func BenchmarkFetch(b *testing.B) {
	var doc bytes.Buffer
	for i := range 50 {
		fmt.Fprintf(&doc, `,"contact%d@example.com": {"name": "Contact %d", "groups": ["Friends"]}`, i, i)
	}
	body := "{" + doc.String()[1:] + "}"
	srv := httptest.NewServer(answer("application/json", body))
	defer srv.Close()
	c, err := New(Config{Host: "example.com", URL: srv.URL + "/%s"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Fetch(b.Context(), john); err != nil {
			b.Fatal(err)
		}
	}
}
