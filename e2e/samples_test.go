package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The applications of examples/ do what docs and README say of them: `rollcall check` has nothing against them, and a
// contact that is changed through one reaches a client.
func TestSampleServices(t *testing.T) {
	t.Parallel()
	samples := filepath.Join("..", "examples")
	for _, c := range []struct {
		name    string
		command func(t *testing.T) *exec.Cmd
		kind    kind
		nginx   bool
	}{
		{"Go", func(t *testing.T) *exec.Cmd {
			sample := filepath.Join(t.TempDir(), "sample")
			if out, err := exec.Command("go", "build", "-o", sample, "rollcall/examples/go").CombinedOutput(); err != nil {
				t.Fatalf("building the sample: %v\n%s", err, out)
			}
			return exec.Command(sample)
		}, slixmppSTARTTLS, false},
		{"Python", func(t *testing.T) *exec.Cmd {
			return exec.Command(program(t, "Python 3", "/usr/bin/python3", "python3"), filepath.Join(samples, "python", "contacts.py"))
		}, slixmppTLS, false},
		{"Node", func(t *testing.T) *exec.Cmd {
			return exec.Command(program(t, "Node.js", "node"), filepath.Join(samples, "node", "contacts.mjs"))
		}, xmppjsWSS, false},
		{"nginx before Node", func(t *testing.T) *exec.Cmd {
			return exec.Command(program(t, "Node.js", "node"), filepath.Join(samples, "node", "contacts.mjs"))
		}, xmppjsTLS, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			app := fmt.Sprintf("http://127.0.0.1:%d", port)
			front := app
			cmd := c.command(t)
			if c.nginx {
				front = startNginx(t, port)
			}
			r := startFor(t, front+"/contacts/%s", "john")
			cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN=127.0.0.1:%d", port), fmt.Sprintf("ROLLCALL=http://127.0.0.1:%d", r.http))
			startProgram(t, cmd).waitHealthy(t, front+"/contacts/john")

			args := []string{"check", front + "/contacts/%s", "--user", "john", "--answer-timeout", patience.String()}
			if c.name == "Go" {
				args = append(args, "--batch-url", app+"/contacts-batch")
			}
			out, err := exec.Command(binary, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), " 0 warned of, 0 failed") || !strings.Contains(string(out), "ok    if-none-match ") {
				t.Errorf("rollcall check: %v\n%s", err, out)
			}

			john := c.kind.signIn(t, r, "john")
			if got := john.roster()["aaron@localhost"].Name; got != "Aaron" {
				t.Errorf("John's Aaron is called %q", got)
			}
			put(t, app+"/contacts/john/marie@localhost", `{"name": "Marie", "groups": ["Friends"]}`)
			john.pushed(item{JID: "marie@localhost", Name: "Marie", Groups: []string{"Friends"}, Subscription: "both"})
			put(t, app+"/contacts/john/marie@localhost", `{"name": "Marie Curie"}`)
			john.pushed(item{JID: "marie@localhost", Name: "Marie Curie", Subscription: "both"})
			john.quiet("push")

			// Long enough for nginx to compress: rollcall takes that as well.
			put(t, app+"/contacts/john/aaron@localhost", `{"name": "`+strings.Repeat("A", 1000)+`"}`)
			john.pushed(item{JID: "aaron@localhost", Name: strings.Repeat("A", 1000), Subscription: "both"})
		})
	}
}

// put changes a contact at a sample, which notifies rollcall before it answers.
func put(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s", url, resp.Status)
	}
}

// startNginx puts examples/nginx.conf before the application at a port, on a port of its own, and returns its URL.
func startNginx(t *testing.T, port int) string {
	t.Helper()
	nginx := program(t, "nginx", "/usr/sbin/nginx", "nginx")
	sample, err := os.ReadFile(filepath.Join("..", "examples", "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	own := freePort(t)
	text := string(sample)
	for shipped, here := range map[string]int{"127.0.0.1:9098;": own, "127.0.0.1:9099;": port} {
		if !strings.Contains(text, shipped) {
			t.Fatalf("nginx.conf has no %s to change", shipped)
		}
		text = strings.ReplaceAll(text, shipped, fmt.Sprintf("127.0.0.1:%d;", here))
	}
	dir := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // the folder is nobody else's
	}
	whole := fmt.Sprintf(`%s
daemon off;
pid %[2]s/pid;
error_log stderr;
events { }
http {
	access_log off;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi; uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	include %[2]s/sample.conf;
}
`, user, dir)
	for name, content := range map[string]string{"sample.conf": text, "nginx.conf": whole} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startProgram(t, exec.Command(nginx, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")))
	return fmt.Sprintf("http://127.0.0.1:%d", own)
}

// startProgram starts a program that is not ours. When the test ends it is told to stop, in whatever way it does that.
func startProgram(t *testing.T, cmd *exec.Cmd) *process {
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
		p.terminate(t)
		select {
		case <-p.exited:
		case <-time.After(patience):
			t.Errorf("%s did not end after SIGTERM", cmd.Args[0])
			_ = cmd.Process.Kill() // it may have ended just now
			<-p.exited
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", strings.Join(cmd.Args, " "), p.output)
		}
	})
	return p
}
