// Package disco answers service discovery (XEP-0030 v2.5) for the host and for accounts, from what the host's features
// say of themselves; and tells clients that sign in what they would hear of the host (XEP-0115 v1.6.0 section 6.3), so that they
// need not ask each time.
package disco

import (
	"context"
	"slices"
	"sync"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// New makes the feature of a host, which need not be there before clients are. maySee tells whether an account lets somebody see its presence: XEP-0030 section 8 has
// others told nothing, not even that the account exists.
func New(self func() *host.Host, maySee func(account, somebody jid.JID) bool) host.Feature {
	d := disco{maySee, sync.OnceValue(func() string { return payload.Verification(hostQuery(self()), capsHash) })}
	own := []string{ns.DiscoInfo, ns.DiscoItems}
	key := func(t host.Target, space string) host.IQKey {
		return host.IQKey{Target: t, Type: stanza.TypeGet, Space: space, Local: "query"}
	}
	return host.Feature{
		Name:   "disco",
		Disco:  host.Disco{Host: append([]string{ns.Caps}, own...), Account: own},
		Stream: d.capabilities,
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToHost, ns.DiscoInfo):     d.hostInfo,
			key(host.ToHost, ns.DiscoItems):    d.hostItems,
			key(host.ToSelf, ns.DiscoInfo):     d.accountInfo,
			key(host.ToSelf, ns.DiscoItems):    d.accountItems,
			key(host.ToAccount, ns.DiscoInfo):  d.guarded(d.accountInfo),
			key(host.ToAccount, ns.DiscoItems): d.guarded(d.accountItems),
		},
	}
}

type disco struct {
	maySee func(account, somebody jid.JID) bool
	ver    func() string // of what the host says of itself
}

// capsHash makes the string, for everybody to understand: "All implementations MUST support SHA-1" (XEP-0115).
const capsHash = "sha-1"

// software is "a URI that uniquely identifies a software application" (XEP-0115 section 4).
const software = "urn:uuid:6a1f6b0e-3c0e-4b8e-9d0c-5d8f0f1d7c52"

// capabilities stand for the host's answer to disco#info.
func (d disco) capabilities() *xmlstream.Element {
	return xmlstream.New(ns.Caps, "c", "hash", capsHash, "node", software, "ver", d.ver())
}

func (d disco) guarded(answer host.IQHandler) host.IQHandler {
	return func(ctx context.Context, iq *host.IQ) (*xmlstream.Element, error) {
		if !d.maySee(iq.To, iq.From.Bare()) {
			return nil, stanza.NewError(stanza.ServiceUnavailable, "")
		}
		return answer(ctx, iq)
	}
}

func (d disco) hostInfo(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	switch node := iq.Payload().Attr("node"); node {
	case "":
		return hostQuery(iq.Host), nil
	case software + "#" + d.ver():
		return hostQuery(iq.Host).SetAttr("node", node), nil
	}
	return asked(iq, func(ctx context.Context, f *host.Disco, somebody jid.JID, node string) (*xmlstream.Element, error) {
		if f.HostNode == nil {
			return nil, nil
		}
		n, err := f.HostNode(ctx, somebody, node)
		if n == nil || err != nil {
			return nil, err
		}
		return info([]host.Identity{n.Identity}, n.Features), nil
	})
}

// asked answers about a node of the host, by the first feature that knows it.
func asked(iq *host.IQ, ask func(ctx context.Context, f *host.Disco, somebody jid.JID, node string) (*xmlstream.Element, error)) (*xmlstream.Element, error) {
	node, somebody := iq.Payload().Attr("node"), iq.From
	if !slices.ContainsFunc(iq.Host.Features(), func(f host.Feature) bool { return f.Disco.HostNode != nil }) {
		return nil, errNoNode
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		for _, f := range iq.Host.Features() {
			query, err := ask(ctx, &f.Disco, somebody, node)
			if err != nil {
				return nil, err
			}
			if query != nil {
				return query.SetAttr("node", node), nil
			}
		}
		return nil, errNoNode
	})
}

// hostQuery says what a host is and can do.
func hostQuery(h *host.Host) *xmlstream.Element {
	identities := []host.Identity{{Category: "server", Type: "im", Name: "rollcall"}}
	var features []string
	for _, f := range h.Features() {
		identities = append(identities, f.Disco.HostIdentities...)
		features = append(features, f.Disco.Host...)
	}
	query := info(identities, features)
	for _, f := range h.Features() {
		query.Append(f.Disco.HostForms...)
	}
	return query
}

func (d disco) accountInfo(ctx context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if node := iq.Payload().Attr("node"); node != "" {
		return d.nodeInfo(ctx, iq, node)
	}
	identities := []host.Identity{{Category: "account", Type: "registered"}}
	var features []string
	for _, f := range iq.Host.Features() {
		identities = append(identities, f.Disco.AccountIdentities...)
		features = append(features, f.Disco.Account...)
	}
	return info(identities, features), nil
}

// nodeInfo answers about a node of an account (XEP-0030 section 3.2).
func (d disco) nodeInfo(ctx context.Context, iq *host.IQ, node string) (*xmlstream.Element, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, f := range iq.Host.Features() {
		if f.Disco.AccountNode == nil {
			continue
		}
		identity, err := f.Disco.AccountNode(ctx, account(iq), iq.From.Bare(), node)
		if err != nil {
			return nil, err
		}
		if identity != nil {
			return info([]host.Identity{*identity}, nil).SetAttr("node", node), nil
		}
	}
	return nil, errNoNode
}

// patience bounds how long a request waits for a store.
const patience = 5 * time.Second

// account is whom a request is about.
func account(iq *host.IQ) jid.JID {
	if iq.To.IsZero() {
		return iq.From.Bare()
	}
	return iq.To
}

func info(identities []host.Identity, features []string) *xmlstream.Element {
	query := xmlstream.New(ns.DiscoInfo, "query")
	for _, id := range identities {
		query.Append(xmlstream.New(ns.DiscoInfo, "identity", "category", id.Category, "type", id.Type, "name", id.Name))
	}
	slices.Sort(features)
	for _, f := range slices.Compact(features) {
		query.Append(xmlstream.New(ns.DiscoInfo, "feature", "var", f))
	}
	return query
}

// accountItems lists what an account has below it.
func (d disco) accountItems(ctx context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if err := noNode(iq); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all []host.Item
	for _, f := range iq.Host.Features() {
		if f.Disco.AccountItems == nil {
			continue
		}
		items, err := f.Disco.AccountItems(ctx, account(iq), iq.From.Bare())
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return itemsOf(all), nil
}

// hostItems: the host has nothing below it, but nodes may have.
func (d disco) hostItems(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if noNode(iq) == nil {
		return xmlstream.New(ns.DiscoItems, "query"), nil
	}
	return asked(iq, func(ctx context.Context, f *host.Disco, somebody jid.JID, node string) (*xmlstream.Element, error) {
		if f.HostItems == nil {
			return nil, nil
		}
		items, ok, err := f.HostItems(ctx, somebody, node)
		if !ok || err != nil {
			return nil, err
		}
		return itemsOf(items), nil
	})
}

func itemsOf(items []host.Item) *xmlstream.Element {
	query := xmlstream.New(ns.DiscoItems, "query")
	for _, it := range items {
		query.Append(xmlstream.New(ns.DiscoItems, "item", "jid", it.JID, "node", it.Node, "name", it.Name))
	}
	return query
}

var errNoNode = stanza.NewError(stanza.ItemNotFound, "there is no such node")

// noNode refuses nodes where there are none (XEP-0030 section 7).
func noNode(iq *host.IQ) error {
	if iq.Payload().Attr("node") != "" {
		return errNoNode
	}
	return nil
}
