package pep

import (
	"context"
	"slices"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Contacts need not subscribe: they have said by their capabilities what they want. Who does so all the same, which is how one
// hears of an open node of somebody whose presence one does not see, is noted.

// subscriber is the address that a request is about: the requester's own, bare.
func subscriber(r *request) (jid.JID, error) {
	j, err := jid.Parse(r.what.Attr("jid"))
	if err != nil || j.Bare() != r.From.Bare() {
		return j, refuse(stanza.BadRequest, "invalid-jid", "the jid is another one than yours")
	}
	return j.Bare(), nil
}

func subscription(j jid.JID, node, state string) *xmlstream.Element {
	return xmlstream.New(ns.Pubsub, "subscription", "node", node, "jid", j.String(), "subscription", state)
}

// subscribe is XEP-0060 section 6.1.
func (p *PEP) subscribe(ctx context.Context, r *request) (*xmlstream.Element, error) {
	j, err := subscriber(r)
	if err != nil {
		return nil, err
	}
	name := r.what.Attr("node")
	n, err := p.must(ctx, r.owner.Local(), name)
	if err == nil {
		err = p.may(ctx, r.owner, j, &n.Config)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(n.Subs, j.String()) {
		if len(n.Subs) >= maxSubs {
			return nil, refuse(stanza.PolicyViolation, "too-many-subscriptions", "this node has as many subscribers as it may have")
		}
		n.Subs = append(n.Subs, j.String())
		if err := p.save(ctx, r.owner.Local(), name, n, false); err != nil {
			return nil, err
		}
	}
	answer := pubsub(ns.Pubsub, subscription(j, name, "subscribed"))
	if k := len(n.Items); k > 0 && n.Config.SendLast != lastNever {
		r.after = func() { p.sendLast(ctx, r.owner, r.From, name, n) }
	}
	return answer, nil
}

// unsubscribe is section 6.2.
func (p *PEP) unsubscribe(ctx context.Context, r *request) (*xmlstream.Element, error) {
	j, err := subscriber(r)
	if err != nil {
		return nil, err
	}
	name := r.what.Attr("node")
	n, err := p.must(ctx, r.owner.Local(), name)
	if err != nil {
		return nil, err
	}
	i := slices.Index(n.Subs, j.String())
	if i < 0 {
		return nil, refuse(stanza.UnexpectedRequest, "not-subscribed", "you are not subscribed")
	}
	n.Subs = slices.Delete(n.Subs, i, i+1)
	if err := p.save(ctx, r.owner.Local(), name, n, false); err != nil {
		return nil, err
	}
	return pubsub(ns.Pubsub, subscription(j, name, "none")), nil
}

// subscriptions lists those of whoever asks (section 5.6).
func (p *PEP) subscriptions(ctx context.Context, r *request) (*xmlstream.Element, error) {
	names, err := p.names(ctx, r.owner.Local())
	if err != nil {
		return nil, err
	}
	only, me := r.what.Attr("node"), r.From.Bare()
	list := xmlstream.New(ns.Pubsub, "subscriptions", "node", only)
	for _, name := range names {
		if only != "" && only != name {
			continue
		}
		n, err := p.load(ctx, r.owner.Local(), name)
		if err != nil {
			return nil, err
		}
		if n != nil && slices.Contains(n.Subs, me.String()) {
			list.Append(subscription(me, name, "subscribed"))
		}
	}
	return pubsub(ns.Pubsub, list), nil
}

// affiliations lists those of whoever asks (section 5.7): the owner owns all nodes, and nobody else any.
func (p *PEP) affiliations(ctx context.Context, r *request) (*xmlstream.Element, error) {
	list := xmlstream.New(ns.Pubsub, "affiliations")
	if !r.mine {
		return pubsub(ns.Pubsub, list), nil
	}
	names, err := p.names(ctx, r.owner.Local())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		list.Append(xmlstream.New(ns.Pubsub, "affiliation", "node", name, "affiliation", "owner"))
	}
	return pubsub(ns.Pubsub, list), nil
}
