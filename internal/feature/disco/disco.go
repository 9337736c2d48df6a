// Package disco answers service discovery (XEP-0030 v2.5) for the host and for accounts, from what the host's features
// say of themselves.
package disco

import (
	"context"
	"slices"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// New makes the feature. maySee tells whether an account lets somebody see its presence: XEP-0030 section 8 has
// others told nothing, not even that the account exists.
func New(maySee func(account, somebody jid.JID) bool) host.Feature {
	d := disco{maySee}
	own := []string{ns.DiscoInfo, ns.DiscoItems}
	key := func(t host.Target, space string) host.IQKey {
		return host.IQKey{Target: t, Type: stanza.TypeGet, Space: space, Local: "query"}
	}
	return host.Feature{
		Name:  "disco",
		Disco: host.Disco{Host: own, Account: own},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToHost, ns.DiscoInfo):     d.hostInfo,
			key(host.ToHost, ns.DiscoItems):    d.noItems,
			key(host.ToSelf, ns.DiscoInfo):     d.accountInfo,
			key(host.ToSelf, ns.DiscoItems):    d.noItems,
			key(host.ToAccount, ns.DiscoInfo):  d.guarded(d.accountInfo),
			key(host.ToAccount, ns.DiscoItems): d.guarded(d.noItems),
		},
	}
}

type disco struct {
	maySee func(account, somebody jid.JID) bool
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
	var features []string
	for _, f := range iq.Host.Features() {
		features = append(features, f.Disco.Host...)
	}
	return info(iq, features, "category", "server", "type", "im", "name", "rollcall")
}

func (d disco) accountInfo(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	var features []string
	for _, f := range iq.Host.Features() {
		features = append(features, f.Disco.Account...)
	}
	return info(iq, features, "category", "account", "type", "registered")
}

func info(iq *host.IQ, features []string, identity ...string) (*xmlstream.Element, error) {
	if err := noNode(iq); err != nil {
		return nil, err
	}
	slices.Sort(features)
	query := xmlstream.New(ns.DiscoInfo, "query").Append(xmlstream.New(ns.DiscoInfo, "identity", identity...))
	for _, f := range slices.Compact(features) {
		query.Append(xmlstream.New(ns.DiscoInfo, "feature", "var", f))
	}
	return query, nil
}

// noItems: neither the host nor an account has anything below it.
func (d disco) noItems(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if err := noNode(iq); err != nil {
		return nil, err
	}
	return xmlstream.New(ns.DiscoItems, "query"), nil
}

// noNode refuses nodes, of which there are none (XEP-0030 section 7).
func noNode(iq *host.IQ) error {
	if node := iq.Payload().Attr("node"); node != "" {
		return stanza.NewError(stanza.ItemNotFound, "there is no such node")
	}
	return nil
}
