// Package blocking lets users block others (XEP-0191 v1.3): nothing of somebody whom a user has blocked reaches the user,
// and nothing of the user's reaches somebody blocked, whatever their rosters say.
//
// A user's list is read from the store when the user's first session is opened, and for a user who is offline when
// something comes for the user; lists of users who are offline are kept for a while, within bounds. So a user who has
// blocked nobody costs a look into a table. Whoever needs a list that is not there waits for it, for a bounded time: a
// message must not overtake another, and what is told to a blocked user cannot be taken back.
//
// A list that cannot be read is unknown, and not empty. Until it is known, nothing passes between its owner and others:
// messages and requests are answered with an error of type wait, and presence is held back and shown when the list has
// come. Stored lists are read before that becomes necessary, so this is about a store that fails while a user signs in, or
// while something comes for a user who is offline. A store that is away for a moment, as PostgreSQL is that is started
// again, is waited for (store.Patience).
//
// Blocking is polite: subscriptions stay as they are. A user cannot block their own other sessions, nor their own server
// itself, though such items may be in the list and do what they say for others.
package blocking

import (
	"context"
	"log/slog"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Options says how the feature behaves.
type Options struct {
	Host  string // the virtual host's domain
	Store store.Values
	// Forget: a user's list ends with the user's last session, as that of somebody anonymous. Store is not used.
	Forget bool
	// Changed is called when a user's list has changed: what of presence is to follow. items are what is new in it, or no more there;
	// before and after tell whether the list blocks an address, at any time and without waiting. May be nil.
	Changed func(account jid.JID, items []jid.JID, before, after func(other jid.JID) bool)
	Log     *slog.Logger
}

// Blocking is the feature at one virtual host. Its methods may be called by any goroutine.
type Blocking struct {
	opts  Options
	host  jid.JID
	lists lists
}

// New makes the feature. Without a store lists are in memory, of a bounded number of users.
func New(o Options) (*Blocking, error) {
	domain, err := jid.New("", o.Host, "")
	if err != nil {
		return nil, err
	}
	if o.Forget {
		o.Store = nil
	}
	b := &Blocking{opts: o, host: domain}
	b.lists.init()
	return b, nil
}

// Feature gives what is to be added to the host, before all features that see stanzas.
func (b *Blocking) Feature() host.Feature {
	key := func(typ, local string) host.IQKey {
		return host.IQKey{Target: host.ToSelf, Type: typ, Space: ns.Blocking, Local: local}
	}
	return host.Feature{
		Name:  "blocking",
		Disco: host.Disco{Host: []string{ns.Blocking}},
		IQ: map[host.IQKey]host.IQHandler{
			key(stanza.TypeGet, "blocklist"): b.show,
			key(stanza.TypeSet, "block"):     b.block,
			key(stanza.TypeSet, "unblock"):   b.unblock,
		},
		Stages: map[host.Stage]host.StanzaHandler{
			host.Sent:     b.sent,
			host.Received: b.received,
		},
		Opened: b.opened,
		Closed: b.closed,
		Run:    b.run,
	}
}

// Of tells whom a user of the host has blocked, without waiting: nil means nobody. While the list is not known it is
// everybody.
func (b *Blocking) Of(local string) func(other jid.JID) bool {
	l := b.lists.known(local)
	if l != nil && len(l.items) == 0 {
		return nil
	}
	a, err := jid.New(local, b.opts.Host, "")
	if err != nil {
		return nil // there is no such user
	}
	return b.blockedBy(a, l)
}

// BlockedBy tells whom an account of the host has blocked, as it is in the store; it waits for that a bounded time.
func (b *Blocking) BlockedBy(ctx context.Context, account jid.JID) (func(other jid.JID) bool, error) {
	l, err := b.list(ctx, account)
	if err != nil {
		return nil, err
	}
	return b.blockedBy(account, l), nil
}

// blockedBy tells whom a list blocks, when it is that of account.
func (b *Blocking) blockedBy(account jid.JID, l *blocklist) func(jid.JID) bool {
	return func(other jid.JID) bool { return !b.exempt(account, other) && l.blocks(other) }
}

// exempt tells whether an address cannot be blocked. "An implementation MUST NOT block communications from one of a
// user's resources to another, even if the user happens to define a rule that would otherwise result in that behavior."
func (b *Blocking) exempt(account, other jid.JID) bool {
	return other.Bare() == account || other == b.host
}

// patience bounds how long a stanza waits for a store that does not answer, and an owner's request for a list to be written.
const patience = 5 * time.Second

// errUnknown answers what cannot pass because a list is not known.
var errUnknown = &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint,
	Text: "the server cannot tell just now who is blocked; try again later"}

// sent keeps what users send from those they have blocked. "If the user attempts to send an outbound stanza to the JID,
// the user's server MUST NOT route the stanza to the JID but instead MUST return a <not-acceptable/> error containing an
// application-specific error condition of <blocked/>" (section 3.3).
func (b *Blocking) sent(ctx context.Context, p *host.Passage) (done bool, err error) {
	if p.To.IsZero() || b.exempt(p.From.Bare(), p.To) {
		return false, nil
	}
	l, err := b.list(ctx, p.From)
	if err != nil {
		return true, err
	}
	if !l.blocks(p.To) {
		return false, nil
	}
	return true, &stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAcceptable,
		App: xmlstream.New(ns.BlockingErrors, "blocked")}
}

// received keeps what others send from those who have blocked them (section 3.3): to presence there is no answer, and
// messages and requests get the error that an address would give that does not exist.
func (b *Blocking) received(ctx context.Context, p *host.Passage) (done bool, err error) {
	if b.exempt(p.To.Bare(), p.From) {
		return false, nil
	}
	if p.Kind == stanza.Presence { // of many senders, who wait for nobody
		return b.lists.known(p.To.Local()).blocks(p.From), nil
	}
	l, err := b.list(ctx, p.To)
	if err != nil {
		return true, err
	}
	if !l.blocks(p.From) {
		return false, nil
	}
	return true, stanza.NewError(stanza.ServiceUnavailable, "")
}
