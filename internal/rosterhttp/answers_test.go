package rosterhttp

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/jid"
)

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
	if !strings.Contains(log, "user=john@example.com first_reason=\"is the user whose roster this is\" dropped=2 changed=1") || strings.Contains(log, "x@y") {
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
		{"too many bytes, announced", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			answer("application/json", strings.Repeat(" ", 5000))(w, r)
		}, TooLarge, "more than 4096 bytes"},
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
