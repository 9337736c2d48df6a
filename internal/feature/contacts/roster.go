package contacts

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// getRoster answers a client that asks for its roster (RFC 6121 section 2.1.3) when the roster is known. The session
// is interested from the moment it is answered, also when the answer is an error: the roster then comes as pushes.
func (c *Contacts) getRoster(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	a := c.online(iq.From.Local())
	if a == nil {
		return nil, errEnded
	}
	answer := iq.Defer()
	a.user.Do(func() {
		a.user.Ask(func(o roster.Outcome) {
			r := a.find(iq.Session)
			switch {
			case r == nil:
				answer.Send(nil, errEnded)
				return
			case o.Known == nil:
				answer.Send(nil, unknownRoster(o.Err))
			default:
				answer.Send(rosterElement(o.Known.Roster), nil)
			}
			r.interested = true
		})
	})
	return nil, host.ErrDeferred
}

// errEnded answers a session that ended while its request was on the way; nobody will read it.
var errEnded = stanza.NewError(stanza.RecipientUnavailable, "the session has ended")

// rosterElement is the whole roster (RFC 6121 section 2.1.4).
func rosterElement(r *rosterdoc.Roster) *xmlstream.Element {
	query := xmlstream.New(ns.Roster, "query")
	query.Nodes = make([]xmlstream.Node, 0, r.Len())
	for item := range r.All() {
		query.Append(itemElement(item))
	}
	return query
}

// unknownRoster is the error for a roster that the service has not given.
func unknownRoster(err error) error {
	var herr *rosterhttp.Error
	if errors.As(err, &herr) && herr.Status == 429 {
		return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint,
			Text: "the contact service is over capacity; your contacts will arrive when it answers"}
	}
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.RemoteServerTimeout,
		Text: "the contact service does not answer; your contacts will arrive when it does"}
}

// setRoster refuses a client's change: the roster is the service's.
func (c *Contacts) setRoster(context.Context, *host.IQ) (*xmlstream.Element, error) {
	return nil, stanza.NewError(c.opts.ClientEdits, "contacts are managed by the application, not by chat clients")
}

// itemElement is an item as RFC 6121 section 2.1.2 has it.
func itemElement(i rosterdoc.Item) *xmlstream.Element {
	ask := ""
	if i.Ask {
		ask = "subscribe"
	}
	el := xmlstream.New(ns.Roster, "item",
		"jid", i.JID.String(), "name", i.Name, "subscription", i.Subscription.String(), "ask", ask)
	for _, g := range i.Groups {
		el.Append(xmlstream.New(ns.Roster, "group").AppendText(g))
	}
	return el
}

// push tells the interested sessions of changes (RFC 6121 section 2.1.6).
func (a *account) push(changes []rosterdoc.Change) {
	if !slices.ContainsFunc(a.resources, func(r *resource) bool { return r.interested }) {
		return
	}
	for _, c := range changes {
		w := pushWire(c)
		for _, r := range a.resources {
			if r.interested {
				r.session.Send(w.To(r.session.JID().String()))
			}
		}
	}
}

// pushWire is the push of one change, to be addressed.
func pushWire(c rosterdoc.Change) stanza.Wire {
	var item *xmlstream.Element
	if c.Kind == rosterdoc.Removed {
		item = xmlstream.New(ns.Roster, "item", "jid", c.Old.JID.String(), "subscription", "remove")
	} else {
		item = itemElement(c.New)
	}
	return stanza.NewWire(xmlstream.New(ns.Client, "iq", "type", stanza.TypeSet, "id", "push-"+rand.Text()).
		Append(xmlstream.New(ns.Roster, "query").Append(item)))
}

// RosterChanged brings sessions and contacts up to date (the contract's section 5). It implements roster.Listener.
func (a *account) RosterChanged(old, known *roster.Known, changes []rosterdoc.Change) {
	ctx := a.feature.opts.Engine.Context()
	a.push(changes)
	if old == nil {
		for _, r := range a.resources {
			a.announce(ctx, r, known)
		}
		return
	}
	for _, c := range changes {
		a.follow(ctx, c, known)
	}
}
