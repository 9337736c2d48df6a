package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// patience is how long a test waits for an event before it fails. No test measures time: it only has to be longer
// than the slowest machine needs.
const patience = 2 * time.Minute

// binary is the rollcall under test, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv("ROLLCALL_E2E") == "" {
		fmt.Println("e2e: not run; `make e2e` does, or ROLLCALL_E2E=1")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rollcall-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// build makes the binary with the race detector, so that a data race under real clients fails the test that had it.
func build(dir string) error {
	if binary = os.Getenv("ROLLCALL_E2E_BINARY"); binary != "" { // another one, to compare
		return nil
	}
	binary = filepath.Join(dir, "rollcall")
	args := []string{"build", "-o", binary, "rollcall/cmd/rollcall"}
	if os.Getenv("ROLLCALL_E2E_RACE") != "0" {
		args = slices.Insert(args, 1, "-race")
	}
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building rollcall: %w", err)
	}
	return nil
}

// missing skips a test whose client is not installed, or fails it where everything must run.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("REQUIRE_ALL") == "1" || os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and REQUIRE_ALL or CI asks for every client; `make install-tools` installs it", what)
	}
	t.Skipf("%s is not installed; `make install-tools` installs it on Debian", what)
}

// program finds the program that a test needs.
func program(t *testing.T, what string, candidates ...string) string {
	t.Helper()
	for _, c := range candidates {
		if path, err := exec.LookPath(c); err == nil {
			return path
		}
	}
	missing(t, what)
	return ""
}

// node finds Node.js, with the npm packages of package-lock.json beside it.
func node(t *testing.T) string {
	t.Helper()
	path := program(t, "Node.js", "node")
	if _, err := os.Stat(filepath.Join("node_modules", "@xmpp", "client")); err != nil {
		missing(t, "the npm packages of e2e/package-lock.json")
	}
	return path
}
