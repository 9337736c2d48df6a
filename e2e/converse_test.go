package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Converse.js as it comes from npm, in Chromium, on a page that nginx serves beside rollcall: over BOSH and over
// WebSocket. What the page does is in clients/converse.mjs; what the application and the network do, it asks for here.
func TestConverse(t *testing.T) {
	chromium := program(t, "Chromium", "chromium", "chromium-browser", "google-chrome")
	nodejs := node(t)
	dist := filepath.Join("converse", "dist")
	if _, err := os.Stat(filepath.Join(dist, "converse.min.js")); err != nil {
		missing(t, "Converse.js")
	}
	artifacts, err := filepath.Abs(filepath.Join("..", "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"bosh", "websocket"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			users := []string{"alice", "bob"}
			r := start(t, users...)
			site := startSite(t, r, dist)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			visit := exec.CommandContext(ctx, nodejs, "clients/converse.mjs",
				fmt.Sprintf("https://localhost:%d", site.port), site.control.URL, transport, password, chromium, artifacts)
			out, err := visit.CombinedOutput()
			t.Logf("the visit:\n%s", out)
			if err != nil {
				t.Fatalf("the visit failed: %v", err)
			}
		})
	}
}

// A site is a web application with Converse.js on its page: nginx before it and before rollcall.
type site struct {
	t       *testing.T
	r       *rollcall
	port    int
	nginx   *exec.Cmd
	proxy   *process
	control *httptest.Server // what the test's page may have done to the world
}

func startSite(t *testing.T, r *rollcall, dist string) *site {
	t.Helper()
	s := &site{t: t, r: r}
	application := http.NewServeMux()
	application.Handle("/dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	application.HandleFunc("/{$}", func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, conversePage)
	})
	application.HandleFunc("/credentials", func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"jid": q.URL.Query().Get("user") + "@localhost", "password": password})
	})
	app := httptest.NewServer(application)
	t.Cleanup(app.Close)
	s.port = freePort(t)
	s.nginx = nginxCommand(t, r, s.port, fmt.Sprintf("location / { proxy_pass %s; }\n", app.URL))
	s.connect()
	s.control = httptest.NewServer(http.HandlerFunc(s.do))
	t.Cleanup(s.control.Close)
	return s
}

// connect starts nginx; disconnect ends it, and with it every connection.
func (s *site) connect() {
	cmd := exec.Command(s.nginx.Path, s.nginx.Args[1:]...)
	s.proxy = startProgram(s.t, cmd)
	s.r.waitProxy(s.port)
}

func (s *site) disconnect() {
	s.proxy.terminate(s.t)
	<-s.proxy.exited
}

// do has happen what the path says; the body is a roster where one is needed.
func (s *site) do(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	what, user, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/"), "/")
	switch what {
	case "set": // and forget to say so
		s.r.service.set(user, string(body))
	case "notify":
		s.r.notify(user)
	case "change":
		s.r.change(user, string(body))
	case "patch":
		s.r.patch(user, string(body))
	case "fail":
		s.r.service.fail(answer{http.StatusServiceUnavailable, "text/html", "down"})
	case "recover":
		s.r.service.recover()
	case "kill":
		s.r.kill()
	case "run":
		s.r.run()
	case "disconnect":
		s.disconnect()
	case "connect":
		s.connect()
	default:
		http.NotFound(w, q)
	}
}

// patch sends a merge patch of a user's roster.
func (r *rollcall) patch(user, patch string) {
	r.t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/roster_admin/rosters/%s", r.http, user)
	req, err := http.NewRequest("PATCH", url, strings.NewReader(patch))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/merge-patch+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("PATCH %s: %s %s %v", url, resp.Status, b, err)
	}
}

// conversePage is the page of docs/converse.md, with settings that the test's address has.
const conversePage = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Chat</title>
  <link rel="stylesheet" href="/dist/converse.min.css">
</head>
<body>
<converse-root></converse-root>
<script type="module">
  import "/dist/converse.min.js";
  const converse = window.converse;
  const at = new URL(location.href).searchParams;
  converse.plugins.add("probe", { initialize() { window.probe = this._converse; } });
  const signIn = at.has("credentials")
    ? { credentials_url: "/credentials?user=" + at.get("user") }
    : { jid: at.get("user") + "@localhost", password: at.get("password") };
  const transport = at.get("transport") === "bosh"
    ? { bosh_service_url: "https://" + location.host + "/chat/http-bind" }
    : { websocket_url: "wss://" + location.host + "/chat/xmpp-websocket" };
  converse.initialize({
    ...signIn,
    ...transport,
    auto_login: true,
    auto_reconnect: true,
    discover_connection_methods: false,
    allow_contact_requests: false,
    allow_contact_removal: false,
    enable_roster_versioning: true,
    authentication: "login",
    assets_path: "/dist/",
    view_mode: "fullscreen",
    persistent_store: "localStorage",
    clear_cache_on_logout: false,
    show_controlbox_by_default: true,
    auto_away: 0,
    theme: "classic",
    loglevel: "error",
    blacklisted_plugins: ["converse-omemo", "converse-omemo-views"],
    whitelisted_plugins: ["probe"],
  });
</script>
</body>
</html>
`
