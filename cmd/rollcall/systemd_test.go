package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestSupervised(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "2000")
	said := func() string {
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	wait := supervised(ctx, ready, slog.New(slog.DiscardHandler))
	close(ready)
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := said(); got != want {
			t.Fatalf("said %d: %q, want %q", i, got, want)
		}
	}
	cancel()
	for got := said(); got != "STOPPING=1"; got = said() {
		if got != "WATCHDOG=1" {
			t.Fatalf("said %q", got)
		}
	}
	wait()
}

// A server that never was ready says nothing.
func TestSupervisedNotReady(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	ctx, cancel := context.WithCancel(t.Context())
	wait := supervised(ctx, make(chan struct{}), slog.New(slog.DiscardHandler))
	cancel()
	wait()
}

// The unit is one that systemd takes, and lets the server do little beside its work.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit, err := os.ReadFile("../../packaging/rollcall.service")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable() // stands for the program, which is not installed
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rollcall.service")
	text := strings.ReplaceAll(string(unit), "/usr/local/bin/rollcall", self)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), "rollcall.service") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", path).CombinedOutput()
	m := regexp.MustCompile(`exposure level for rollcall.service: ([0-9.]+)`).FindStringSubmatch(string(out))
	if m == nil {
		t.Skipf("security: %v\n%s", err, out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 2 {
		t.Errorf("the exposure is %s, want no more than 2:\n%s", m[1], out)
	}
}
