package c2s_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"strings"
	"testing"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
)

// by is a request by a token, as draft-schmaus-kitten-sasl-ht-09 has it, without a channel to bind to.
func by(token, fast string, wishes ...string) string {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("Initiator"))
	request := "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>" +
		base64.StdEncoding.EncodeToString(append([]byte(c2stest.User+"\x00"), m.Sum(nil)...)) + "</initial-response>" + fast
	for _, w := range wishes {
		request += w
	}
	return request + "</authenticate>"
}

// responder is what the server proves that it knows the token with.
func responder(token string) string {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("Responder"))
	return "<additional-data>" + base64.StdEncoding.EncodeToString(m.Sum(nil)) + "</additional-data>"
}

const (
	fast         = "<fast xmlns='urn:xmpp:fast:0'/>"
	requestToken = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
)

// newToken signs in with the password and asks for a token.
func newToken(p *c2stest.Peer, wishes ...string) string {
	p.T.Helper()
	p.Open(c2stest.Domain)
	p.Send(authenticate(append(wishes, agent, requestToken)...))
	answer := p.Receive()
	t := answer.Child(ns.FAST, "token")
	if t == nil || len(t.Attr("token")) != 43 {
		p.T.Fatalf("received %s", answer)
	}
	if at, err := time.Parse("2006-01-02T15:04:05Z", t.Attr("expiry")); err != nil || time.Until(at) < 20*24*time.Hour {
		p.T.Errorf("it expires at %s", t.Attr("expiry"))
	}
	return t.Attr("token")
}

// XEP-0484: signed in, with a session, in one message and without a password.
func TestFAST(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		first := dial()
		token := newToken(first, bind2("<enable xmlns='urn:xmpp:sm:3' resume='true'/>"))

		p := dial()
		p.Open(c2stest.Domain)
		p.Send(by(token, fast, agent, bind2("<tag>x</tag>")))
		answer := p.Receive()
		full := answer.Child(ns.SASL2, "authorization-identifier").Text()
		p.Expect(featuresBound)
		p.Echo("1")
		// Nothing but what was asked for: it is not yet time for another token.
		want := "<success xmlns='urn:xmpp:sasl:2'>" + responder(token) + "<authorization-identifier>" + full +
			"</authorization-identifier><bound xmlns='urn:xmpp:bind:0'/></success>"
		if got := answer.String(); got != want {
			t.Errorf("received\n%s\nwant\n%s", got, want)
		}
		for name, tc := range map[string]struct{ send, want string }{
			"without saying that it is a token": {by(token, "", agent), "invalid-mechanism"},
			"another token":                     {by(token+"x", fast, agent), "not-authorized"},
			"no id":                             {by(token, fast), "not-authorized"},
			"an id that is none":                {by(token, fast, "<user-agent id='d4565fa7'/>"), "not-authorized"},
			"another client's id": {by(token, fast, "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87771'/>"),
				"not-authorized"},
			"a number that is none": {by(token, "<fast xmlns='urn:xmpp:fast:0' count='-1'/>", agent), "malformed-request"},
			"the password and a token's mechanism": {"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>" +
				c2stest.Plain + "</initial-response>" + agent + fast + "</authenticate>", "malformed-request"},
		} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(tc.send)
			if got := failure2(p.Receive()); got != tc.want {
				t.Errorf("%s: %s, want %s", name, got, tc.want)
			}
			p.Send(authenticate()) // "the client SHOULD … fall back to alternative authentication mechanisms"
			p.Expect(success("juliet@localhost"))
		}
		p = dial()
		p.Open(c2stest.Domain)
		p.Send(by(token, "<fast xmlns='urn:xmpp:fast:0' count='1'/>", agent))
		if el := p.Receive(); !el.Is(ns.SASL2, "success") {
			t.Errorf("received %s", el)
		}
		p = dial()
		p.Open(c2stest.Domain)
		p.Send(by(token, "<fast xmlns='urn:xmpp:fast:0' count='1' invalidate='true'/>", agent)) // replayed
		if got := failure2(p.Receive()); got != "not-authorized" {
			t.Errorf("the same number again: %s", got)
		}
		p.Send(by(token, "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>", agent))
		if el := p.Receive(); !el.Is(ns.SASL2, "success") || el.Child(ns.FAST, "token") != nil {
			t.Errorf("received %s", el)
		}
		p = dial()
		p.Open(c2stest.Domain)
		p.Send(by(token, fast, agent))
		if got := failure2(p.Receive()); got != "not-authorized" {
			t.Errorf("a token that its client has done with: %s", got)
		}
	})
}

// A session that began with the password goes on with the token that came of it, in one message.
func TestResumeByToken(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Open(c2stest.Domain)
		p.Send(authenticate(agent, requestToken, bind2("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")))
		answer := p.Receive()
		p.Expect(featuresManaged)
		token := answer.Child(ns.FAST, "token").Attr("token")
		id := answer.Child(ns.Bind2, "bound").Child(ns.SM, "enabled").Attr("id")
		full := answer.Child(ns.SASL2, "authorization-identifier").Text()

		next := dial()
		next.Open(c2stest.Domain)
		next.Send(by(token, fast, agent, nonza("resume", " previd='"+id+"' h='0'")))
		next.Expect("<success xmlns='urn:xmpp:sasl:2'>" + responder(token) + "<authorization-identifier>" + full +
			"</authorization-identifier><resumed xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/></success>")
		next.Echo("1")
		p.ExpectError("conflict")
	})
}

// turns counts how often a client had to wait for the server before it could go on.
type turns struct {
	net.Conn
	said  bool
	waits int
}

func (c *turns) Write(b []byte) (int, error) {
	c.said = true
	return c.Conn.Write(b)
}

func (c *turns) Read(b []byte) (int, error) {
	if c.said {
		c.said, c.waits = false, c.waits+1
	}
	return c.Conn.Read(b)
}

// How many round trips it takes from a connection to a session with stream management.
func TestRoundTrips(t *testing.T) {
	hosts := c2stest.NewHosts(t)
	srv, _ := c2stest.NewServer(t, c2s.Options{Hosts: hosts})
	listen := listenTCP(t, srv)
	token := newToken(listen())
	enable := "<enable xmlns='urn:xmpp:sm:3'/>"
	until := func(p *c2stest.Peer, name string) {
		t.Helper()
		for el := p.Receive(); !strings.Contains(el.String(), "<"+name+" "); el = p.Receive() {
		}
	}
	for _, tc := range []struct {
		name   string
		want   int
		signIn func(p *c2stest.Peer)
	}{
		{"SASL by RFC 6120", 5, func(p *c2stest.Peer) {
			p.SignIn()
			p.Bind("x")
			p.Send(enable)
			until(p, "enabled")
		}},
		{"SASL2", 2, func(p *c2stest.Peer) {
			p.Open(c2stest.Domain)
			p.Send(authenticate(bind2(enable)))
			until(p, "enabled")
		}},
		{"FAST", 2, func(p *c2stest.Peer) {
			p.Open(c2stest.Domain)
			p.Send(by(token, fast, agent, bind2(enable)))
			until(p, "enabled")
		}},
		// "The feature so advertised … MAY be cached by clients for later connections."
		{"FAST by a client that knows the server", 1, func(p *c2stest.Peer) {
			p.Send(p.Header("from='juliet@localhost' to='localhost' version='1.0'") + by(token, fast, agent, bind2(enable)))
			p.ExpectHeader()
			until(p, "features")
			until(p, "enabled")
		}},
	} {
		dialled := listen()
		c := &turns{Conn: dialled.Conn}
		p := c2stest.NewStream(t, c)
		if tc.signIn(p); c.waits != tc.want {
			t.Errorf("%s: %d round trips, want %d", tc.name, c.waits, tc.want)
		}
		p.Echo("1")
	}
}
