package admin

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
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"rollcall/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A service answers for one host: users named in online change, those in broken fail, all others are offline. It keeps
// rosters that it was told (fake_test.go).
type service struct {
	online, broken []string

	mu      sync.Mutex
	asked   [][]string
	kept    map[string]*keptRoster
	holding map[string]chan struct{} // writes for these users wait
	writes  []string
	gone    []string // sessions that were ended
}

func (s *service) Refresh(_ context.Context, users []string) []RosterResult {
	s.mu.Lock()
	s.asked = append(s.asked, slices.Clone(users))
	s.mu.Unlock()
	results := make([]RosterResult, len(users))
	for i, u := range users {
		switch {
		case slices.Contains(s.online, u):
			results[i] = RosterResult{Result: Changed, Added: 1, Changed: 2, Version: "v1"}
		case slices.Contains(s.broken, u):
			results[i] = RosterResult{Result: Failed, Err: errors.New("the service answered 503")}
		default:
			results[i].Result = Offline
		}
	}
	return results
}

// names returns everybody that was asked for, and forgets them.
func (s *service) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.asked...)
	s.asked = nil
	return all
}

type fixture struct {
	*API
	t     *testing.T
	a, b  *service   // of hosts a.example and b.example
	users *fakeUsers // of both
	log   *bytes.Buffer
}

type setup struct {
	admin, a, b                 []config.Secret
	secrets, aSecrets, bSecrets []config.Secret
	certificates                bool
	names                       []string
	rate                        int
	maxBytes                    int64
	metrics                     http.Handler
	oneHost                     bool
	notReady                    bool
}

func start(t *testing.T, s setup) *fixture {
	f := &fixture{t: t, log: &bytes.Buffer{}}
	f.a = &service{online: []string{"john", "aaron", "josé"}, broken: []string{"bad", "worse"}}
	f.b = &service{online: []string{"john"}}
	f.users = &fakeUsers{all: map[string]UserInfo{}}
	for _, name := range []string{"john", "aaron", "josé"} {
		f.users.all[name] = UserInfo{JID: name + "@a.example", User: name, Role: RoleUser}
	}
	status := func() HostStatus {
		return HostStatus{Users: 1, Sessions: 2, Service: ServiceStatus{State: "ok", Breaker: "closed"},
			Services: map[string]ServiceStatus{"auth": {State: "down", Breaker: "open"}}, Messages: &MessageStatus{Waiting: 3}}
	}
	hosts := []Host{
		{Name: "a.example", Tokens: s.a, WebhookSecrets: s.aSecrets, Rosters: f.a, Profiles: f.a, Sessions: f.a, Status: status, MaxBytes: s.maxBytes,
			Users: f.users, Prebind: prebindAt("a.example"), MakeToken: tokenAt("a.example"), RevokeTokens: f.revokeAt("a.example")},
		{Name: "b.example", Tokens: s.b, WebhookSecrets: s.bSecrets, Rosters: f.b, Profiles: f.b, Sessions: f.b, Status: status, MaxBytes: s.maxBytes,
			Users: f.users, Prebind: prebindAt("b.example"), MakeToken: tokenAt("b.example"), RevokeTokens: f.revokeAt("b.example")},
	}
	if s.oneHost {
		hosts = hosts[:1]
	}
	f.API = New(t.Context(), Options{
		Database: func() *DatabaseStatus { return &DatabaseStatus{Commits: 5, MeanMillis: 0.5} },
		Hosts:    hosts, Tokens: s.admin, WebhookSecrets: s.secrets, ClientCertificates: s.certificates, ClientNames: s.names,
		Rate: s.rate, Metrics: s.metrics, Version: "1.2.3",
		Ready: func() bool { return !s.notReady },
		Log:   slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	t.Cleanup(f.Close)
	return f
}

// do sends a request from this machine; headers are "Name: value".
func (f *fixture) do(method, url, body string, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:5280/", strings.NewReader(body))
	r.RequestURI = url
	var err error
	if r.URL, err = r.URL.Parse(url); err != nil {
		f.t.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:40000"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Peer":
			r.RemoteAddr = value
		default:
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	holdToDescription(f.t, r, w)
	return w
}

func (f *fixture) checkMembers(body []byte, want ...string) {
	f.t.Helper()
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		f.t.Errorf("body %q: %v", body, err)
	}
	var got []string
	for m := range members {
		got = append(got, m)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("members (-want +got)\n%s", diff)
	}
}

const post = "POST"

// TestNotify has each row of the contract's section 2 and what a service can get wrong. want is the status and the
// beginning of the body.
func TestNotify(t *testing.T) {
	many := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("u%d", i)
		}
		b, err := json.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ok := func(updated, errors int) string {
		return fmt.Sprintf(`200 {"status":"ok","message":"roster update complete","updated":%d,"errors":%d}`, updated, errors)
	}
	for _, c := range []struct{ name, body, want, asked string }{
		{"two", `["john", "aaron"]`, ok(2, 0), "john aaron"},
		{"offline counts", `["john","nobody"]`, ok(2, 0), "john nobody"},
		{"white space around", " \n[ \"john\" ]\r\n", ok(1, 0), "john"},
		{"none", `[]`, ok(0, 0), ""},
		{"twice is once", `["john","john","JOHN","john@a.example"]`, ok(1, 0), "john"},
		{"canonical form", `["Jos\u0065\u0301"]`, ok(1, 0), "josé"},
		{"one fails", `["john","bad"]`, ok(1, 1), "john bad"},
		{"all fail", `["bad","worse"]`, `200 {"status":"error","message":"\"bad\": the service answered 503","updated":0,"errors":2}`, "bad worse"},
		{"bare JID", `["john@A.Example"]`, ok(1, 0), "john"},
		{"no localpart", `["john","a/b","a b","","@","john@a.example/phone","a.example@","\u0000"]`, ok(1, 7), "john"},
		{"only no localpart", `["a/b"]`, `200 {"status":"error","message":"\"a/b\": cannot be a user's name","updated":0,"errors":1}`, ""},
		{"unknown host among others", `["john","john@c.example"]`, ok(1, 1), "john"},
		{"unknown host alone", `["john@c.example","x@d.example"]`, `404 {"status":"error","message":"no name is of a host that is served here; \"john@c.example\": is of a host that is not served here","updated":0,"errors":2}`, ""},
		{"ten thousand", many(10_000), ok(10_000, 0), strings.Trim(strings.ReplaceAll(many(10_000), `","`, " "), `[]"`)},

		{"missing", ``, `400 {"status":"error","message":"the body is missing; send an array of usernames such as [\"john\", \"aaron\"]","updated":0,"errors":0}`, ""},
		{"white space", ` `, `400 {"status":"error","message":"the body is missing`, ""},
		{"a string", `"john"`, `400 {"status":"error","message":"the body is a string; send`, ""},
		{"an object", `{"a":1}`, `400 {"status":"error","message":"the body is an object; send`, ""},
		{"null", `null`, `400 {"status":"error","message":"the body is null; send`, ""},
		{"a number inside", `["john",5]`, `400 {"status":"error","message":"element 2 of the array is a number, not a string; send`, ""},
		{"null inside", `[null]`, `400 {"status":"error","message":"element 1 of the array is null`, ""},
		{"an array inside", `[["john"]]`, `400 {"status":"error","message":"element 1 of the array is an array`, ""},
		{"an object inside", `[{}]`, `400 {"status":"error","message":"element 1 of the array is an object`, ""},
		{"cut off", `["john"`, `400 {"status":"error","message":"the body is cut off`, ""},
		{"cut off in a name", `["jo`, `400 {"status":"error","message":"the body is cut off`, ""},
		{"comma at the end", `["john",]`, `400 {"status":"error","message":"the body is not JSON`, ""},
		{"something follows", `["john"] ["aaron"]`, `400 {"status":"error","message":"something follows the array`, ""},
		{"rubbish follows", `["john"]x`, `400 {"status":"error","message":"the body is not JSON`, ""},
		{"a form", `users=john`, `400 {"status":"error","message":"the body is not JSON`, ""},
		{"bad UTF-8", "[\"jo\xff\"]", `400 {"status":"error","message":"the body is not JSON`, ""},
		{"lone surrogate", `["\ud800"]`, `400 {"status":"error","message":"the body is not JSON`, ""},
		{"BOM", "\ufeff[]", `400 {"status":"error","message":"the body is not JSON`, ""},
		{"too many", many(10_001), `413 {"status":"error","message":"the array has more than 10000 names`, ""},
		{"too many of one", "[" + strings.Repeat(`"john",`, 100_000) + `"john"]`, `413 {`, ""},
		{"too large", `["` + strings.Repeat("x", 1<<20) + `"]`, `413 {"status":"error","message":"the body is larger than 1048576 bytes`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, setup{oneHost: true})
			for _, length := range []string{"known", "chunked"} {
				w := f.notify(c.body, length == "chunked")
				if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(strings.TrimSuffix(got, "\n"), c.want) {
					t.Errorf("length %s: got %s, want %s", length, got, c.want)
				}
				if got := strings.Join(f.a.names(), " "); got != c.asked {
					t.Errorf("length %s: asked for %.100q, want %.100q", length, got, c.asked)
				}
				f.checkMembers(w.Body.Bytes(), "errors", "message", "status", "updated")
			}
		})
	}
}

func (f *fixture) notify(body string, chunked bool) *httptest.ResponseRecorder {
	r := httptest.NewRequest(post, "http://127.0.0.1:5280/roster_admin/refresh", strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	if chunked {
		r.ContentLength = -1
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func TestNotifyOneByGET(t *testing.T) {
	f := start(t, setup{oneHost: true})
	for path, want := range map[string]string{
		"john":               `200 {"status":"ok","message":"roster update complete"}`,
		"nobody":             `200 {"status":"ok","message":"roster update complete"}`,
		"J%6Fhn":             `200 {"status":"ok","message":"roster update complete"}`,
		"john%40a.example":   `200 {"status":"ok","message":"roster update complete"}`,
		"john@a.example":     `200 {"status":"ok","message":"roster update complete"}`,
		"bad":                `200 {"status":"error","message":"\"bad\": the service answered 503"}`,
		"a%2Fb":              `200 {"status":"error","message":"\"a/b\": cannot be a user's name"}`,
		"a%0D%0Ab":           `200 {"status":"error","message":"\"a\\r\\nb\": cannot be a user's name"}`,
		"john@c.example":     `404 {"status":"error","message":"no name is of a host that is served here`,
		"john?host=b.exampl": `404 {"status":"error"`,
		"":                   `404 {"status":"error","message":"there is nothing at this path`,
		"a/b":                `404 {"status":"error","message":"there is nothing at this path`,
	} {
		w := f.do("GET", "/roster_admin/refresh/"+path, "")
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(strings.TrimSuffix(got, "\n"), want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if n := strings.Count(f.log.String(), "\n"); n != 12 {
		t.Errorf("12 requests made %d lines in the log:\n%s", n, f.log)
	}
}

func TestChoiceOfHost(t *testing.T) {
	for _, c := range []struct {
		name, query, host, body string
		oneHost                 bool
		code                    int
		a, b                    string
	}{
		{"query", "?host=b.example", "a.example", `["john"]`, false, 200, "", "john"},
		{"query in another form", "?host=B.Example.", "", `["john"]`, false, 200, "", "john"},
		{"query unknown", "?host=c.example", "a.example", `["john"]`, false, 404, "", ""},
		{"query unknown, names with hosts", "?host=c.example", "a.example", `["john@a.example"]`, false, 200, "john", ""},
		{"query twice", "?host=a.example&host=b.example", "", `["john"]`, false, 400, "", ""},
		{"query broken", "?host=%zz", "", `["john"]`, false, 400, "", ""},
		{"query empty", "?host=", "b.example", `["john"]`, false, 200, "", "john"},
		{"header", "", "b.example", `["john"]`, false, 200, "", "john"},
		{"header with port and capitals", "", "B.EXAMPLE:5280", `["john"]`, false, 200, "", "john"},
		{"header of nobody, one host", "", "xmpp:5280", `["john"]`, true, 200, "john", ""},
		{"header of nobody, two hosts", "", "xmpp:5280", `["john"]`, false, 400, "", ""},
		{"header of nobody, names with hosts", "", "xmpp:5280", `["john@a.example","aaron@b.example"]`, false, 200, "john", "aaron"},
		{"one name without a host", "", "xmpp:5280", `["john@a.example","aaron"]`, false, 400, "", ""},
		{"nobody named", "", "xmpp:5280", `[]`, false, 200, "", ""},
		{"both", "", "a.example", `["john","john@b.example","aaron"]`, false, 200, "john aaron", "john"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, setup{oneHost: c.oneHost})
			w := f.do(post, refreshPath+c.query, c.body, "Host: "+c.host)
			if w.Code != c.code {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.code)
			}
			if got := strings.Join(f.a.names(), " "); got != c.a {
				t.Errorf("a.example was asked for %q, want %q", got, c.a)
			}
			if got := strings.Join(f.b.names(), " "); got != c.b {
				t.Errorf("b.example was asked for %q, want %q", got, c.b)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	f := start(t, setup{notReady: true})
	for _, path := range []string{"/roster_admin/refresh", "/roster_admin/refresh/john", "/healthz"} {
		method := post
		if path != refreshPath {
			method = "GET"
		}
		w := f.do(method, path, `["john"]`)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, Retry-After %q", path, w.Code, w.Header().Get("Retry-After"))
		}
	}
	if w := f.do("GET", "/admin/status", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"ready":false`) {
		t.Errorf("status: %d %s", w.Code, w.Body)
	}
}

func TestHealth(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{"admin-token"}})
	if w := f.do("GET", "/healthz", "", "Peer: 192.0.2.1:1"); w.Code != 200 {
		t.Errorf("GET: %d", w.Code)
	}
	if w := f.do("HEAD", "/healthz", ""); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := f.do("POST", "/healthz", ""); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestStatus(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{"admin-token"}, b: []config.Secret{"b-token"}})
	for token, want := range map[string]string{"admin-token": "a.example b.example", "b-token": "b.example"} {
		w := f.do("GET", "/admin/status", "", "Authorization: Bearer "+token)
		var s Status
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		var hosts []string
		for _, h := range s.Hosts {
			hosts = append(hosts, h.Host)
			if h.Sessions != 2 || h.Users != 1 {
				t.Errorf("%+v", h)
			}
		}
		if got := strings.Join(hosts, " "); got != want || s.Version != "1.2.3" || !s.Ready {
			t.Errorf("%s: hosts %q, want %q; %+v", token, got, want, s)
		}
	}
}

type slowBody struct{ io.Reader }

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
func (slowBody) Close() error             { return nil }

type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestSlowBody(t *testing.T) {
	f := start(t, setup{oneHost: true})
	r := httptest.NewRequest(post, refreshPath, slowBody{})
	r.RemoteAddr = "127.0.0.1:1"
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	f.ServeHTTP(w, r)
	if w.Code != 408 || len(w.set) != 1 || w.set[0].IsZero() { // and it stays: the rest of the body is not waited for
		t.Errorf("%d, deadlines %v", w.Code, w.set)
	}
}

func TestCompressedBody(t *testing.T) {
	f := start(t, setup{oneHost: true})
	if w := f.do(post, refreshPath, `["john"]`, "Content-Encoding: gzip"); w.Code != 415 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// FuzzNames: whatever the body, one answer; and names are taken only from an array of strings, as encoding/json sees it.
func FuzzNames(f *testing.F) {
	for _, s := range []string{`["john","aaron"]`, `[]`, `"john"`, `{"a":1}`, `[1]`, `["a",]`, `["\ud800"]`, "[\"\xff\"]", `["a"]x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		names, err := decodeNames(bytes.NewReader(body))
		if err != nil {
			var no *refusal
			if !errors.As(err, &no) || no.status/100 != 4 {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		var want []string
		if err := json.Unmarshal(body, &want); err != nil || !slices.Equal(names, want) {
			t.Errorf("%q: got %q, encoding/json has %q, %v", body, names, want, err)
		}
	})
}
