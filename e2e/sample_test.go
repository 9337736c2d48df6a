package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The sample config that is shipped starts a server that gets ready and, told to stop, exits with 0. Not in parallel:
// the demo takes the same ports while they are free.
func TestSampleConfig(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join("..", "rollcall.example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	// As it is shipped, where its ports are free; else with other ports.
	text, health := string(sample), 5280
	for key, port := range map[string]int{"c2s": 5222, "http": 5280} {
		if free(port) {
			continue
		}
		other := freePort(t)
		shipped := fmt.Sprintf("#%s = \"127.0.0.1:%d\"", key, port)
		if !strings.Contains(text, shipped) {
			t.Fatalf("port %d is in use, and the sample has no line %s to change", port, shipped)
		}
		t.Logf("port %d is in use: %s is on %d", port, key, other)
		text = strings.Replace(text, shipped, fmt.Sprintf("%s = \"127.0.0.1:%d\"", key, other), 1)
		if key == "http" {
			health = other
		}
	}
	// In a folder of its own, which the database goes beside.
	config := filepath.Join(t.TempDir(), "rollcall.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, exec.Command(binary, "serve", "-c", config))
	p.waitHealthy(t, fmt.Sprintf("http://127.0.0.1:%d/healthz", health))
	p.stop(t)
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
