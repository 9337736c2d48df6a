package tcp_test

import (
	"context"
	"net/netip"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
)

// made are the accounts that were made.
type made []string

func (m *made) Register(_ context.Context, user, _ string, _ netip.Prefix) error {
	*m = append(*m, user)
	return nil
}

// Attack cases 14 and 15: where TLS is there to be started no account is made in clear, and one that was asked for behind the
// request for TLS is not made inside.
func TestRegisterNeedsTLS(t *testing.T) {
	const get = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"
	const set = "<iq type='set' id='2'><query xmlns='jabber:iq:register'><username>nurse</username><password>x</password></query></iq>"
	var accounts made
	s := newServer(t, c2s.Options{RequireTLS: true, Registrar: func(string) c2s.Registrar { return &accounts }}, false)
	p := s.dial()
	if f := p.Open(c2stest.Domain); f.Child(ns.RegisterFeature, "register") != nil {
		t.Errorf("features in clear %s", f)
	}
	for _, iq := range []string{get, set} {
		p.Send(iq)
		if e := p.Receive().Child(ns.Client, "error"); e == nil || e.Child(ns.Stanzas, "not-authorized") == nil {
			t.Errorf("%s in clear is answered by %s", iq, e)
		}
	}
	p.Send(starttls + set)
	p.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.ExpectError("")
	if len(accounts) != 0 {
		t.Fatalf("made %q", accounts)
	}

	p = s.dial()
	p.Open(c2stest.Domain)
	secure(p, s.clientTLS())
	if f := p.Open(c2stest.Domain); f.Child(ns.RegisterFeature, "register") == nil {
		t.Errorf("features inside TLS %s", f)
	}
	p.Send(set)
	p.Expect("<iq xmlns='jabber:client' type='result' id='2'/>")
	if len(accounts) != 1 {
		t.Errorf("made %q", accounts)
	}
	p.Authenticate()
}
