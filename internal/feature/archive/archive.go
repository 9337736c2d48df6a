// Package archive lets users read what they have said and what was said to them (XEP-0313 v1.1.3), in pages (XEP-0059 v1.0), and
// say what is to be kept (XEP-0441 v0.2.0).
//
// The host stores messages, see host/mail.go: for their recipients until a client has them and, where this package says so, in the
// archives of sender and recipient, in one commit, before anybody has them. So whoever has seen a message finds it in the
// archive. Order is that of the store's ids, which grow whatever the clock does; what is in an archive is never changed, and
// leaves it from its beginning only.
package archive

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/lines"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Policy says whose messages are archived.
type Policy string

// The policies (XEP-0441 section 2.1.1).
const (
	Always Policy = "always"
	Never  Policy = "never"
	Roster Policy = "roster" // those of the user's contacts
)

// Options says how the feature behaves.
type Options struct {
	Host    string // the virtual host's domain
	Archive store.Archive
	Prefs   store.Values
	UIDs    *host.UIDs
	Tuning  Tuning // at first
	// InRoster tells whether a user has somebody among their contacts; known is false when the roster is not known. It may wait
	// for a store, no longer than ctx.
	InRoster    func(ctx context.Context, user string, somebody jid.JID) (is, known bool)
	OutboxBytes int // what may wait for a client
	Log         *slog.Logger
}

// Tuning is what may change while the host runs.
type Tuning struct {
	Default Policy // of users who have not said otherwise
	// MaxAge and MaxMessages bound each archive; 0 is no bound. What is too much goes within an hour.
	MaxAge      time.Duration
	MaxMessages int
}

// Archives is the feature at one virtual host.
type Archives struct {
	opts   Options
	tuning atomic.Pointer[Tuning]
	prefs  cache
	lines  *lines.Lines[*session.Session]

	messages, users atomic.Int64 // as they were counted last

	// clock tells the time, and how long this has run by a clock that nobody sets. ahead is how much further the first had come when it
	// was looked at last. Both are run's.
	clock func() (now time.Time, ran time.Duration)
	begun time.Time
	ahead time.Duration
}

// New makes the feature.
func New(o Options) *Archives {
	a := &Archives{opts: o}
	a.Tune(o.Tuning)
	begun := time.Now()
	a.begun = begun.Round(0)
	a.clock = func() (time.Time, time.Duration) { return time.Now().Round(0), time.Since(begun) }
	a.prefs.init(a.readPrefs)
	a.lines = lines.New[*session.Session](lines.Bounds{Waiting: lineQueries, Weight: lineBytes, AtOnce: atOnce, Flying: o.OutboxBytes / 8})
	return a
}

// Tune changes what may change. It may be called by any goroutine.
func (a *Archives) Tune(t Tuning) { a.tuning.Store(&t) }

// Kept tells how many messages are in the host's archives, and of how many users these are, as they were counted last: a minute after
// the start, and once an hour.
func (a *Archives) Kept() (messages, users int) { return int(a.messages.Load()), int(a.users.Load()) }

// Feature gives what is to be added to the host.
func (a *Archives) Feature() host.Feature {
	key := func(t host.Target, typ, local string) host.IQKey {
		return host.IQKey{Target: t, Type: typ, Space: ns.MAM, Local: local}
	}
	f := host.Feature{
		Name:  "archive",
		Disco: host.Disco{Account: []string{ns.MAM, ns.MAM + "#extended", ns.MAM + "#groupchat-field", ns.SID}},
		IQ: map[host.IQKey]host.IQHandler{
			key(host.ToSelf, stanza.TypeGet, "query"):    form,
			key(host.ToSelf, stanza.TypeSet, "query"):    a.query,
			key(host.ToSelf, stanza.TypeGet, "metadata"): a.metadata,
			key(host.ToSelf, stanza.TypeGet, "prefs"):    a.showPrefs,
			key(host.ToSelf, stanza.TypeSet, "prefs"):    a.setPrefs,
		},
		Stages: map[host.Stage]host.StanzaHandler{host.Archived: a.archived},
		Inline: []host.Inline{{Space: ns.MAM, Bound: a.bound}},
		Opened: a.opened,
		Closed: a.closed,
		Run:    a.run,
	}
	// "If a client requests access to an archive it does not have permissions for the server MUST return an iq with type error,
	// and the error condition SHOULD be 'forbidden'" (section 9.1).
	for _, local := range []string{"query", "metadata", "prefs"} {
		f.IQ[key(host.ToAccount, stanza.TypeGet, local)] = refuse
		f.IQ[key(host.ToAccount, stanza.TypeSet, local)] = refuse
	}
	return f
}

func refuse(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if iq.To.IsZero() || iq.To == iq.From.Bare() { // there is no such request
		return nil, stanza.NewError(stanza.ServiceUnavailable, "")
	}
	return nil, stanza.NewError(stanza.Forbidden, "")
}

// archived says in whose archives a message is to be.
func (a *Archives) archived(ctx context.Context, p *host.Passage) (done bool, err error) {
	if err := a.decide(ctx, p, host.Recipient, p.To, p.From); err != nil {
		return true, err
	}
	return false, a.decide(ctx, p, host.Sender, p.From, p.To)
}

func (a *Archives) decide(ctx context.Context, p *host.Passage, o host.Owner, owner, other jid.JID) error {
	if owner.Domain() != a.opts.Host || owner.Local() == "" {
		return nil
	}
	ps, err := a.prefs.get(ctx, owner.Local())
	if err != nil {
		return errUnknown
	}
	policy := ps.of(other)
	if policy == "" {
		policy = a.tuning.Load().Default
	}
	if policy == Roster {
		// Of a roster that is not known nothing follows: a message that is kept too much can be deleted, one that is not is lost.
		if is, known := a.opts.InRoster(ctx, owner.Local(), other.Bare()); known && !is {
			policy = Never
		}
	}
	if policy != Never {
		p.Archive(o)
	}
	return nil
}

// errUnknown answers a message when it cannot be told whether it may be kept.
var errUnknown = stanza.NewError(stanza.ResourceConstraint, "the server cannot read just now what is to be archived; try again later")

// metadata tells the ends of an archive (section 5).
func (a *Archives) metadata(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		m, err := a.ends(ctx, iq.From.Local())
		return m, a.failed(iq.From, err)
	})
}

func (a *Archives) ends(ctx context.Context, user string) (*xmlstream.Element, error) {
	m := xmlstream.New(ns.MAM, "metadata")
	first, last, err := a.opts.Archive.MessageBounds(ctx, a.opts.Host, user)
	if errors.Is(err, store.ErrNotFound) {
		return m, nil // "If the archive is empty, the server MUST instead send an empty <metadata/> element."
	}
	if err != nil {
		return nil, err
	}
	end := func(name string, mark store.Mark) *xmlstream.Element {
		return xmlstream.New(ns.MAM, name, "id", a.opts.UIDs.Of(mark.ID), "timestamp", payload.FormatTime(mark.At))
	}
	return m.Append(end("start", first), end("end", last)), nil
}

// bound tells a client that has its resource bound as it signs in "the state of the user's message archive at the precise time
// of resource binding" (XEP-0386 section 3.2).
func (a *Archives) bound(ctx context.Context, s *session.Session, _ *xmlstream.Element) *xmlstream.Element {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := a.ends(ctx, s.JID().Local())
	if err != nil {
		_ = a.failed(s.JID(), err) // is logged; the client can ask
		return nil
	}
	return m
}

func (a *Archives) opened(_ context.Context, s *session.Session) { a.prefs.drop(s.JID().Local()) }

func (a *Archives) closed(_ context.Context, s *session.Session) { a.lines.Drop(s) }

// run takes out of the archives what is too much, until ctx is done, and waits for the queries.
func (a *Archives) run(ctx context.Context) error {
	defer a.lines.Stop()
	timer := time.NewTimer(trimFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := a.trim(ctx); err != nil && ctx.Err() == nil {
			a.opts.Log.Error("old messages cannot be taken out of the archives", "error", err)
		}
		timer.Reset(trimEvery)
	}
}

const (
	trimFirst = time.Minute // after the start
	trimEvery = time.Hour   // after the last time
)

// trim goes through the archives one by one, and counts what is left: by an index, of which it reads the part of one user at a time.
func (a *Archives) trim(ctx context.Context) error {
	t := a.tuning.Load()
	keep := -1
	if t.MaxMessages > 0 {
		keep = t.MaxMessages
	}
	gone, of := 0, 0
	messages, users := 0, 0
	before := a.tooOld(t.MaxAge)
	for user, err := range a.opts.Archive.Archives(ctx, a.opts.Host) {
		if err != nil {
			return err
		}
		n, err := a.opts.Archive.TrimMessages(ctx, a.opts.Host, user, before, keep)
		if err != nil {
			return err
		}
		if n > 0 {
			gone += n
			of++
		}
		if n, err = a.opts.Archive.CountMessages(ctx, a.opts.Host, user, store.Query{}); err != nil {
			return err
		}
		messages += n
		users++
	}
	a.messages.Store(int64(messages))
	a.users.Store(int64(users))
	if gone > 0 {
		a.opts.Log.Info("old messages taken out of the archives", "messages", gone, "users", of)
	}
	return nil
}

// setForward is how much further the clock has come than it should have when somebody must have set it.
const setForward = 10 * time.Minute

// tooOld is before when messages are too old; zero: none is. A clock that was set forward is believed when it has stayed so until the next
// time: what it has taken away does not come back when it is set right.
func (a *Archives) tooOld(maxAge time.Duration) time.Time {
	now, ran := a.clock()
	ahead := now.Sub(a.begun) - ran
	jump := ahead - a.ahead
	a.ahead = ahead
	switch {
	case maxAge <= 0:
		return time.Time{}
	case jump > setForward:
		a.opts.Log.Warn("the clock was set forward: messages leave the archives for their age from the next time on", "by", jump.Round(time.Second), "in", trimEvery)
		return time.Time{}
	}
	return now.Add(-maxAge)
}

// failed is what is said of a store that cannot be used now: a client may try again. Other errors are faults of ours, or are
// for the client as they are.
func (a *Archives) failed(from jid.JID, err error) error {
	if err == nil || !store.Passes(err) {
		return err
	}
	a.opts.Log.Warn("an archive cannot be read", "from", from.String(), "error", err)
	return stanza.NewError(stanza.ResourceConstraint, "nothing can be read or stored just now; try again later")
}
