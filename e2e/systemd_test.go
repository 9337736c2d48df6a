package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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

// The unit does what it says under systemd itself, the first process of a container: a start ends when clients may come, a reload takes
// a good configuration and refuses a bad one, a server that is stuck is started again, and a stop is one in good order. Hardened as it
// is, the server does all of its work.
func TestSystemdService(t *testing.T) {
	t.Parallel()
	python := program(t, "slixmpp", filepath.Join(".venv", "bin", "python"))
	c := startContainer(t, withoutRace(t), "../packaging/rollcall.service")
	r := c.serve("john", "marie")
	inside := kind{"slixmpp in the container's network", "TLSv1.3", "SCRAM-SHA-256", func(t *testing.T, r *rollcall, user, password string) *client {
		return open(t, user, exec.Command("nsenter", "-t", c.pid, "-n", "--", python, "clients/slixmpp_client.py"), slixmppOptions(r, true, user, password))
	}}
	john, marie := friends(t, r, inside, inside)
	john.says("Hello", marie)
	confined(t, c)
	memoryOf(t, c)

	text, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, says string) {
		t.Helper()
		c.write(unitConfig, text)
		c.run("systemctl", "reload", "rollcall")
		c.journal(says, 1)
	}
	reload(string(text)+"roster.tiemout = '1s'\n", "did you mean timeout")
	before := r.service
	r.service = startServiceOn(t, c.listen())
	r.service.set("john", `{"marie@localhost": {"name": "Marie of another service"}}`)
	reload(strings.ReplaceAll(string(text), before.URL, r.service.URL), `msg="configuration read again"`)
	c.run("rollcall", "roster", "refresh", "-c", unitConfig, "john@localhost")
	john.pushed(item{JID: "marie@localhost", Name: "Marie of another service", Subscription: "both"})
	marie.says("Still here", john)

	c.run("systemctl", "kill", "--signal=STOP", "rollcall")
	c.journal("Watchdog timeout", 1)
	until(t, "a server that was stuck is started again", func() bool {
		return c.property("NRestarts") == "1" && c.property("ActiveState") == "active"
	})
	john.closed()
	john, marie = friends(t, r, inside, inside)
	john.says("Hello again", marie)

	c.run("systemctl", "stop", "rollcall")
	marie.closed()
	for name, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"} {
		if got := c.property(name); got != want {
			t.Errorf("after a stop %s is %q, want %q", name, got, want)
		}
	}
	if _, err := os.Stat(c.file("/var/lib/rollcall/rollcall.db")); err != nil {
		t.Error(err)
	}
}

const unitConfig = "/etc/rollcall/rollcall.toml"

// serve starts rollcall in the container by its unit, as docs/operations.md has it, but that it counts as stuck after 10 seconds in
// place of 60. The users are added when it runs.
func (c *container) serve(users ...string) *rollcall {
	c.t.Helper()
	r := &rollcall{t: c.t, config: c.file(unitConfig), service: startServiceOn(c.t, c.listen()), certificate: makeCertificate(c.t, c.t.TempDir()), c2sTLS: 5223}
	c.write("/etc/systemd/system/rollcall.service.d/test.conf", "[Service]\nWatchdogSec=10s\n")
	for name, from := range map[string]string{"fullchain.pem": r.cert, "privkey.pem": r.key} {
		b, err := os.ReadFile(from)
		if err != nil {
			c.t.Fatal(err)
		}
		c.write("/etc/rollcall/"+name, string(b))
	}
	c.write(unitConfig, fmt.Sprintf(`data_dir = "/var/lib/rollcall"
log.level = "debug"
listen = { c2s_tls = ":%d" }
tls = { cert = "fullchain.pem", key = "privkey.pem" }

[[host]]
name = "localhost"
auth.method = "accounts"
roster.url = "%s"
`, r.c2sTLS, r.service.rosterURL()))
	c.run("systemctl", "daemon-reload")
	c.run("systemctl", "start", "rollcall")
	for _, user := range users {
		add := c.command("setpriv", "--reuid=rollcall", "--regid=rollcall", "--clear-groups", "rollcall", "user", "add", "-c", unitConfig, user+"@localhost")
		add.Stdin = strings.NewReader(password + "\n")
		if out, err := add.CombinedOutput(); err != nil {
			c.t.Fatalf("rollcall user add %s: %v\n%s", user, err, out)
		}
	}
	return r
}

// confined tells what of the unit's hardening is not in force.
func confined(t *testing.T, c *container) {
	t.Helper()
	proc := filepath.Join("/proc", c.main())
	for file, wants := range map[string][]string{
		"status":    {`CapEff:\t0{16}\n`, `CapBnd:\t0{16}\n`, `NoNewPrivs:\t1\n`, `Seccomp:\t2\n`, `Uid:\t990\t`},
		"mountinfo": {` / / ro`, ` /var/lib/rollcall rw`, ` /sys/fs/cgroup\S* ro`, ` /proc \S+ .*hidepid=\S+.*subset=pid`, ` /tmp rw`},
	} {
		b, err := os.ReadFile(filepath.Join(proc, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !regexp.MustCompile(want).Match(b) {
				t.Errorf("%s has no %q:\n%s", file, want, b)
			}
		}
	}
	// Namespaces that are not those of the container.
	for _, ns := range []string{"mnt", "ipc", "uts", "user"} {
		own, err := os.Readlink(filepath.Join(proc, "ns", ns))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := os.Readlink(filepath.Join("/proc", c.pid, "ns", ns)); err != nil || own == all {
			t.Errorf("the %s namespace of the server is that of everybody: %s, %v", ns, own, err)
		}
	}
}

// memoryOf sees that the server keeps within what systemd allows, which is a part of what the container may have.
func memoryOf(t *testing.T, c *container) {
	t.Helper()
	allowed, err := strconv.Atoi(c.property("MemoryMax"))
	if err != nil {
		t.Fatal(err)
	}
	if want := 512 << 20 / 4 * 3; allowed != want {
		t.Errorf("MemoryMax is %d, want %d", allowed, want)
	}
	c.journal(fmt.Sprintf("allowed=%d gomemlimit=%d", allowed, allowed/100*90), 1)
}
