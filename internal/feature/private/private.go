// Package private keeps what users' clients store for themselves (XEP-0049 v1.2): pieces of XML, each known by the name and
// the namespace of its root. A user reads and writes their own, and nobody else's.
//
// All pieces of a user are one value, so that a request that writes several of them writes all or none.
package private

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Options says how the feature behaves.
type Options struct {
	Host  string // the virtual host's domain
	Store store.Values
	Log   *slog.Logger
}

// What a user may have.
const (
	maxPieces = 64
	maxBytes  = 256 << 10 // of all pieces, as they are stored
)

// Space is where the pieces are stored.
const Space = "private"

// limits are for reading what was stored: of each piece what a client sent within the limits of its stream, with each
// namespace declared where it is used.
var limits = xmlstream.Limits{Bytes: maxBytes, Depth: 2 * xmlstream.DefaultDepth, Attrs: 2 * xmlstream.DefaultAttrs,
	Children: maxBytes / len("<a/>")}

type private struct{ opts Options }

// New makes the feature.
func New(o Options) host.Feature {
	p := private{o}
	key := func(t host.Target, typ string) host.IQKey {
		return host.IQKey{Target: t, Type: typ, Space: ns.Private, Local: "query"}
	}
	return host.Feature{
		Name:  "private",
		Disco: host.Disco{Host: []string{ns.Private}},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToSelf, stanza.TypeGet):    p.get,
			key(host.ToSelf, stanza.TypeSet):    p.set,
			key(host.ToAccount, stanza.TypeGet): refuse,
			key(host.ToAccount, stanza.TypeSet): refuse,
		},
	}
}

// refuse: "If a user attempts to get or set jabber:iq:private data that belongs to another user, the server MUST return a
// 'Forbidden' or 'Service Unavailable' error to the sender" (section 2.3).
func refuse(context.Context, *host.IQ) (*xmlstream.Element, error) {
	return nil, stanza.NewError(stanza.Forbidden, "")
}

// pieces gives the children of a request. "At least one child element with a proper namespace MUST be included; otherwise
// the server MUST respond with a 'Not Acceptable' error" (section 2.3).
func pieces(query *xmlstream.Element) (all []*xmlstream.Element, err error) {
	for c := range query.Elements() {
		if c.Space == "" || c.Space == ns.Private {
			return nil, stanza.NewError(stanza.NotAcceptable, "what is stored is in a namespace of its own")
		}
		all = append(all, c)
	}
	switch {
	case len(all) == 0:
		return nil, stanza.NewError(stanza.NotAcceptable, "it does not say what is to be stored or read")
	case len(all) > maxPieces:
		return nil, tooMuch()
	}
	return all, nil
}

func tooMuch() error {
	return stanza.NewError(stanza.PolicyViolation,
		fmt.Sprintf("a user may store %d pieces of XML, and %d bytes in all", maxPieces, maxBytes))
}

// get answers with a piece, or with its name alone when nothing is stored. "A client MUST NOT query for more than one
// namespace in a single IQ get request."
func (p private) get(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	asked, err := pieces(iq.Payload())
	if err != nil {
		return nil, err
	}
	if len(asked) > 1 {
		return nil, stanza.NewError(stanza.NotAcceptable, "ask for one piece at a time")
	}
	one := asked[0]
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		value, err := p.opts.Store.Value(ctx, p.key(iq))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, p.failed(iq, err)
		}
		stored, err := parse(value)
		if err != nil {
			return nil, err
		}
		answer := xmlstream.New(ns.Private, "query")
		for c := range stored.Elements() {
			if c.Is(one.Space, one.Local) {
				answer.Append(c)
			}
		}
		if answer.First() == nil {
			answer.Append(xmlstream.New(one.Space, one.Local))
		}
		return answer, nil
	})
}

// set writes pieces over those of the same names. One without anything in it takes no room: it is what get answers when
// there is none.
func (p private) set(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	fresh, err := pieces(iq.Payload())
	if err != nil {
		return nil, err
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		err := p.opts.Store.UpdateValue(ctx, p.key(iq), 0, func(old []byte) ([]byte, error) { return merge(old, fresh) })
		if err != nil {
			return nil, p.failed(iq, err)
		}
		return nil, nil
	})
}

// merge gives the value with other pieces; nil when nothing is left.
func merge(old []byte, fresh []*xmlstream.Element) ([]byte, error) {
	stored, err := parse(old)
	if err != nil {
		return nil, err
	}
	all := xmlstream.New(ns.Private, "query")
	n := 0
	keep := func(c *xmlstream.Element) {
		all.Append(c)
		n++
	}
	for c := range stored.Elements() {
		if !named(fresh, c) {
			keep(c)
		}
	}
	for _, c := range fresh {
		if len(c.Nodes) > 0 || len(c.Attrs) > 0 {
			keep(c)
		}
	}
	if n == 0 {
		return nil, nil
	}
	if n > maxPieces || all.XMLSize("") > maxBytes {
		return nil, tooMuch()
	}
	return all.AppendXML(nil, ""), nil
}

func named(all []*xmlstream.Element, like *xmlstream.Element) bool {
	for _, c := range all {
		if c.Is(like.Space, like.Local) {
			return true
		}
	}
	return false
}

// parse reads a value; nil is that of a user who has stored nothing.
func parse(value []byte) (*xmlstream.Element, error) {
	if len(value) == 0 {
		return xmlstream.New(ns.Private, "query"), nil
	}
	return xmlstream.ParseElement(value, limits)
}

func (p private) key(iq *host.IQ) store.Key {
	return store.Key{Host: p.opts.Host, Username: iq.From.Local(), Space: Space}
}

// failed is what is said of a store that cannot be used now: a client may try again. Other errors are faults of ours, or
// are for the client as they are.
func (p private) failed(iq *host.IQ, err error) error {
	if !store.Passes(err) {
		return err
	}
	p.opts.Log.Warn("private XML cannot be read or stored", "from", iq.From.String(), "error", err)
	return stanza.NewError(stanza.ResourceConstraint, "nothing can be read or stored just now; try again later")
}
