package contacts

import (
	"context"
	"crypto/rand"
	"errors"

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
		asks := a.find(iq.Session)
		if asks == nil {
			answer.Send(nil, errEnded)
			return
		}
		if asks.asking >= maxAsking {
			answer.Send(nil, &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint,
				Text: "this client waits for its roster already"})
			return
		}
		asks.asking++
		asks.interested = false // the answer has it all; pushes follow it
		a.user.Ask(func(o roster.Outcome) {
			asks.asking--
			r := a.find(iq.Session)
			switch {
			case r == nil:
				answer.Send(nil, errEnded)
				return
			case o.Known == nil:
				answer.Send(nil, unknownRoster(o.Err))
			default:
				answer.SendWire(stanza.NewResult(iq.Stanza, func(dst []byte) []byte {
					return appendRoster(dst, o.Known.Roster)
				}))
			}
			r.interested, r.blank = true, o.Known == nil
		})
	})
	return nil, host.ErrDeferred
}

// maxAsking bounds the requests of one session that wait.
const maxAsking = 8

// errEnded answers a session that ended while its request was on the way; nobody will read it.
var errEnded = stanza.NewError(stanza.RecipientUnavailable, "the session has ended")

const (
	queryOpen  = "<query xmlns='" + ns.Roster + "'>"
	queryClose = "</query>"
)

// appendRoster appends the whole roster (RFC 6121 section 2.1.4).
func appendRoster(dst []byte, r *rosterdoc.Roster) []byte {
	dst = append(dst, queryOpen...)
	for item := range r.All() {
		dst = appendItem(dst, item)
	}
	return append(dst, queryClose...)
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

// appendItem appends an item as RFC 6121 section 2.1.2 has it.
func appendItem(dst []byte, i rosterdoc.Item) []byte {
	dst = append(dst, "<item jid='"...)
	dst = xmlstream.AppendEscaped(dst, i.JID.String())
	if i.Name != "" {
		dst = append(dst, "' name='"...)
		dst = xmlstream.AppendEscaped(dst, i.Name)
	}
	dst = append(dst, "' subscription='"...)
	dst = append(dst, i.Subscription.String()...)
	if i.Ask {
		dst = append(dst, "' ask='subscribe"...)
	}
	if len(i.Groups) == 0 {
		return append(dst, "'/>"...)
	}
	dst = append(dst, "'>"...)
	for _, g := range i.Groups {
		dst = append(dst, "<group>"...)
		dst = xmlstream.AppendEscaped(dst, g)
		dst = append(dst, "</group>"...)
	}
	return append(dst, "</item>"...)
}

// pushChanges tells sessions of changes (RFC 6121 section 2.1.6).
func pushChanges(to []*resource, changes []rosterdoc.Change) {
	for _, c := range changes {
		if c.Kind == rosterdoc.Removed {
			push(to, func(dst []byte) []byte {
				dst = append(dst, "<item jid='"...)
				dst = xmlstream.AppendEscaped(dst, c.Old.JID.String())
				return append(dst, "' subscription='remove'/>"...)
			})
		} else {
			push(to, func(dst []byte) []byte { return appendItem(dst, c.New) })
		}
	}
}

// pushRoster gives a roster to sessions that asked for it in vain.
func pushRoster(to []*resource, known *rosterdoc.Roster) {
	if len(to) == 0 {
		return
	}
	for item := range known.All() {
		push(to, func(dst []byte) []byte { return appendItem(dst, item) })
	}
}

// push sends what appendTo appends, an item; it is serialized once, when there is somebody to send it to.
func push(to []*resource, appendTo func(dst []byte) []byte) {
	if len(to) == 0 {
		return
	}
	w := stanza.NewRequest("push-"+rand.Text(), func(dst []byte) []byte {
		return append(appendTo(append(dst, queryOpen...)), queryClose...)
	})
	for _, r := range to {
		r.session.Send(w.To(r.session.JID().String()))
	}
}

// RosterChanged brings sessions and contacts up to date (the contract's section 5). It implements roster.Listener.
func (a *account) RosterChanged(_, known *roster.Known, changes []rosterdoc.Change) {
	ctx := a.feature.opts.Engine.Context()
	var blank, current []*resource
	for _, r := range a.resources {
		switch {
		case r.interested && r.blank:
			blank = append(blank, r)
			r.blank = false
		case r.interested:
			current = append(current, r)
		}
	}
	pushRoster(blank, known.Roster)
	pushChanges(current, changes)
	for _, c := range changes {
		a.follow(ctx, c, known)
	}
	for _, r := range a.resources { // those that waited for it
		a.announce(ctx, r, known)
	}
}
