package admin

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/config"
)

// TestGateOfEveryRoute is attack case 46, generated from the list of routes: without a credential that is good for it,
// none does anything.
func TestGateOfEveryRoute(t *testing.T) {
	const doc = `{"marie@example.com":{}}`
	bodyFor := func(rt route) string {
		switch rt.path {
		case refreshPath, profilesPath:
			return `["john"]`
		case rostersPath:
			return `{"john":` + doc + `}`
		case prebindPath, tokensPath:
			return `{"user":"john"}`
		case usersPath:
			return `{"user":"john","password":"canary-password"}`
		case usersPath + "/{user}":
			return `{"disabled":true}`
		}
		return doc
	}
	for _, rt := range routes {
		path := strings.NewReplacer("{user}", "john", "{jid...}", "john@a.example/x").Replace(rt.path)
		body := bodyFor(rt)
		all := setup{admin: []config.Secret{adminToken}, a: []config.Secret{aToken}, b: []config.Secret{bToken}, secrets: []config.Secret{secret}}
		old := signed(t, secret, "m", time.Now().Add(-time.Hour), body)
		global := map[string]bool{statusPath: true, sessionsPath: true, eventsPath: true, describePath: true} // of what a token is for
		for _, c := range []struct {
			name    string
			setup   setup
			headers []string
			code    int
		}{
			{"none", all, nil, 401},
			{"none, from elsewhere", setup{}, []string{"Peer: 192.0.2.1:1"}, 401},
			{"wrong", all, []string{"Authorization: Bearer wrong"}, 401},
			{"expired", all, old, 401},
			{"wrong signature", all, signed(t, secretA, "m", time.Now(), body), 401},
			{"another host's", all, []string{"Authorization: Bearer " + bToken}, 403},
			{"a form of another site", setup{}, []string{"Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded"}, 403},
			{"a form of another site, old browser", setup{}, []string{"Origin: http://evil.example", "Content-Type: text/plain"}, 403},
			{"a page that was made to resolve here", setup{}, []string{"Sec-Fetch-Site: same-origin", "Host: evil.example"}, 403},
			{"a certificate that nobody verified", setup{certificates: true}, []string{"Peer: 127.0.0.1:1"}, 401},
		} {
			if c.code == 403 && c.name == "another host's" && global[path] {
				continue
			}
			if (path == profilesPath || strings.HasPrefix(path, refreshPath)) && strings.Contains(c.name, "resolve here") {
				continue // services sent them with any Host
			}
			f := start(t, c.setup)
			f.opts.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: metrics are shown", c.name) })
			w := f.do(rt.method, path, body, append([]string{"Host: a.example", "Content-Type: " + mergePatch}, c.headers...)...)
			if w.Code != c.code {
				t.Errorf("%s: %s %s: %d %s, want %d", c.name, rt.method, path, w.Code, w.Body, c.code)
			}
			if asked, wrote := f.a.names(), f.a.written(); len(asked)+len(wrote)+len(f.a.gone) > 0 {
				t.Errorf("%s: %s %s: %q %q %q", c.name, rt.method, path, asked, wrote, f.a.gone)
			}
			if f.users.changes > 0 {
				t.Errorf("%s: %s %s changes an account", c.name, rt.method, path)
			}
			if strings.Contains(f.log.String()+w.Body.String(), "canary") {
				t.Errorf("%s: %s %s: a secret shows", c.name, rt.method, path)
			}
		}
	}
}

// certified makes a request over a connection whose client certificate was verified.
func certified(names []string, expires time.Time, headers ...string) *http.Request {
	uri, _ := url.Parse("spiffe://example.com/app")
	leaf := &x509.Certificate{DNSNames: names, URIs: []*url.URL{uri}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)}, NotAfter: expires}
	leaf.Subject.CommonName = "evil.example"
	r := httptest.NewRequest("POST", "https://a.example"+refreshPath, strings.NewReader(`["john"]`))
	r.RemoteAddr = "192.0.2.1:4"
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func TestClientCertificates(t *testing.T) {
	tomorrow := time.Now().Add(24 * time.Hour)
	on := setup{certificates: true}
	for _, c := range []struct {
		name  string
		setup setup
		r     *http.Request
		code  int
		by    string
	}{
		{"verified", on, certified([]string{"app.example.com"}, tomorrow), 200, "by=certificate credential=app.example.com"},
		{"off", setup{}, certified([]string{"app.example.com"}, tomorrow), 401, ""},
		{"expired meanwhile", on, certified([]string{"app.example.com"}, time.Now().Add(-time.Second)), 401, ""},
		{"named", setup{certificates: true, names: []string{"x", "app.example.com"}}, certified([]string{"first", "app.example.com"}, tomorrow), 200, "credential=app.example.com"},
		{"named by URI", setup{certificates: true, names: []string{"spiffe://example.com/app"}}, certified(nil, tomorrow), 200, "credential=spiffe://example.com/app"},
		{"named by address", setup{certificates: true, names: []string{"192.0.2.7"}}, certified(nil, tomorrow), 200, "credential=192.0.2.7"},
		{"another name", setup{certificates: true, names: []string{"x"}}, certified([]string{"app.example.com"}, tomorrow), 401, ""},
		{"its common name is no name", setup{certificates: true, names: []string{"evil.example"}}, certified([]string{"app.example.com"}, tomorrow), 401, ""},
		{"a browser's, for another site's page", on, certified([]string{"me"}, tomorrow, "Sec-Fetch-Site: cross-site"), 403, ""},
		{"with a wrong token", on, certified([]string{"app.example.com"}, tomorrow, "Authorization: Bearer x"), 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, c.setup)
			w := httptest.NewRecorder()
			f.ServeHTTP(w, c.r)
			if w.Code != c.code || !strings.Contains(f.log.String(), c.by) {
				t.Errorf("%d %s\n%s", w.Code, w.Body, f.log)
			}
		})
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{rate: 10, admin: []config.Secret{adminToken, "other"}})
		ask := func(token string) *httptest.ResponseRecorder {
			return f.do("GET", statusPath, "", "Authorization: Bearer "+token)
		}
		for i := range 10 {
			if w := ask(adminToken); w.Code != 200 {
				t.Fatalf("number %d: %d", i+1, w.Code)
			}
		}
		if w := ask(adminToken); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("number 11: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		if w := ask("other"); w.Code != 200 {
			t.Errorf("another token: %d", w.Code)
		}
		time.Sleep(100 * time.Millisecond)
		if w := ask(adminToken); w.Code != 200 {
			t.Errorf("a tenth of a second later: %d", w.Code)
		}
		if w := ask(adminToken); w.Code != 429 {
			t.Errorf("and again: %d", w.Code)
		}
	})
}

// Wrong credentials of one address are slowed, right ones are heard, and nobody else is concerned.
func TestFailuresAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{admin: []config.Secret{adminToken}})
		ask := func(token, peer string) *httptest.ResponseRecorder {
			return f.do("GET", statusPath, "", "Authorization: Bearer "+token, "Peer: "+peer)
		}
		for i := range maxFailures {
			if w := ask("wrong", fmt.Sprintf("192.0.2.1:%d", i+1)); w.Code != 401 {
				t.Fatalf("number %d: %d", i+1, w.Code)
			}
		}
		before := strings.Count(f.log.String(), "level=WARN")
		if w := ask("wrong", "192.0.2.1:99"); w.Code != 429 || w.Header().Get("Retry-After") != "3" {
			t.Errorf("one more: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		if after := strings.Count(f.log.String(), "level=WARN"); after != before {
			t.Error("whoever is slowed fills the log")
		}
		if w := ask(adminToken, "192.0.2.1:99"); w.Code != 200 {
			t.Errorf("the right one: %d", w.Code)
		}
		if w := ask("wrong", "192.0.2.2:99"); w.Code != 401 {
			t.Errorf("another address: %d", w.Code)
		}
		time.Sleep(3 * time.Second)
		if w := ask("wrong", "192.0.2.1:99"); w.Code != 401 {
			t.Errorf("3 s later: %d", w.Code)
		}
	})
}

func TestBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuckets(1, 1)
		for i := range 2 * maxBuckets {
			b.take(fmt.Sprint(i))
		}
		if len(b.all) > maxBuckets+1 {
			t.Errorf("%d buckets", len(b.all))
		}
		if b.take("new") == 0 {
			t.Error("those for whom there is no room do not share")
		}
		time.Sleep(2 * time.Second)
		if b.take("new") != 0 || len(b.all) != 1 {
			t.Errorf("buckets are not forgotten: %d", len(b.all))
		}
	})
}

func TestAddressOf(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[::1]:5": "::1",
		"[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64", "@": "@",
	} {
		if got := addressOf(peer); got != want {
			t.Errorf("%s: %s, want %s", peer, got, want)
		}
	}
}
