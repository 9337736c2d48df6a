package pep

import (
	"context"
	"crypto/rand"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// A request is one about the nodes of an account, in the account's queue.
type request struct {
	*host.IQ
	owner jid.JID            // bare
	what  *xmlstream.Element // the first child of <pubsub/>
	mine  bool               // the owner asks
	after func()             // what is to be done when the answer is on its way; nil: nothing
}

type handler func(ctx context.Context, r *request) (*xmlstream.Element, error)

// answer takes requests to the account's queue, where handle answers them.
func (p *PEP) answer(handle handler) host.IQHandler {
	return func(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
		r := &request{IQ: iq, owner: iq.To.Bare(), what: iq.Payload().First()}
		if iq.To.IsZero() {
			r.owner = iq.From.Bare()
		}
		r.mine = iq.From.Bare() == r.owner
		if r.what == nil {
			return nil, stanza.NewError(stanza.BadRequest, "<pubsub/> is empty")
		}
		later := iq.Defer()
		err := p.do(r.owner.Local(), func(ctx context.Context) {
			answer, err := handle(ctx, r)
			if err == nil && r.mine && r.Type == stanza.TypeSet {
				err = p.changed(ctx, r.owner, r.what.Attr("node"))
			}
			later.Send(answer, err)
			if r.after != nil {
				r.after()
			}
		})
		if err != nil {
			return nil, err
		}
		return nil, host.ErrDeferred
	}
}

func unsupported(feature string) error {
	e := stanza.NewError(stanza.FeatureNotImplemented, "")
	e.App = xmlstream.New(ns.PubsubErrors, "unsupported", "feature", feature)
	return e
}

func pubsub(space string, children ...*xmlstream.Element) *xmlstream.Element {
	return xmlstream.New(space, "pubsub").Append(children...)
}

// get answers what anybody may ask.
func (p *PEP) get(ctx context.Context, r *request) (*xmlstream.Element, error) {
	switch r.what.Local {
	case "items":
		return p.items(ctx, r)
	case "subscriptions":
		return p.subscriptions(ctx, r)
	case "affiliations":
		return p.affiliations(ctx, r)
	case "default":
		c := defaults()
		return pubsub(ns.Pubsub, xmlstream.New(ns.Pubsub, "default").Append(c.form())), nil
	case "options":
		return nil, unsupported("subscription-options")
	}
	return nil, stanza.NewError(stanza.FeatureNotImplemented, "")
}

// mayChange tells why whoever asks may not change a node; nil when they may.
func (p *PEP) mayChange(r *request) error {
	node := r.what.Attr("node")
	switch {
	case !r.mine:
		return stanza.NewError(stanza.Forbidden, "these nodes are somebody else's")
	case p.opts.Managed && (node == ns.AvatarMetadata || node == ns.AvatarData):
		return stanza.NewError(stanza.NotAllowed, "profiles are managed by the application")
	}
	return nil
}

// set does what is asked. Only subscriptions are for others than the owner.
func (p *PEP) set(ctx context.Context, r *request) (*xmlstream.Element, error) {
	switch r.what.Local {
	case "subscribe":
		return p.subscribe(ctx, r)
	case "unsubscribe":
		return p.unsubscribe(ctx, r)
	}
	if err := p.mayChange(r); err != nil {
		return nil, err
	}
	switch r.what.Local {
	case "publish":
		return p.publish(ctx, r)
	case "retract":
		return p.retract(ctx, r)
	case "create":
		return p.create(ctx, r)
	case "options":
		return nil, unsupported("subscription-options")
	}
	return nil, stanza.NewError(stanza.FeatureNotImplemented, "")
}

// items gives items (XEP-0060 section 6.5): all, the last so many, or those with certain ids.
func (p *PEP) items(ctx context.Context, r *request) (*xmlstream.Element, error) {
	name := r.what.Attr("node")
	n, err := p.must(ctx, r.owner.Local(), name)
	if err == nil {
		err = p.may(ctx, r.owner, r.From, &n.Config)
	}
	if err != nil {
		return nil, err
	}
	items := n.Items
	if text := r.what.Attr("max_items"); text != "" {
		most, err := strconv.Atoi(text)
		if err != nil || most < 1 {
			return nil, stanza.NewError(stanza.BadRequest, "max_items is no number of items")
		}
		items = items[max(0, len(items)-most):]
	}
	var ids []string
	for el := range r.what.Elements() {
		if el.Is(ns.Pubsub, "item") {
			ids = append(ids, el.Attr("id"))
		}
	}
	list := xmlstream.New(ns.Pubsub, "items", "node", name)
	for i := range items {
		if ids != nil && !slices.Contains(ids, items[i].ID) {
			continue
		}
		el, err := items[i].element(false)
		if err != nil {
			return nil, err
		}
		list.Append(el)
	}
	return pubsub(ns.Pubsub, list), nil
}

// publish adds an item (XEP-0060 section 7.1), and makes the node where there is none.
func (p *PEP) publish(ctx context.Context, r *request) (*xmlstream.Element, error) {
	name := r.what.Attr("node")
	if name == "" {
		return nil, refuse(stanza.BadRequest, "nodeid-required", "name the node")
	}
	it, err := itemOf(r)
	if err != nil {
		return nil, err
	}
	local := r.owner.Local()
	n, err := p.load(ctx, local, name)
	if err != nil {
		return nil, err
	}
	fresh := n == nil
	if fresh {
		n = &node{Config: defaults()}
	}
	before := n.Config
	if options := r.Payload().Child(ns.Pubsub, "publish-options"); options != nil {
		failed := refuse(stanza.Conflict, "precondition-not-met", "the node is not as publish-options has it")
		if err := n.Config.fill(options, formOptions, failed); err != nil {
			return nil, err
		}
		if !fresh && !reflect.DeepEqual(before, n.Config) {
			return nil, failed
		}
	}
	if err := p.add(ctx, local, name, n, it, fresh); err != nil {
		return nil, err
	}
	if n.Config.Notify {
		r.after = func() { p.published(ctx, r.owner, name, n, &it) }
	}
	return pubsub(ns.Pubsub, xmlstream.New(ns.Pubsub, "publish", "node", name).
		Append(xmlstream.New(ns.Pubsub, "item", "id", it.ID))), nil
}

// itemOf reads the one item of a request.
func itemOf(r *request) (item, error) {
	it := item{Publisher: r.From.String(), At: time.Now().UTC()}
	var given *xmlstream.Element
	for el := range r.what.Elements() {
		if given != nil || !el.Is(ns.Pubsub, "item") {
			return it, refuse(stanza.BadRequest, "max-items-exceeded", "one <item/> is published at a time")
		}
		given = el
	}
	if given == nil {
		return it, refuse(stanza.BadRequest, "item-required", "what is to be published?")
	}
	if it.ID = given.Attr("id"); it.ID == "" {
		it.ID = strings.ToLower(rand.Text())
	}
	if len(it.ID) > maxItemID {
		return it, stanza.NewError(stanza.NotAcceptable, fmt.Sprintf("the id of an item has %d bytes at most", maxItemID))
	}
	for el := range given.Elements() {
		if it.Payload != "" {
			return it, refuse(stanza.BadRequest, "invalid-payload", "an item has one payload")
		}
		it.Payload = xml(el)
	}
	if it.Payload == "" {
		return it, refuse(stanza.BadRequest, "payload-required", "the item is empty")
	}
	return it, nil
}

// retract removes an item (section 7.2).
func (p *PEP) retract(ctx context.Context, r *request) (*xmlstream.Element, error) {
	name, local := r.what.Attr("node"), r.owner.Local()
	n, err := p.must(ctx, local, name)
	if err != nil {
		return nil, err
	}
	given := r.what.Child(ns.Pubsub, "item")
	if given == nil || given.Attr("id") == "" {
		return nil, refuse(stanza.BadRequest, "item-required", "which item?")
	}
	i := slices.IndexFunc(n.Items, func(it item) bool { return it.ID == given.Attr("id") })
	if i < 0 {
		return nil, stanza.NewError(stanza.ItemNotFound, "there is no such item")
	}
	gone := n.Items[i].ID
	n.Items = slices.Delete(n.Items, i, i+1)
	if err := p.save(ctx, local, name, n, false); err != nil {
		return nil, err
	}
	if yes := r.what.Attr("notify"); yes == "1" || yes == "true" || n.Config.Retracts {
		r.after = func() {
			p.tell(ctx, r.owner, name, n, xmlstream.New(ns.PubsubEvent, "items", "node", name).
				Append(xmlstream.New(ns.PubsubEvent, "retract", "id", gone)))
		}
	}
	return nil, nil
}

// create makes a node (section 8.1), configured perhaps.
func (p *PEP) create(ctx context.Context, r *request) (*xmlstream.Element, error) {
	name, local := r.what.Attr("node"), r.owner.Local()
	if name == "" {
		name = strings.ToLower(rand.Text())
	}
	switch n, err := p.load(ctx, local, name); {
	case err != nil:
		return nil, err
	case n != nil:
		return nil, stanza.NewError(stanza.Conflict, "there is such a node already")
	}
	n := &node{Config: defaults()}
	if configure := r.Payload().Child(ns.Pubsub, "configure"); configure != nil {
		if err := n.Config.fill(configure, formConfig, nil); err != nil {
			return nil, err
		}
	}
	if err := p.save(ctx, local, name, n, true); err != nil {
		return nil, err
	}
	return pubsub(ns.Pubsub, xmlstream.New(ns.Pubsub, "create", "node", name)), nil
}

// ownerGet answers what the owner asks about a node.
func (p *PEP) ownerGet(ctx context.Context, r *request) (*xmlstream.Element, error) {
	if !r.mine {
		return nil, stanza.NewError(stanza.Forbidden, "these nodes are somebody else's")
	}
	if r.what.Local == "default" {
		c := defaults()
		return pubsub(ns.PubsubOwner, xmlstream.New(ns.PubsubOwner, "default").Append(c.form())), nil
	}
	name := r.what.Attr("node")
	n, err := p.must(ctx, r.owner.Local(), name)
	if err != nil {
		return nil, err
	}
	answer := xmlstream.New(ns.PubsubOwner, r.what.Local, "node", name)
	switch r.what.Local {
	case "configure":
		answer.Append(n.Config.form())
	case "affiliations":
		answer.Append(xmlstream.New(ns.PubsubOwner, "affiliation", "jid", r.owner.String(), "affiliation", "owner"))
	case "subscriptions":
		for _, j := range n.Subs {
			answer.Append(xmlstream.New(ns.PubsubOwner, "subscription", "jid", j, "subscription", "subscribed"))
		}
	default:
		return nil, stanza.NewError(stanza.FeatureNotImplemented, "")
	}
	return pubsub(ns.PubsubOwner, answer), nil
}

// ownerSet changes a node as a whole.
func (p *PEP) ownerSet(ctx context.Context, r *request) (*xmlstream.Element, error) {
	if err := p.mayChange(r); err != nil {
		return nil, err
	}
	name, local := r.what.Attr("node"), r.owner.Local()
	n, err := p.must(ctx, local, name)
	if err != nil {
		return nil, err
	}
	switch r.what.Local {
	case "configure":
		if err := n.Config.fill(r.what, formConfig, nil); err != nil {
			return nil, err
		}
		return nil, p.save(ctx, local, name, n, false)
	case "delete":
		if err := p.remove(ctx, local, name); err != nil {
			return nil, err
		}
		if !n.Config.Silent {
			r.after = func() { p.tell(ctx, r.owner, name, n, xmlstream.New(ns.PubsubEvent, "delete", "node", name)) }
		}
		return nil, nil
	case "purge":
		n.Items = nil
		if err := p.save(ctx, local, name, n, false); err != nil {
			return nil, err
		}
		r.after = func() { p.tell(ctx, r.owner, name, n, xmlstream.New(ns.PubsubEvent, "purge", "node", name)) }
		return nil, nil
	case "affiliations":
		return nil, unsupported("modify-affiliations")
	case "subscriptions":
		return nil, unsupported("manage-subscriptions")
	}
	return nil, stanza.NewError(stanza.FeatureNotImplemented, "")
}
