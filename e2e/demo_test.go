package e2e

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// The README's first command: `rollcall demo` prints one URL, and the page there is what the README says. Screenshots go
// to artifacts/; with UPDATE_SCREENSHOT=1 the README's own is replaced.
func TestDemo(t *testing.T) {
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

	url := startDemo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	visit := exec.CommandContext(ctx, nodejs, "clients/demo.mjs", url, chromium, artifacts)
	out, err := visit.CombinedOutput()
	t.Logf("the visit to %s:\n%s", url, out)
	if err != nil {
		t.Fatalf("the visit failed: %v", err)
	}

	shot, err := os.ReadFile(filepath.Join(artifacts, "demo.png"))
	if err != nil {
		t.Fatal(err)
	}
	size, err := png.DecodeConfig(bytes.NewReader(shot))
	if err != nil || size.Width != 1400 || size.Height != 900 {
		t.Errorf("the screenshot is %dx%d (%v), want 1400x900", size.Width, size.Height, err)
	}
	if os.Getenv("UPDATE_SCREENSHOT") == "1" {
		if err := os.WriteFile(filepath.Join("..", "docs", "demo.png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var demoURL = regexp.MustCompile(`http://\S+`)

// startDemo runs `rollcall demo` and returns the URL that it prints.
func startDemo(t *testing.T) string {
	t.Helper()
	p := startProcess(t, exec.Command(binary, "demo"))
	return p.waitOutput(t, demoURL)
}
