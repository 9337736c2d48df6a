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
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Converse.js as it comes from npm, in Chromium, on a page that nginx serves beside rollcall: over BOSH and over
// WebSocket, signed in with a password, and by the application, which has a token or a session made (prebind). What the page
// does is in clients/converse.mjs; what the application and the network do, it asks for here.
func TestConverse(t *testing.T) {
	chromium, nodejs, dist, artifacts := converseNeeds(t)
	for _, way := range []struct{ name, transport, signIn string }{
		{"bosh", "bosh", "token"},
		{"websocket", "websocket", "token"},
		{"password", "websocket", "password"},
		{"prebind", "bosh", "prebind"},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			users := []string{"alice", "bob"}
			service := startService(t)
			people := startProfiles(t)
			url := service.rosterURL()
			if way.signIn == "prebind" { // the application has profiles as well
				url += fmt.Sprintf("\"\nprofile.url = \"%s/%%s", people.URL)
			}
			r := startWith(t, fmt.Sprintf("[admin]\ntoken = %q\n", converseToken), url, users...)
			r.service, r.token = service, converseToken
			site := startSite(t, r, dist, way.transport, way.signIn)
			site.profiles = people
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			visit := exec.CommandContext(ctx, nodejs, "clients/converse.mjs",
				fmt.Sprintf("https://localhost:%d", site.port), site.control.URL, way.transport, way.signIn, chromium, artifacts)
			out, err := visit.CombinedOutput()
			t.Logf("the visit:\n%s", out)
			if err != nil {
				t.Fatalf("the visit failed: %v", err)
			}
		})
	}
}

// converseNeeds gives the programs and folders of a visit.
func converseNeeds(t *testing.T) (chromium, nodejs, dist, artifacts string) {
	t.Helper()
	var err error
	chromium = program(t, "Chromium", "chromium", "chromium-browser", "google-chrome")
	nodejs = node(t)
	dist = filepath.Join("converse", "dist")
	if _, err = os.Stat(filepath.Join(dist, "converse.min.js")); err != nil {
		missing(t, "Converse.js")
	}
	artifacts, err = filepath.Abs(filepath.Join("..", "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	if err = os.MkdirAll(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}
	return chromium, nodejs, dist, artifacts
}

// Somebody without an account makes one in Converse.js (XEP-0077), is signed in, and signs in again on another day; a name that is
// taken is said to be.
func TestConverseRegisters(t *testing.T) {
	t.Parallel()
	chromium, nodejs, dist, artifacts := converseNeeds(t)
	for _, transport := range []string{"websocket", "bosh"} {
		t.Run(transport, func(t *testing.T) {
			service := startService(t)
			r := startWith(t, "", service.rosterURL()+"\"\nauth.registration = true\nauth.client_names = \"xmpp", "bob")
			r.service = service
			service.set("alice", "{}")
			site := startSite(t, r, dist, transport, "register")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			visit := exec.CommandContext(ctx, nodejs, "clients/converse_register.mjs",
				fmt.Sprintf("https://localhost:%d", site.port), transport, password, chromium, artifacts)
			out, err := visit.CombinedOutput()
			t.Logf("the visit:\n%s", out)
			if err != nil {
				t.Fatalf("the visit failed: %v", err)
			}
		})
	}
}

// converseToken is what the application has the API believe it by.
const converseToken = "canary-converse"

// A site is a web application with Converse.js on its page: nginx before it and before rollcall.
type site struct {
	t       *testing.T
	r       *rollcall
	port    int
	nginx   *exec.Cmd
	proxy   *process
	control *httptest.Server // what the test's page may have done to the world

	profiles *profileServer
}

// A profileServer is an application's profiles, by user.
type profileServer struct {
	*httptest.Server
	documents sync.Map
}

func startProfiles(t *testing.T) *profileServer {
	p := &profileServer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		doc, ok := p.documents.Load(strings.TrimPrefix(q.URL.Path, "/"))
		if !ok {
			doc = "{}"
		}
		io.WriteString(w, doc.(string))
	}))
	t.Cleanup(p.Close)
	return p
}

func startSite(t *testing.T, r *rollcall, dist, transport, signIn string) *site {
	t.Helper()
	s := &site{t: t, r: r}
	application := http.NewServeMux()
	application.Handle("/dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	s.port = freePort(t)
	page := conversePage(t, fmt.Sprintf("localhost:%d", s.port), transport, signIn)
	application.HandleFunc("/{$}", func(w http.ResponseWriter, q *http.Request) { // whoever comes is who they say
		http.SetCookie(w, &http.Cookie{Name: "user", Value: q.URL.Query().Get("user"), HttpOnly: true, Secure: true})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	})
	user := func(q *http.Request) string {
		c, err := q.Cookie("user")
		if err != nil {
			return ""
		}
		return c.Value
	}
	application.HandleFunc("/credentials", func(w http.ResponseWriter, q *http.Request) {
		answer := map[string]string{"jid": user(q) + "@localhost", "token": password}
		if signIn == "token" {
			answer = s.ask(w, "/admin/tokens", user(q))
		}
		json.NewEncoder(w).Encode(map[string]string{"jid": answer["jid"], "password": answer["token"]})
	})
	application.HandleFunc("/prebind", func(w http.ResponseWriter, q *http.Request) {
		json.NewEncoder(w).Encode(s.ask(w, "/admin/prebind", user(q)))
	})
	app := httptest.NewServer(application)
	t.Cleanup(app.Close)
	s.nginx = nginxCommand(t, r, s.port, fmt.Sprintf("location / { proxy_pass %s; }\n", app.URL))
	s.connect()
	s.control = httptest.NewServer(http.HandlerFunc(s.do))
	t.Cleanup(s.control.Close)
	return s
}

// ask has the API do something for a user and gives what it answers; the page is told as much of it as it needs. While the
// server is not there, neither is an answer.
func (s *site) ask(w http.ResponseWriter, path, user string) (answer map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body := strings.NewReader(fmt.Sprintf(`{"user": %q}`, user))
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", s.r.http, path), body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+s.r.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	w.WriteHeader(resp.StatusCode)
	return answer
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
	case "profile":
		s.profiles.documents.Store(user, string(body))
		status, answer := s.r.tell(http.MethodPost, "/profile_admin/refresh", "application/json", []byte(fmt.Sprintf("[%q]", user)))
		if status != http.StatusOK || !strings.Contains(string(answer), `"updated":1`) {
			http.Error(w, string(answer), http.StatusInternalServerError)
		}
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
	status, answer := r.tell(http.MethodPatch, "/roster_admin/rosters/"+user, "application/merge-patch+json", []byte(patch))
	if status != http.StatusOK {
		r.t.Fatalf("PATCH for %s: %d %s", user, status, answer)
	}
}

// conversePage is the page of docs/converse.md, with the addresses of the test, settings that have it show and keep what the visit
// looks at, and a window to look through.
func conversePage(t *testing.T, host, transport, signIn string) string {
	t.Helper()
	page := documented(t, "converse.md", "html", map[string]string{
		"chat.example.com":         host,
		`["fresh-roster"]`:         `["probe", "fresh-roster"]`,
		"converse.initialize({":    `converse.plugins.add("probe", { initialize() { window.probe = this._converse; } });` + "\n  converse.initialize({",
		`view_mode: "fullscreen",`: `view_mode: "fullscreen",` + converseSettings,
	})
	line := func(has, by string) {
		t.Helper()
		found := regexp.MustCompile("(?m)^.*\\b" + has + ":.*\n").FindString(page)
		if found == "" {
			t.Fatalf("the page of docs/converse.md has no %s", has)
		}
		page = strings.Replace(page, found, by, 1)
	}
	if signIn == "register" {
		line("credentials_url", documented(t, "converse.md", "javascript", map[string]string{"chat.example.com": "localhost"}))
		line("auto_login", "")
	}
	switch {
	case signIn == "prebind":
		line("websocket_url", "")
		line("credentials_url", documented(t, "converse.md", "js", map[string]string{"chat.example.com": host, "prebind_url": "prebind_url"}))
	case transport == "bosh":
		line("websocket_url", "")
		line("bosh_service_url", fmt.Sprintf("    bosh_service_url: \"https://%s/chat/http-bind\",\n", host))
	}
	return "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Chat</title></head>\n<body>\n" + page + "</body>\n</html>\n"
}

const converseSettings = `
    persistent_store: "localStorage",
    clear_cache_on_logout: false,
    show_controlbox_by_default: true,
    auto_away: 0,
    theme: "classic",
    loglevel: "error",
    blacklisted_plugins: ["converse-omemo", "converse-omemo-views"],`
