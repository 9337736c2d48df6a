package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// consoleToken is what the operator types in.
const consoleToken = "canary-console"

// The console, used as an operator would in Chromium, with real clients online and an application that does what the
// visit asks for. Screenshots go to artifacts/; with UPDATE_SCREENSHOT=1 that of docs/console.md is replaced.
func TestConsole(t *testing.T) {
	t.Parallel()
	chromium := program(t, "Chromium", "chromium", "chromium-browser", "google-chrome")
	nodejs := node(t)
	artifacts, err := filepath.Abs(filepath.Join("..", "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}

	users := []string{"alice", "bob", "carol", "dave"}
	service := startService(t)
	for _, u := range users {
		service.set(u, consoleRoster(u))
	}
	r := startWith(t, fmt.Sprintf("[admin]\ntoken = %q\n", consoleToken), service.rosterURL(), users...)
	for i, u := range []string{"alice", "bob", "carol", "alice"} {
		c := []kind{xmppjsWSS, xmppjsTLS, xmppjsSTARTTLS, xmppjsTLS}[i].signIn(t, r, u)
		c.roster()
		c.available("")
	}
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch strings.TrimPrefix(q.URL.Path, "/") {
		case "rename": // and forget to say so
			service.set("alice", strings.Replace(consoleRoster("alice"), "Bob Okafor", "Robert Okafor", 1))
		case "mischief":
			service.set("bob", `{"eve@localhost": {"name": "<img src=x onerror=\"document.title='XSS'\"><script>document.title='XSS'</script>", "groups": ["<b>bold</b>"]}}`)
		case "lose": // nearly everybody at once
			service.set("carol", `{"alice@localhost": {"name": "Alice Moreau"}}`)
		case "fail":
			service.fail(answer{http.StatusServiceUnavailable, "text/html", "<script>document.title='XSS'</script>"})
		case "recover":
			service.recover()
		default:
			http.NotFound(w, q)
		}
	}))
	defer application.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	visit := exec.CommandContext(ctx, nodejs, "clients/console.mjs",
		fmt.Sprintf("http://127.0.0.1:%d", r.http), application.URL, consoleToken, chromium, artifacts)
	out, err := visit.CombinedOutput()
	t.Logf("the visit:\n%s", out)
	if err != nil {
		t.Fatalf("the visit failed: %v", err)
	}
	if strings.Contains(r.process.output.String(), consoleToken) {
		t.Error("the token is in the server's log")
	}

	shot, err := os.ReadFile(filepath.Join(artifacts, "console.png"))
	if err != nil {
		t.Fatal(err)
	}
	size, err := png.DecodeConfig(bytes.NewReader(shot))
	if err != nil || size.Width != 1400 || size.Height != 900 {
		t.Errorf("the screenshot is %dx%d (%v), want 1400x900", size.Width, size.Height, err)
	}
	if os.Getenv("UPDATE_SCREENSHOT") == "1" {
		if err := os.WriteFile(filepath.Join("..", "docs", "console.png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// consoleRoster is what a user's contacts are at first: everybody else, and for carol many more.
func consoleRoster(user string) string {
	people := map[string][2]string{
		"alice": {"Alice Moreau", "Work"}, "bob": {"Bob Okafor", "Work"}, "carol": {"Carol Lindqvist", "Climbing"}, "dave": {"Dave Tanaka", "Band"},
	}
	var items []string
	for name, p := range people {
		if name != user {
			items = append(items, fmt.Sprintf(`"%s@localhost": {"name": %q, "groups": [%q]}`, name, p[0], p[1]))
		}
	}
	if user == "carol" {
		for i := range 40 {
			items = append(items, fmt.Sprintf(`"patient%d@localhost": {"name": "Patient %d", "groups": ["Ward"]}`, i, i))
		}
	}
	if user == "alice" {
		items = append(items, `"not an address@": {}`)
	}
	return "{" + strings.Join(items, ", ") + "}"
}
