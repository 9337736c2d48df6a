// Package contacts serves rosters and presence (RFC 6121 sections 2 to 4) from rosters that belong to a service, as
// the contract's section 5 says: clients get the roster and its changes but do not edit it, the presence of users
// follows it, and subscriptions are not negotiated between users.
//
// Everything that belongs to one account (its sessions' interest in the roster, their presence, the roster itself) is
// done by the account's owner, one thing at a time (roster.User). So all presence of one user leaves in order, and
// whoever asks for it is answered in the same order.
package contacts

import (
	"context"
	"sync"
	"unique"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/metrics"
	"rollcall/internal/ns"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Options says how the feature behaves.
type Options struct {
	Host      string // the virtual host's domain
	Engine    *roster.Engine
	Registry  *host.Registry
	Directory *Directory
	// Mutual: a contact's presence is shown only when both rosters say so, and not when the contact's alone does.
	Mutual bool
	// ClientEdits is what a client gets that tries to change its roster.
	ClientEdits stanza.Condition
	// Blocks tells whom a user of the host has blocked (XEP-0191), without waiting: nil means nobody. Whatever rosters say,
	// no presence passes between the two; Directory.BlocksChanged tells of changes. Blocks may be nil.
	Blocks  func(local string) func(other jid.JID) bool
	Metrics *metrics.Instruments // nil: none
	// Photo gives the hash of a user's picture (XEP-0153), "" for none, where the server knows it and not the clients; known is
	// false while it does not. It does not wait, and Directory.PhotoChanged is called when it has something else to say. nil:
	// clients say it. PhotoOfClients: it is what a client has published, and clients may say that there is to be none (XEP-0398).
	Photo          func(local string) (hash string, known bool)
	PhotoOfClients bool
	// Announced is told when the contacts of a user have been told of a session that has become available, and Gained when a
	// user has begun to see a contact whose presence was not to be seen before. They are called by the user's owner and must
	// not block; either may be nil.
	Announced func(s *session.Session)
	Gained    func(account, contact jid.JID)
	// Presence is told when a user has become available, and when none of the user's sessions is so any more. It is called by
	// the user's owner and must not block; nil: nobody wants to know.
	Presence func(user string, available bool)
}

// Contacts is the feature at one virtual host.
type Contacts struct {
	opts Options

	mu       sync.Mutex // before it no lock is taken, after it the engine's may be
	accounts map[string]*account
}

// New makes the feature.
func New(o Options) host.Feature {
	c := &Contacts{opts: o, accounts: make(map[string]*account)}
	o.Directory.add(o.Host, c)
	return host.Feature{
		Name: "contacts",
		IQ: map[host.IQKey]host.IQHandler{
			{Target: host.ToSelf, Type: stanza.TypeGet, Space: ns.Roster, Local: "query"}: c.getRoster,
			{Target: host.ToSelf, Type: stanza.TypeSet, Space: ns.Roster, Local: "query"}: c.setRoster,
		},
		Stages: map[host.Stage]host.StanzaHandler{
			host.Sent:     c.sent,
			host.Received: c.received,
		},
		Stream: func() *xmlstream.Element { return xmlstream.New(ns.RosterVer, "ver") },
		Opened: c.opened,
		Closed: c.closed,
		Run:    o.Engine.Run,
	}
}

// Directory finds the feature of a domain: the contacts of one host's users may live at another host of the server.
type Directory struct {
	present present

	mu      sync.RWMutex
	domains map[string]*Contacts
}

// NewDirectory makes an empty directory.
func NewDirectory() *Directory { return &Directory{domains: make(map[string]*Contacts)} }

func (d *Directory) add(domain string, c *Contacts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.domains[domain] = c
}

// online gives the account with that address if it has a session, nil otherwise.
func (d *Directory) online(j jid.JID) *account {
	d.mu.RLock()
	c := d.domains[j.Domain()]
	d.mu.RUnlock()
	if c == nil {
		return nil
	}
	return c.online(j.Local())
}

// Shows tells whether an account that is online lets somebody see its presence; both are bare JIDs.
func (d *Directory) Shows(account, somebody jid.JID) bool {
	a := d.online(account)
	return a != nil && a.shows(somebody)
}

// Visible tells whether somebody may see the presence of an account that is online; both are bare JIDs. Who has blocked
// whom is not looked at.
func (d *Directory) Visible(account, somebody jid.JID) bool {
	a := d.online(account)
	return a != nil && a.shows(somebody) && (!a.feature.opts.Mutual || d.wants(somebody, a.jid))
}

// MaySee is Visible for accounts that may be offline. It may wait for the service, no longer than ctx, but asks it only
// about accounts whose roster, as it was last known, has somebody: nobody has the service asked about strangers.
func (d *Directory) MaySee(ctx context.Context, account, somebody jid.JID) bool {
	if d.online(account) != nil {
		return d.Visible(account, somebody)
	}
	d.mu.RLock()
	c := d.domains[account.Domain()]
	d.mu.RUnlock()
	if c == nil || c.opts.Mutual && !d.wants(somebody, account) {
		return false
	}
	has := func(k *roster.Known) bool {
		if k == nil {
			return false
		}
		item, ok := k.Roster.Get(somebody)
		return ok && item.Subscription.Has(rosterdoc.From)
	}
	v, err := c.opts.Engine.View(ctx, account.Local())
	if err != nil || !has(v.Known) {
		return false
	}
	return !v.Stale || has(c.opts.Engine.Newest(ctx, account.Local()))
}

// Lists tells whether somebody who is online has an account among their contacts; both are bare JIDs.
func (d *Directory) Lists(somebody, account jid.JID) bool {
	a := d.online(somebody)
	if a == nil {
		return false
	}
	k := a.user.Current()
	if k == nil {
		return false
	}
	_, ok := k.Roster.Get(account)
	return ok
}

func (c *Contacts) online(local string) *account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accounts[local]
}

// account is a user who is online. What has no other guard named is touched by the owner only.
type account struct {
	feature   *Contacts
	jid       jid.JID // bare
	address   unique.Handle[jid.JID]
	user      *roster.User
	refs      int // sessions; guarded by Contacts.mu
	resources []*resource
	// shown has the contacts that have seen our presence and not yet its end, with Options.Mutual. Without it these are
	// the contacts whom the roster lets see us, for nobody else's roster counts.
	shown map[jid.JID]struct{}
	told  bool // Options.Presence was told that the user is available
}

// resource is a session of an account.
type resource struct {
	session    *session.Session
	interested bool          // it asked for the roster (RFC 6121 section 2.2) and gets pushes
	versioned  bool          // it keeps versions of the roster (section 2.6)
	have       string        // the version that it has while it has not been answered; "" for none
	presence   *host.Passage // its last available presence, nil while it is unavailable
	photo      string        // what the server says in it of the user's picture; "" for nothing
	declines   bool          // its client says that there is to be no picture
	blank      bool          // it was told that the roster comes later
	// lost says that it was told every contact, and may have others: it said a version that is not known here. It keeps
	// that version, so that it gets all in one answer when it asks again.
	lost      bool
	asking    int  // its requests for the roster that wait for the service
	announced bool // the contacts have been told of it; false while the roster is not known
	directed  map[jid.JID]struct{}
}

func (a *account) find(s *session.Session) *resource {
	for _, r := range a.resources {
		if r.session == s {
			return r
		}
	}
	return nil
}

// opened makes the account of a new session.
func (c *Contacts) opened(_ context.Context, s *session.Session) {
	local := s.JID().Local()
	c.mu.Lock()
	a := c.accounts[local]
	if a == nil {
		a = &account{feature: c, address: unique.Make(s.JID().Bare())}
		a.jid = a.address.Value()
		a.user = c.opts.Engine.Attach(local, a)
		c.accounts[local] = a
		c.opts.Directory.present.add(a.address)
	}
	a.refs++
	c.mu.Unlock()
	a.user.Do(func() { a.resources = append(a.resources, &resource{session: s}) })
}

// closed takes a session out of its account, whatever ended it: those who saw it available see it go.
func (c *Contacts) closed(ctx context.Context, s *session.Session) {
	a := c.online(s.JID().Local())
	a.user.Do(func() {
		for i, r := range a.resources {
			if r.session == s {
				a.retract(ctx, r, a.unavailable(r))
				a.resources = append(a.resources[:i:i], a.resources[i+1:]...)
				break
			}
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	a.refs--
	if a.refs == 0 {
		delete(c.accounts, s.JID().Local())
		c.opts.Directory.present.remove(a.address)
		c.opts.Engine.Detach(a.user)
	}
}
