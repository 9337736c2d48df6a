package server_test

import (
	"slices"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Copies of messages (XEP-0280) in a sim: each client that has asked for them has each message once, unless it is private.

// wantCopies has a device ask for copies.
func (l *line) wantCopies() {
	l.request("set", "", "<enable xmlns='urn:xmpp:carbons:2'/>", true, func() { l.copying = time.Now() })
}

// copyOf gives the message in a copy, and whose client has sent it ("sent") or got it ("received"); nil when it is none.
func copyOf(el *xmlstream.Element) (inner *xmlstream.Element, how string) {
	for _, how := range []string{"sent", "received"} {
		if c := el.Child(ns.Carbons, how); c != nil {
			if f := c.Child(ns.Forward, "forwarded"); f != nil {
				return f.Child(ns.Client, "message"), how
			}
		}
	}
	return nil, ""
}

// hearCopy takes a copy. Those of errors say nothing that its client has to know.
func (l *line) hearCopy(el, inner *xmlstream.Element, how string) {
	s := l.sim
	x := s.letterOf(inner)
	if x == nil || inner.Attr("type") == "error" {
		return
	}
	s.say("%s hears that m%d was %s", l.d, x.n, how)
	s.counts["copies"]++
	own, sender := l.d.user.name+"@localhost", x.from.user.name+"@localhost/"+x.from.resource
	switch {
	case el.Attr("from") != own || inner.Attr("from") != sender,
		how == "sent" && (l.d.user != x.from.user || l.d == x.from), how == "received" && l.d.user != x.user:
		s.fail("a copy is not of what it says", "%s: %s", l.d, el)
	case x.private:
		s.fail("a private message is copied", "m%d to %s", x.n, l.d)
	case x.barred:
		s.fail("what is blocked comes", "a copy of m%d to %s", x.n, l.d)
	}
	if _, twice := x.copied[l.d]; twice {
		s.fail("a copy comes twice", "of m%d to %s", x.n, l.d)
	}
	if x.got[l.d].session == l.session {
		s.fail("a message comes with a copy of it", "m%d to %s", x.n, l.d)
	}
	x.copied[l.d] = l.session
}

// lacksCopy tells whether a device should have had a message, or a copy of it, and has neither. It is asked when enough time has
// passed, of one that has come to somebody.
func (l *line) lacksCopy(x *letter) bool {
	s := l.sim
	concerned := l.d.user == x.user || l.d.user == x.from.user && l.d != x.from
	if !concerned || x.private || !x.kept && l.hidden || !s.fit(l) || !l.well.Before(x.at) || l.copying.IsZero() || !l.copying.Before(x.at) {
		return false
	}
	s.counts["copies, or messages, that are due"]++
	_, got := x.got[l.d]
	_, copied := x.copied[l.d]
	return !got && !copied
}

// hidden tells whether a client of a user has said that nobody looks at it.
func (s *sim) hidden(p *person) bool {
	return slices.ContainsFunc(s.lines, func(l *line) bool { return l.d.user == p && l.hidden })
}

// hide has a device say that nobody looks at it, or that somebody does (XEP-0352): only what says nothing may wait for that.
func (l *line) hide(hidden bool) {
	l.hidden = l.hidden || hidden
	l.sim.say("somebody looks at %s: %v", l.d, !hidden)
	if hidden {
		l.raw("<inactive xmlns='urn:xmpp:csi:0'/>")
	} else {
		l.raw("<active xmlns='urn:xmpp:csi:0'/>")
	}
}
