package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
	"rollcall/internal/server"
	"rollcall/rosterapi"
)

// TestCredentialsOverHTTPS asks a whole server, over real connections, with a client certificate, a signature, both of
// the wrong kind, and nothing; and for its metrics.
func TestCredentialsOverHTTPS(t *testing.T) {
	const secret = config.Secret("whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5")
	dir := t.TempDir()
	own, ca, other := certtest.New(t, "localhost"), certtest.NewCA(t, "ours"), certtest.NewCA(t, "another")
	own.Write(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "clients.pem"), ca.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), fmt.Appendf(nil, `
data_dir = ""
listen = { c2s = "", http = "127.0.0.1:0", https = "127.0.0.1:0" }
tls = { cert = "cert.pem", key = "key.pem" }
[admin]
webhook_secret = %q
client_ca = "clients.pem"
client_names = ["app.example.com"]
[[host]]
name = "localhost"
auth.method = "anonymous"
roster.url = "http://127.0.0.1:1/%%s"
`, string(secret)))
	if err != nil {
		t.Fatal(err)
	}
	var log buffer
	s := start(t, cfg, slog.New(slog.NewTextHandler(&log, nil)))

	const body = `["john"]`
	ask := func(method, path, body string, cert *tls.Certificate, headers http.Header) (int, string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			ServerName: "localhost", RootCAs: own.Pool(),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if cert == nil {
					return &tls.Certificate{}, nil
				}
				return cert, nil
			},
		}}}
		r, err := http.NewRequest(method, "https://"+s.Addr("https").String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if headers != nil {
			r.Header = headers
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	sign := func(id string) http.Header {
		now := time.Now()
		sig, err := admin.Sign(secret, id, now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {sig}}
	}
	good := ca.Issue(t, x509.ExtKeyUsageClientAuth, "app.example.com")
	unnamed := ca.Issue(t, x509.ExtKeyUsageClientAuth, "somebody.example.com")
	foreign := other.Issue(t, x509.ExtKeyUsageClientAuth, "app.example.com")
	for _, c := range []struct {
		name         string
		method, path string
		cert         *tls.Certificate
		headers      http.Header
		code         int // 0: the handshake fails
	}{
		{"certificate", "POST", "/roster_admin/refresh", &good, nil, 200},
		{"certificate, metrics", "GET", "/metrics", &good, nil, 200},
		{"certificate of somebody else", "POST", "/roster_admin/refresh", &unnamed, nil, 401},
		{"certificate of another CA", "POST", "/roster_admin/refresh", &foreign, nil, 0},
		{"signature", "POST", "/roster_admin/refresh", nil, sign("m1"), 200},
		{"signature, again", "POST", "/roster_admin/refresh", nil, sign("m1"), 401},
		{"nothing", "POST", "/roster_admin/refresh", nil, nil, 401},
		{"nothing, metrics", "GET", "/metrics", nil, nil, 401},
		{"nothing, health", "GET", "/healthz", nil, nil, 200},
	} {
		if code, answer := ask(c.method, c.path, body, c.cert, c.headers); code != c.code {
			t.Errorf("%s: %d %s, want %d", c.name, code, answer, c.code)
		}
	}
	for _, want := range []string{"by=certificate credential=app.example.com", "by=signature credential=admin.webhook_secret"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log.String())
		}
	}
}

// TestRosterAPIAgrees lets the client of rosterapi, which signs, speak with a whole server that asks nobody.
func TestRosterAPIAgrees(t *testing.T) {
	const secret = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"
	cfg, err := config.Parse("test", fmt.Appendf(nil, "data_dir = ''\nlisten.c2s = ''\n[[host]]\nname = 'localhost'\n"+
		"auth.method = 'anonymous'\nadmin_webhook_secret = '%s'\n", secret))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg, slog.New(slog.DiscardHandler))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := &rosterapi.Client{URL: "http://" + s.Addr("http").String(), Secret: secret, HTTP: &http.Client{Transport: transport}}

	status := func(err error) int {
		var refused *rosterapi.Error
		if errors.As(err, &refused) {
			return refused.Status
		}
		return 0
	}
	if _, err := c.Get(t.Context(), "john"); status(err) != 404 {
		t.Errorf("get of nothing: %v", err)
	}
	if _, err := c.Patch(t.Context(), "john", rosterapi.Patch{"marie@localhost": nil}); status(err) != 409 {
		t.Errorf("patch of nothing: %v", err)
	}
	put, err := c.Put(t.Context(), "john", rosterapi.Roster{"marie@localhost": {Name: "Marie"}, "a b@localhost": {}})
	if err != nil || put.Users["john"].Added != 1 || len(put.Users["john"].Dropped) != 1 {
		t.Fatalf("put: %+v, %v", put, err)
	}
	copied, err := c.Get(t.Context(), "john")
	if err != nil || copied.Version != put.Users["john"].Version || copied.Roster["marie@localhost"].Name != "Marie" || copied.Source != "put" {
		t.Errorf("get: %+v, %v", copied, err)
	}
	if _, err := c.Put(t.Context(), "john", rosterapi.Roster{}, rosterapi.IfVersion("another")); status(err) != 412 {
		t.Errorf("another version: %v", err)
	}
	if r, err := c.Patch(t.Context(), "john", rosterapi.Patch{"marie@localhost": nil}, rosterapi.IfVersion(copied.Version)); err != nil || r.Users["john"].Removed != 1 {
		t.Errorf("this version: %+v, %v", r, err)
	}
	many, err := c.PatchMany(t.Context(), map[string]rosterapi.Patch{"john": {"aaron@localhost": &rosterapi.ItemPatch{}}, "nobody": {}})
	if err == nil || many.Updated != 1 || many.Errors != 1 || many.Users["nobody"].Result != rosterapi.Failed {
		t.Errorf("many: %+v, %v", many, err)
	}
	if r, err := c.Confirm(t.Context(), "john"); err != nil || r.Users["john"].Result != rosterapi.Unchanged {
		t.Errorf("confirm: %+v, %v", r, err)
	}
	if r, err := c.Notify(t.Context(), "john"); err == nil || r.Errors != 1 || !strings.Contains(err.Error(), "no roster.url") {
		t.Errorf("notify: %+v, %v", r, err)
	}
}

// A CA file that has none is an error of that key.
func TestClientCAThatIsNone(t *testing.T) {
	dir := t.TempDir()
	certtest.New(t, "localhost").Write(t, dir)
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), []byte("data_dir = ''\nlisten.https = '127.0.0.1:0'\n"+
		"tls = { cert = 'cert.pem', key = 'key.pem' }\nadmin.client_ca = 'missing.pem'\n"+
		"[[host]]\nname = 'localhost'\nauth.method = 'anonymous'\nroster.url = 'http://127.0.0.1:1/%s'\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.New(t.Context(), cfg, server.Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "rollcall.toml:4:1: admin.client_ca: ") {
		t.Errorf("%v", err)
	}
}

type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
