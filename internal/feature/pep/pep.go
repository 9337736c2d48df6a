// Package pep gives every account a publish-subscribe service of its own (XEP-0163 v1.2.2, the part of XEP-0060 v1.29 that it
// asks for, and XEP-0115 v1.6.0 for who wants to hear of what): avatars, devices' keys, bookmarks (XEP-0402), moods.
//
// Who may see a node follows the owner's roster: that is the application's. A contact gets what is published when the roster
// shows the owner's presence to the contact, the node lets the contact see it, and the contact's client has said in its
// capabilities that it wants to (NODE+notify). What was published last is sent to a client that arrives, and when a contact
// has been added.
//
// Everything about the nodes of one owner is done in one queue, so what is told of them is in order. A node is one value in
// the store, with all of its items, so that each change is whole; and an account has one more with the names of its nodes.
package pep

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/lines"
	"rollcall/internal/ns"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
)

// Options says how the feature behaves.
type Options struct {
	Host      string // the virtual host's domain
	Store     store.Values
	Registry  *host.Registry
	Directory *Directory
	// Roster gives what is known of an account's roster, of any host; it may wait. An error means that it is not known: then
	// nobody but the owner sees anything.
	Roster func(ctx context.Context, account jid.JID) (*rosterdoc.Roster, error)
	// Blocked tells whom an account of the host has blocked. While that is not known, nobody but the owner sees anything.
	Blocked func(ctx context.Context, account jid.JID) (func(other jid.JID) bool, error)
	// Mutual: a contact counts only when both rosters say so.
	Mutual bool
	// PhotoChanged is told when PhotoHash has something else to say of an account, whose bare JID it gets. It does not wait. nil: avatars
	// have nothing to do with vCards.
	PhotoChanged func(account jid.JID)
	// Managed: avatars are the application's. Clients do not change them, Show does.
	Managed bool
	Log     *slog.Logger
}

// PEP is the feature at one virtual host.
type PEP struct {
	opts  Options
	host  jid.JID
	ctx   atomic.Pointer[context.Context] // of run; nil before it
	lines *lines.Lines[string]            // by user
	index index

	photos photos
}

// Directory finds the feature of a domain, and knows what clients of all hosts want to hear of.
type Directory struct {
	clients clients

	mu      sync.RWMutex
	domains map[string]*PEP
}

// NewDirectory makes an empty directory.
func NewDirectory() *Directory { return &Directory{domains: map[string]*PEP{}} }

func (d *Directory) at(domain string) *PEP {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.domains[domain]
}

// New makes the feature.
func New(o Options) (*PEP, error) {
	domain, err := jid.New("", o.Host, "")
	if err != nil {
		return nil, err
	}
	p := &PEP{opts: o, host: domain, lines: lines.New[string](waiting), photos: photos{of: map[string]*shown{}}}
	o.Directory.mu.Lock()
	defer o.Directory.mu.Unlock()
	o.Directory.domains[o.Host] = p
	return p, nil
}

// features are those of XEP-0060 that accounts have.
var features = []string{"access-open", "access-presence", "access-roster", "access-whitelist", "auto-create", "auto-subscribe",
	"config-node", "config-node-max", "create-and-configure", "create-nodes", "delete-items", "delete-nodes", "filtered-notifications",
	"item-ids", "last-published", "multi-items", "persistent-items", "presence-notifications", "publish", "publish-options", "purge-nodes",
	"retrieve-default", "retrieve-items", "retrieve-affiliations", "retrieve-subscriptions", "retract-items", "subscribe"}

// Feature gives what is to be added to the host, before what deals with presence.
func (p *PEP) Feature() host.Feature {
	account := []string{ns.Pubsub}
	for _, f := range features {
		account = append(account, ns.Pubsub+"#"+f)
	}
	key := func(t host.Target, typ, space string) host.IQKey {
		return host.IQKey{Target: t, Type: typ, Space: space, Local: "pubsub"}
	}
	return host.Feature{
		Name: "pep",
		Disco: host.Disco{
			Account: account, AccountIdentities: []host.Identity{{Category: "pubsub", Type: "pep"}},
			// "The server MUST return an identity of pubsub/pep and include the publish-options feature" (XEP-0223 section 6): some
			// clients ask it, and not the account.
			Host: []string{ns.Pubsub + "#publish-options"}, HostIdentities: []host.Identity{{Category: "pubsub", Type: "pep"}},
			AccountItems: p.discoItems, AccountNode: p.discoNode,
		},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToAccount, stanza.TypeGet, ns.Pubsub):      p.answer(p.get),
			key(host.ToAccount, stanza.TypeSet, ns.Pubsub):      p.answer(p.set),
			key(host.ToAccount, stanza.TypeGet, ns.PubsubOwner): p.answer(p.ownerGet),
			key(host.ToAccount, stanza.TypeSet, ns.PubsubOwner): p.answer(p.ownerSet),
		},
		Stages: map[host.Stage]host.StanzaHandler{host.Sent: p.sent},
		Opened: p.opened,
		Closed: p.closed,
		Run:    p.run,
	}
}
