package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/store/storetest"
)

var kills = flag.Int("kills", 20, "how often TestKilled kills the server")

// startOpen runs a server without TLS, where anybody may sign in; storage is the lines that say where it keeps what it has.
// As much may wait as is said here: a message that is refused at the moment in which the server dies is refused to nobody.
func startOpen(t *testing.T, storage string) *rollcall {
	t.Helper()
	dir := t.TempDir()
	r := &rollcall{t: t, config: filepath.Join(dir, "rollcall.toml"), c2s: freePort(t), http: freePort(t), service: startService(t)}
	text := fmt.Sprintf(`%s
[listen]
c2s  = "127.0.0.1:%d"
http = "127.0.0.1:%d"
[[host]]
name        = "localhost"
auth.method = "open"
roster.url  = "%s"
offline.max_messages = 100000
`, storage, r.c2s, r.http, r.service.rosterURL())
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sender", "managed", "plain", "asleep"} {
		for i := range 10 {
			r.service.set(fmt.Sprint(name, i), "{}")
		}
	}
	r.run()
	return r
}

func (r *rollcall) address() string { return fmt.Sprintf("127.0.0.1:%d", r.c2s) }

// dial connects and signs in, over TLS where the server was started with a certificate.
func (r *rollcall) dial(user string) (*wire, error) {
	if r.ca == "" {
		return dialWire(r.address(), user)
	}
	conn, err := r.dialTLS(r.c2sTLS)
	if err != nil {
		return nil, err
	}
	return signInWire(conn, "localhost", user, password)
}

// A conversation is senders that send numbered messages to everybody, and those who get them: with stream management and
// without, and some who sign in at the end only.
type conversation struct {
	t         *testing.T
	r         *rollcall
	senders   []*talker
	readers   []*talker
	sleepers  []string
	said      map[string]map[string]int // by sender and recipient: how many
	mayRefuse bool
	talking   sync.WaitGroup
	quiet     context.CancelFunc
}

// Those who sleep get a message now and then, and only so many of each sender.
const (
	letterEvery = 20
	letters     = 30
	pace        = 5 * time.Millisecond // between messages to all
)

// converse begins one; pad is how many bytes each message has beside its number.
func converse(t *testing.T, r *rollcall, pad int) *conversation {
	ctx, cancel := context.WithCancel(t.Context())
	c := &conversation{t: t, r: r, sleepers: []string{"asleep1", "asleep2"}, said: map[string]map[string]int{}, quiet: cancel}
	for i := range 4 {
		c.readers = append(c.readers, newTalker(fmt.Sprint("managed", i), r.dial, true))
	}
	c.readers = append(c.readers, newTalker("plain0", r.dial, false), newTalker("plain1", r.dial, false))
	var everybody []string
	for _, l := range c.readers {
		everybody = append(everybody, l.user)
	}
	everybody = append(everybody, c.sleepers...)
	for i := range 3 {
		s := c.sender(fmt.Sprint("sender", i), pad)
		said := c.said[s.user]
		c.talking.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				for _, to := range everybody {
					if slices.Contains(c.sleepers, to) && (n%letterEvery > 0 || said[to] >= letters) {
						continue
					}
					if !s.say(ctx, to, said[to]) {
						return
					}
					said[to]++
				}
				time.Sleep(pace)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		for _, l := range append(c.senders, c.readers...) {
			l.close()
		}
	})
	return c
}

// sender adds one, who says nothing yet; pad is as for converse.
func (c *conversation) sender(user string, pad int) *talker {
	s := newTalker(user, c.r.dial, true)
	s.update(func() { s.pad = pad })
	c.senders, c.said[user] = append(c.senders, s), map[string]int{}
	return s
}

// end has everybody say what is left to be said, those who sleep wake up, and compares. It tells what there was.
func (c *conversation) end() {
	c.t.Helper()
	c.quiet()
	c.talking.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range c.senders {
		if !s.flush(ctx) {
			c.t.Fatalf("%s: %d of its messages are not acknowledged", s.user, len(s.unacked))
		}
	}
	for _, user := range c.sleepers {
		c.readers = append(c.readers, newTalker(user, c.r.dial, true))
	}
	total, refused, again, repeated, sessions, resumed := 0, 0, 0, 0, 0, 0
	for _, l := range c.readers {
		for _, s := range c.senders {
			want := c.expected(s, l.user)
			total += len(want)
			refused += c.said[s.user][l.user] - len(want)
			l.heard(ctx, s.user, len(want))
			l.mu.Lock()
			got := l.arrived[s.user]
			c.compare(s.user, l, want, got)
			l.mu.Unlock()
		}
		for m := range l.again {
			again += l.again[m]
			if c.sentAgain(m.who, numbered{l.user, m.n}) {
				repeated += l.again[m]
			}
		}
	}
	for _, l := range append(c.senders, c.readers...) {
		sessions += l.began
		resumed += l.resumed
	}
	c.t.Logf("%d messages acknowledged, %d refused; %d came again, of which %d had been sent again; %d sessions, %d resumed",
		total, refused, again, repeated, sessions, resumed)
	if total == 0 {
		c.t.Error("nothing was said")
	}
	for _, s := range c.senders {
		for m, condition := range s.refused {
			if condition != "resource-constraint" {
				c.t.Errorf("%s to %s: refused as %s", s.user, m.who, condition)
			}
		}
	}
	if refused > 0 && !c.mayRefuse {
		c.t.Errorf("%d messages were refused", refused)
	}
}

// heard waits until so many messages of a sender have arrived, or nothing comes any more.
func (t *talker) heard(ctx context.Context, from string, n int) {
	for last := -1; ; {
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		now := 0
		ok := t.until(soon, func() bool { now = len(t.seen); return len(t.arrived[from]) >= n })
		cancel()
		if ok || now == last {
			return
		}
		last = now
	}
}

// sentAgain tells whether a sender has sent a message more than once.
func (c *conversation) sentAgain(sender string, m numbered) bool {
	for _, s := range c.senders {
		if s.user == sender {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.repeated[m]
		}
	}
	return false
}

// expected is what a sender has sent to somebody and was not refused.
func (c *conversation) expected(s *talker, to string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int
	for n := range c.said[s.user][to] {
		if s.refused[numbered{to, n}] == "" {
			all = append(all, n)
		}
	}
	return all
}

// compare says what is missing, and what came out of order. A message that was refused may have come all the same.
func (c *conversation) compare(from string, l *talker, want, got []int) {
	c.t.Helper()
	there := map[int]bool{}
	for i, n := range got {
		there[n] = true
		if i > 0 && n < got[i-1] {
			c.t.Errorf("%s to %s: %d came after %d", from, l.user, n, got[i-1])
		}
	}
	var missing []int
	for _, n := range want {
		if !there[n] {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		c.t.Errorf("%s to %s: %d of %d acknowledged messages are lost: %v", from, l.user, len(missing), len(want), missing[:min(len(missing), 20)])
	}
}

// A message that was acknowledged to its sender reaches its recipient, though the server dies again and again at moments of
// which nobody knows what they are. The moments are random: that is what is tested.
func TestKilled(t *testing.T) {
	t.Parallel()
	r := startOpen(t, `data_dir = "data"`)
	c := converse(t, r, 0)
	for range *kills {
		time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond)
		r.kill()
		r.run()
	}
	c.end()
}

// SIGTERM ends the server in good order, and loses nothing either.
func TestStoppedWhileTheyTalk(t *testing.T) {
	t.Parallel()
	r := startOpen(t, `data_dir = "data"`)
	c := converse(t, r, 0)
	for range 5 {
		time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond)
		r.process.stop(t)
		r.run()
	}
	c.end()
}

// PostgreSQL is stopped and started again, and dies, while they talk: for seconds, in which messages wait.
func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t, true)
	r := startOpen(t, fmt.Sprintf("[database]\nurl = %q\n", server.Schema(t)))
	c := converse(t, r, 0)
	for i := range 6 {
		time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond)
		if i%2 == 0 {
			server.Stop(t)
		} else {
			server.Crash(t)
		}
		if i%3 == 2 { // both at once
			r.kill()
		}
		away := time.Duration(rand.IntN(1000)) * time.Millisecond
		if i == 3 {
			away += 6 * time.Second
		}
		time.Sleep(away)
		server.Start(t)
		if i%3 == 2 {
			r.run()
		}
	}
	c.end()
}

// The disk is full for a while, and when it is not any more there is more space than SQLite's log takes (16 MiB): what cannot be stored is refused, not lost, and when there is space again nobody has to do
// anything.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// What is freed must be enough for all that the senders can have waiting: a slow reader's mailbox would fill a small disk again.
	const size, free = 1 << 30, 6 << 20
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		missing(t, "a small disk, which takes root to mount ("+err.Error()+"),")
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r := startOpen(t, fmt.Sprintf("data_dir = %q\n", dir))
	filler := filepath.Join(dir, "filler")
	t.Cleanup(func() { r.process.stop(t) }) // before the disk goes
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, size-free), f.Close()); err != nil {
		t.Fatal(err)
	}
	c := converse(t, r, 50_000)
	c.mayRefuse = true
	full := func() int {
		n := 0
		for _, s := range c.senders {
			s.mu.Lock()
			for _, condition := range s.refused {
				if condition == "resource-constraint" {
					n++
				}
			}
			s.mu.Unlock()
		}
		return n
	}
	until(t, "senders are told that the disk is full", func() bool { return full() >= 50 })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	had := map[*talker]int{} // of all at the same time: each hears of it while another is waited for
	for _, l := range c.readers {
		l.mu.Lock()
		had[l] = len(l.seen)
		l.mu.Unlock()
	}
	for _, l := range c.readers {
		if !l.until(ctx, func() bool { return len(l.seen) > had[l]+20 }) {
			left, _ := exec.Command("sh", "-c", "ls -la "+dir+"; df "+dir).CombinedOutput()
			t.Errorf("%s hears nothing more, though there is space again:\n%s", l.user, left)
		}
	}
	c.end()
}

// A thousand clients that stop reading cost their own sessions, and nobody else anything.
func TestClientsThatStopReading(t *testing.T) {
	t.Parallel()
	const deaf, stanzas, body = 1000, 6, 50_000
	r := startOpen(t, "data_dir = \"data\"\n[limits]\nwrite_stall = \"5s\"\n")
	c := converse(t, r, 0)
	small := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }), err)
	}}
	for i := range deaf {
		w, err := dialWireBy(&small, r.address(), fmt.Sprint("deaf", i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.conn.Close() })
		if err := errors.Join(w.bind("r"), w.write("<presence/>")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.next(); err != nil { // its own presence; nothing is read after that
			t.Fatal(err)
		}
	}
	loud, err := dialWire(r.address(), "loud")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loud.conn.Close() })
	if err := loud.bind("r"); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, loud.in)
	text := strings.Repeat("x", body)
	for range stanzas {
		for i := range deaf {
			if err := loud.write(fmt.Sprintf("<message to='deaf%d@localhost/r'><body>%s</body></message>", i, text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Opened, and closed: by write_stall, or, where the kernel has taken all that was written, by its own clock.
	r.process.waitCount(t, "jid=deaf", 2*deaf)
	t.Logf("memory: %d MiB", r.peak()>>20)
	c.end()
}

// peak is the most memory that the server's process has had, in bytes.
func (r *rollcall) peak() int {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.process.cmd.Process.Pid))
	if err != nil {
		r.t.Skipf("no /proc: %v", err)
	}
	return r.number(string(status), `VmHWM:\s+(\d+) kB`) << 10
}
