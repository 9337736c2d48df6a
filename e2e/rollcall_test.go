package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// password is everybody's.
const password = "correct horse"

// A rollcall is a running server for the host localhost, with accounts, TLS on every listener and a service behind it.
type rollcall struct {
	t       *testing.T
	service *service
	certificate
	config  string   // path of the config file
	env     []string // more of the environment
	program string   // another one than binary, or ""

	c2s, c2sTLS, http, https int // ports on 127.0.0.1

	token string // of the application, where one is configured

	process *process
}

// start runs a server with an account for each user and waits until it is ready for clients.
func start(t *testing.T, users ...string) *rollcall {
	t.Helper()
	s := startService(t)
	r := startFor(t, s.rosterURL(), users...)
	r.service = s
	return r
}

// startFor is start for a service that is somebody else's.
func startFor(t *testing.T, rosterURL string, users ...string) *rollcall {
	t.Helper()
	return startWith(t, "", rosterURL, users...)
}

// startWith is startFor with more tables in the configuration.
func startWith(t *testing.T, tables, rosterURL string, users ...string) *rollcall {
	t.Helper()
	dir := t.TempDir()
	r := &rollcall{
		t: t, certificate: makeCertificate(t, dir),
		config: filepath.Join(dir, "rollcall.toml"),
		c2s:    freePort(t), c2sTLS: freePort(t), http: freePort(t), https: freePort(t),
	}
	text := fmt.Sprintf(`data_dir = "data"

[listen]
c2s     = "127.0.0.1:%d"
c2s_tls = "127.0.0.1:%d"
http    = "127.0.0.1:%d"
https   = "127.0.0.1:%d"

[tls]
cert = "cert.pem"
key  = "key.pem"

[log]
level = "debug"

%s
[[host]]
name        = "localhost"
auth.method = "accounts"
auth.plain  = true # go-sendxmpp knows nothing else
roster.url  = "%s"
`, r.c2s, r.c2sTLS, r.http, r.https, tables, rosterURL)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		r.addUser(u)
	}
	r.run()
	return r
}

// run starts the server and waits until it is ready for clients.
func (r *rollcall) run() {
	r.t.Helper()
	cmd := exec.Command(cmp.Or(r.program, binary), "serve", "-c", r.config)
	cmd.Env = append(os.Environ(), r.env...)
	r.process = startProcess(r.t, cmd)
	r.process.waitHealthy(r.t, fmt.Sprintf("http://127.0.0.1:%d/healthz", r.http))
}

// kill ends the server without giving it time for anything.
func (r *rollcall) kill() {
	r.t.Helper()
	p := r.process
	p.stopped.Do(func() {
		if err := p.cmd.Process.Kill(); err != nil {
			r.t.Fatal(err)
		}
		<-p.exited
	})
}

func (r *rollcall) addUser(user string) {
	r.t.Helper()
	cmd := exec.Command(binary, "user", "add", "-c", r.config, user+"@localhost")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("rollcall user add %s: %v\n%s", user, err, out)
	}
}

// refreshed is the answer to a notification: roster-http.md section 2.
type refreshed struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Updated int    `json:"updated"`
	Errors  int    `json:"errors"`
}

// notify does what an application does after it changed contacts of those users.
func (r *rollcall) notify(users ...string) refreshed {
	r.t.Helper()
	body, err := json.Marshal(users)
	if err != nil {
		r.t.Fatal(err)
	}
	status, answer := r.tell(http.MethodPost, "/roster_admin/refresh", "application/json", body)
	var got refreshed
	if err := json.Unmarshal(answer, &got); err != nil || status != http.StatusOK {
		r.t.Fatalf("notification: %d %s: %v", status, answer, err)
	}
	return got
}

// tell sends a request as the application does.
func (r *rollcall) tell(method, path, contentType string, body []byte) (status int, answer []byte) {
	r.t.Helper()
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", r.http, path), bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// change sets a user's roster in the service and notifies the server, as an application does.
func (r *rollcall) change(user, roster string) {
	r.t.Helper()
	r.service.set(user, roster)
	if got := r.notify(user); got.Status != "ok" || got.Updated != 1 || got.Errors != 0 {
		r.t.Fatalf("refresh of %s: %+v, want one update", user, got)
	}
}

// A process is a program that runs beside the test, its output kept for when the test fails.
type process struct {
	cmd    *exec.Cmd
	output *log
	exited chan struct{} // closed when it has ended; err is set then
	err    error

	asked, stopped sync.Once
}

// startProcess starts a server process. When the test ends it is asked to stop, and must then exit 0 without having seen a
// data race.
func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, output: &log{news: make(chan struct{})}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("output of rollcall %s:\n%s", strings.Join(cmd.Args[1:], " "), p.output)
		}
	})
	return p
}

// terminate sends SIGTERM, once: a second one would end it without ado.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.asked.Do(func() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	})
}

// stop terminates the process and waits until it has ended, once.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.stopped.Do(func() {
		p.terminate(t)
		select {
		case <-p.exited:
		case <-time.After(patience):
			t.Error("rollcall did not end after SIGTERM")
			if err := p.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			<-p.exited
		}
		if p.err != nil {
			t.Errorf("rollcall: %v, want exit status 0", p.err)
		}
		if strings.Contains(p.output.String(), "DATA RACE") {
			t.Error("rollcall: the race detector found something")
		}
	})
}

// until asks again and again whether something is so, where nobody tells.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never is so that %s", what)
		}
	}
}

// waitHealthy asks until the server says that it is ready: it has no other way to tell a test.
func (p *process) waitHealthy(t *testing.T, url string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-p.exited:
			t.Fatalf("rollcall ended before it was ready: %v", p.err)
		case <-deadline:
			t.Fatalf("rollcall is not ready: %s does not answer 200", url)
		}
	}
}

// waitOutput waits until the process has said something that matches, and returns the match.
func (p *process) waitOutput(t *testing.T, pattern *regexp.Regexp) (found string) {
	t.Helper()
	p.wait(t, pattern.String(), func(text string) bool {
		found = pattern.FindString(text)
		return found != ""
	})
	return found
}

// waitCount waits until the process has said something so many times.
func (p *process) waitCount(t *testing.T, what string, times int) {
	t.Helper()
	p.wait(t, fmt.Sprintf("%q %d times", what, times), func(text string) bool { return strings.Count(text, what) >= times })
}

func (p *process) wait(t *testing.T, what string, said func(text string) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		text, news := p.output.now()
		if said(text) {
			return
		}
		select {
		case <-news:
		case <-p.exited:
			if text, _ := p.output.now(); said(text) { // it was its last word
				return
			}
			t.Fatalf("rollcall ended without saying %s: %v", what, p.err)
		case <-deadline:
			t.Fatalf("rollcall does not say %s", what)
		}
	}
}

// A log collects what a process says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{} // closed and replaced when there is more
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.news)
	l.news = make(chan struct{})
	return l.text.Write(b)
}

// now returns what was said so far, and a channel that is closed when there is more.
func (l *log) now() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.news
}

func (l *log) String() string {
	text, _ := l.now()
	return text
}

var ports struct {
	sync.Mutex
	next int
}

// freePort returns a port of 127.0.0.1 that nobody listens on. It lies below the range that kernels take the source
// ports of connections from, and is not given twice: so nobody takes it before the server does.
func freePort(t *testing.T) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = 20000 + os.Getpid()%10000
	}
	for range 1000 {
		ports.next++
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.next)); err == nil {
			l.Close()
			return ports.next
		}
	}
	t.Fatal("no free port")
	return 0
}
