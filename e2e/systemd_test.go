package e2e

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The program tells the service manager (sd_notify(3)) when it is ready, that it is alive, a reload or not, and that it stops; in this
// order.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	r := startOpen(t, "data_dir = ''\nlog.level = 'debug'")
	r.process.stop(t)
	dir, err := os.MkdirTemp("", "rollcall-notify-") // that of a test may be longer than the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	said := func() string {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 200)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatalf("nothing is said: %v", err)
		}
		return string(b[:n])
	}
	alive := func(times int) {
		t.Helper()
		for range times {
			if got := said(); got != "WATCHDOG=1" {
				t.Fatalf("%q is said in place of WATCHDOG=1", got)
			}
		}
	}
	r.env = []string{"NOTIFY_SOCKET=" + socket.Name, "WATCHDOG_USEC=100000"}
	r.run()
	if got := said(); got != "READY=1" {
		t.Errorf("%q is said first", got)
	}
	alive(2)
	if err := r.process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.process.waitCount(t, `msg="configuration read again"`, 1)
	alive(2)
	r.process.terminate(t)
	for got := said(); got != "STOPPING=1"; got = said() {
		if got != "WATCHDOG=1" {
			t.Fatalf("%q is said in place of STOPPING=1", got)
		}
	}
}
