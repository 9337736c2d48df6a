package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A container is one that systemd runs in as the first process, with rollcall and its unit installed; systemd/container.sh makes
// it. Nothing of it is on this machine's disk, or in its network.
type container struct {
	t     *testing.T
	group string // its control group
	pid   string // of systemd, as seen from here
}

// startContainer makes a container, which ends with the test, however that ends.
func startContainer(t *testing.T, program, unit string) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "a container with systemd, which takes root,")
	}
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		missing(t, "systemd")
	}
	unit, err := filepath.Abs(unit)
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, group: fmt.Sprintf("rollcall-e2e-systemd-%d", os.Getpid())}
	keeper := exec.Command("sh", "systemd/container.sh", "keep", c.group, program, unit)
	p := &process{cmd: keeper, output: &log{news: make(chan struct{})}, exited: make(chan struct{})}
	keeper.Stdout, keeper.Stderr = p.output, p.output
	in, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = keeper.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		if t.Failed() && c.pid != "" {
			out, _ := c.command("journalctl", "--no-pager").CombinedOutput()
			t.Logf("the journal:\n%s", out)
		}
		in.Close()
		if <-p.exited; t.Failed() || p.err != nil {
			t.Errorf("the container ended with %v, and said:\n%s", p.err, p.output)
		}
	})
	said := p.waitOutput(t, regexp.MustCompile(`pid \d+|not made`))
	if said == "not made" {
		t.Log(p.output)
		missing(t, "what a container is made of (namespaces, mounts, control groups)")
	}
	c.pid = strings.TrimPrefix(said, "pid ")
	until(t, "systemd has started", func() bool {
		out, _ := c.command("systemctl", "is-system-running").Output() // the exit status says whether all is well, too
		return slices.Contains([]string{"running\n", "degraded\n"}, string(out))
	})
	return c
}

// command is a command that is to run in the container.
func (c *container) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", c.pid, "-m", "-u", "-i", "-n", "-p", "-C", "--"}, args...)...)
}

// run runs a command in the container, and gives what it says.
func (c *container) run(args ...string) string {
	c.t.Helper()
	out, err := c.command(args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// file is the name by which a file of the container is known here.
func (c *container) file(name string) string { return filepath.Join("/proc", c.pid, "root", name) }

// listen opens a port in the container's network, for somebody here.
func (c *container) listen() net.Listener {
	c.t.Helper()
	type opened struct {
		net.Listener
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // for good: the thread, which is in the other network, ends with the goroutine
		ns, err := os.Open(filepath.Join("/proc", c.pid, "ns", "net"))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		done <- opened{l, err}
	}()
	o := <-done
	if o.err != nil {
		c.t.Fatal(o.err)
	}
	return o.Listener
}

// journal waits until the unit has said something so many times.
func (c *container) journal(what string, times int) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("the journal has %q %d times", what, times), func() bool {
		return strings.Count(c.run("journalctl", "--no-pager", "-o", "cat", "-u", "rollcall"), what) >= times
	})
}

// property gives one of the unit's properties.
func (c *container) property(name string) string {
	c.t.Helper()
	return c.run("systemctl", "show", "--value", "-p", name, "rollcall")
}

// write writes a file of the container, which belongs to root and which the group of the server may read.
func (c *container) write(name, text string) {
	c.t.Helper()
	path := c.file(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o640)); err != nil {
		c.t.Fatal(err)
	}
	c.run("chown", "root:rollcall", name)
}

// main gives the number that the unit's process, of which there is one, has here.
func (c *container) main() string {
	c.t.Helper()
	for _, hierarchy := range []string{"", "systemd"} {
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", hierarchy, c.group, "system.slice/rollcall.service/cgroup.procs"))
		if pids := strings.Fields(string(b)); err == nil && len(pids) == 1 {
			return pids[0]
		}
	}
	c.t.Fatal("the unit does not have one process")
	return ""
}
