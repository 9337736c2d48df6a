package pep

import (
	"context"
	"slices"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// published tells of a new item.
func (p *PEP) published(ctx context.Context, owner jid.JID, name string, n *node, it *item) {
	items, err := event(name, n, it)
	if err != nil {
		p.opts.Log.Error("item not told", "owner", owner.String(), "error", err)
		return
	}
	p.tell(ctx, owner, name, n, items)
}

// event makes what is said of an item.
func event(name string, n *node, it *item) (*xmlstream.Element, error) {
	told := *it
	if !n.Config.Payloads {
		told.Payload = ""
	}
	el, err := told.element(true)
	if err != nil {
		return nil, err
	}
	el.Space = ns.PubsubEvent
	return xmlstream.New(ns.PubsubEvent, "items", "node", name).Append(el), nil
}

// tell sends an event about a node to the owner's clients, and to those of contacts and subscribers who may see it, where
// they want to hear of the node.
func (p *PEP) tell(ctx context.Context, owner jid.JID, name string, n *node, what *xmlstream.Element) {
	for _, s := range p.opts.Registry.Sessions(owner) {
		if _, available := s.Available(); available && p.opts.Directory.clients.want(s, name) {
			p.send(ctx, owner, s.JID(), what, nil)
		}
	}
	if n.Config.Access == accessWhitelist {
		return
	}
	r, err := p.opts.Roster(ctx, owner)
	if err != nil {
		p.opts.Log.Warn("contacts not told of an item: the roster is not known", "owner", owner.String())
		return
	}
	blocked := p.blocks(ctx, owner)
	for contact := range r.All() {
		if !contact.Subscription.Has(rosterdoc.From) || !n.Config.admits(contact) || blocked(contact.JID) {
			continue
		}
		p.tellContact(ctx, owner, contact.JID, name, what)
	}
	for _, j := range n.Subs {
		who, err := jid.Parse(j)
		if err != nil || p.opts.Directory.listed(r, who) || p.may(ctx, owner, who, &n.Config) != nil {
			continue
		}
		for _, s := range p.opts.Registry.Sessions(who) {
			if _, available := s.Available(); available {
				p.send(ctx, owner, s.JID(), what, nil)
			}
		}
	}
}

// listed tells whether somebody is a contact who is told as such.
func (d *Directory) listed(r *rosterdoc.Roster, who jid.JID) bool {
	contact, ok := r.Get(who)
	return ok && contact.Subscription.Has(rosterdoc.From)
}

func (p *PEP) tellContact(ctx context.Context, owner, contact jid.JID, name string, what *xmlstream.Element) {
	sees := false
	for _, s := range p.opts.Registry.Sessions(contact) {
		if _, available := s.Available(); !available || !p.opts.Directory.clients.want(s, name) {
			continue
		}
		if !sees && p.opts.Mutual {
			if _, ok, err := p.contact(ctx, owner, contact); err != nil || !ok {
				return
			}
		}
		sees = true
		p.send(ctx, owner, s.JID(), what, nil)
	}
}

// blocks tells whom an owner has blocked: everybody, as long as that is not known.
func (p *PEP) blocks(ctx context.Context, owner jid.JID) func(jid.JID) bool {
	blocked, err := p.opts.Blocked(ctx, owner)
	if err != nil {
		p.opts.Log.Warn("items not told: it is not known whom their owner has blocked", "owner", owner.String(), "error", err)
		return func(jid.JID) bool { return true }
	}
	return blocked
}

// send sends an event to one client, from the owner.
func (p *PEP) send(ctx context.Context, owner, to jid.JID, what, extra *xmlstream.Element) {
	el := xmlstream.New(ns.Client, "message", "type", stanza.TypeHeadline, "from", owner.String(), "to", to.String()).
		Append(xmlstream.New(ns.PubsubEvent, "event").Append(what), extra)
	p.opts.Registry.Deliver(ctx, &host.Passage{
		Stanza: &stanza.Stanza{Element: el, Kind: stanza.Message, Type: stanza.TypeHeadline, From: owner, To: to},
		Host:   p.opts.Registry.Host(p.opts.Host),
	})
}

// sendLast sends the last item of a node to one client, with the time at which it was published.
func (p *PEP) sendLast(ctx context.Context, owner, to jid.JID, name string, n *node) {
	last := &n.Items[len(n.Items)-1]
	what, err := event(name, n, last)
	if err != nil {
		p.opts.Log.Error("item not told", "owner", owner.String(), "error", err)
		return
	}
	p.send(ctx, owner, to, what, payload.Delay("", last.At, ""))
}

// greet sends to a client that has arrived the last items of what it wants to hear of: its own user's and those of the
// contacts whom it sees.
func (p *PEP) greet(ctx context.Context, to jid.JID, wants map[string]struct{}) {
	me := to.Bare()
	p.sendLasts(ctx, me, to, wants)
	r, err := p.opts.Roster(ctx, me)
	if err != nil {
		return // who does not know its contacts sees none of them
	}
	for contact := range r.All() {
		if contact.Subscription.Has(rosterdoc.To) {
			p.opts.Directory.greetFrom(contact.JID, to, wants)
		}
	}
}

// greetFrom sends a client the last items of one account, in that account's queue.
func (d *Directory) greetFrom(owner, to jid.JID, wants map[string]struct{}) {
	p := d.at(owner.Domain())
	if p == nil {
		return
	}
	if names, known := p.index.get(owner.Local()); known && !overlap(names, wants) {
		return
	}
	// Without room in the queue the client hears of the next item.
	_ = p.do(owner.Local(), func(ctx context.Context) { p.sendLasts(ctx, owner, to, wants) })
}

func overlap(names []string, wants map[string]struct{}) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := wants[name]; return ok })
}

// sendLasts sends a client the last item of each node of an account that it wants and may see.
func (p *PEP) sendLasts(ctx context.Context, owner, to jid.JID, wants map[string]struct{}) {
	names, err := p.names(ctx, owner.Local())
	if err != nil {
		p.opts.Log.Error("last items not sent", "owner", owner.String(), "error", err)
		return
	}
	if !overlap(names, wants) {
		return
	}
	for _, name := range names {
		if _, ok := wants[name]; !ok {
			continue
		}
		n, err := p.load(ctx, owner.Local(), name)
		if err != nil {
			p.opts.Log.Error("last item not sent", "owner", owner.String(), "error", err)
			continue
		}
		if n != nil && len(n.Items) > 0 && n.Config.SendLast == lastOnPresence && n.Config.Notify && p.may(ctx, owner, to, &n.Config) == nil {
			p.sendLast(ctx, owner, to, name, n)
		}
	}
}

// Gained is told that a user has begun to see a contact's presence.
func (d *Directory) Gained(account, contact jid.JID) {
	p := d.at(account.Domain())
	if p == nil {
		return
	}
	for _, s := range p.opts.Registry.Sessions(account) {
		if wants := d.clients.wants(s); len(wants) > 0 && s.Announced() {
			d.greetFrom(contact, s.JID(), wants)
		}
	}
}

// discoItems lists the nodes of an account that somebody may see (XEP-0060 section 5.2).
func (p *PEP) discoItems(ctx context.Context, account, somebody jid.JID) (items []host.Item, err error) {
	names, err := p.names(ctx, account.Local())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		n, err := p.load(ctx, account.Local(), name)
		if err != nil {
			return nil, err
		}
		if n != nil && p.may(ctx, account, somebody, &n.Config) == nil {
			items = append(items, host.Item{JID: account.String(), Node: name, Name: n.Config.Title})
		}
	}
	return items, nil
}

// discoNode tells whether an account has a node that somebody may see, and what it is.
func (p *PEP) discoNode(ctx context.Context, account, somebody jid.JID, name string) (*host.Identity, error) {
	n, err := p.load(ctx, account.Local(), name)
	if err != nil || n == nil || p.may(ctx, account, somebody, &n.Config) != nil {
		return nil, err
	}
	return &host.Identity{Category: "pubsub", Type: "leaf", Name: n.Config.Title}, nil
}
