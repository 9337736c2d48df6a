package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// An event is what a client reports: one line of JSON on its stdout. Which members are set depends on Event:
//
//	online        jid, mechanism, tls ("" where the client's library does not say); type is "resumed" for a session that goes on (not slixmpp)
//	auth-failed   condition
//	roster        items; or roster-error with type and condition
//	push          the members of an item; subscription is "remove" for a removal
//	whole         the server has sent a roster, and not only what changed (Smack only)
//	presence      from, type ("" is available), show, status, photo, which is the hash of the user's picture (slixmpp only)
//	message       from, type, body; condition when type is "error"
//	copy          from, to, body of a message of which it got a copy; type is sent or received (not strophe.js)
//	carbons-done  the server answered
//	blocklist     jids, sorted; so with blocked and unblocked, which are pushes (slixmpp only, as are the next)
//	block-done    the server answered; so with unblock-done and keep-done
//	kept          jids, which are what was kept
//	avatar        from, body, type: an avatar's hash and type; picture has jids, the hashes of one, in the vCard and as an avatar
//	archive       bodies of the messages in the archive, jids, which are their ids there, and ends, those of the first and the last
//	prefer-done   body, jids: the default, and those never archived, as the server has taken them
//	registered    jids: the server made the account, for which it asked for these fields; or not-registered with type and condition (slixmpp only)
//	commands      jids: the nodes of the commands that there are (slixmpp only)
//	administered  body, condition, jids: the command, what became of it ("completed" or an error's condition), and what was noted (slixmpp only)
//	password-done the server took another password; so with cancel-done, which is that there is no account any more
//	pong          the server answered a ping
//	stream-error  condition
//	closed        the connection is over; nothing follows
type event struct {
	Event     string   `json:"event"`
	Type      string   `json:"type"`
	Condition string   `json:"condition"`
	Mechanism string   `json:"mechanism"`
	TLS       string   `json:"tls"`
	Items     []item   `json:"items"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Show      string   `json:"show"`
	Status    string   `json:"status"`
	Photo     string   `json:"photo"`
	Body      string   `json:"body"`
	JIDs      []string `json:"jids"`
	Bodies    []string `json:"bodies"`
	Ends      []string `json:"ends"`
	item
}

// An item is a roster item as a client saw it.
type item struct {
	JID          string   `json:"jid"`
	Name         string   `json:"name"`
	Groups       []string `json:"groups"` // sorted
	Subscription string   `json:"subscription"`
}

// A command is what a client is told to do: one line of JSON on its stdin. Do is roster, presence, message, carbons, keep, kept,
// avatar and photo (Body is a picture in base64, published as an avatar or in the vCard), picture (whose To says),
// archive (with To; Show is reverse or nothing), prefer (Body is the default, JIDs are never archived), blocklist, block, unblock,
// commands, administer (Body is one of XEP-0133 and Fields are for its form), password, cancel, cut (lose the connection, and come back), ping or quit.
type command struct {
	Do     string         `json:"do"`
	To     string         `json:"to,omitempty"`
	Body   string         `json:"body,omitempty"`
	Show   string         `json:"show,omitempty"`
	Status string         `json:"status,omitempty"`
	JIDs   []string       `json:"jids,omitempty"`
	Fields map[string]any `json:"fields,omitempty"`
}

// A client is a program of clients/ that holds one session. Its methods are for the test's goroutine.
type client struct {
	t     *testing.T
	label string
	jid   string // full, once online
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu      sync.Mutex
	events  []event       // arrived and not yet waited for, in order
	news    chan struct{} // closed and replaced when events change
	ended   bool          // the program closed its stdout
	history []string      // every line both ways and stderr, for failures
}

// A kind is a client program with one way to connect.
type kind struct {
	name  string
	tls   string // what it reports of TLS 1.3 in "online"
	scram string // the SCRAM mechanism it picks from ours
	open  func(t *testing.T, r *rollcall, user, password string) *client
}

// The ways in. Both libraries take the strongest mechanism that they know.
var (
	slixmppSTARTTLS = kind{"slixmpp over STARTTLS", "TLSv1.3", "SCRAM-SHA-256", openSlixmpp(false)}
	slixmppTLS      = kind{"slixmpp over direct TLS", "TLSv1.3", "SCRAM-SHA-256", openSlixmpp(true)}
	xmppjsSTARTTLS  = kind{"xmpp.js over STARTTLS", "TLSv1.3", "SCRAM-SHA-1", openXMPPJS("xmpp://localhost:%d",
		func(r *rollcall) int { return r.c2s })}
	xmppjsTLS = kind{"xmpp.js over direct TLS", "TLSv1.3", "SCRAM-SHA-1", openXMPPJS("xmpps://localhost:%d",
		func(r *rollcall) int { return r.c2sTLS })}
	xmppjsWSS = kind{"xmpp.js over WebSocket with TLS", "", "SCRAM-SHA-1", openXMPPJS("wss://localhost:%d/xmpp-websocket",
		func(r *rollcall) int { return r.https })}
	xmppjsWS = kind{"xmpp.js over WebSocket", "", "SCRAM-SHA-1", openXMPPJS("ws://localhost:%d/xmpp-websocket",
		func(r *rollcall) int { return r.http })}

	stropheBOSH = kind{"strophe.js over BOSH", "", "SCRAM-SHA-256", openStrophe("http://localhost:%d/http-bind",
		func(r *rollcall) int { return r.http })}
	stropheBOSHTLS = kind{"strophe.js over BOSH with TLS", "", "SCRAM-SHA-256", openStrophe("https://localhost:%d/http-bind",
		func(r *rollcall) int { return r.https })}
	stropheWS = kind{"strophe.js over WebSocket", "", "SCRAM-SHA-256", openStrophe("ws://localhost:%d/xmpp-websocket",
		func(r *rollcall) int { return r.http })}

	kinds = []kind{slixmppSTARTTLS, slixmppTLS, xmppjsSTARTTLS, xmppjsTLS, xmppjsWSS, xmppjsWS, stropheBOSH, stropheBOSHTLS, stropheWS}
)

// slixmppWith is slixmpp within TLS that does more besides, by the name that clients/slixmpp_client.py has for it.
func slixmppWith(label, more string) kind {
	return kind{label, "TLSv1.3", "SCRAM-SHA-256", openSlixmpp(true, more)}
}

// slixmppCertified is slixmpp with a certificate: files with it and its key.
func slixmppCertified(label string, direct bool, cert, key string) kind {
	return kind{label, "TLSv1.3", "EXTERNAL", func(t *testing.T, r *rollcall, user, password string) *client {
		options := slixmppOptions(r, direct, user, password)
		options["cert"], options["key"] = cert, key
		return openSlixmppWith(t, user, options)
	}}
}

func openSlixmpp(direct bool, more ...string) func(*testing.T, *rollcall, string, string) *client {
	return func(t *testing.T, r *rollcall, user, password string) *client {
		options := slixmppOptions(r, direct, user, password)
		for _, name := range more {
			options[name] = true
		}
		return openSlixmppWith(t, user, options)
	}
}

func slixmppOptions(r *rollcall, direct bool, user, password string) map[string]any {
	port := r.c2s
	if direct {
		port = r.c2sTLS
	}
	return map[string]any{
		"jid": user + "@localhost", "password": password,
		"host": "localhost", "port": port, "ca": r.ca, "direct": direct,
	}
}

func openSlixmppWith(t *testing.T, label string, options map[string]any) *client {
	t.Helper()
	python := program(t, "slixmpp", filepath.Join(".venv", "bin", "python"))
	return open(t, label, exec.Command(python, "clients/slixmpp_client.py"), options)
}

func openXMPPJS(service string, port func(*rollcall) int, more ...string) func(*testing.T, *rollcall, string, string) *client {
	return func(t *testing.T, r *rollcall, user, password string) *client {
		cmd := exec.Command(node(t), "clients/xmppjs_client.mjs")
		cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+r.ca)
		options := map[string]any{"jid": user + "@localhost", "password": password, "service": fmt.Sprintf(service, port(r))}
		for _, name := range more {
			options[name] = true
		}
		return open(t, user, cmd, options)
	}
}

// openStrophe has strophe.js take one mechanism, by its name for it, where one is given. It does not name itself as the user "".
func openStrophe(service string, port func(*rollcall) int, mechanism ...string) func(*testing.T, *rollcall, string, string) *client {
	return func(t *testing.T, r *rollcall, user, password string) *client {
		return open(t, user, r.strophe(), map[string]any{
			"jid": strings.TrimPrefix(user+"@localhost", "@"), "password": password, "service": fmt.Sprintf(service, port(r)),
			"mechanism": strings.Join(mechanism, ""),
		})
	}
}

// strophe is the program that is driven.
func (r *rollcall) strophe() *exec.Cmd {
	cmd := exec.Command(node(r.t), "clients/strophe_client.mjs")
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+r.ca)
	return cmd
}

// open starts a client program and gives it its configuration. The program is killed when the test ends; one that
// should end earlier is told to quit.
func open(t *testing.T, label string, cmd *exec.Cmd, config map[string]any) *client {
	t.Helper()
	c := &client{t: t, label: label, cmd: cmd, news: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	cmd.Stderr = stderr{c}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.read(stdout)
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-read
		_ = cmd.Wait() // an error of a client that was killed says nothing
		if t.Failed() {
			t.Logf("what %s did and saw:\n%s", c.label, strings.Join(c.history, "\n"))
		}
	})
	c.send(config)
	return c
}

// read takes the client's events in until its stdout ends.
func (c *client) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		err := json.Unmarshal(lines.Bytes(), &e)
		c.update(func() {
			c.history = append(c.history, "<- "+lines.Text())
			if err == nil {
				c.events = append(c.events, e)
			}
		})
	}
	c.update(func() { c.ended = true })
}

// update changes what mu guards and wakes who waits for it.
func (c *client) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.news)
	c.news = make(chan struct{})
}

// stderr notes what the program complains of.
type stderr struct{ c *client }

func (w stderr) Write(b []byte) (int, error) {
	w.c.update(func() { w.c.history = append(w.c.history, "!! "+string(bytes.TrimSpace(b))) })
	return len(b), nil
}

// send writes a line to the program.
func (c *client) send(v any) {
	c.t.Helper()
	line, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	c.update(func() { c.history = append(c.history, "-> "+string(line)) })
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		c.t.Fatalf("%s: telling it %s: %v", c.label, line, err)
	}
}

// wait takes the first event that matches out of those that arrived, and waits for one if there is none. Events before
// it stay for later waits, since the order of, say, a push and a presence is not promised.
func (c *client) wait(what string, match func(event) bool) event {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		for i, e := range c.events {
			if match(e) {
				c.events = append(c.events[:i:i], c.events[i+1:]...)
				c.mu.Unlock()
				return e
			}
		}
		news, ended := c.news, c.ended
		c.mu.Unlock()
		if ended {
			c.t.Fatalf("%s ended without seeing %s", c.label, what)
		}
		select {
		case <-news:
		case <-timeout:
			c.t.Fatalf("%s did not see %s", c.label, what)
		}
	}
}

// settle waits until the server has answered a ping, so that everything it sent before has arrived, and returns the
// events that nobody waited for, and forgets them.
func (c *client) settle() []event {
	c.t.Helper()
	c.send(command{Do: "ping"})
	c.wait("the answer to a ping", func(e event) bool { return e.Event == "pong" })
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.events
	c.events = nil
	return left
}

// quiet fails the test if an event of that name came that nobody waited for.
func (c *client) quiet(name string) {
	c.t.Helper()
	for _, e := range c.settle() {
		if e.Event == name {
			c.t.Errorf("%s saw an unexpected %+v", c.label, e)
		}
	}
}

// signIn opens a session and checks how it was secured.
func (k kind) signIn(t *testing.T, r *rollcall, user string) *client {
	t.Helper()
	c := k.open(t, r, user, password)
	c.label = user + " (" + k.name + ")"
	e := c.wait("the end of its sign-in", func(e event) bool { return e.Event == "online" })
	c.jid = e.JID
	if bare, _, _ := strings.Cut(e.JID, "/"); bare != user+"@localhost" {
		t.Errorf("%s is signed in as %s", c.label, e.JID)
	}
	if e.Mechanism != k.scram || e.TLS != k.tls {
		t.Errorf("%s signed in with %q over TLS %q, want %q over %q", c.label, e.Mechanism, e.TLS, k.scram, k.tls)
	}
	return c
}

// roster asks for the roster and returns its items by JID.
func (c *client) roster() map[string]item {
	c.t.Helper()
	c.send(command{Do: "roster"})
	e := c.wait("the answer to its roster request", func(e event) bool {
		return e.Event == "roster" || e.Event == "roster-error"
	})
	if e.Event == "roster-error" {
		c.t.Fatalf("%s: the roster request was answered with %s, %s", c.label, e.Type, e.Condition)
	}
	items := map[string]item{}
	for _, i := range e.Items {
		items[i.JID] = i
	}
	return items
}

// available sends a presence.
func (c *client) available(status string) {
	c.t.Helper()
	c.send(command{Do: "presence", Status: status})
}

// pushed waits for the push of an item and compares it.
func (c *client) pushed(want item) {
	c.t.Helper()
	got := c.wait("a push for "+want.JID, func(e event) bool { return e.Event == "push" && e.JID == want.JID })
	if diff := cmp.Diff(want, got.item, cmpopts.EquateEmpty()); diff != "" {
		c.t.Errorf("%s: push (-want +got):\n%s", c.label, diff)
	}
}

// sees waits for a presence of another session: available with that status.
func (c *client) sees(other *client, status string) {
	c.t.Helper()
	c.wait(fmt.Sprintf("%s available as %q", other.label, status), func(e event) bool {
		return e.Event == "presence" && e.Type == "" && e.From == other.jid && e.Status == status
	})
}

// seesGone waits for the end of another session's presence.
func (c *client) seesGone(other *client) {
	c.t.Helper()
	c.wait(other.label+" unavailable", func(e event) bool {
		return e.Event == "presence" && e.Type == "unavailable" && e.From == other.jid
	})
}

// says sends a chat message to another session and waits for it there.
func (c *client) says(body string, other *client) {
	c.t.Helper()
	c.send(command{Do: "message", To: other.jid, Body: body})
	other.hears(c.jid, body)
}

// hears waits for a chat message.
func (c *client) hears(from, body string) {
	c.t.Helper()
	c.wait(fmt.Sprintf("%q from %s", body, from), func(e event) bool {
		return e.Event == "message" && e.Type == "chat" && strings.HasPrefix(e.From, from) && e.Body == body
	})
}

// quit ends the session as a user does.
func (c *client) quit() {
	c.t.Helper()
	c.send(command{Do: "quit"})
	c.closed()
}

// closed waits for the end of the connection.
func (c *client) closed() {
	c.t.Helper()
	c.wait("the end of its connection", func(e event) bool { return e.Event == "closed" })
}
