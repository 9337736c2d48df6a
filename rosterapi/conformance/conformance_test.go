package conformance

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/rosterapi"
)

const good = `{"marie@localhost": {"name": "Marie", "groups": ["Friends"]}, "aaron@localhost": {}}`

// raw answers every request so.
func raw(status int, contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// john answers for him, and 404 for others.
func john(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/contacts/john" {
			http.NotFound(w, r)
			return
		}
		h(w, r)
	}
}

// sample is an application made with rosterapi.
func sample(token string) http.Handler {
	h := &rosterapi.Handler{Token: token, Log: slog.New(slog.DiscardHandler), Roster: func(_ context.Context, user string) (rosterapi.Roster, error) {
		if user != "john" {
			return nil, rosterapi.ErrUnknownUser
		}
		return rosterapi.Roster{"marie@localhost": {Name: "Marie"}}, nil
	}}
	mux := http.NewServeMux()
	mux.Handle("/contacts/{user}", h)
	mux.Handle("/batch", h.Batch())
	return mux
}

// patience is a time for answers that no machine exceeds.
const patience = time.Minute

// check runs all cases against a handler on the network.
func check(t *testing.T, h http.Handler, change func(*Config)) *Report {
	t.Helper()
	s := httptest.NewServer(h)
	defer s.Close()
	cfg := Config{URL: s.URL + "/contacts/%s", User: "john", Timeout: patience}
	if change != nil {
		change(&cfg)
		cfg.BatchURL = strings.Replace(cfg.BatchURL, "SERVER", s.URL, 1)
	}
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func (r *Report) find(id string) Result {
	for _, c := range r.Results {
		if c.ID == id {
			return c
		}
	}
	return Result{}
}

// An application made with rosterapi meets every rule.
func TestGoodService(t *testing.T) {
	report := check(t, sample("sesame"), func(c *Config) { c.Token, c.BatchURL = "sesame", "SERVER/batch" })
	for _, c := range report.Results {
		if c.Status != Pass {
			t.Errorf("%+v", c)
		}
		if strings.Contains(c.Asked+c.Got+c.Hint, "sesame") {
			t.Errorf("the token is in %+v", c)
		}
	}
	if !report.OK || len(report.Results) != len(cases) || len(report.Roster) != 1 || report.Dropped != nil {
		t.Errorf("%+v", report)
	}
}

// Each fault is found by its case, with a hint that names it, and makes the check fail where clients would be misled.
func TestFaults(t *testing.T) {
	etagged := func(answer func(r *http.Request, tag string) int) http.HandlerFunc {
		return john(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			raw(answer(r, r.Header.Get("If-None-Match")), "application/json", good)(w, r)
		})
	}
	var counter atomic.Int64
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		id      string
		status  Status
		hint    string
		ok      bool
	}{
		{"401", raw(401, "", "", "WWW-Authenticate", "Basic realm=x"), "status", Fail, "It asks for Basic; rollcall sends Bearer only", false},
		{"404", raw(404, "", "no"), "status", Fail, "your service answers 404 for john", false},
		{"405", raw(405, "", "no"), "status", Fail, "does not take GET", false},
		{"429", raw(429, "", "no"), "status", Fail, "limits the rate", false},
		{"500", raw(500, "text/plain", "KeyError: 'john'"), "status", Fail, "it says: KeyError: 'john'", false},
		{"502", raw(502, "", "no"), "status", Fail, "a proxy before your service", false},
		{"206", raw(206, "application/json", good), "status", Fail, "answered with 200, or 204", false},
		{"304 at once", raw(304, "", ""), "status", Fail, "has no If-None-Match", false},
		{"to a login", raw(302, "", "", "Location", "/accounts/login?next=/contacts/john"), "status", Fail, "a login page as it seems", false},
		{"to a slash", raw(301, "", "", "Location", "/contacts/john/"), "status", Fail, "mind the slash at the end", false},
		{"to elsewhere", raw(307, "", "", "Location", "http://elsewhere.example/x"), "status", Fail, "redirects to http://elsewhere.example/x", false},
		{"a login page", raw(200, "text/html; charset=utf-8", "<form><input type=password>"), "type", Fail, "this looks like a login page", false},
		{"an error page", raw(200, "text/html", "<h1>Oops</h1>"), "type", Fail, "it says: <h1>Oops</h1>", false},
		{"JSON as HTML", raw(200, "text/html", good), "type", Fail, "though the body looks like JSON", false},
		{"XML", raw(200, "application/xml", "<x/>"), "type", Fail, "Content-Type is application/xml", false},
		{"text/plain", john(raw(200, "text/plain", good)), "type", Warn, "send application/json", true},
		{"no type", john(raw(200, "", good)), "type", Warn, "not said", true},
		{"brotli", raw(200, "application/json", "xx", "Content-Encoding", "br"), "encoding", Fail, "Content-Encoding: br", false},
		{"no gzip", raw(200, "application/json", good, "Content-Encoding", "gzip"), "encoding", Fail, "cannot be decompressed", false},
		{"BOM", raw(200, "application/json", "\xef\xbb\xbf"+good), "document", Fail, "byte order mark", false},
		{"empty", raw(200, "application/json", ""), "document", Fail, "an empty roster is {}", false},
		{"array", raw(200, "application/json", `[{"jid": "marie@localhost"}]`), "document", Fail, `make it {"marie@example.com"`, false},
		{"PHP", raw(200, "application/json", "<br />\n<b>Warning</b>: x"+good), "document", Fail, "a message of PHP", false},
		{"Python", raw(200, "application/json", `{'a@b': {}}`), "document", Fail, "json.dumps", false},
		{"twice", raw(200, "application/json", `{"a@b": {}, "a@b": {}}`), "document", Fail, "duplicate", false},
		{"Latin-1", raw(200, "application/json", "{\"a@b\": {\"name\": \"Ren\xe9\"}}"), "document", Fail, "UTF-8", false},
		{"UTF-16", raw(200, "application/json", "\xff\xfe{\x00"), "document", Fail, "UTF-16", false},
		{"cut off", raw(200, "application/json", good[:20]), "document", Fail, "cut off", false},
		{"more behind", raw(200, "application/json", good+"{}"), "document", Fail, "after", false},
		{"too large", raw(200, "application/json", `{"a@b": {"x": "`+strings.Repeat("x", maxBytes)+`"}}`), "document", Fail, "4 MiB", false},
		{"a bomb", bomb, "document", Fail, "4 MiB", false},
		{"bad address", john(raw(200, "application/json", `{"a@b": {}, "x@": {}, "john@localhost": {}}`)), "contacts", Fail, "clients will not see 2 contacts: x@ has no valid address", false},
		{"bad groups", john(raw(200, "application/json", `{"a@b": {"groups": [1]}}`)), "contacts", Fail, "a@b has a group that is a number", false},
		{"groups as an object", john(raw(200, "application/json", `{"a@localhost": {"groups": {"x": true}}}`)), "contacts", Pass, "", true},
		{"a resource", john(raw(200, "application/json", `{"a@b/phone": {}}`)), "contacts", Warn, "a@b/phone has a resource", true},
		{"an error as 200", john(raw(200, "application/json", `{"error": "no such user"}`)), "contacts", Fail, "error is a string", false},
		{"wrapped", john(raw(200, "application/json", `{"data": {"a@b": {}}}`)), "wrapper", Fail, "answer with what is inside alone", false},
		{"no at", john(raw(200, "application/json", `{"marie": {"name": "Marie"}}`)), "wrapper", Warn, "a user is marie@localhost", true},
		{"nickname", john(raw(200, "application/json", `{"a@localhost": {"nickName": "A"}}`)), "members", Warn, `was it meant to be "name"`, true},
		{"Name", john(raw(200, "application/json", `{"a@localhost": {"Name": "A"}}`)), "members", Warn, `was it meant to be "name"`, true},
		{"more members", john(raw(200, "application/json", `{"a@localhost": {"name": "A", "title": "Dr", "id": 7}}`)), "members", Pass, "", true},
		{"MongooseIM", john(raw(200, "application/json", `{"items": [{"jid": "a@localhost", "name": "A"}]}`)), "wrapper", Pass, "", true},
		{"another host", john(raw(200, "application/json", `{"a@example.com": {}}`)), "host", Warn, "no contact is at localhost", true},
		{"no cache", john(raw(200, "application/json", good, "Cache-Control", "private, max-age=0")), "cache-control", Warn, "max-age=0", true},
		{"long cache", john(raw(200, "application/json", good, "Cache-Control", "max-age=604800")), "cache-control", Warn, "more than a day", true},
		{"strange cache", john(raw(200, "application/json", good, "Cache-Control", "max-age=soon")), "cache-control", Warn, "no number", true},
		{"flapping", john(func(w http.ResponseWriter, r *http.Request) {
			n := counter.Add(1)
			raw(200, "application/json", fmt.Sprintf(`{"user%d@localhost": {}}`, n))(w, r)
		}), "same", Warn, "different contacts", true},
		{"changing ETag", john(func(w http.ResponseWriter, r *http.Request) {
			n := counter.Add(1)
			raw(200, "application/json", good, "ETag", fmt.Sprintf(`"%d"`, n))(w, r)
		}), "same", Warn, "different ETags", true},
		{"no ETag", john(raw(200, "application/json", good)), "if-none-match", Skip, "has no ETag", true},
		{"deaf to If-None-Match", etagged(func(*http.Request, string) int { return 200 }), "if-none-match", Warn, "If-None-Match is not honoured", true},
		{"hurt by If-None-Match", etagged(func(_ *http.Request, tag string) int {
			if tag != "" {
				return 412
			}
			return 200
		}), "if-none-match", Fail, "412 Precondition Failed", false},
		{"304 to all", etagged(func(_ *http.Request, tag string) int {
			if tag != "" {
				return 304
			}
			return 200
		}), "if-none-match-other", Fail, "no change would ever arrive", false},
		{"one for all", raw(200, "application/json", good), "unknown", Warn, "is the user's name in the URL looked at", true},
		{"unknown breaks", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/contacts/john" {
				raw(500, "text/plain", "IndexError")(w, r)
				return
			}
			raw(200, "application/json", good)(w, r)
		}, "unknown", Fail, "after five such answers", false},
		{"empty for unknown", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/contacts/john" {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			raw(200, "application/json", good)(w, r)
		}, "unknown", Pass, "", true},
		{"é breaks", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/contacts/é" {
				panic(http.ErrAbortHandler)
			}
			john(raw(200, "application/json", good))(w, r)
		}, "name-accent", Fail, "the name é, in the URL %C3%A9, gets no answer", false},
		{"50% is refused", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/contacts/50%" {
				raw(400, "text/plain", "bad escape")(w, r)
				return
			}
			john(raw(200, "application/json", good))(w, r)
		}, "name-percent", Warn, "decoded once", true},
		{"decodes twice", func(w http.ResponseWriter, r *http.Request) {
			name, _ := url.PathUnescape(strings.TrimPrefix(r.URL.Path, "/contacts/"))
			if name != "john" {
				http.NotFound(w, r)
				return
			}
			raw(200, "application/json", good)(w, r)
		}, "name-twice", Fail, "the user %6a%6f%68%6e is given the contacts of john", false},
		{"takes the query off", func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "?") {
				r.URL.Path = "/contacts/john"
				raw(200, "application/json", good)(w, r)
				return
			}
			john(raw(200, "application/json", good))(w, r)
		}, "name-question", Fail, "is answered with the contacts of john", false},
		{"tidies paths", func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.EscapedPath(), "..%2F") {
				http.Redirect(w, r, "/admin", http.StatusMovedPermanently)
				return
			}
			john(raw(200, "application/json", good))(w, r)
		}, "name-dots", Warn, "tidies up paths", true},
		{"leads to admin", func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.EscapedPath(), "..%2F") {
				raw(200, "text/html", "<h1>Admin</h1>")(w, r)
				return
			}
			john(raw(200, "application/json", good))(w, r)
		}, "name-dots", Warn, "did ..%2Fadmin lead to another page?", true},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "reach", Fail, "closed the connection without an answer", false},
		{"breaks off", func(w http.ResponseWriter, r *http.Request) {
			raw(200, "application/json", good, "Content-Length", "1000")(w, r)
		}, "time", Fail, "began and was not whole", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			report := check(t, c.handler, nil)
			got := report.find(c.id)
			if got.Status != c.status || !strings.Contains(got.Hint, c.hint) || report.OK != c.ok {
				t.Errorf("ok: %v, want %v; got %+v, want %s %q", report.OK, c.ok, got, c.status, c.hint)
			}
			for _, r := range report.Results {
				if (r.Hint == "") != (r.Status == Pass) || strings.Contains(r.Hint, "%!") {
					t.Errorf("hint of %+v", r)
				}
			}
		})
	}
}

// bomb is few bytes that stand for many.
func bomb(w http.ResponseWriter, r *http.Request) {
	raw(200, "application/json", compressed(), "Content-Encoding", "gzip")(w, r)
}

var compressed = sync.OnceValue(func() string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	for range 8 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			panic(err) // a Builder takes everything
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
})

// bubble is a transport inside a bubble with a fake clock.
type bubble func(w http.ResponseWriter, r *http.Request)

func (b bubble) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	b(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func TestSlow(t *testing.T) {
	for _, c := range []struct {
		took   time.Duration
		status Status
		hint   string
		ok     bool
	}{
		{2 * time.Second, Pass, "", true},
		{3 * time.Second, Warn, "the answer took 3.0 s, more than half", true},
		{6200 * time.Millisecond, Fail, "the answer took 6.2 s, rollcall gives up after 5.0 s", false},
		{time.Hour, Fail, "no whole answer came in 15.0 s", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			slow := bubble(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(c.took):
					john(raw(200, "application/json", good))(w, r)
				case <-r.Context().Done():
				}
			})
			report, err := Run(t.Context(), Config{URL: "http://service.test/contacts/%s", User: "john", Transport: slow})
			if err != nil {
				t.Fatal(err)
			}
			got := report.find("time")
			if got.Status != c.status || !strings.Contains(got.Hint, c.hint) || report.OK != c.ok || (report.Roster != nil) != c.ok {
				t.Errorf("after %v: ok: %v; %+v; roster %v", c.took, report.OK, got, report.Roster)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	for target, want := range map[string]string{
		s.URL:      "nothing listens at 127.0.0.1:",
		secure.URL: "certificate is not trusted",
		strings.Replace(plain.URL, "http:", "https:", 1): "write http:// instead of https://",
	} {
		report, err := Run(t.Context(), Config{URL: target + "/%s", User: "john", BatchURL: target, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		if got := report.find("reach"); report.OK || got.Status != Fail || !strings.Contains(got.Hint, want) {
			t.Errorf("%s: %+v, want %q", target, got, want)
		}
	}
	report, err := Run(t.Context(), Config{URL: strings.Replace(secure.URL, "https:", "http:", 1) + "/%s", User: "john", Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.find("status"); !strings.Contains(got.Hint, "write https://") {
		t.Errorf("HTTP to HTTPS: %+v", got)
	}
}

func TestTokens(t *testing.T) {
	with := func(c *Config) { c.Token = "sesame" }
	for name, c := range map[string]struct {
		handler http.Handler
		id      string
		status  Status
		hint    string
	}{
		"looked at":     {sample("sesame"), "token-none", Pass, ""},
		"another":       {sample("other"), "status", Fail, "is it the right token"},
		"not looked at": {john(raw(200, "application/json", good)), "token-none", Warn, "answers without the token too"},
		"any will do":   {john(raw(200, "application/json", good)), "token-wrong", Warn, "answers with a wrong token too"},
		"an odd refusal": {john(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer sesame" {
				raw(404, "", "")(w, r)
				return
			}
			raw(200, "application/json", good)(w, r)
		}), "token-wrong", Warn, "401 would be clearer"},
	} {
		if got := check(t, c.handler, with).find(c.id); got.Status != c.status || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestBatchFaults(t *testing.T) {
	batch := func(h http.HandlerFunc) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/contacts/{user}", sample(""))
		mux.Handle("POST /batch", h)
		return mux
	}
	marie := `{"marie@localhost": {"name": "Marie"}}`
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		id      string
		status  Status
		hint    string
	}{
		"404":      {raw(404, "", ""), "batch", Fail, "is this the path of the batch"},
		"413":      {raw(413, "", ""), "batch", Fail, "lower roster.batch_size"},
		"405":      {raw(405, "", ""), "batch", Fail, "does not take POST"},
		"HTML":     {raw(200, "text/html", "<form>"), "batch", Fail, "login page"},
		"array":    {raw(200, "application/json", "[]"), "batch", Fail, "no object of rosters"},
		"nobody":   {raw(200, "application/json", "{}"), "batch", Fail, "no roster of john"},
		"null":     {raw(200, "application/json", `{"john": null}`), "batch", Fail, "no roster of john"},
		"true":     {raw(200, "application/json", `{"john": true}`), "batch", Fail, "no ETag was sent"},
		"wrong":    {raw(200, "application/json", `{"john": [1]}`), "batch", Fail, "cannot be used"},
		"others":   {raw(200, "application/json", `{"john": `+marie+`, "aaron": {}}`), "batch", Warn, "nobody asked"},
		"other":    {raw(200, "application/json", `{"john": {}}`), "batch-same", Fail, "different contacts for john"},
		"unknown":  {raw(200, "application/json", `{"john": `+marie+`, "rollcall-check-nobody": `+marie+`}`), "batch-unknown", Warn, "has contacts"},
		"no etags": {raw(200, "application/json", `{"john": `+marie+`}`), "batch-etags", Skip, "no ETags"},
		"deaf":     {raw(200, "application/json", `{"john": `+marie+`, "etags": {"john": "x"}}`), "batch-etags", Warn, "does not look at those"},
		"always true": {func(w http.ResponseWriter, r *http.Request) {
			b := make([]byte, 10_000)
			n, _ := r.Body.Read(b)
			if strings.Contains(string(b[:n]), "etags") {
				raw(200, "application/json", `{"john": true}`)(w, r)
				return
			}
			raw(200, "application/json", `{"john": `+marie+`, "etags": {"john": "x"}}`)(w, r)
		}, "batch-etags-other", Fail, "no change would ever arrive"},
		"few": {func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > 200 {
				raw(413, "", "")(w, r)
				return
			}
			raw(200, "application/json", `{"john": `+marie+`}`)(w, r)
		}, "batch-size", Fail, "lower roster.batch_size"},
	} {
		got := check(t, batch(c.handler), func(c *Config) { c.BatchURL = "SERVER/batch" }).find(c.id)
		if got.Status != c.status || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	for _, c := range []Config{
		{}, {URL: "http://localhost/%s"}, {User: "john"}, {URL: "http://localhost/john", User: "john"},
		{URL: "localhost/%s", User: "john"}, {URL: "ftp://localhost/%s", User: "john"}, {URL: "http://u:p@localhost/%s", User: "john"},
		{URL: "http://localhost/%s", User: "jo hn"}, {URL: "http://localhost/%s", User: "john", Host: "a b"},
		{URL: "http://localhost/%s", User: "john", Token: "a b"}, {URL: "http://localhost/%s", User: "john", BatchURL: "x"},
	} {
		if report, err := Run(t.Context(), c); err == nil || report != nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// When the context ends the rest fails soon, and nobody waits.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := Run(ctx, Config{URL: "http://service.test/%s", User: "john", Transport: bubble(func(http.ResponseWriter, *http.Request) {})})
	if err != nil || report.OK || report.find("reach").Status != Fail {
		t.Errorf("%+v, %v", report, err)
	}
}

// recorder is a T.
type recorder struct {
	*testing.T
	errors, logs []string
	fatal        error
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatalf(format string, args ...any) { r.fatal = fmt.Errorf(format, args...) }

func TestTest(t *testing.T) {
	s := httptest.NewServer(sample(""))
	defer s.Close()
	Test(t, Config{URL: s.URL + "/contacts/%s", User: "john", BatchURL: s.URL + "/batch", Timeout: patience})

	r := &recorder{T: t}
	Test(r, Config{URL: s.URL + "/contacts/%s", User: "nobody", Timeout: patience})
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], "status (section 1)") || r.fatal != nil {
		t.Errorf("%+v", r)
	}
	Test(r, Config{})
	if r.fatal == nil || errors.Is(r.fatal, context.Canceled) {
		t.Errorf("no configuration is taken: %v", r.fatal)
	}
}
