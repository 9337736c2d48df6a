package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A server whose control group leaves it little memory lets nobody in any more before the kernel takes notice: those who are there
// are served, and others come in when there is memory again. Built without the race detector, whose memory would be what is measured.
func TestMemoryOfTheGroup(t *testing.T) {
	const allowed = 128 << 20
	limits := "stanza_bytes = '6 MiB'"
	enter := `echo $$ >"$0/cgroup.procs" && exec "$@"`
	group, err := memoryGroup(t, allowed)
	if err != nil {
		t.Logf("a control group with bounded memory cannot be made here, so the configuration says it: %v", err)
		limits += fmt.Sprintf(", memory = %d", allowed)
		enter = `exec "$@"`
	}
	r := startOpen(t, "data_dir = ''\nlog.level = 'debug'\nlimits = { "+limits+" }")
	r.process.stop(t)
	in := exec.Command("sh", "-c", enter, group, withoutRace(t), "serve", "-c", r.config)
	in.Env = append(os.Environ(), "GOMEMLIMIT=", "GOGC=")
	r.process = startProcess(t, in)
	r.process.waitHealthy(t, fmt.Sprintf("http://127.0.0.1:%d/healthz", r.http))
	if said := fmt.Sprintf("allowed=%d gomemlimit=%d", allowed, allowed/100*90); !strings.Contains(r.process.output.String(), said) {
		t.Errorf("the log has no %s", said)
	}

	steady, err := dialWire(r.address(), "steady")
	if err != nil {
		t.Fatal(err)
	}
	defer steady.conn.Close()
	if err := steady.bind("x"); err != nil {
		t.Fatal(err)
	}
	var hogs []*wire // each of whom says most of a large stanza
	letGo := func() {
		for _, h := range hogs {
			h.conn.Close()
		}
	}
	defer letGo()
	const short, again = "memory is short", "there is memory again"
	tick := time.NewTicker(time.Second) // twice the time between two looks at the memory
	defer tick.Stop()
	for !strings.Contains(r.process.output.String(), short) {
		if len(hogs)*5<<20 > allowed {
			t.Fatalf("%d clients were let in, and hold more than is allowed", len(hogs))
		}
		hog, err := dialWire(r.address(), fmt.Sprint("hog", len(hogs)))
		if err != nil {
			break // it was refused: what the log says of it is waited for below
		}
		hogs = append(hogs, hog)
		if err := hog.bind("x"); err != nil {
			t.Fatal(err)
		}
		if err := hog.write("<message to='steady@localhost'><body>" + strings.Repeat("x", 5<<20)); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	r.process.waitCount(t, short, 1)
	t.Logf("memory was short with %d clients of 5 MiB each", len(hogs))
	if w, err := dialWire(r.address(), "late"); err == nil {
		w.conn.Close()
		t.Error("another client is let in")
	}
	if status := upgrade(t, r); status != http.StatusServiceUnavailable {
		t.Errorf("over WebSocket another client is answered %d", status)
	}
	steady.echo(t, "there")

	letGo()
	r.process.waitCount(t, again, 1)
	w, err := dialWire(r.address(), "late")
	if err != nil {
		t.Fatalf("with memory again: %v", err)
	}
	w.conn.Close()
	steady.echo(t, "still there")
}

// echo has a message go to the client itself and come back.
func (w *wire) echo(t *testing.T, what string) {
	t.Helper()
	if err := w.write("<iq type='get' id='" + what + "' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := w.next()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n.attr("id") == what {
			return
		}
	}
}

// upgrade asks for a WebSocket, and gives the status.
func upgrade(t *testing.T, r *rollcall) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/xmpp-websocket", r.http), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "xmpp"} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// memoryGroup makes a control group that allows so many bytes, of version 2 or of version 1 (cgroups(7)). Most containers let nobody
// make one.
func memoryGroup(t *testing.T, bytes int) (dir string, err error) {
	t.Helper()
	root, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	dir = filepath.Join(root, fmt.Sprintf("rollcall-e2e-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil { // whoever was in it has ended
			t.Error(err)
		}
	})
	return dir, os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(bytes)), 0o644)
}

// withoutRace builds the server without the race detector.
func withoutRace(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rollcall")
	if out, err := exec.Command("go", "build", "-o", path, "rollcall/cmd/rollcall").CombinedOutput(); err != nil {
		t.Fatal(errors.Join(err, errors.New(string(out))))
	}
	return path
}
