package pep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Bounds of an account.
const (
	maxNodes    = 200
	maxItems    = 1_000 // of a node; "max" in its configuration
	maxNode     = 900 << 10
	maxNodeName = 500 // bytes
	maxItemID   = 500
	maxSubs     = 200
)

// A node is what is stored of one.
type node struct {
	Config config   `json:"config"`
	Items  []item   `json:"items,omitempty"` // the last published last
	Subs   []string `json:"subs,omitempty"`  // bare JIDs that have subscribed by themselves
	// Photo is the hash of the picture that vCards have of it, "" for none; nil: not worked out. Of avatars' metadata alone.
	Photo *string `json:"photo,omitempty"`
}

// An item is an item.
type item struct {
	ID        string    `json:"id"`
	Publisher string    `json:"publisher"` // full JID
	At        time.Time `json:"at"`
	Payload   string    `json:"payload,omitempty"` // XML
}

func (i *item) element(withPublisher bool) (*xmlstream.Element, error) {
	el := xmlstream.New(ns.Pubsub, "item", "id", i.ID)
	if withPublisher {
		el.SetAttr("publisher", i.Publisher)
	}
	if i.Payload == "" {
		return el, nil
	}
	payload, err := xmlstream.ParseElement([]byte(i.Payload), xmlstream.Limits{Bytes: 2 * maxNode})
	if err != nil {
		return nil, fmt.Errorf("a stored item cannot be read: %w", err)
	}
	return el.Append(payload), nil
}

// key names a node's value.
func (p *PEP) key(local, name string) store.Key {
	return store.Key{Host: p.opts.Host, Username: local, Space: Space, Name: name}
}

// load reads a node; nil when there is none.
func (p *PEP) load(ctx context.Context, local, name string) (*node, error) {
	if name == "" || len(name) > maxNodeName {
		return nil, nil
	}
	b, err := p.opts.Store.Value(ctx, p.key(local, "n"+name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &node{}
	if err := json.Unmarshal(b, n); err != nil {
		return nil, fmt.Errorf("node %q of %s cannot be read: %w", name, local, err)
	}
	return n, nil
}

// must is load for a node that is to be there.
func (p *PEP) must(ctx context.Context, local, name string) (*node, error) {
	if name == "" {
		return nil, refuse(stanza.BadRequest, "nodeid-required", "name the node")
	}
	n, err := p.load(ctx, local, name)
	if n == nil && err == nil {
		err = stanza.NewError(stanza.ItemNotFound, "there is no such node")
	}
	return n, err
}

// save writes a node: first its name, so that what is there has a name.
func (p *PEP) save(ctx context.Context, local, name string, n *node, fresh bool) error {
	if len(name) > maxNodeName {
		return stanza.NewError(stanza.NotAcceptable, fmt.Sprintf("the name of a node has %d bytes at most", maxNodeName))
	}
	n.Photo = nil
	b, err := n.encode()
	if err != nil {
		return err
	}
	if fresh {
		if err := p.rename(ctx, local, func(names []string) ([]string, error) {
			if slices.Contains(names, name) {
				return names, nil
			}
			if len(names) >= maxNodes {
				return nil, refuse(stanza.Conflict, "max-nodes-exceeded", fmt.Sprintf("an account has %d nodes at most", maxNodes))
			}
			return append(names, name), nil
		}); err != nil {
			return err
		}
	}
	return p.opts.Store.SetValue(ctx, p.key(local, "n"+name), b, 0)
}

// add puts an item at the end of a node.
func (p *PEP) add(ctx context.Context, local, name string, n *node, it item, fresh bool) error {
	n.Items = slices.DeleteFunc(n.Items, func(old item) bool { return old.ID == it.ID })
	if n.Config.Persist {
		n.Items = append(n.Items, it)
	} else if !fresh {
		return nil
	}
	return p.save(ctx, local, name, n, fresh)
}

// encode writes a node. What is too much goes, the oldest items first; the last one must find room.
func (n *node) encode() ([]byte, error) {
	n.Items = n.Items[max(0, len(n.Items)-n.Config.MaxItems):]
	for {
		b, err := json.Marshal(n)
		if err != nil || len(b) <= maxNode {
			return b, err
		}
		if len(n.Items) <= 1 {
			return nil, refuse(stanza.NotAcceptable, "payload-too-big", "the item is too large for a node")
		}
		n.Items = n.Items[max(1, len(n.Items)/8):]
	}
}

// remove deletes a node.
func (p *PEP) remove(ctx context.Context, local, name string) error {
	err := p.opts.Store.RemoveValue(ctx, p.key(local, "n"+name))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return p.rename(ctx, local, func(names []string) ([]string, error) {
		return slices.DeleteFunc(names, func(other string) bool { return other == name }), nil
	})
}

// names lists an account's nodes.
func (p *PEP) names(ctx context.Context, local string) ([]string, error) {
	if names, ok := p.index.get(local); ok {
		return names, nil
	}
	version := p.index.version()
	b, err := p.opts.Store.Value(ctx, p.key(local, namesKey))
	var names []string
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(b, &names); err != nil {
			return nil, fmt.Errorf("the names of the nodes of %s cannot be read: %w", local, err)
		}
	}
	p.index.put(local, names, version)
	return names, nil
}

// rename changes the names.
func (p *PEP) rename(ctx context.Context, local string, change func([]string) ([]string, error)) error {
	defer p.index.forget(local)
	return p.opts.Store.UpdateValue(ctx, p.key(local, namesKey), 0, func(old []byte) ([]byte, error) {
		var names []string
		if old != nil {
			if err := json.Unmarshal(old, &names); err != nil {
				return nil, err
			}
		}
		names, err := change(names)
		if err != nil {
			return nil, err
		}
		return json.Marshal(names)
	})
}

// index remembers the names of the nodes of some accounts; most of a user's contacts have none.
type index struct {
	mu      sync.Mutex
	known   map[string][]string
	changes uint64
}

const maxIndex = 50_000

func (x *index) get(local string) ([]string, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	names, ok := x.known[local]
	return names, ok
}

func (x *index) version() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changes
}

// put keeps what was read when the version was that, unless something has changed since.
func (x *index) put(local string, names []string, version uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changes != version {
		return
	}
	if x.known == nil {
		x.known = map[string][]string{}
	}
	for other := range x.known { // any
		if len(x.known) < maxIndex {
			break
		}
		delete(x.known, other)
	}
	x.known[local] = names
}

func (x *index) forget(local string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	delete(x.known, local)
}

// may tells why somebody may not see a node (XEP-0060 section 4.5); nil when they may.
func (p *PEP) may(ctx context.Context, owner, somebody jid.JID, c *config) error {
	if somebody.Bare() == owner {
		return nil
	}
	if p.blocks(ctx, owner)(somebody) { // requests of whom the owner has blocked do not come this far
		return stanza.NewError(stanza.ServiceUnavailable, "")
	}
	if c.Access == accessOpen {
		return nil
	}
	if c.Access == accessWhitelist {
		return refuse(stanza.NotAllowed, "closed-node", "only its owner sees this node")
	}
	contact, ok, err := p.contact(ctx, owner, somebody.Bare())
	switch {
	case err != nil:
		return stanza.NewError(stanza.RemoteServerTimeout, "the owner's contacts are not known just now; try again later")
	case !ok:
		return refuse(stanza.NotAuthorized, "presence-subscription-required", "only who sees its owner's presence sees this node")
	case !c.admits(contact):
		return refuse(stanza.NotAuthorized, "not-in-roster-group", "only some of its owner's contacts see this node")
	}
	return nil
}

// contact gives somebody who sees the owner's presence.
func (p *PEP) contact(ctx context.Context, owner, somebody jid.JID) (rosterdoc.Item, bool, error) {
	r, err := p.opts.Roster(ctx, owner)
	if err != nil {
		return rosterdoc.Item{}, false, err
	}
	contact, ok := r.Get(somebody)
	if !ok || !contact.Subscription.Has(rosterdoc.From) {
		return contact, false, nil
	}
	if p.opts.Mutual && p.opts.Registry.Host(somebody.Domain()) != nil {
		theirs, err := p.opts.Roster(ctx, somebody)
		if err != nil {
			return contact, false, err
		}
		back, listed := theirs.Get(owner)
		ok = listed && back.Subscription.Has(rosterdoc.To)
	}
	return contact, ok, nil
}

// refuse makes an error with a condition of XEP-0060.
func refuse(c stanza.Condition, condition, text string) *stanza.Error {
	e := stanza.NewError(c, text)
	e.App = xmlstream.New(ns.PubsubErrors, condition)
	return e
}

// xml writes an element that stands alone.
func xml(el *xmlstream.Element) string { return string(el.AppendXML(nil, "")) }
