package contacts

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

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
		have, versioned := version(iq.Payload())
		switch {
		case versioned:
			asks.have = have
		case asks.interested && !asks.blank:
			asks.have = a.user.Current().Ver() // it has been told all
		case asks.versioned:
			asks.have = "" // it begins anew
		}
		asks.asking++
		asks.interested = false // the answer has it all; pushes follow it
		asks.versioned = versioned
		a.user.Ask(func(o roster.Outcome) { a.answerRoster(iq, answer, o, have) })
	})
	return nil, host.ErrDeferred
}

// version gives the version of the roster that a client has, and whether it keeps versions at all: "if the client
// supports versioning but has no cache, it MUST bootstrap with a 'ver' attribute set to the empty string" (RFC 6121
// section 2.6.2).
func version(query *xmlstream.Element) (have string, versioned bool) {
	for _, at := range query.Attrs {
		switch {
		case at.Local != "ver" || at.Space != "":
		case len(at.Value) > maxVer: // none of ours
			return "", true
		default:
			return strings.Clone(at.Value), true
		}
	}
	return "", false
}

// maxVer bounds what is kept of what a client says; ours are shorter.
const maxVer = 128

// answerRoster answers a request for the roster with what has become known; have is the version that the client has, ""
// for none. It is called by the owner.
func (a *account) answerRoster(iq *host.IQ, answer *host.Answer, o roster.Outcome, have string) {
	r := a.find(iq.Session)
	switch {
	case r == nil:
		answer.Send(nil, errEnded)
	case o.Known == nil:
		answer.Send(nil, unknownRoster(o.Err))
		r.answered(true)
	case have == "":
		a.sendRoster(iq, answer, r, o.Known)
	default:
		a.user.Since(have, func(k *roster.Known, steps []roster.Step, ok bool) {
			r := a.find(iq.Session)
			switch {
			case r == nil:
				answer.Send(nil, errEnded)
			case !ok:
				a.sendRoster(iq, answer, r, k)
			default:
				// "An empty IQ-result", then "interim roster pushes" (section 2.6.3).
				answer.Send(nil, nil)
				pushSteps(r, steps)
				a.feature.opts.Metrics.Pushed(len(steps))
				r.answered(false)
			}
		})
	}
}

// sendRoster answers with the whole roster.
func (a *account) sendRoster(iq *host.IQ, answer *host.Answer, r *resource, k *roster.Known) {
	ver := ""
	if r.versioned {
		ver = k.Ver()
	}
	answer.SendWire(stanza.NewResult(iq.Stanza, func(dst []byte) []byte { return appendRoster(dst, k.Roster, ver) }))
	r.answered(false)
}

// answered notes that a request for the roster was answered, without a roster when blank.
func (r *resource) answered(blank bool) {
	r.asking--
	r.interested, r.blank, r.lost = true, blank, false
}

// maxAsking bounds the requests of one session that wait.
const maxAsking = 8

// errEnded answers a session that ended while its request was on the way; nobody will read it.
var errEnded = stanza.NewError(stanza.RecipientUnavailable, "the session has ended")

const queryClose = "</query>"

// appendQuery opens the payload of a roster's result or push; ver is "" for a client that keeps no versions.
func appendQuery(dst []byte, ver string) []byte {
	dst = append(dst, "<query xmlns='"+ns.Roster...)
	if ver != "" {
		dst = xmlstream.AppendEscaped(append(dst, "' ver='"...), ver)
	}
	return append(dst, "'>"...)
}

// appendRoster appends the whole roster (RFC 6121 section 2.1.4).
func appendRoster(dst []byte, r *rosterdoc.Roster, ver string) []byte {
	dst = appendQuery(dst, ver)
	start := len(dst)
	for item := range r.All() {
		was := len(dst)
		if dst = appendItem(dst, item); was == start { // the others will be about as long
			dst = slices.Grow(dst, r.Len()*min(len(dst)-was, 200)*9/8)
		}
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
		Text: "the contact service has not given your contacts yet; they will arrive when it does"}
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

// pushChanges tells sessions of what made a roster what it is (RFC 6121 section 2.1.6).
func pushChanges(to []*resource, k *roster.Known, changes []rosterdoc.Change) {
	if len(to) == 0 {
		return
	}
	known := make([]*resource, 0, len(to))
	for _, r := range to {
		if !r.lost {
			known = append(known, r)
			continue
		}
		for _, c := range changes {
			push([]*resource{r}, c, r.have)
		}
	}
	for i, c := range changes {
		push(known, c, k.VerOf(i, changes))
	}
}

// pushSteps brings a client up to date whose version is known.
func pushSteps(r *resource, steps []roster.Step) {
	for _, s := range steps {
		push([]*resource{r}, s.Change, s.Ver)
	}
}

// fill gives a roster to a session that asked for it in vain: what is different from what it has, when that is known,
// and otherwise every contact.
func (a *account) fill(r *resource, k *roster.Known) {
	r.blank, r.interested = false, false // what changes meanwhile is in what it gets
	if r.have == "" {
		a.pushRoster(r, k)
		r.interested = true
		return
	}
	s := r.session
	a.user.Since(r.have, func(k *roster.Known, steps []roster.Step, ok bool) {
		r := a.find(s)
		switch {
		case r == nil || r.asking > 0: // it has asked again and will be answered
			return
		case ok:
			pushSteps(r, steps)
			a.feature.opts.Metrics.Pushed(len(steps))
		default:
			r.lost = true
			a.pushRoster(r, k)
		}
		r.interested = true
	})
}

// pushRoster pushes every contact.
func (a *account) pushRoster(r *resource, k *roster.Known) {
	n := 0
	for item := range k.Roster.All() {
		n++
		ver := r.have
		if ver == "" {
			ver = k.VerOfFirst(n)
		}
		push([]*resource{r}, rosterdoc.Change{Kind: rosterdoc.Added, New: item}, ver)
	}
	a.feature.opts.Metrics.Pushed(n)
}

// push sends an item. It is serialized once for those who keep versions and once for the others, if there are any.
func push(to []*resource, c rosterdoc.Change, ver string) {
	id := "push-" + rand.Text()
	var wires [2]stanza.Wire
	var made [2]bool
	for _, r := range to {
		kind, ver := 0, ver
		if r.versioned && ver != "" {
			kind = 1
		} else {
			ver = ""
		}
		if !made[kind] {
			made[kind] = true
			wires[kind] = stanza.NewRequest(id, func(dst []byte) []byte {
				return append(appendChange(appendQuery(dst, ver), c), queryClose...)
			})
		}
		r.session.Send(wires[kind].To(r.session.JID().String()))
	}
}

// appendChange appends the item that tells of a change.
func appendChange(dst []byte, c rosterdoc.Change) []byte {
	if c.Kind != rosterdoc.Removed {
		return appendItem(dst, c.New)
	}
	dst = append(dst, "<item jid='"...)
	dst = xmlstream.AppendEscaped(dst, c.Old.JID.String())
	return append(dst, "' subscription='remove'/>"...)
}

// RosterChanged brings sessions and contacts up to date (the contract's section 5). It implements roster.Listener.
func (a *account) RosterChanged(_, known *roster.Known, changes []rosterdoc.Change) {
	ctx := a.feature.opts.Engine.Context()
	var blank, current []*resource
	for _, r := range a.resources {
		switch {
		case r.interested && r.blank:
			blank = append(blank, r)
		case r.interested:
			current = append(current, r)
		}
	}
	for _, r := range blank {
		a.fill(r, known)
	}
	a.feature.opts.Metrics.Pushed(len(current) * len(changes))
	pushChanges(current, known, changes)
	for _, c := range changes {
		a.follow(ctx, c, known)
	}
	for _, r := range a.resources { // those that waited for it
		a.announce(ctx, r, known)
	}
}
