// Package xmpptest tests rollcall by dialogues: a whole server in this process, on a network in memory and with a fake
// clock, a fake roster service, and clients that say and hear what a script has, line by line.
//
//	service has john {"marie@localhost": {"name": "Marie"}}
//	john/phone connects
//	john/phone sends
//		<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>
//	john/phone receives
//		<iq type='result' id='1' to='john@localhost/phone'>
//			<query xmlns='jabber:iq:roster'><item jid='marie@localhost' name='Marie' subscription='both'/></query>
//		</iq>
//	john/phone receives nothing
//
// What one step set off has happened before the next step: after each, the dialogue waits until every goroutine of the
// server waits as well (synctest.Wait). Time passes on a fake clock, and "receives nothing" asks the server for a ping
// and takes its answer as the proof that nothing came before it.
package xmpptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/config"
	"rollcall/internal/server"
	"rollcall/internal/xmlstream"
)

// Run plays a dialogue.
func Run(t *testing.T, path string) {
	steps, err := parseScript(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &dialogue{t: t, path: path, service: NewService(), clients: map[string]*Client{}}
		defer d.stop()
		for _, s := range steps {
			if err := d.play(s); err != nil {
				t.Fatalf("%s:%d: %s %s: %v\n\nThe server's log:\n%s", path, s.line, s.actor, s.words, err, d.log.String())
			}
		}
	})
}

// patience is how long a dialogue waits for something that must come, on the fake clock.
const patience = 2 * time.Minute

type dialogue struct {
	t       *testing.T
	path    string
	service *Service
	clients map[string]*Client
	hosts   []string
	config  []string // lines for every host
	global  []string // lines before the hosts
	log     syncBuffer
	barrier int

	c2s, http, app *PipeListener
	appServer      *http.Server
	cancel         context.CancelFunc
	done           chan error
}

func (d *dialogue) play(s step) error {
	switch s.actor {
	case "host":
		d.hosts = append(d.hosts, s.words)
		return nil
	case "config": // a line of the configuration of every host
		d.config = append(d.config, s.words)
		return nil
	case "global": // a line of the configuration outside hosts
		d.global = append(d.global, s.words)
		return nil
	case "service":
		return d.playService(s)
	case "server":
		if s.words != "stops" {
			return fmt.Errorf("what does the server do? stops")
		}
		return d.stopServer()
	}
	if err := d.start(); err != nil {
		return err
	}
	if s.actor == "time" {
		passed, err := time.ParseDuration(strings.TrimPrefix(s.words, "passes "))
		if err != nil {
			return err
		}
		time.Sleep(passed) // on the bubble's clock
		synctest.Wait()
		return nil
	}
	return d.playClient(s)
}

// start starts server and service, once.
func (d *dialogue) start() error {
	if d.cancel != nil {
		return nil
	}
	if len(d.hosts) == 0 {
		d.hosts = []string{"localhost"}
	}
	d.c2s, d.http, d.app = NewPipeListener(5222), NewPipeListener(5280), NewPipeListener(80)
	d.appServer = &http.Server{Handler: d.service, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go d.appServer.Serve(d.app)

	var toml strings.Builder
	fmt.Fprintf(&toml, "data_dir = ''\n%s\n", strings.Join(d.global, "\n"))
	for _, h := range d.hosts {
		fmt.Fprintf(&toml, "[[host]]\nname = '%s'\nauth.method = 'open'\nroster.url = 'http://app/contacts/%%s'\n%s\n",
			h, strings.Join(d.config, "\n"))
	}
	cfg, err := config.Parse(d.path, []byte(toml.String()))
	if err != nil {
		return err
	}
	srv, err := server.New(d.t.Context(), cfg, server.Options{
		Log:     slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "test",
		Listen: func(name, _ string) (net.Listener, error) {
			return map[string]net.Listener{"c2s": d.c2s, "http": d.http}[name], nil
		},
		DialRoster: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.app.Dial(ctx) },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(d.t.Context())
	d.cancel, d.done = cancel, make(chan error, 1)
	go func() { d.done <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
		return nil
	case err := <-d.done:
		return fmt.Errorf("the server does not start: %w", err)
	}
}

func (d *dialogue) stopServer() error {
	d.cancel()
	return nil
}

// stop ends everything, whatever state it is in.
func (d *dialogue) stop() {
	for _, c := range d.clients {
		c.Close()
	}
	d.service.Release()
	if d.cancel == nil {
		return
	}
	d.cancel()
	if err := <-d.done; err != nil {
		d.t.Errorf("the server ended with: %v", err)
	}
	d.appServer.Close()
}

func (d *dialogue) playService(s step) error {
	verb, rest, _ := strings.Cut(s.words, " ")
	who, what, _ := strings.Cut(rest, " ")
	switch verb {
	case "has":
		d.service.Set(who, what)
		return nil
	case "answers":
		if who == "everybody" {
			who = ""
		}
		if what == "fine" {
			what = Fine
		}
		d.service.Answer(who, what)
		return nil
	case "releases":
		d.service.Release()
		return nil
	case "notifies": // notifies ["john"] and gets 200 {...}
		return d.notify(rest)
	case "was": // was asked 2 times about john
		var n int
		var user string
		if _, err := fmt.Sscanf(rest, "asked %d times about %s", &n, &user); err != nil {
			return err
		}
		if got := d.service.Fetches(user); got != n {
			return fmt.Errorf("it was asked %d times", got)
		}
		return nil
	}
	return fmt.Errorf("what does the service do? has, answers, releases, notifies, was asked")
}

// notify posts a body to the refresh endpoint, with an optional ?query before it, and compares the answer.
func (d *dialogue) notify(words string) error {
	if err := d.start(); err != nil {
		return err
	}
	body, expected, ok := strings.Cut(words, " and gets ")
	if !ok {
		return fmt.Errorf("notifies BODY and gets STATUS JSON")
	}
	query := ""
	if strings.HasPrefix(body, "?") {
		query, body, _ = strings.Cut(body, " ")
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.http.Dial(ctx) },
	}}
	host := d.hosts[0]
	if query != "" {
		host = "proxy.example"
	}
	res, err := client.Post("http://"+host+"/roster_admin/refresh"+query, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	status, doc, _ := strings.Cut(expected, " ")
	if strconv.Itoa(res.StatusCode) != status || !sameJSON(doc, got) {
		return fmt.Errorf("it got %d %s", res.StatusCode, got)
	}
	return nil
}

// sameJSON compares an answer with what is expected of it; members that are not mentioned may be anything.
func sameJSON(want string, got []byte) bool {
	var w, g map[string]any
	if json.Unmarshal([]byte(want), &w) != nil || json.Unmarshal(got, &g) != nil {
		return false
	}
	for k, v := range w {
		if fmt.Sprint(v) != fmt.Sprint(g[k]) {
			return false
		}
	}
	return true
}

func (d *dialogue) playClient(s step) error {
	if !strings.Contains(s.actor, "/") {
		return fmt.Errorf("who is %q? host, config, service, time, server, or USER/RESOURCE", s.actor)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if s.words == "connects" {
		return d.connect(ctx, s.actor)
	}
	c := d.clients[s.actor]
	if c == nil {
		return fmt.Errorf("%s is not connected", s.actor)
	}
	switch s.words {
	case "sends":
		err := c.Send(s.xml)
		synctest.Wait()
		return err
	case "receives":
		return d.receives(ctx, c, s, false)
	case "receives in any order":
		return d.receives(ctx, c, s, true)
	case "receives nothing":
		return d.receivesNothing(ctx, c)
	case "closes":
		err := c.Send("</stream:stream>")
		synctest.Wait()
		return err
	case "is cut off":
		c.Close()
		synctest.Wait()
		return nil
	case "is replaced": // by a new connection for the same resource
		d.clients[s.actor+" (old)"] = c
		return d.connect(ctx, s.actor)
	case "is disconnected":
		if el, err := c.Receive(ctx); err == nil {
			return fmt.Errorf("it received %s", el)
		} else if ctx.Err() != nil {
			return err
		}
		return nil
	}
	return fmt.Errorf("what does %s do? connects, sends, receives, receives in any order, receives nothing, "+
		"closes, is cut off, is replaced, is disconnected", s.actor)
}

// connect signs a client in, in the place of the one that has its name, if any.
func (d *dialogue) connect(ctx context.Context, actor string) error {
	user, resource, _ := strings.Cut(actor, "/")
	user, host, ok := strings.Cut(user, "@")
	if !ok {
		host = d.hosts[0]
	}
	c, err := Connect(ctx, d.c2s, user, host, resource)
	if err == nil {
		d.clients[actor] = c
	}
	synctest.Wait()
	return err
}

func (d *dialogue) receives(ctx context.Context, c *Client, s step, anyOrder bool) error {
	expected, err := s.stanzas()
	if err != nil {
		return err
	}
	for len(expected) > 0 {
		got, err := c.Receive(ctx)
		if err != nil {
			return fmt.Errorf("%w, instead of %s", err, expected[0])
		}
		i := 0
		if anyOrder {
			for i < len(expected)-1 && Match(expected[i], got) != "" {
				i++
			}
		}
		if diff := Match(expected[i], got); diff != "" {
			return fmt.Errorf("%s\n\texpected: %s\n\treceived: %s", diff, expected[i], got)
		}
		expected = append(expected[:i], expected[i+1:]...)
	}
	return nil
}

func (d *dialogue) receivesNothing(ctx context.Context, c *Client) error {
	synctest.Wait() // what other goroutines are about to send is sent
	d.barrier++
	id := "barrier-" + strconv.Itoa(d.barrier)
	if err := c.Send("<iq type='get' id='" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
		return err
	}
	got, err := c.Receive(ctx)
	if err != nil {
		return err
	}
	want := xmlstream.New("jabber:client", "iq", "type", "result", "id", id, "to", c.JID)
	if Match(want, got) != "" {
		return fmt.Errorf("it received %s", got)
	}
	return nil
}

// syncBuffer collects the server's log.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
