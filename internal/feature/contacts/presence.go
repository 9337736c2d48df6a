package contacts

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// sent takes the presence that local sessions send.
func (c *Contacts) sent(ctx context.Context, p *host.Passage) (done bool, err error) {
	if p.Kind != stanza.Presence {
		return false, nil
	}
	a := c.online(p.From.Local())
	if a == nil {
		return true, nil // the session has ended; this was read before
	}
	switch p.Type {
	case stanza.TypeSubscribe:
		return true, stanza.NewError(stanza.NotAllowed, "contacts are managed by the application")
	case stanza.TypeSubscribed, stanza.TypeUnsubscribe, stanza.TypeUnsubscribed:
		return true, nil // RFC 6121 section 3 is switched off, as in mod_block_subscriptions
	case stanza.TypeProbe:
		return true, nil // probes are for servers (section 4.3); ours go another way
	case stanza.TypeError:
		return p.To.IsZero(), nil
	}
	if !p.To.IsZero() {
		a.directPhoto(p)
		return false, a.direct(p)
	}
	if p.Type == stanza.TypeUnavailable {
		p.Session.SetUnavailable()
		a.user.Do(func() {
			if r := a.find(p.Session); r != nil {
				a.retract(ctx, r, p)
			}
		})
		return true, nil
	}
	p.Session.SetAvailable(priority(p.Element))
	a.user.Do(func() {
		if r := a.find(p.Session); r != nil {
			a.available(ctx, r, p)
		}
	})
	return true, nil
}

// priority reads a presence's priority (RFC 6121 section 4.7.2.3); one that is missing or no number is 0.
func priority(el *xmlstream.Element) int {
	c := el.Child(ns.Client, "priority")
	if c == nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(c.Text()), 10, 8)
	if err != nil {
		return 0
	}
	return int(n)
}

// available takes a resource's presence: the user's own sessions get it at once (RFC 6121 section 4.2.2), the contacts
// when the roster is known. Until then it waits, for a roster that is out of date must not say who sees a user.
func (a *account) available(ctx context.Context, r *resource, p *host.Passage) {
	initial := r.presence == nil
	p = a.withPhoto(r, p).Keep()
	r.presence = p
	a.tell()
	a.feature.opts.Registry.Broadcast(ctx, p, a.jid)
	if r.announced {
		a.broadcast(ctx, p, a.user.Current())
		return
	}
	if !initial {
		return // it is waiting already, and the newest is sent in the end
	}
	for _, other := range a.resources {
		if other != r && other.presence != nil {
			r.session.Send(other.presence.Wire().To(r.session.JID().String()))
		}
	}
	a.user.Ask(func(o roster.Outcome) {
		if o.Known != nil { // otherwise RosterChanged comes some day
			a.announce(ctx, r, o.Known)
		}
	})
}

// announce makes a resource known to the contacts and asks for theirs (RFC 6121 sections 4.2.2 and 4.3).
func (a *account) announce(ctx context.Context, r *resource, k *roster.Known) {
	if r.presence == nil || r.announced {
		return
	}
	r.announced = true
	r.session.SetAnnounced(true)
	a.broadcast(ctx, r.presence, k)
	viewer := audience{a, r.session.JID().String(), []*session.Session{r.session}}
	for contact := range a.feature.opts.Directory.present.among(k.Roster, rosterdoc.To) {
		a.probe(contact, viewer, time.Time{})
	}
	if told := a.feature.opts.Announced; told != nil {
		told(r.session)
	}
}

// broadcast sends a presence of ours to the contacts who may see it: those who are online, for nobody else would get it,
// and whom we have not blocked.
func (a *account) broadcast(ctx context.Context, p *host.Passage, k *roster.Known) {
	to := allowed(a.blocks())
	for contact := range a.feature.opts.Directory.present.among(k.Roster, rosterdoc.From) {
		a.showTo(ctx, p, contact, to)
	}
}

// show sends a presence of ours to one contact, unless we have blocked it.
func (a *account) show(ctx context.Context, p *host.Passage, contact jid.JID) {
	a.showTo(ctx, p, contact, allowed(a.blocks()))
}

// showTo sends a presence of ours to those of a contact's sessions that are to get it; nil: all.
func (a *account) showTo(ctx context.Context, p *host.Passage, contact jid.JID, to func(session jid.JID) bool) {
	if a.feature.opts.Mutual {
		if p.Type == "" {
			if !a.feature.opts.Directory.wants(contact, a.jid) {
				return
			}
			a.showed(contact)
		}
		if !a.visibleTo(contact) {
			return
		}
	}
	a.feature.broadcastTo(ctx, p, contact, to)
}

// showed notes that somebody has seen our presence.
func (a *account) showed(somebody jid.JID) {
	if a.shown == nil {
		a.shown = make(map[jid.JID]struct{})
	}
	a.shown[somebody] = struct{}{}
}

// visibleTo tells whether somebody has seen our presence, as far as rosters decide it, and was not told that it ended.
func (a *account) visibleTo(somebody jid.JID) bool {
	if !a.feature.opts.Mutual {
		return a.shows(somebody)
	}
	_, ok := a.shown[somebody]
	return ok
}

// wants tells whether a local contact's roster asks for somebody's presence.
func (d *Directory) wants(contact, somebody jid.JID) bool {
	a := d.online(contact)
	if a == nil {
		return false
	}
	k := a.user.Current()
	if k == nil {
		return false
	}
	item, ok := k.Roster.Get(somebody)
	return ok && item.Subscription.Has(rosterdoc.To)
}

// shows tells whether the roster lets somebody see our presence.
func (a *account) shows(somebody jid.JID) bool {
	k := a.user.Current()
	if k == nil {
		return false
	}
	item, ok := k.Roster.Get(somebody)
	return ok && item.Subscription.Has(rosterdoc.From)
}

// retract sends a resource's unavailable presence to all who may have seen it available (RFC 6121 section 4.5.2): the
// user's other sessions, the contacts, and those it sent directed presence to (section 4.6.3).
func (a *account) retract(ctx context.Context, r *resource, gone *host.Passage) {
	registry := a.feature.opts.Registry
	if r.presence != nil {
		registry.Broadcast(ctx, gone, a.jid)
		if gone.Session == r.session { // said by the client: section 4.5.2 has it told as well
			r.session.Send(gone.Wire().To(r.session.JID().String()))
		}
		if k := a.user.Current(); k != nil && r.announced {
			a.broadcast(ctx, gone, k)
		}
	}
	for j := range r.directed {
		a.undirect(ctx, r, gone, j)
	}
	r.presence, r.announced, r.directed = nil, false, nil
	r.session.SetAnnounced(false)
	a.tell()
}

// tell says whether the user is available, when that has changed.
func (a *account) tell() {
	if a.feature.opts.Presence == nil {
		return
	}
	available := slices.ContainsFunc(a.resources, func(r *resource) bool { return r.presence != nil })
	if available != a.told {
		a.told = available
		a.feature.opts.Presence(a.jid.Local(), available)
	}
}

// undirect tells somebody to whom a session has sent directed presence that it is gone, unless that is a contact, who is
// told anyway.
func (a *account) undirect(ctx context.Context, r *resource, gone *host.Passage, j jid.JID) {
	if r.announced && a.visibleTo(j.Bare()) {
		return
	}
	st := *gone.Stanza
	st.To = j
	st.Element = gone.Element.Clone().SetAttr("to", j.String())
	a.feature.opts.Registry.Deliver(ctx, &host.Passage{Stanza: &st, Host: gone.Host, Session: r.session})
}

// unavailable makes the presence that says a resource is gone, for one that cannot say so itself.
func (a *account) unavailable(r *resource) *host.Passage {
	full := r.session.JID()
	return &host.Passage{
		Stanza: &stanza.Stanza{
			Element: xmlstream.New(ns.Client, "presence", "type", stanza.TypeUnavailable, "from", full.String()),
			Kind:    stanza.Presence, Type: stanza.TypeUnavailable, From: full,
		},
		Host: a.feature.opts.Registry.Host(a.jid.Domain()),
	}
}

// maxDirected bounds the addresses that a session may have sent directed presence to.
const maxDirected = 1000

func (r *resource) sentTo(j jid.JID) bool {
	_, ok := r.directed[j]
	return ok
}

// direct notes to whom a session sends directed presence (RFC 6121 section 4.6).
func (a *account) direct(p *host.Passage) (err error) {
	a.user.Do(func() {
		r := a.find(p.Session)
		switch {
		case r == nil:
		case p.Type == stanza.TypeUnavailable:
			delete(r.directed, p.To)
		case len(r.directed) >= maxDirected && !r.sentTo(p.To):
			err = stanza.NewError(stanza.ResourceConstraint, "directed presence to "+strconv.Itoa(maxDirected)+" addresses already")
		default:
			if r.directed == nil {
				r.directed = make(map[jid.JID]struct{})
			}
			r.directed[p.To] = struct{}{}
		}
	})
	return err
}

// received keeps what is not for users from reaching them: probes and subscriptions, which only a server of ours sends or
// none, and requests about rosters, which a client could take for its server's (RFC 6121 section 2.1.6).
func (c *Contacts) received(_ context.Context, p *host.Passage) (done bool, err error) {
	if p.Kind == stanza.Presence {
		return p.Type == stanza.TypeProbe || p.IsSubscription(), nil
	}
	if p.IsRequest() && p.To.IsFull() && p.First().Space == ns.Roster {
		return true, stanza.NewError(stanza.ServiceUnavailable, "")
	}
	return false, nil
}

// audience is those of a user's sessions that see contacts' presence, and how it is addressed to them.
type audience struct {
	account  *account
	address  string
	sessions []*session.Session
}

// audience gives the sessions that have been announced: the others are about to ask for everybody's presence.
func (a *account) audience() audience {
	v := audience{account: a, address: a.jid.String()}
	for _, r := range a.resources {
		if r.announced {
			v.sessions = append(v.sessions, r.session)
		}
	}
	return v
}

// see shows the sessions a presence of a resource of b's, unless one side has blocked the other.
func (v audience) see(b *account, r *resource, w stanza.Wire) {
	if blocked := v.account.blocks(); blocked == nil || !blocked(r.session.JID()) {
		v.get(b, w)
	}
}

// get is see where our side has been asked.
func (v audience) get(b *account, w stanza.Wire) {
	blocked := b.blocks()
	w = w.To(v.address)
	for _, s := range v.sessions {
		if blocked == nil || !blocked(s.JID()) {
			s.Send(w)
		}
	}
}

// probe asks for a contact's presence (RFC 6121 section 4.3). asOf, when not zero, is when a roster of ours that has just
// begun to list the contact was asked for: if the contact's own roster, being older, does not list us, the contact's is
// fetched again, so that it is enough for the service to notify one side.
func (a *account) probe(contact jid.JID, viewers audience, asOf time.Time) {
	b := a.feature.opts.Directory.online(contact)
	if b == nil {
		return // not online, or not ours: then it is for a server that there is no connection to
	}
	b.user.Post(func() {
		if !b.shows(a.jid) {
			if !asOf.IsZero() {
				b.user.Suspect(asOf)
			}
			return
		}
		if b.feature.opts.Mutual {
			b.showed(a.jid)
		}
		for _, r := range b.resources {
			if r.announced { // if not yet, it is going to be
				viewers.see(b, r, r.presence.Wire())
			}
		}
	})
}

// withdraw shows us a contact as gone whom we may see no longer: it sends the unavailable presence that the contact
// does not know it would have to send.
func (a *account) withdraw(contact jid.JID, viewers audience) {
	b := a.feature.opts.Directory.online(contact)
	if b == nil {
		return
	}
	b.user.Post(func() {
		if !b.visibleTo(a.jid) {
			return // we have not seen it, or it has told us itself
		}
		delete(b.shown, a.jid)
		for _, r := range b.resources {
			if r.announced {
				viewers.see(b, r, b.unavailable(r).Wire())
			}
		}
	})
}

// follow lets presence follow one change of the roster, in each direction that changed.
func (a *account) follow(ctx context.Context, c rosterdoc.Change, k *roster.Known) {
	before, after := c.Old.Subscription, c.New.Subscription // None where there is no item
	contact := c.New.JID
	if c.Kind == rosterdoc.Removed {
		contact = c.Old.JID
	}
	if a.feature.opts.Directory.online(contact) == nil { // nobody would get it, and there is nothing to be shown
		if !after.Has(rosterdoc.From) {
			delete(a.shown, contact)
		}
		return
	}
	if before.Has(rosterdoc.From) != after.Has(rosterdoc.From) {
		for _, r := range a.resources {
			switch {
			case !r.announced:
			case after.Has(rosterdoc.From):
				a.show(ctx, r.presence, contact)
			default:
				a.show(ctx, a.unavailable(r), contact)
			}
		}
		if !after.Has(rosterdoc.From) {
			delete(a.shown, contact)
		} else if gained := a.feature.opts.Gained; gained != nil {
			gained(contact, a.jid)
		}
	}
	switch {
	case after.Has(rosterdoc.To) && !before.Has(rosterdoc.To):
		a.probe(contact, a.audience(), k.Wished)
		if gained := a.feature.opts.Gained; gained != nil {
			gained(a.jid, contact)
		}
	case !after.Has(rosterdoc.To) && (before.Has(rosterdoc.To) || c.Kind == rosterdoc.Removed):
		a.withdraw(contact, a.audience())
	}
}
