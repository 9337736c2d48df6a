package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
	"rollcall/internal/server"
)

// serve runs a server with a configuration until the test ends; its listeners are on loopback, whatever text says.
func serve(t *testing.T, text string) *server.Server {
	t.Helper()
	cfg, err := config.Parse("test", fmt.Appendf(nil, "data_dir = %q\n%s", t.TempDir(), text))
	if err != nil {
		t.Fatal(err)
	}
	return start(t, cfg, slog.New(slog.DiscardHandler))
}

// start runs a server until the test ends; its listeners are on free ports of loopback, whatever the configuration says.
func start(t *testing.T, cfg *config.Config, log *slog.Logger) *server.Server {
	t.Helper()
	s, err := server.New(t.Context(), cfg, server.Options{
		Log: log, Version: "test", LeaveMemory: true,
		Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return s
}

// ask sends a GET with a Host header and returns status and body.
func ask(t *testing.T, s *server.Server, host, path string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Addr("http").String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func hosts(lines ...string) string {
	text := ""
	for _, l := range lines {
		text += "[[host]]\nroster.url = 'http://127.0.0.1:1/%s'\n" + l + "\n"
	}
	return text
}

func TestHostMeta(t *testing.T) {
	const path = "/.well-known/host-meta.json"
	for _, c := range []struct {
		name, config, host string
		code               int
		want               string
	}{
		{"one host, by any name", hosts("name = 'a.example'"), "proxy.example:81", 200, "ws://proxy.example:81/xmpp-websocket"},
		{"its own name", hosts("name = 'a.example'"), "a.example", 200, "ws://a.example/xmpp-websocket"},
		{"an address", hosts("name = 'a.example'"), "[::1]:5280", 200, "ws://[::1]:5280/xmpp-websocket"},
		{"several hosts", hosts("name = 'a.example'", "name = 'b.example'"), "B.example:5280", 200, "ws://B.example:5280/xmpp-websocket"},
		{"none of several", hosts("name = 'a.example'", "name = 'b.example'"), "c.example", 404, ""},
		{"public_url", "http.public_url = 'https://{host}/chat/'\n" + hosts("name = 'a.example'", "name = 'b.example'"), "b.example", 200,
			"wss://b.example/chat/xmpp-websocket"},
		{"sign-in needs TLS", "listen.http = ':1'\nadmin.token = 'x'\n" + hosts("name = 'a.example'"), "a.example", 404, ""},
		{"sign-in needs TLS, and there is some", "listen.http = ':1'\nadmin.token = 'x'\nhttp.public_url = 'https://a.example'\n" + hosts("name = 'a.example'"),
			"a.example", 200, "wss://a.example/xmpp-websocket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.config)
			code, body := ask(t, s, c.host, path)
			if code != c.code || !strings.Contains(body, `"href":"`+c.want) && c.code == 200 || strings.Contains(body, `xbosh","href":"`) != (c.code == 200 && c.want != "") {
				t.Errorf("%d %s", code, body)
			}
		})
	}
}

func TestFilesOfEachHost(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/index.html", "a/only-a", "b/index.html"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("this is "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, hosts(
		fmt.Sprintf("name = 'a.example'\nfiles.dir = %q\nfiles.path = '/'", dir+"/a"),
		fmt.Sprintf("name = 'b.example'\nfiles.dir = %q\nfiles.path = '/'", dir+"/b"),
		fmt.Sprintf("name = 'c.example'\nfiles.dir = %q", dir+"/a"),
		"name = 'd.example'"))
	for _, c := range []struct {
		host, path, want string
		code             int
	}{
		{"a.example", "/", "this is a/index.html", 200},
		{"b.example", "/", "this is b/index.html", 200},
		{"a.example:5280", "/only-a", "this is a/only-a", 200},
		{"b.example", "/only-a", "404", 404},
		{"c.example", "/files/only-a", "this is a/only-a", 200},
		{"c.example", "/", "404", 404},
		{"d.example", "/files/", "404", 404},
		{"other.example", "/", "404", 404},
		{"a.example", "/healthz", `"status":"ok"`, 200},       // not hidden by a folder at /
		{"a.example", "/.well-known/host-meta", "<XRD ", 200}, //
		{"a.example", "/console/", "<!doctype html>", 200},    //
		{"a.example", "/admin/nothing", `"status":"error"`, 404},
	} {
		if code, body := ask(t, s, c.host, c.path); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s%s: %d %s", c.host, c.path, code, body)
		}
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	cfg, err := config.Parse("test", []byte("data_dir = ''\n"+hosts("name = 'localhost'\nauth.method = 'open'\nfiles.dir = '/nonexistent/www'")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.New(t.Context(), cfg, server.Options{Log: slog.New(slog.DiscardHandler)})
	if want := "test:6:1: host.files.dir: no files can be served: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}

// The https listener speaks HTTP/2 and uses a renewed certificate for the next connection.
func TestHTTPS(t *testing.T) {
	dir := t.TempDir()
	first, second := certtest.New(t, "localhost"), certtest.New(t, "localhost")
	cert, key := first.Write(t, dir)
	s := serve(t, fmt.Sprintf("listen.https = '127.0.0.1:1'\ntls = { cert = %q, key = %q }\n", cert, key)+hosts("name = 'localhost'"))
	roots := x509.NewCertPool()
	roots.AddCert(first.Leaf)
	roots.AddCert(second.Leaf)
	get := func() *http.Response {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.Addr("https").String()+"/.well-known/host-meta", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost"
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(b), `href="wss://localhost/xmpp-websocket"`) {
			t.Errorf("%s, %v\n%s", resp.Status, err, b)
		}
		return resp
	}
	if resp := get(); resp.ProtoMajor != 2 || !resp.TLS.PeerCertificates[0].Equal(first.Leaf) {
		t.Errorf("%s with the certificate %v", resp.Proto, resp.TLS.PeerCertificates[0].SerialNumber)
	}
	second.Write(t, dir)
	later := time.Now().Add(time.Hour)
	for _, name := range []string{cert, key} { // whatever the file system's clock makes of the same moment
		if err := os.Chtimes(name, later, later); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // the store looks every two seconds
		if get().TLS.PeerCertificates[0].Equal(second.Leaf) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the renewed certificate is not used")
		}
	}
}
