package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A proxy is a web server before rollcall, with TLS, configured as docs/web.md has it.
type proxy struct {
	name  string
	start func(t *testing.T, r *rollcall) (port int)
}

var proxies = []proxy{{"nginx", startNginxProxy}, {"Caddy", startCaddyProxy}}

// over gives the ways in through a proxy at a port.
func over(name string, port int) (bosh, websocket, xmppjs kind) {
	at := func(*rollcall) int { return port }
	bosh = kind{"strophe.js over BOSH through " + name, "", "SCRAM-SHA-256", openStrophe("https://localhost:%d/chat/http-bind", at)}
	websocket = kind{"strophe.js over WebSocket through " + name, "", "SCRAM-SHA-256", openStrophe("wss://localhost:%d/chat/xmpp-websocket", at)}
	xmppjs = kind{"xmpp.js over WebSocket through " + name, "", "SCRAM-SHA-1", openXMPPJS("wss://localhost:%d/chat/xmpp-websocket", at)}
	return bosh, websocket, xmppjs
}

// documented gives what a page of docs/ has in a language, with what is the test's put in: the first that has all of that.
func documented(t *testing.T, page, language string, replace map[string]string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
blocks:
	for _, found := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(b, -1) {
		text := string(found[1])
		for shipped, ours := range replace {
			if !strings.Contains(text, shipped) {
				continue blocks
			}
			text = strings.ReplaceAll(text, shipped, ours)
		}
		return text
	}
	t.Fatalf("docs/%s has nothing in %s with all of %q", page, language, slices.Sorted(maps.Keys(replace)))
	return ""
}

func startNginxProxy(t *testing.T, r *rollcall) int {
	t.Helper()
	port := freePort(t)
	startProgram(t, nginxCommand(t, r, port, ""))
	r.waitProxy(port)
	return port
}

// nginxCommand is nginx with the configuration of docs/web.md, and more locations.
func nginxCommand(t *testing.T, r *rollcall, port int, more string) *exec.Cmd {
	t.Helper()
	nginx := program(t, "nginx", "/usr/sbin/nginx", "nginx")
	dir := t.TempDir()
	text := documented(t, "web.md", "nginx", map[string]string{
		"listen 443 ssl;": fmt.Sprintf("listen 127.0.0.1:%d ssl;", port), "chat.example.com": "localhost",
		"/etc/nginx/fullchain.pem": r.cert, "/etc/nginx/privkey.pem": r.key, "127.0.0.1:5280": fmt.Sprintf("127.0.0.1:%d", r.http),
	})
	text = strings.Replace(text, "server {\n", "server {\n"+more, 1)
	config := filepath.Join(dir, "nginx.conf")
	whole := "daemon off;\nuser root;\npid " + filepath.Join(dir, "pid") + ";\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		whole += kind + "_temp_path " + filepath.Join(dir, kind) + ";\n"
	}
	if os.Getuid() != 0 {
		whole = strings.Replace(whole, "user root;\n", "", 1)
	}
	if err := os.WriteFile(config, []byte(whole+text+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command(nginx, "-e", "stderr", "-p", dir, "-c", config)
}

func startCaddyProxy(t *testing.T, r *rollcall) int {
	t.Helper()
	caddy := program(t, "Caddy", "caddy")
	dir, port := t.TempDir(), freePort(t)
	text := documented(t, "web.md", "caddyfile", map[string]string{
		"chat.example.com {": fmt.Sprintf("https://localhost:%d {\n\ttls %s %s", port, r.cert, r.key),
		"127.0.0.1:5280":     fmt.Sprintf("127.0.0.1:%d", r.http),
	})
	config := filepath.Join(dir, "Caddyfile")
	global := "{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system " + dir + "\n}\n"
	if err := os.WriteFile(config, []byte(global+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddy, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	startProgram(t, cmd)
	r.waitProxy(port)
	return port
}

// web is a client of a proxy, which has the test's certificate.
func (r *rollcall) web() *http.Client {
	r.t.Helper()
	pem, err := os.ReadFile(r.ca)
	if err != nil {
		r.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// waitProxy waits until rollcall answers through a proxy: 405, for a GET.
func (r *rollcall) waitProxy(port int) {
	r.t.Helper()
	client := r.web()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := client.Get(fmt.Sprintf("https://localhost:%d/chat/http-bind", port))
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusMethodNotAllowed {
				return
			}
			err = fmt.Errorf("status %s", res.Status)
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("the proxy does not answer: %v", err)
		}
	}
}

// A contact list, a change of it, presence and a chat, through each proxy and both transports.
func TestProxies(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			r := start(t, "john", "marie")
			port := p.start(t, r)
			bosh, websocket, xmppjs := over(p.name, port)
			plain := kind{"strophe.js over BOSH with PLAIN", "", "PLAIN", openStrophe("https://localhost:%d/chat/http-bind",
				func(*rollcall) int { return port }, "SASLPlain")}
			for i, pair := range [][2]kind{{bosh, websocket}, {bosh, plain}, {xmppjs, bosh}} {
				john, marie := friends(t, r, pair[0], pair[1])
				john.says("Hello, Marie", marie)
				marie.says("Bonjour ! <b>&amp;</b> ]]> \U0001F44B\n\ttwo lines", john)
				name, anna := fmt.Sprintf("Marie Curie %d", i), fmt.Sprintf("anna%d@localhost", i)
				r.change("john", fmt.Sprintf(`{"marie@localhost": {"name": "%s", "groups": ["Friends"]}, "%s": {"name": "Anna"}}`, name, anna))
				john.pushed(item{JID: "marie@localhost", Name: name, Groups: []string{"Friends"}, Subscription: "both"})
				john.pushed(item{JID: anna, Name: "Anna", Subscription: "both"})
				if got := john.roster(); len(got) != 2 {
					t.Errorf("roster after the change: %v", got)
				}
				marie.quit()
				john.seesGone(marie)
				john.quit()
			}
			r.process.waitOutput(t, regexp.MustCompile(`authenticated.*remote=127\.0\.0\.1 `)) // without a port: the proxy's word
		})
	}
}

// What the proxy says of TLS is believed, and browsers are answered through it.
func TestProxyHeaders(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			r := start(t, "john")
			port := p.start(t, r)
			url := fmt.Sprintf("https://localhost:%d/chat/http-bind", port)
			ask := func(method, origin, spoofed string) (*http.Response, string) {
				body := "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='localhost' ver='1.6'/>"
				req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if origin != "" {
					req.Header.Set("Origin", origin)
				}
				req.Header.Set("X-Forwarded-For", spoofed)
				res, err := r.web().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res, string(b)
			}
			own := fmt.Sprintf("https://localhost:%d", port)
			if res, body := ask("POST", own, "203.0.113.9"); res.StatusCode != 200 || !strings.Contains(body, "<mechanism>PLAIN</mechanism>") ||
				strings.Contains(body, "-PLUS") || res.Header.Get("Access-Control-Allow-Origin") != own {
				t.Errorf("a page of the same site: %s %v %s", res.Status, res.Header, body)
			}
			if res, _ := ask("OPTIONS", own, ""); res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Methods") == "" {
				t.Errorf("preflight: %s %v", res.Status, res.Header)
			}
			if res, body := ask("POST", "https://evil.example", "203.0.113.9"); res.StatusCode != 403 {
				t.Errorf("a page of another site: %s %s", res.Status, body)
			}
			r.process.waitOutput(t, regexp.MustCompile(`BOSH refused.*remote=127\.0\.0\.1`))
			if strings.Contains(r.process.output.String(), "203.0.113.9") {
				t.Error("a client's own X-Forwarded-For was believed")
			}
		})
	}
}

// The server is killed and started again: clients are told that their session is not there, come back and see what has
// changed meanwhile.
func TestRestart(t *testing.T) {
	t.Parallel()
	direct := func(*testing.T, *rollcall) int { return 0 }
	for _, p := range append([]proxy{{"no proxy", direct}}, proxies...) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, "john")
			service := "http://localhost:%d/http-bind"
			port := p.start(t, r)
			if port == 0 {
				port = r.http
			} else {
				service = "https://localhost:%d/chat/http-bind"
			}
			r.service.set("john", `{"marie@localhost": {"name": "Marie"}}`)
			john := open(t, "john", r.strophe(), map[string]any{
				"jid": "john@localhost", "password": password, "service": fmt.Sprintf(service, port), "reconnect": true,
			})
			for i := range 3 {
				john.wait("the end of its sign-in", func(e event) bool { return e.Event == "online" })
				name := fmt.Sprintf("Marie %d", i)
				r.change("john", fmt.Sprintf(`{"marie@localhost": {"name": "%s"}}`, name))
				if got := john.roster()["marie@localhost"].Name; got != name {
					t.Errorf("John's Marie is called %q, want %q", got, name)
				}
				john.settle()
				if i == 2 {
					break
				}
				r.kill()
				r.run()
				// Its library tries again: at once, and 8 seconds later.
				e := john.wait("the end of its session", func(e event) bool { return e.Event == "stream-error" })
				if e.Condition != "item-not-found" {
					t.Errorf("stream error %s, want item-not-found", e.Condition)
				}
			}
			john.quit()
		})
	}
}
