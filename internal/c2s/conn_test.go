package c2s

import (
	"slices"
	"testing"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// passed is a session that notes what a connection asks of it, and may have gone on to another one.
type passed struct {
	Session
	gone bool
	did  []string
}

func (p *passed) JID() jid.JID { return jid.MustParse("john@localhost/phone") }

func (p *passed) Begin(session.Conn) bool {
	p.did = append(p.did, "begin")
	return !p.gone
}

func (p *passed) Send(stanza.Wire) bool {
	p.did = append(p.did, "send")
	return true
}

func (p *passed) End() { p.did = append(p.did, "end") }

// What a bound client asks of the negotiation is answered and counted as one: a client that resumes its session by another
// connection meanwhile sends it again when it was not counted, and must not have had an answer then.
func TestNegotiatedIsCountedWithItsAnswer(t *testing.T) {
	for _, tc := range []struct {
		gone bool
		want []string
	}{
		{false, []string{"begin", "send", "end"}},
		{true, []string{"begin"}},
	} {
		for _, payload := range []string{"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"} {
			el, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='set' id='1'>"+payload+"</iq>"), xmlstream.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			s := &passed{gone: tc.gone}
			if done, err := new(conn).take(s, &Event{Kind: xmlstream.Stanza, Element: el}); done || err != nil {
				t.Errorf("%s: %v, %v", payload, done, err)
			}
			if !slices.Equal(s.did, tc.want) {
				t.Errorf("%s, gone %v: %q, want %q", payload, tc.gone, s.did, tc.want)
			}
		}
	}
}
