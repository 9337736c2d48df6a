package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A client whose network goes away without a word is noticed: its contacts see it go. That takes up to 90 seconds, by TCP's own
// clock.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	n := makeNetwork(t)
	r := start(t, "john", "marie")
	r.reconfigure(fmt.Sprintf(`c2s_tls = "127.0.0.1:%d"`, r.c2sTLS), fmt.Sprintf(`c2s_tls = "%s:%d"`, n.here, r.c2sTLS))

	away := kind{"slixmpp in another network", "TLSv1.3", "SCRAM-SHA-256", func(t *testing.T, r *rollcall, user, password string) *client {
		python := program(t, "slixmpp", filepath.Join(".venv", "bin", "python"))
		return open(t, user, exec.Command("ip", "netns", "exec", n.name, python, "clients/slixmpp_client.py"), map[string]any{
			"jid": user + "@localhost", "password": password, "host": n.here, "port": r.c2sTLS, "ca": r.ca, "direct": true,
		})
	}}
	john, marie := friends(t, r, away, xmppjsWSS)
	n.drop()
	marie.seesGone(john)
	marie.settle() // she is well
}

// reconfigure starts the server anew with another line in its configuration.
func (r *rollcall) reconfigure(line, by string) {
	r.t.Helper()
	text, err := os.ReadFile(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.Count(string(text), line) != 1 {
		r.t.Fatalf("the configuration does not have %q once:\n%s", line, text)
	}
	if err := os.WriteFile(r.config, []byte(strings.Replace(string(text), line, by, 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.process.stop(r.t)
	r.run()
}

// A network is a namespace of Linux with one link to ours: another machine, as far as TCP can tell.
type network struct {
	t           *testing.T
	name        string
	here, there string // addresses at both ends
}

func makeNetwork(t *testing.T) *network {
	t.Helper()
	program(t, "ip (iproute2)", "ip")
	if os.Geteuid() != 0 {
		missing(t, "a network namespace, which takes root,")
	}
	id := freePort(t) // nobody else has it
	subnet := fmt.Sprintf("10.%d.%d", 100+id/256%100, id%256)
	n := &network{t: t, name: fmt.Sprintf("rc%d", id), here: subnet + ".1", there: subnet + ".2"}
	n.ip("netns", "add", n.name)
	t.Cleanup(func() { n.ip("netns", "del", n.name) }) // with the link
	n.ip("link", "add", n.name, "type", "veth", "peer", "name", "eth0", "netns", n.name)
	n.ip("address", "add", n.here+"/24", "dev", n.name)
	n.ip("link", "set", n.name, "up")
	n.ip("-n", n.name, "address", "add", n.there+"/24", "dev", "eth0")
	n.ip("-n", n.name, "link", "set", "eth0", "up")
	return n
}

// drop has the link lose everything from now on, at its far end.
func (n *network) drop() { n.ip("-n", n.name, "link", "set", "eth0", "down") }

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
