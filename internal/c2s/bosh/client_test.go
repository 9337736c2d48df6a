package bosh_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// server is a BOSH server. In a bubble its network is in memory.
type server struct {
	t      *testing.T
	hosts  *c2stest.Hosts
	bosh   *bosh.Manager
	stop   func()
	url    string
	client *http.Client
	dial   func() net.Conn
}

func handler(t *testing.T, co c2s.Options, o bosh.Options) (*server, *bosh.Manager) {
	s := &server{t: t, hosts: c2stest.NewHosts(t)}
	co.Hosts = s.hosts
	srv, stop := c2stest.NewServer(t, co)
	s.stop = stop
	o.Log = quiet
	s.bosh = bosh.Handler(srv, o)
	return s, s.bosh
}

func newServer(t *testing.T, co c2s.Options, o bosh.Options) *server {
	s, h := handler(t, co, o)
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	s.url, s.client = web.URL, web.Client()
	s.dial = func() net.Conn {
		c, err := net.Dial("tcp", strings.TrimPrefix(web.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return s
}

// inBubble runs a test in fake time.
func inBubble(t *testing.T, test func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) {
		s, h := handler(t, c2s.Options{}, bosh.Options{})
		l := c2stest.NewPipes()
		web := &http.Server{Handler: h}
		defer web.Close()
		go web.Serve(l)
		s.dial = l.Dial
		s.url, s.client = "http://localhost/", &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return l.Dial(), nil }}}
		defer s.client.CloseIdleConnections()
		test(t, s)
	})
}

// answer is what came to a request.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

// client is a BOSH client that breaks any rule.
type client struct {
	*server
	sid string
	rid int64
}

// post sends a body, and gives the answer when it is there.
func (s *server) post(ctx context.Context, body string) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req)
}

func (s *server) do(req *http.Request) (a answer) {
	res, err := s.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), err}
}

const xmlns = "xmlns='" + ns.BOSH + "' xmlns:xmpp='" + ns.XBOSH + "'"

// create begins a session; attributes are those of a usual client unless they are given.
func (s *server) create(attributes string) (*client, string) {
	s.t.Helper()
	if attributes == "" {
		attributes = "hold='1' wait='60' ver='1.6'"
	}
	a := s.post(s.t.Context(), "<body "+xmlns+" rid='1000' to='localhost' xmpp:version='1.0' "+attributes+"/>")
	if a.err != nil || a.status != 200 {
		s.t.Fatalf("creation: %+v", a)
	}
	m := regexp.MustCompile(` sid='([^']+)'`).FindStringSubmatch(a.body)
	if m == nil {
		s.t.Fatalf("no session: %s", a.body)
	}
	return &client{s, m[1], 1001}, a.body
}

// body makes a request with some rid.
func (c *client) body(rid int64, attributes, payload string) string {
	return fmt.Sprintf("<body %s sid='%s' rid='%d' %s>%s</body>", xmlns, c.sid, rid, attributes, payload)
}

// start sends a request with the next rid and does not wait.
func (c *client) start(attributes, payload string) <-chan answer {
	rid := c.rid
	c.rid++
	return c.startRID(rid, attributes, payload)
}

func (c *client) startRID(rid int64, attributes, payload string) <-chan answer {
	got := make(chan answer, 1)
	go func() { got <- c.post(c.t.Context(), c.body(rid, attributes, payload)) }()
	return got
}

// ask sends a request and gives the body of the answer.
func (c *client) ask(attributes, payload string) string {
	c.t.Helper()
	return c.got(<-c.start(attributes, payload))
}

func (c *client) got(a answer) string {
	c.t.Helper()
	if a.err != nil || a.status != 200 {
		c.t.Fatalf("answered %+v", a)
	}
	return a.body
}

// expect compares an answer.
func (c *client) expect(got <-chan answer, want string) {
	c.t.Helper()
	if body := c.got(<-got); body != want {
		c.t.Fatalf("answered\n%s\nwant\n%s", body, want)
	}
}

// none checks that a request is held.
func (c *client) none(got <-chan answer) {
	c.t.Helper()
	synctest.Wait()
	select {
	case a := <-got:
		c.t.Fatalf("answered %+v, want it held", a)
	default:
	}
}

const (
	empty = "<body xmlns='http://jabber.org/protocol/httpbind'/>"
	again = "<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>"
)

func ended(condition string) string {
	if condition == "" {
		return "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>"
	}
	return "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='" + condition + "'/>"
}

func holding(payload string) string {
	return "<body xmlns='http://jabber.org/protocol/httpbind'>" + payload + "</body>"
}

// bind signs in and binds a resource.
func (s *server) bind(resource, attributes string) *client {
	s.t.Helper()
	c, _ := s.create(attributes)
	return c.bound(resource, "")
}

func (c *client) bound(resource, attributes string) *client {
	c.t.Helper()
	for _, step := range []struct{ attributes, payload, want string }{
		{"", "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>", "<success"},
		{"xmpp:restart='true' to='localhost'", "", "<bind"},
		{"", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='" + ns.Bind + "'><resource>" + resource + "</resource></bind></iq>", "<jid>"},
	} {
		if got := c.ask(step.attributes+" "+attributes, step.payload); !strings.Contains(got, step.want) {
			c.t.Fatalf("answered %s, want %s", got, step.want)
		}
	}
	return c
}

func message(id string) string { return "<message xmlns='jabber:client' id='" + id + "'/>" }

// echo is a message as it comes back.
func echo(id, resource string) string {
	return "<message xmlns='jabber:client' id='" + id + "' from='juliet@localhost/" + resource + "'/>"
}
