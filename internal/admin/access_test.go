package admin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/config"
)

const (
	adminToken = "canary-admin"
	aToken     = "canary-a"
	bToken     = "canary-b"
)

// sampleRoutes are those of which a service needs to know.
var sampleRoutes = []struct{ method, path, body string }{
	{"POST", "/roster_admin/refresh", `["john"]`},
	{"GET", "/roster_admin/refresh/john", ""},
	{"GET", "/admin/status", ""},
}

// TestEveryRouteEveryCredential is attack case 46: each route with each credential, by the HTTP Host of a.example.
func TestEveryRouteEveryCredential(t *testing.T) {
	all := setup{admin: []config.Secret{"older", adminToken}, a: []config.Secret{aToken}, b: []config.Secret{bToken}}
	none := setup{}
	onlyA := setup{a: []config.Secret{aToken}}
	for _, c := range []struct {
		name    string
		setup   setup
		headers []string
		code    int
		status  int // when another one than code
	}{
		{"none", all, nil, 401, 0},
		{"none, from elsewhere", all, []string{"Peer: 192.0.2.1:1"}, 401, 0},
		{"the admin's", all, []string{"Authorization: Bearer " + adminToken}, 200, 0},
		{"the admin's, from elsewhere", all, []string{"Peer: 192.0.2.1:1", "Authorization: Bearer " + adminToken}, 200, 0},
		{"the admin's, through a proxy", all, []string{"X-Forwarded-For: 192.0.2.1", "Authorization: Bearer " + adminToken}, 200, 0},
		{"the admin's other", all, []string{"Authorization: Bearer older"}, 200, 0},
		{"scheme in capitals", all, []string{"Authorization: BEARER  " + adminToken}, 200, 0},
		{"the host's", all, []string{"Authorization: Bearer " + aToken}, 200, 0},
		{"another host's", all, []string{"Authorization: Bearer " + bToken}, 403, 200}, // status: of that host alone
		{"wrong", all, []string{"Authorization: Bearer wrong"}, 401, 0},
		{"wrong in one letter", all, []string{"Authorization: Bearer " + adminToken + "x"}, 401, 0},
		{"empty", all, []string{"Authorization: Bearer "}, 401, 0},
		{"another scheme", all, []string{"Authorization: Basic " + adminToken}, 401, 0},
		{"twice", all, []string{"Authorization: Bearer " + adminToken, "Authorization: Bearer " + adminToken}, 401, 0},
		{"in the query", all, nil, 401, 0},

		{"no tokens, this machine", none, nil, 200, 0},
		{"no tokens, IPv6", none, []string{"Peer: [::1]:1"}, 200, 0},
		{"no tokens, IPv4 in IPv6", none, []string{"Peer: [::ffff:127.0.0.1]:1"}, 200, 0},
		{"no tokens, from elsewhere", none, []string{"Peer: 192.0.2.1:1"}, 401, 0},
		{"no tokens, from nowhere", none, []string{"Peer: @"}, 401, 0},
		{"no tokens, says it is from here", none, []string{"Peer: 192.0.2.1:1", "X-Forwarded-For: 127.0.0.1"}, 401, 0},
		{"no tokens, proxy", none, []string{"X-Forwarded-For: 192.0.2.1"}, 401, 0},
		{"no tokens, proxy, RFC 7239", none, []string{"Forwarded: for=127.0.0.1"}, 401, 0},
		{"no tokens, a token all the same", none, []string{"Authorization: Bearer x"}, 401, 0},
		{"no tokens, empty token", none, []string{"Authorization: Bearer "}, 401, 0},
		{"no tokens, other site's page", none, []string{"Sec-Fetch-Site: cross-site"}, 403, 0},
		{"no tokens, other port's page", none, []string{"Sec-Fetch-Site: same-site"}, 403, 0},
		{"no tokens, other site's form, old browser", none, []string{"Origin: http://evil.example", "Content-Type: text/plain"}, 403, 0},
		{"no tokens, sandboxed page", none, []string{"Origin: null"}, 403, 0},
		{"no tokens, own page", none, []string{"Sec-Fetch-Site: same-origin", "Origin: http://a.example"}, 200, 0},
		{"no tokens, address bar", none, []string{"Sec-Fetch-Site: none"}, 200, 0},

		{"a host's only, none sent", onlyA, nil, 403, 200}, // status: of the other host
		{"a host's only, sent", onlyA, []string{"Authorization: Bearer " + aToken}, 200, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range sampleRoutes {
				f := start(t, c.setup)
				path := r.path
				if c.name == "in the query" {
					path += "?token=" + adminToken + "&access_token=" + adminToken
				}
				w := f.do(r.method, path, r.body, append([]string{"Host: a.example"}, c.headers...)...)
				want := c.code
				if r.path == statusPath && c.status != 0 {
					want = c.status
				}
				if w.Code != want {
					t.Errorf("%s %s: got %d %s, want %d", r.method, r.path, w.Code, w.Body, want)
				}
				if asked := len(f.a.names()) > 0; asked != (want == 200 && r.path != statusPath) {
					t.Errorf("%s %s: %d, but asked the service: %v", r.method, r.path, w.Code, asked)
				}
				if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
					t.Errorf("%s %s: %d with WWW-Authenticate %q", r.method, r.path, w.Code, w.Header().Get("WWW-Authenticate"))
				}
				if strings.Contains(f.log.String()+w.Body.String(), "canary") {
					t.Errorf("a token shows: %s", f.log)
				}
			}
		})
	}
}

// TestTokenOfAnotherHost is attack case 35.
func TestTokenOfAnotherHost(t *testing.T) {
	for _, c := range []struct {
		query, host, body string
		code              int
		want              string
	}{
		{"?host=a.example", "b.example", `["john"]`, 403, "not valid"},
		{"", "a.example", `["john"]`, 403, "not valid"},
		{"", "x", `["john@a.example"]`, 403, "not valid"},
		{"", "b.example", `["john@a.example","john@c.example"]`, 403, "not valid"},
		{"", "b.example", `["john","john@a.example"]`, 200, `"updated":1,"errors":1`},
		{"?host=b.example", "a.example", `["john"]`, 200, `"updated":1,"errors":0`},
		{"?host=c.example", "a.example", `["john"]`, 404, ""},
	} {
		f := start(t, setup{admin: []config.Secret{adminToken}, a: []config.Secret{aToken}, b: []config.Secret{bToken}})
		w := f.do(post, refreshPath+c.query, c.body, "Host: "+c.host, "Authorization: Bearer "+bToken)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%+v: got %d %s", c, w.Code, w.Body)
		}
		if asked := f.a.names(); len(asked) > 0 {
			t.Errorf("%+v: a.example was asked for %q", c, asked)
		}
	}
}

// TestPathTricks is attack case 45, through the mux that the server uses: without a credential no spelling does
// anything, with one only the canonical spelling does.
func TestPathTricks(t *testing.T) {
	tricks := []string{
		"/roster_admin/%72efresh", "/roster%5Fadmin/refresh", "/roster_admin%2Frefresh", "/roster_admin/refresh%2Fjohn",
		"/roster_admin//refresh", "//roster_admin/refresh", "/roster_admin/./refresh", "/x/../roster_admin/refresh",
		"/roster_admin/%2e/refresh", "/roster_admin/%2e%2e/roster_admin/refresh", "/healthz/../roster_admin/refresh",
		"/healthz/%2e%2e/roster_admin/refresh", "/healthz%2f..%2froster_admin/refresh",
		"/roster_admin/refresh;x", "/roster_admin;x/refresh", "/healthz;/../roster_admin/refresh",
		`/roster_admin\refresh`, "/roster_admin%5Crefresh", "/roster_admin/refresh%00", "/roster_admin/refresh%20",
		"/Roster_Admin/Refresh", "/ROSTER_ADMIN/REFRESH", "/roster_admin/refresh/", "/roster_admin/refresh/john/",
		"/admin/status/", "/admin//status", "/Admin/Status", "/admin/%73tatus", "/admin/status;x", "/admin/../admin/status/",
		"/roster_admin/", "/admin/", "/admin", "/roster_admin", "/roster_admin/refresh/%2e%2e/%2e%2e/admin/status",
	}
	for _, sent := range []string{"", "Bearer " + adminToken} {
		for _, path := range tricks {
			for _, method := range []string{"GET", "POST", "PUT", "HEAD", "OPTIONS"} {
				f := start(t, setup{admin: []config.Secret{adminToken}})
				mux := http.NewServeMux()
				f.Register(mux)
				r := httptest.NewRequest(method, "http://a.example/", strings.NewReader(`["john"]`))
				u, err := r.URL.Parse(path)
				if err != nil || strings.HasPrefix(path, "//") {
					u = r.URL
					u.Path = path
				}
				u.Host = "a.example"
				if raw := strings.NewReplacer("http://a.example", "").Replace(path); strings.Contains(raw, "..") || strings.Contains(raw, "/./") {
					u.Path, u.RawPath = unescaped(path), path // as a raw client sends it, not resolved
				}
				r.URL, r.RemoteAddr = u, "127.0.0.1:1"
				if sent != "" {
					r.Header.Set("Authorization", sent)
				}
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				switch {
				case len(f.a.names()) > 0:
					t.Errorf("%s %q, credential %q: a roster was refreshed", method, path, sent)
				case w.Code/100 == 3: // the mux's own redirect to the canonical path
				case sent == "" && w.Code != 401 && w.Code != 404:
					t.Errorf("%s %q without credential: %d", method, path, w.Code)
				case w.Code < 400:
					t.Errorf("%s %q with credential: %d", method, path, w.Code)
				}
			}
		}
	}
}

func unescaped(path string) string {
	return strings.NewReplacer("%2e", ".", "%2f", "/").Replace(path)
}

func TestWrongMethods(t *testing.T) {
	for _, r := range sampleRoutes {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			if method == r.method {
				continue
			}
			f := start(t, setup{admin: []config.Secret{adminToken}})
			if w := f.do(method, r.path, r.body); w.Code != 401 {
				t.Errorf("%s %s without credential: %d", method, r.path, w.Code)
			}
			w := f.do(method, r.path, r.body, "Authorization: Bearer "+adminToken)
			if w.Code != 405 || w.Header().Get("Allow") != r.method {
				t.Errorf("%s %s: %d, Allow %q", method, r.path, w.Code, w.Header().Get("Allow"))
			}
			if asked := f.a.names(); len(asked) > 0 {
				t.Errorf("%s %s asked for %q", method, r.path, asked)
			}
		}
	}
}

// The body of a request without a credential is not read.
func TestGateComesBeforeTheBody(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}})
	r := httptest.NewRequest(post, refreshPath, unreadable{t})
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("%d", w.Code)
	}
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, http.ErrBodyReadAfterClose
}

// A page whose name was made to resolve to this machine must not read the state.
func TestRebinding(t *testing.T) {
	for host, want := range map[string]int{
		"127.0.0.1:5280": 200, "[::1]:5280": 200, "localhost:5280": 200, "a.example": 200, "A.example:5280": 200,
		"evil.example:5280": 403, "": 403, "localhost.evil.example": 403,
	} {
		f := start(t, setup{})
		if w := f.do("GET", statusPath, "", "Host: "+host); w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
	// Notifications of services come with any Host; those of a page with its own.
	for origin, want := range map[string]int{"": 200, "http://evil.example:5280": 403} {
		f := start(t, setup{oneHost: true})
		headers := []string{"Host: evil.example:5280"}
		if origin != "" {
			headers = append(headers, "Origin: "+origin)
		}
		if w := f.do("POST", refreshPath, `["john"]`, headers...); w.Code != want {
			t.Errorf("a notification with Origin %q: %d, want %d", origin, w.Code, want)
		}
	}
}

// Attack case 44: what a sender writes stays on its line of the log.
func TestLogHasOneLineForEachEvent(t *testing.T) {
	f := start(t, setup{})
	f.do("GET", "/roster_admin/refresh/john%0Alevel=ERROR%0D%0Ax", "", "Host: a.example")
	f.do("GET", "/roster_admin/%0Alevel=ERROR", "")
	f.do("POST", refreshPath, `["a\nlevel=ERROR b","c\u2028level=ERROR"]`, "Host: a.example")
	lines := strings.Split(strings.TrimSuffix(f.log.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Errorf("%d lines for 3 events:\n%s", len(lines), f.log)
	}
	for _, l := range lines {
		if !strings.HasPrefix(l, "time=") {
			t.Errorf("a line of the sender's: %s", l)
		}
	}
}

// What follows a request with two lengths is not taken for a request.
func TestTwoLengths(t *testing.T) {
	f := start(t, setup{oneHost: true})
	server := httptest.NewServer(f)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := "8\r\n[\"john\"]\r\n0\r\n\r\n"
	if _, err := io.WriteString(conn, "POST /roster_admin/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n"+body+"GET /roster_admin/refresh/aaron HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answers, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(answers), "HTTP/1.1 "); n != 1 {
		t.Errorf("%d answers: %s", n, answers)
	}
	if got := f.a.names(); !slices.Equal(got, []string{"john"}) {
		t.Errorf("asked for %q", got)
	}
}

func TestAuditLine(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}})
	f.do(post, refreshPath, `["john","bad","nobody"]`, "Host: a.example", "Authorization: Bearer "+adminToken)
	for _, want := range []string{"level=INFO", "msg=notification", "peer=127.0.0.1:40000", "by=token", "names=3", "changed=1",
		"unchanged=0", "offline=1", "errors=1", `reason="\"bad\": the service answered 503"`} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("no %s in %s", want, f.log)
		}
	}
	if n := strings.Count(fmt.Sprint(f.log), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
}
