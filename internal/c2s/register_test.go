package c2s_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
)

// A notary makes accounts of any name but some.
type notary struct {
	mu   sync.Mutex
	made []string
}

func (n *notary) Register(_ context.Context, user, password string, _ netip.Prefix) error {
	switch user {
	case "romeo":
		return stanza.NewError(stanza.Conflict, "taken")
	case "faulty":
		return errors.New("canary: the disk is full")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made = append(n.made, user+":"+password)
	return nil
}

// registering says that accounts of localhost are made, and of no other host.
func registering(r c2s.Registrar) c2s.Options {
	return c2s.Options{Registrar: func(domain string) c2s.Registrar {
		if domain == c2stest.Domain {
			return r
		}
		return nil
	}}
}

func query(children string) string {
	return "<query xmlns='jabber:iq:register'>" + children + "</query>"
}

// answered sends an iq and gives its answer, in short: result, or the condition of the error. Nothing else has come before it.
func answered(p *c2stest.Peer, iq string) string {
	p.T.Helper()
	p.SendStanza(iq)
	el := p.Receive()
	if el.Attr("type") == "result" {
		return "result"
	}
	e := el.Child(ns.Client, "error")
	if el.Local != "iq" || e == nil {
		p.T.Fatalf("%s is answered by %s", iq, el)
	}
	return e.First().Local
}

// Who has no account makes one, and signs in on the same stream.
func TestRegister(t *testing.T) {
	makes := &notary{}
	onEach(t, registering(makes), func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		if f := p.Open(c2stest.Domain); f.Child(ns.RegisterFeature, "register") == nil {
			t.Errorf("features %s", f)
		}
		p.SendStanza("<iq type='get' id='1' to='localhost'>" + query("") + "</iq>")
		p.Expect("<iq xmlns='jabber:client' type='result' id='1' from='localhost'><query xmlns='jabber:iq:register'>" +
			"<instructions>Choose a username and a password.</instructions><username/><password/></query></iq>")
		p.SendStanza("<iq type='set' id='2'>" + query("<username>JULIET</username><password> a pass </password>") + "</iq>")
		p.Expect("<iq xmlns='jabber:client' type='result' id='2'/>")
		makes.mu.Lock()
		if n := len(makes.made); n == 0 || makes.made[n-1] != "juliet: a pass " {
			t.Errorf("made %q", makes.made)
		}
		makes.mu.Unlock()
		// "if an entity attempts to register a second identity after successfully completing the registration use case"
		if got := answered(p, "<iq type='set' id='3'>"+query("<username>nurse</username><password>x</password>")+"</iq>"); got != "not-acceptable" {
			t.Errorf("a second account: %s", got)
		}
		if f := p.Authenticate(); f.Child(ns.RegisterFeature, "register") != nil {
			t.Errorf("features after sign-in %s", f)
		}
		p.Bind("balcony")
		p.Echo("1")
		p.ExpectGone()
	})
}

// Each request has one answer, and what it lacks is said.
func TestRegisterRefused(t *testing.T) {
	makes := &notary{}
	set := func(children string) string { return "<iq type='set' id='1'>" + query(children) + "</iq>" }
	user := func(name string) string { return set("<username>" + name + "</username><password>x</password>") }
	onEach(t, registering(makes), func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Open(c2stest.Domain)
		for _, tc := range []struct{ iq, want string }{
			{user("romeo"), "conflict"},
			{user("faulty"), "internal-server-error"},
			{user("a@b"), "not-acceptable"},
			{user("a b"), "not-acceptable"},
			{user("ju\u200bliet"), "not-acceptable"}, // a space that nobody sees
			{set("<username>nurse</username>"), "not-acceptable"},
			{set("<username>nurse</username><password/>"), "not-acceptable"},
			{set("<password>x</password>"), "not-acceptable"},
			{set("<username/><password>x</password>"), "not-acceptable"},
			{set(""), "not-acceptable"},
			{set("<x xmlns='jabber:x:data' type='submit'/>"), "not-acceptable"},
			{set("<remove/>"), "unexpected-request"},
			{"<iq type='get' id='1' to='other.example'>" + query("") + "</iq>", "service-unavailable"},
			{"<iq type='get' id='1' to='juliet@localhost'>" + query("") + "</iq>", "service-unavailable"},
			{"<iq type='get' id='1' to='@'>" + query("") + "</iq>", "jid-malformed"},
			{"<iq type='get'>" + query("") + "</iq>", "bad-request"},
			{"<iq type='maybe' id='1'>" + query("") + "</iq>", "bad-request"},
			{"<iq type='set' id='1'>" + query("") + query("") + "</iq>", "bad-request"},
		} {
			if got := answered(p, tc.iq); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.iq, got, tc.want)
			}
		}
		p.SendStanza("<iq type='result' id='1'>" + query("") + "</iq>") // answers nothing
		if got := answered(p, "<iq type='get' id='2'>"+query("")+"</iq>"); got != "result" {
			t.Errorf("in the end: %s", got)
		}
		if len(makes.made) != 0 {
			t.Errorf("made %q", makes.made)
		}

		// A host that makes none has no feature, and says so.
		p = dial()
		if f := p.Open(c2stest.Other); f.Child(ns.RegisterFeature, "register") != nil {
			t.Errorf("features of another host %s", f)
		}
		for _, iq := range []string{"<iq type='get' id='1'>" + query("") + "</iq>", user("nurse"), set("<remove/>")} {
			if got := answered(p, iq); got != "service-unavailable" {
				t.Errorf("another host: %s: %s", iq, got)
			}
		}

		// Requests are bounded as all else before sign-in, and are no way around an exchange that is under way.
		p = dial()
		p.Open(c2stest.Domain)
		for range 64 {
			p.SendStanza(user("romeo"))
		}
		p.ExpectError("policy-violation")
		for _, begin := range []string{"<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'/>",
			"<authenticate xmlns='" + ns.SASL2 + "' mechanism='PLAIN'/>"} {
			p = dial()
			p.Open(c2stest.Domain)
			p.Send(begin)
			if el := p.Receive(); el.Local != "challenge" {
				t.Fatalf("received %s", el)
			}
			p.SendStanza(user("nurse"))
			p.ExpectError("not-authorized")
		}
		if len(makes.made) != 0 {
			t.Errorf("made %q", makes.made)
		}
	})
}
