package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"rollcall/internal/auth"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// An anew is a server beside which `rollcall user` works on the database.
type anew struct {
	t      *testing.T
	server *Server
	beside *store.Store
}

func newAnew(t *testing.T) *anew {
	dir := t.TempDir()
	s, stop := run(t, `
data_dir = "`+dir+`"
listen = { c2s = "127.0.0.1:0", http = "127.0.0.1:0" }
tls.require = false
[[host]]
name = "localhost"
auth = { method = "accounts", plain = true }
`)
	t.Cleanup(stop)
	beside, err := store.Open(t.Context(), store.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { beside.Close() })
	return &anew{t, s, beside}
}

// remade removes john and makes another john, with the same password even.
func (a *anew) remade() {
	a.t.Helper()
	if err := a.beside.RemoveAccount(a.t.Context(), "localhost", "john"); err != nil {
		a.t.Fatal(err)
	}
	addAccount(a.t, a.beside, "john")
}

func (a *anew) dial() *c2stest.Peer {
	a.t.Helper()
	conn, err := net.Dial("tcp", a.server.Addr("c2s").String())
	if err != nil {
		a.t.Fatal(err)
	}
	p := c2stest.NewStream(a.t, conn)
	p.Open("localhost")
	return p
}

const (
	wantsBind   = "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>"
	fromPhone   = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
	wantsToken  = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
	bindRequest = "<iq type='set' id='bind'><bind xmlns='" + ns.Bind + "'/></iq>"
)

func authenticate(mechanism, initial, wishes string) string {
	return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='" + mechanism + "'><initial-response>" +
		base64.StdEncoding.EncodeToString([]byte(initial)) + "</initial-response>" + wishes + "</authenticate>"
}

const plainJohn = "\x00john\x00pencil"

// scramUntil runs SCRAM in the Extensible SASL Profile up to the message that proves the password, which it returns.
func scramUntil(p *c2stest.Peer, wishes string) (final string) {
	p.T.Helper()
	client, err := scram.SHA256.NewClient("john", "pencil", "")
	if err != nil {
		p.T.Fatal(err)
	}
	c := client.NewConversation()
	first, _ := c.Step("")
	p.Send(authenticate("SCRAM-SHA-256", first, wishes))
	challenge, err := base64.StdEncoding.DecodeString(p.Receive().Text())
	if err != nil {
		p.T.Fatal(err)
	}
	if final, err = c.Step(string(challenge)); err != nil {
		p.T.Fatal(err)
	}
	return "<response xmlns='urn:xmpp:sasl:2'>" + base64.StdEncoding.EncodeToString([]byte(final)) + "</response>"
}

// signedIn expects to be authenticated, and reads the features behind it.
func signedIn(p *c2stest.Peer) *xmlstream.Element {
	p.T.Helper()
	el := p.Receive()
	if el.Local != "success" {
		p.T.Fatalf("received %s", el)
	}
	p.Receive()
	return el
}

// Somebody proves the password of an account, which `rollcall user remove` then removes, and `rollcall user add` makes anew for
// somebody else, before there is a session: there is none. The server hears of neither command.
func TestAccountMadeAnewWhileSigningIn(t *testing.T) {
	a := newAnew(t)
	addAccount(t, a.beside, "john")
	// detached leaves a session that can be resumed, and tells its id.
	detached := func() string {
		p := a.dial()
		p.Send(authenticate("PLAIN", plainJohn, wantsBind))
		id := signedIn(p).Child(ns.Bind2, "bound").Child(ns.SM, "enabled").Attr("id")
		p.Conn.Close()
		return id
	}
	resume := func(id string) string { return "<resume xmlns='urn:xmpp:sm:3' h='0' previd='" + id + "'/>" }
	for name, way := range map[string]func(p *c2stest.Peer) (last, want string){ // which is what gives the session
		"SASL": func(p *c2stest.Peer) (string, string) {
			p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte(plainJohn)) + "</auth>")
			p.Expect("<success xmlns='" + ns.SASL + "'/>")
			p.Restart()
			p.Open("localhost")
			return bindRequest, "iq"
		},
		"SASL2": func(p *c2stest.Peer) (string, string) {
			p.Send(authenticate("PLAIN", plainJohn, ""))
			signedIn(p)
			return bindRequest, "iq"
		},
		"Bind 2": func(p *c2stest.Peer) (string, string) { return scramUntil(p, wantsBind), "success" },
		"resumed": func(p *c2stest.Peer) (string, string) {
			id := detached()
			p.Send(authenticate("PLAIN", plainJohn, ""))
			signedIn(p)
			return resume(id), "resumed"
		},
		"resumed in SASL2": func(p *c2stest.Peer) (string, string) { return scramUntil(p, resume(detached())), "success" },
		"a one-use token": func(p *c2stest.Peer) (string, string) {
			token, err := a.server.hosts[0].sasl.Load().MakeToken(t.Context(), "john", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			p.Send(authenticate("PLAIN", "\x00john\x00"+token.Text, ""))
			signedIn(p)
			return bindRequest, "iq"
		},
		"FAST": func(p *c2stest.Peer) (string, string) {
			p.Send(byToken(a.fast(), ""))
			signedIn(p)
			return bindRequest, "iq"
		},
	} {
		for _, anew := range []bool{false, true} {
			p := a.dial()
			last, want := way(p)
			if anew {
				a.remade()
			}
			p.Send(last)
			if anew {
				p.ExpectError("not-authorized")
			} else if el := p.Receive(); el.Local != want || el.Attr("type") == "error" {
				t.Errorf("%s, and nothing happens: %s", name, el)
			}
		}
	}
}

// fast signs john in for a token.
func (a *anew) fast() string {
	a.t.Helper()
	p := a.dial()
	p.Send(authenticate("PLAIN", plainJohn, fromPhone+wantsToken))
	return signedIn(p).Child(ns.FAST, "token").Attr("token")
}

func byToken(token, wishes string) string {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("Initiator"))
	return authenticate("HT-SHA-256-NONE", "john\x00"+string(m.Sum(nil)), fromPhone+"<fast xmlns='urn:xmpp:fast:0'/>"+wishes)
}

// What an account had to sign in with is nothing to another of that name, though the server has not been told of it.
func TestNothingIsInheritedByAnAccountMadeAnew(t *testing.T) {
	a := newAnew(t)
	addAccount(t, a.beside, "john")
	sasl := a.server.hosts[0].sasl.Load()
	oneUse, err := sasl.MakeToken(t.Context(), "john", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	fast := a.fast()
	p := a.dial()
	p.Send(authenticate("PLAIN", plainJohn, wantsBind))
	id := signedIn(p).Child(ns.Bind2, "bound").Child(ns.SM, "enabled").Attr("id")
	p.Conn.Close()
	a.remade()
	for name, request := range map[string]string{
		"a one-use token":       authenticate("PLAIN", "\x00john\x00"+oneUse.Text, ""),
		"a token of a client":   byToken(fast, ""),
		"one to resume with it": byToken(fast, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='"+id+"'/>"),
	} {
		p := a.dial()
		p.Send(request)
		if el := p.Receive(); el.Local != "failure" || el.Child(ns.SASL, auth.NotAuthorized) == nil {
			t.Errorf("%s: %s", name, el)
		}
	}
	p = a.dial()
	p.Send(authenticate("PLAIN", plainJohn, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='"+id+"'/>"))
	if el := signedIn(p); el.Child(ns.SM, "failed") == nil {
		t.Errorf("a session of the one before, by the new password: %s", el)
	}
}
