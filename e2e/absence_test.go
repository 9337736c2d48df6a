package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/internal/store/storetest"
)

// PostgreSQL is away, while they talk, for longer than anything waits for it: crashed, or there and silent. What they say waits, and is
// refused when that has taken too long, or when more comes than may wait; who signs in is told to come back, and not that the
// password is wrong. Sessions stay as they are, and when PostgreSQL is back they go on: what was acknowledged is there.
func TestPostgresIsAway(t *testing.T) {
	t.Parallel()
	for _, how := range []struct {
		name        string
		leave, back func(s *storetest.Server, t testing.TB)
		measured    bool // built without the race detector, whose memory would be what is measured
	}{
		{"crashed", (*storetest.Server).Crash, (*storetest.Server).Start, false},
		{"silent", (*storetest.Server).Pause, (*storetest.Server).Resume, true},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			server := storetest.Start(t, true)
			a := startAbsence(t, server, how.measured)
			c := converse(t, a.r, 0)
			c.mayRefuse = true
			speakers := slices.Clone(c.senders)
			flood := a.floods(c)
			c.all(c.readers, "hear something", func(l *talker) bool { return len(l.seen) > 50 })
			talkers, before := slices.Concat(c.senders, c.readers), a.r.peak()

			how.leave(server, t)
			back := make(chan struct{})
			knocked := make(chan map[string]int)
			for _, p := range []string{password, "wrong"} {
				go func() { knocked <- a.knock(p, back) }()
			}
			c.all(speakers, "wait", func(s *talker) bool { return len(s.unacked) >= window })
			flood()
			a.comes("what has waited for too long is refused", `rollcall_store_writes_total{result="error"}`)
			c.all(speakers, "hear that", func(s *talker) bool { return len(s.refused) > 0 })
			a.steady.echo(t, "there")
			for _, l := range talkers {
				l.mu.Lock()
				if l.wire == nil || l.began != 1 || l.resumed != 0 {
					t.Errorf("%s has lost its connection: %d sessions, resumed %d times", l.user, l.began, l.resumed)
				}
				l.mu.Unlock()
			}

			how.back(server, t)
			close(back)
			c.goesOn()
			for range 2 {
				conditions := <-knocked
				t.Logf("sign-ins meanwhile: %v", conditions)
				if len(conditions) != 1 || conditions["temporary-auth-failure"] == 0 {
					t.Errorf("sign-ins are answered with %v, want temporary-auth-failure", conditions)
				}
			}
			t.Logf("memory: %d MiB, %d MiB before", a.r.peak()>>20, before>>20)
			if got := a.signIn(password); got != "" {
				t.Errorf("with PostgreSQL back, a sign-in is answered with %s", got)
			}
			if got := a.signIn("wrong"); got != "not-authorized" {
				t.Errorf("with PostgreSQL back, a wrong password is answered with %q", got)
			}
			c.end()
			for _, l := range talkers {
				if l.began != 1 || l.resumed != 0 {
					t.Errorf("%s has had %d sessions, resumed %d times", l.user, l.began, l.resumed)
				}
			}
			if grown := a.r.peak() - before; how.measured && grown > maxGrowth {
				t.Errorf("the server has taken %d MiB more", grown>>20)
			}
		})
	}
}

// What floods while PostgreSQL is away: twice as much as may wait, in bytes, for each message is stored for two.
const (
	floods    = 8
	floodSize = 200_000
	// maxGrowth is for 64 MiB that wait, each message in three forms, the stanzas that are read meanwhile, and a heap that is collected when it has doubled.
	maxGrowth = 512 << 20
)

// absence is a server whose database goes away, with a second host whose users have accounts.
type absence struct {
	t      *testing.T
	r      *rollcall
	steady *wire // says nothing that is stored
}

const members = "members.localhost"

func startAbsence(t *testing.T, server *storetest.Server, measured bool) *absence {
	t.Helper()
	r := startOpen(t, fmt.Sprintf("[database]\nurl = %q\n", server.Schema(t)))
	if measured {
		r.program = withoutRace(t)
	}
	files := makeCertificate(t, t.TempDir())
	r.c2sTLS = freePort(t)
	r.reconfigure("[[host]]", fmt.Sprintf("c2s_tls = '127.0.0.1:%d'\n[tls]\ncert = %q\nkey = %q\nrequire = false\n[[host]]\nname = %q\nauth.method = 'accounts'\nauth.plain = true\nroster.url = %q\n[[host]]",
		r.c2sTLS, files.cert, files.key, members, r.service.rosterURL()))
	add := exec.Command(binary, "user", "add", "-c", r.config, "john@"+members)
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a := &absence{t: t, r: r}
	if got := a.signIn(password); got != "" {
		t.Fatalf("a sign-in is answered with %s", got)
	}
	var err error
	if a.steady, err = dialWire(r.address(), "steady"); err == nil {
		err = a.steady.bind("x")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.steady.conn.Close() })
	return a
}

// signIn signs in and leaves; the condition is "" when that succeeds.
func (a *absence) signIn(password string) (condition string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // whose certificate it is is another test's
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", a.r.c2sTLS))
	if err != nil {
		return err.Error()
	}
	w, err := signInWire(conn, members, "john", password)
	var r refused
	if errors.As(err, &r) {
		return string(r)
	}
	if err != nil {
		return err.Error()
	}
	w.conn.Close()
	return ""
}

// knock signs in again and again, until PostgreSQL is back, and counts the answers.
func (a *absence) knock(password string, back <-chan struct{}) (conditions map[string]int) {
	conditions = map[string]int{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		got := a.signIn(password)
		select {
		case <-back: // the answer may be of the time after it
			return conditions
		default:
			conditions[got]++
		}
		select {
		case <-tick.C:
		case <-back:
			return conditions
		}
	}
}

// floods has others say one message each: so what they have blocked and want archived is known. What it returns has them send more than
// may wait, until the server has refused some of it because of that.
func (a *absence) floods(c *conversation) (begin func()) {
	a.t.Helper()
	more := make(chan struct{})
	from := len(c.senders)
	for i := range floods {
		s := c.sender(fmt.Sprint("flood", i), floodSize)
		to, said := c.readers[i%len(c.readers)].user, c.said[s.user]
		c.talking.Go(func() {
			for n := range window + 10 {
				if n == 1 {
					select {
					case <-more:
					case <-a.t.Context().Done():
						return
					}
				}
				if !s.say(a.t.Context(), to, n) {
					return
				}
				said[to]++
			}
		})
	}
	c.all(c.senders[from:], "say a message", func(s *talker) bool { return s.count == 2 && len(s.unacked) == 0 })
	return func() {
		a.t.Helper()
		close(more)
		a.comes("what finds no room is refused", `rollcall_store_writes_total{result="refused"}`)
	}
}

// comes waits until a number of the server's is not 0 any more.
func (a *absence) comes(what, metric string) {
	a.t.Helper()
	until(a.t, what, func() bool { return a.metric(metric) != 0 })
}

// metric is a number from /metrics, by its name with labels.
func (a *absence) metric(name string) float64 {
	a.t.Helper()
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", a.r.http))
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		a.t.Fatalf("%s: %v in\n%s", name, err, text)
	}
	return n
}

// all waits until something is so of each of those; it is asked with the talker's mutex held.
func (c *conversation) all(who []*talker, what string, so func(l *talker) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for _, l := range who {
		if !l.until(ctx, func() bool { return so(l) }) {
			c.t.Fatalf("%s does not come to %s", l.user, what)
		}
	}
}

// goesOn waits until each reader hears what it has not heard when this is called.
func (c *conversation) goesOn() {
	c.t.Helper()
	had := map[*talker]int{} // of all at the same time: each hears of it while another is waited for
	for _, l := range c.readers {
		l.mu.Lock()
		had[l] = len(l.seen)
		l.mu.Unlock()
	}
	c.all(c.readers, "hear more", func(l *talker) bool { return len(l.seen) > had[l]+20 })
}
