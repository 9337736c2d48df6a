package host

import (
	"context"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// Feature is what a room under feature/ adds to a virtual host. Every field but the name is optional.
type Feature struct {
	Name   string                  // in config, logs and metrics
	Disco  Disco                   // what it advertises, for host and account
	IQ     map[IQKey]IQHandler     // a duplicate panics when the host is made
	Stages map[Stage]StanzaHandler // where it stands in the path of a stanza

	// Stream makes what it announces to a client that has signed in (RFC 6120 section 4.3.2).
	Stream func() *xmlstream.Element

	// Nonzas deal with what a client that is bound sends beside stanzas, by namespace; two features must not share one.
	Nonzas map[string]NonzaHandler

	// Inline is what a client may ask for in its request to bind a resource.
	Inline []Inline

	// Opened is called when a session was bound, by the goroutine that binds it: its client waits, and ctx says how long. Closed
	// is called when it has ended.
	Opened, Closed func(ctx context.Context, s *session.Session)

	// Detached is called when a session has lost its connection and waits to be resumed (XEP-0198), and Resumed when it has
	// another: before anything is read from that one or written to it. old is the connection before; one that seems to live
	// may be replaced, and then there is no Detached between two connections. Whatever happens to one session is told in
	// the order in which it happened. A session is opened and closed once, however many connections it has.
	Detached func(ctx context.Context, s *session.Session, old session.ConnInfo)
	Resumed  func(ctx context.Context, s *session.Session, old, new session.ConnInfo)

	// Run does background work until ctx is done.
	Run func(ctx context.Context) error
}

// Disco is what a feature adds to the answers of service discovery (XEP-0030).
type Disco struct {
	Host, Account []string // namespaces of features
	// HostForms say more of the host (XEP-0128): data forms, each of another kind.
	HostForms []*xmlstream.Element
	// HostIdentities are identities of the host beside server/im, and AccountIdentities of an account beside account/registered.
	HostIdentities, AccountIdentities []Identity
	// AccountItems lists what an account has below it, as far as somebody may see it, and AccountNode says what one of
	// its nodes is, nil when there is none that somebody may see. They may wait for a store; ctx bounds the call.
	AccountItems func(ctx context.Context, account, somebody jid.JID) ([]Item, error)
	AccountNode  func(ctx context.Context, account, somebody jid.JID, node string) (*Identity, error)
	// HostNode says what a node of the host is, nil when it is none of the feature's, and HostItems what is below it, false when it is none:
	// as far as somebody, a client, may see it. A feature has both or neither. They may wait for a store; ctx bounds the call.
	HostNode  func(ctx context.Context, somebody jid.JID, node string) (*Node, error)
	HostItems func(ctx context.Context, somebody jid.JID, node string) (items []Item, ok bool, err error)
}

// Node is a node of service discovery.
type Node struct {
	Identity Identity
	Features []string // namespaces
}

// Inline is what a feature does when a resource is bound by XEP-0386, where the request and its answer have room for it.
type Inline struct {
	Var   string // announced to clients; "" is not: then there is nothing to ask for, but something to answer
	Space string // of the element in the request
	// Bound is called for each session that is bound so, after Opened: nothing was written to the client by then, and
	// nothing came from it. asked is the client's element, nil when there is none. It gives what the answer is to have,
	// nil for nothing. Somebody waits for it: ctx says how long.
	Bound func(ctx context.Context, s *session.Session, asked *xmlstream.Element) *xmlstream.Element
}

// Identity is one of service discovery.
type Identity struct{ Category, Type, Name string }

// Item is one of service discovery: an address, or a node at it.
type Item struct{ JID, Node, Name string }

// Target says on whose behalf the server answers an iq.
type Target uint8

// The targets.
const (
	ToHost    Target = iota // the virtual host: 'to' is its domain
	ToAccount               // an account, asked by anybody: 'to' is its bare JID
	ToSelf                  // the sender's own account: 'to' is absent or its bare JID; goes before ToAccount
)

// IQKey names a request: what it is about and its payload.
type IQKey struct {
	Target       Target
	Type         string // stanza.TypeGet or stanza.TypeSet
	Space, Local string // of the payload
}

// IQHandler answers a request: with a payload (nil for an empty result), or with an error, which is sent as it is
// when it is a *stanza.Error and as internal-server-error, logged, when it is any other. A handler that has to wait
// calls IQ.Defer and returns ErrDeferred.
type IQHandler func(ctx context.Context, iq *IQ) (*xmlstream.Element, error)

// StanzaHandler takes part in the path of a stanza. done means that it has dealt with the stanza, which goes no
// further; an error is sent to the stanza's sender, like an IQHandler's.
type StanzaHandler func(ctx context.Context, p *Passage) (done bool, err error)

// NonzaHandler deals with an element of a client's stream that is no stanza, between the stanzas before and after it. It is
// false when there is no such element; the stream then ends with unsupported-stanza-type.
type NonzaHandler func(s *session.Session, el *xmlstream.Element) bool

// Nonza has an element dealt with that a client has sent and that is no stanza. It is false when no feature knows it. It is
// called by the connection's reader.
func (h *Host) Nonza(s *session.Session, el *xmlstream.Element) bool {
	handle := h.index.nonzas[el.Space]
	return handle != nil && handle(s, el)
}

// index is the features' handlers, looked up for each stanza.
type index struct {
	iq     map[IQKey]IQHandler
	stages [stages][]StanzaHandler
	nonzas map[string]NonzaHandler
}

func newIndex(features []Feature) index {
	x := index{iq: make(map[IQKey]IQHandler), nonzas: make(map[string]NonzaHandler)}
	for _, f := range features {
		for key, h := range f.IQ {
			if _, twice := x.iq[key]; twice {
				panic("host: two features handle " + key.Type + " of {" + key.Space + "}" + key.Local)
			}
			x.iq[key] = h
		}
		for space, h := range f.Nonzas {
			if _, twice := x.nonzas[space]; twice {
				panic("host: two features handle " + space)
			}
			x.nonzas[space] = h
		}
		for stage, h := range f.Stages {
			x.stages[stage] = append(x.stages[stage], h)
		}
	}
	return x
}
