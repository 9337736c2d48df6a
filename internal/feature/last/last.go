// Package last tells how long ago somebody was there (XEP-0012 v2.0): for the host how long it has been running, for an
// account how long ago the last of its clients became unavailable, and what was said then. Only those are told who may see
// the account's presence by its roster; to everybody else an account that exists and one that does not are the same.
// A request to a client is the client's to answer, if the one who asks may see it.
//
// The time is kept when the last available session of a user ends or says that it is unavailable. It is written to the store
// behind everybody's back; a process that dies loses what it has not written, and the ends of the sessions that it had.
package last

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Options says how the feature behaves.
type Options struct {
	Host    string       // the virtual host's domain
	Store   store.Values // nil: in memory, of a bounded number of users
	Started time.Time    // of the server
	// HostOnly: nothing is kept of accounts, as of anonymous users, who never come back.
	HostOnly bool
	// MaySee tells whether somebody may see an account's presence, whether it is online or not; both are bare JIDs. It may
	// wait, no longer than ctx.
	MaySee func(ctx context.Context, account, somebody jid.JID) bool
	// Visible is the same for accounts that are online, and does not wait; of the others it knows nothing.
	Visible func(account, somebody jid.JID) bool
	Log     *slog.Logger
}

// New makes what knows when users were last there.
func New(o Options) *Last { return &Last{opts: o, moments: newMoments()} }

// Feature gives the feature. It must stand before the one that takes presence without an address.
func (l *Last) Feature() host.Feature {
	o := l.opts
	query := func(t host.Target) host.IQKey {
		return host.IQKey{Target: t, Type: stanza.TypeGet, Space: ns.Last, Local: "query"}
	}
	f := host.Feature{
		Name:   "last",
		Disco:  host.Disco{Host: []string{ns.Last}},
		IQ:     map[host.IQKey]host.IQHandler{query(host.ToHost): l.uptime},
		Stages: map[host.Stage]host.StanzaHandler{host.Received: l.received},
	}
	if o.HostOnly {
		return f
	}
	f.Disco.Account = []string{ns.Last}
	f.IQ[query(host.ToAccount)] = l.account
	f.Stages[host.Sent] = l.sent
	f.Closed = l.closed
	f.Run = l.run
	return f
}

// Last knows when users were last there. Its methods may be called by any goroutine.
type Last struct {
	opts    Options
	moments *moments
}

// Seen tells when a user who is not available became so; false when nothing is known of it.
func (l *Last) Seen(ctx context.Context, user string) (time.Time, bool, error) {
	m, err := l.seen(ctx, user)
	if errors.Is(err, errNever) {
		return time.Time{}, false, nil
	}
	return m.at, err == nil, err
}

// seen gives a user's last moment. The error may be errNever.
func (l *Last) seen(ctx context.Context, user string) (moment, error) {
	if m, ok := l.moments.recall(user); ok {
		return m, nil
	}
	if l.opts.Store == nil {
		return moment{}, errNever
	}
	value, err := l.opts.Store.Value(ctx, l.key(user))
	if errors.Is(err, store.ErrNotFound) {
		return moment{}, errNever
	}
	if err != nil {
		return moment{}, err
	}
	return parseMoment(value)
}

// uptime answers for the host (section 5).
func (l *Last) uptime(context.Context, *host.IQ) (*xmlstream.Element, error) {
	return answer(l.opts.Started, ""), nil
}

func answer(then time.Time, status string) *xmlstream.Element {
	seconds := max(0, int64(time.Since(then)/time.Second)) // the clock may have been set back
	return xmlstream.New(ns.Last, "query", "seconds", strconv.FormatInt(seconds, 10)).AppendText(status)
}

var (
	// "If the requesting entity is not authorized to view the user's presence information, the user's server MUST NOT
	// return last activity information but instead MUST return a <forbidden/> error" (section 3).
	errForbidden = stanza.NewError(stanza.Forbidden, "")
	errNever     = stanza.NewError(stanza.ServiceUnavailable, "nothing is known of this user's last activity")
)

// account answers on behalf of a user (section 3).
func (l *Last) account(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	asker := iq.From.Bare()
	account := asker
	if !iq.To.IsZero() {
		account = iq.To.Bare()
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		if account != asker && !l.opts.MaySee(ctx, account, asker) {
			return nil, errForbidden
		}
		if l.moments.isAvailable(account.Local()) {
			return answer(time.Now(), ""), nil
		}
		m, err := l.seen(ctx, account.Local())
		if err != nil {
			return nil, err
		}
		return answer(m.at, m.status), nil
	})
}

// received keeps requests from clients of those whom the one who asks may not see (section 4).
func (l *Last) received(_ context.Context, p *host.Passage) (done bool, err error) {
	if p.Kind != stanza.IQ || !p.To.IsFull() || p.Type != stanza.TypeGet || p.First().Space != ns.Last {
		return false, nil
	}
	account, asker := p.To.Bare(), p.From.Bare()
	if account == asker || l.opts.Visible(account, asker) {
		return false, nil
	}
	return true, errForbidden
}

// sent notes who becomes available and unavailable.
func (l *Last) sent(_ context.Context, p *host.Passage) (done bool, err error) {
	if p.Kind != stanza.Presence || !p.To.IsZero() {
		return false, nil
	}
	switch p.Type {
	case "":
		l.moments.begin(p.Session)
	case stanza.TypeUnavailable:
		l.ended(p.Session, time.Now(), statusOf(p.Element))
	}
	return false, nil
}

// closed notes that a session has ended; one that had lost its connection before, and was not resumed, when it lost it.
func (l *Last) closed(_ context.Context, s *session.Session) {
	at := s.DetachedSince()
	if at.IsZero() {
		at = time.Now()
	}
	l.ended(s, at, "")
}

func (l *Last) ended(s *session.Session, at time.Time, status string) {
	if !l.moments.end(s, moment{at.Truncate(time.Second), status}, l.opts.Store != nil) {
		l.opts.Log.Warn("too many users went offline to note when: the database is slow or down")
	}
}

func (l *Last) key(local string) store.Key {
	return store.Key{Host: l.opts.Host, Username: local, Space: "last"}
}
