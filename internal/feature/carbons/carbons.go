// Package carbons gives a user's other clients copies of the messages that one of them sends or gets (XEP-0280 v1.0.1), if they
// ask for them. docs/messages.md says which.
//
// Of the rules in section 6.1 one is followed as far as it can be known: an error is copied when it answers one of the last messages
// of which there were copies. So urn:xmpp:carbons:rules:0 is not announced.
package carbons

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

type carbons struct {
	registry *host.Registry
	seed     maphash.Seed

	mu       sync.Mutex // nothing else is locked, called or sent while it is held
	accounts map[string]*account
}

// account is one of whose sessions some get copies.
type account struct {
	sessions []*session.Session // those; one that is resumed is still the same
	// copied are the last messages of which there were copies, by whom they were exchanged with and their id. Two that have the
	// same hash are one in so many that an error too much is the worst of it.
	copied [remembered]uint64
	next   int
}

// remembered is how many messages of an account may be copied before the answer to one is not known as such.
const remembered = 64

// New makes the feature at one virtual host.
func New(r *host.Registry) host.Feature {
	c := &carbons{registry: r, seed: maphash.MakeSeed(), accounts: make(map[string]*account)}
	key := func(target host.Target, local string) host.IQKey {
		return host.IQKey{Target: target, Type: stanza.TypeSet, Space: ns.Carbons, Local: local}
	}
	set := func(on bool) host.IQHandler {
		return func(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
			c.set(iq.Session, on)
			return nil, nil
		}
	}
	others := func(context.Context, *host.IQ) (*xmlstream.Element, error) { // sections 4.1 and 5.1
		return nil, stanza.NewError(stanza.NotAllowed, "")
	}
	return host.Feature{
		Name:  "carbons",
		Disco: host.Disco{Host: []string{ns.Carbons}},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToSelf, "enable"):     set(true),
			key(host.ToSelf, "disable"):    set(false),
			key(host.ToAccount, "enable"):  others,
			key(host.ToAccount, "disable"): others,
		},
		Inline: []host.Inline{{Var: ns.Carbons, Space: ns.Carbons, Bound: c.bound}},
		Stages: map[host.Stage]host.StanzaHandler{host.Copied: c.copied},
		Closed: func(_ context.Context, s *session.Session) { c.set(s, false) },
	}
}

// bound gives copies from the beginning to a client that asks for them while it binds (XEP-0386): "As this operation MUST
// succeed, no response is necessary."
func (c *carbons) bound(_ context.Context, s *session.Session, asked *xmlstream.Element) *xmlstream.Element {
	if asked != nil && asked.Local == "enable" {
		c.set(s, true)
	}
	return nil
}

// set says whether a session gets copies, as often as it likes.
func (c *carbons) set(s *session.Session, on bool) {
	if s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	local := s.JID().Local()
	a := c.accounts[local]
	if a == nil {
		a = &account{}
	}
	i := slices.Index(a.sessions, s)
	switch {
	case on && i < 0 && s.Context().Err() == nil: // a session whose end is still to be told
		a.sessions = append(a.sessions, s)
		c.accounts[local] = a
		c.registry.WantCopies(1)
	case !on && i >= 0:
		a.sessions = slices.Delete(a.sessions, i, i+1)
		if len(a.sessions) == 0 {
			delete(c.accounts, local)
		}
		c.registry.WantCopies(-1)
	}
}

// copied sends the copies of a message.
func (c *carbons) copied(_ context.Context, p *host.Passage) (done bool, err error) {
	sender, recipient := p.From.Bare(), p.To.Bare()
	if p.Copies()&host.Sender != 0 {
		toSelf := sender == recipient // of what users send to themselves each client gets one
		c.send(p, host.Sender, sender, recipient, func(s *session.Session) bool {
			return s.JID() == p.From || toSelf && has(p, s)
		})
	}
	if p.Copies()&host.Recipient != 0 && sender != recipient {
		// What nobody has taken waits for a session that becomes available: such a one gets it then.
		waits := len(p.Taken()) == 0 && p.Type != stanza.TypeError
		c.send(p, host.Recipient, recipient, sender, func(s *session.Session) bool {
			_, available := s.Available()
			return has(p, s) || waits && !available
		})
	}
	return false, nil
}

// has tells whether a session has got the message itself: "The receiving server MUST NOT send a forwarded copy to the client(s) the
// original stanza was addressed to" (section 7).
func has(p *host.Passage, s *session.Session) bool {
	return s.JID() == p.From || s.JID() == p.To || slices.Contains(p.Taken(), s)
}

// send sends the copies of one account, which exchanges the message with another, to those of its sessions that are not left out.
func (c *carbons) send(p *host.Passage, of host.Owner, account, other jid.JID, leftOut func(*session.Session) bool) {
	to := c.among(p, of, account, other)
	to = slices.DeleteFunc(to, leftOut)
	if len(to) == 0 {
		return
	}
	copied := wrap(p, of, account)
	for _, s := range to {
		s.Send(copied.To(s.JID().String()))
	}
}

// among gives those of an account's sessions that get copies, if the message is one that is copied.
func (c *carbons) among(p *host.Passage, of host.Owner, account, other jid.JID) []*session.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.accounts[account.Local()]
	if a == nil || !c.eligible(a, p, of, other) {
		return nil
	}
	return slices.Clone(a.sessions)
}

// eligible tells whether a message is copied for one of the two accounts (section 6.1). The caller holds the mutex.
func (c *carbons) eligible(a *account, p *host.Passage, of host.Owner, other jid.JID) bool {
	answers := c.hash(other, p.ID)
	t := p.Traits()
	switch {
	case p.Type == stanza.TypeError:
		return answers != 0 && slices.Contains(a.copied[:], answers)
	case p.Type == stanza.TypeGroupchat, t&host.NotCopied != 0:
		return false
	case t&host.IsRoomPrivate != 0 && of == host.Recipient: // the room sends it to each of the occupant's clients
		return false
	case p.Type == stanza.TypeChat, p.Type == stanza.TypeNormal && t&host.HasBody != 0, t&(host.IsChatting|host.IsInvitation) != 0:
	default:
		return false
	}
	if answers != 0 {
		a.copied[a.next%remembered] = answers
		a.next++
	}
	return true
}

// hash names a message, 0 when it has no id.
func (c *carbons) hash(other jid.JID, id string) uint64 {
	if id == "" {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(c.seed)
	h.WriteString(other.String())
	h.WriteByte(0)
	h.WriteString(id)
	return h.Sum64() | 1
}

// wrap makes a copy, which is the same for all of an account's sessions but for its address.
func wrap(p *host.Passage, of host.Owner, account jid.JID) stanza.Wire {
	name := "received"
	if of == host.Sender {
		name = "sent"
	}
	typ := p.Type
	if p.Attr("type") == "" {
		typ = ""
	}
	w := p.WireFor(of)
	return stanza.NewMessage(account.String(), typ, func(dst []byte) []byte {
		dst = append(append(append(dst, '<'), name...), " xmlns='"+ns.Carbons+"'><forwarded xmlns='"+ns.Forward+"'>"...)
		if since := p.Since(); !since.IsZero() { // XEP-0297 section 4: when it was sent first
			dst = payload.Delay("", since, "").AppendXML(dst, ns.Forward)
		}
		dst = append(w.AppendFramed(dst), "</forwarded></"...)
		return append(append(dst, name...), '>')
	})
}
