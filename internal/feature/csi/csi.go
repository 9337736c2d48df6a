// Package csi has clients say whether somebody looks at them (XEP-0352 v1.0.0). While nobody does, what would only wake a
// phone for nothing waits (session/idle.go): the presence of others, of which the latest of each client is enough, and chat
// states ("is typing", XEP-0085), copies of them too (XEP-0280), of which the latest of each sender is. Everything else goes out at once, after what has
// waited: messages that say something, all requests and answers, presence that ends or is an error, and the client's own
// presence, which it has just sent. Nobody else is told what a client says about itself.
package csi

import (
	"context"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// New makes the feature.
func New() host.Feature {
	return host.Feature{
		Name:   "csi",
		Stream: func() *xmlstream.Element { return xmlstream.New(ns.CSI, "csi") },
		Nonzas: map[string]host.NonzaHandler{ns.CSI: take},
		Inline: []host.Inline{{Var: ns.CSI, Space: ns.CSI, Bound: bound}},
	}
}

// bound begins a session in the state that its client asks for (XEP-0386).
func bound(_ context.Context, s *session.Session, asked *xmlstream.Element) *xmlstream.Element {
	if asked != nil {
		take(s, asked)
	}
	return nil
}

// take takes what a client says of itself. "There is no reply from the server to either of these elements."
func take(s *session.Session, el *xmlstream.Element) (known bool) {
	switch el.Local {
	case "inactive":
		s.SetIdle(defers(s.JID()))
	case "active":
		s.SetIdle(nil)
	default:
		return false
	}
	return true
}

// longest is the longest message that is looked at: a chat state is a few elements.
const longest = 1024

// defers tells what may wait for a client.
func defers(own jid.JID) session.Defers {
	self, account := own.String(), own.Bare().String()
	return func(w stanza.Wire) (about string, may bool) {
		if !w.IsPresence() && (!w.IsMessage() || w.Len() > longest) {
			return "", false
		}
		el, err := w.Element(xmlstream.Limits{})
		if err != nil {
			return "", false
		}
		from := el.Attr("from")
		if w.IsPresence() {
			return "presence of " + from, el.Attr("type") == "" && from != self
		}
		if copied := copyIn(el); copied != nil && from == account {
			el, from = copied, copied.Attr("from")+" to "+copied.Attr("to")
		}
		return "state of " + from, isChatState(el)
	}
}

// copyIn gives the message of which another is a copy (XEP-0280), nil when it is none.
func copyIn(message *xmlstream.Element) *xmlstream.Element {
	for _, name := range []string{"received", "sent"} {
		if c := message.Child(ns.Carbons, name); c != nil {
			if f := c.Child(ns.Forward, "forwarded"); f != nil {
				return f.Child(ns.Client, "message")
			}
		}
	}
	return nil
}

// isChatState tells whether a message is a chat state and nothing else.
func isChatState(message *xmlstream.Element) bool {
	if message.Attr("type") == stanza.TypeError {
		return false
	}
	state := false
	for c := range message.Elements() {
		switch {
		case c.Space == ns.ChatStates:
			state = true
		case c.Space == ns.Hints, c.Is(ns.Client, "thread"): // they come with it
		default:
			return false
		}
	}
	return state
}
