// Package host is the virtual host: who is online, the path of a stanza (RFC 6120 section 10, RFC 6121 section 8), and
// the place where features join it.
package host

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/fault"
	"rollcall/internal/jid"
	"rollcall/internal/lines"
	"rollcall/internal/metrics"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Options says what a host is made of.
type Options struct {
	Name            string // the domain, canonical
	Features        []Feature
	SessionsPerUser int
	OutboxBytes     int
	StanzaBytes     int           // the most that a client may send at once
	Idle            int           // stanzas that may wait for a client at which nobody looks (XEP-0352); 0: none
	Resume          time.Duration // how long a session may outlive its connection (XEP-0198); 0: not at all
	Unacked         int           // stanzas that may wait for a client that has lost its connection; 0: 500
	DetachedPerUser int           // sessions of a user without a connection; 0: 10
	Mail            Mail
	Log             *slog.Logger
	Metrics         *metrics.Instruments // nil: none
}

// Host is a virtual host. Its methods may be called by any goroutine.
type Host struct {
	jid      jid.JID
	opts     Options
	index    index
	registry *Registry
	online   online
	past     past
	sessions session.Options
	later    *lines.Lines[jid.JID] // requests that were put off, by sender
	boxes    boxes
	log      *slog.Logger

	perUser, detachedPerUser atomic.Int64 // see SetLimits

	ctx    context.Context // of every session
	cancel context.CancelFunc
	wg     sync.WaitGroup // sessions' goroutines and features' Run

	mu      sync.Mutex
	stopped bool // no session is bound any more
}

// New makes a host and adds it to the registry. ctx ends the features' background work and the sessions' contexts;
// to end the sessions in good order call Stop first.
func New(ctx context.Context, r *Registry, o Options) (*Host, error) {
	j, err := jid.New("", o.Name, "")
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", o.Name, err)
	}
	h := &Host{jid: j, opts: o, index: newIndex(o.Features), registry: r, log: o.Log.With("host", o.Name)}
	h.ctx, h.cancel = context.WithCancel(ctx)
	h.later = lines.New[jid.JID](deferrals)
	h.opts.Unacked = cmp.Or(o.Unacked, 500)
	h.SetLimits(o.SessionsPerUser, o.DetachedPerUser)
	h.sessions = session.Options{OutboxBytes: o.OutboxBytes, Resume: o.Resume, Unacked: h.opts.Unacked, Idle: o.Idle, Log: h.log,
		Closed: h.closed, Detached: h.detached, Resumed: h.resumed}
	if err := r.add(h); err != nil {
		return nil, err
	}
	return h, nil
}

// Name gives the host's domain.
func (h *Host) Name() string { return h.jid.String() }

// Features gives the features that the host was made with, in their order.
func (h *Host) Features() []Feature { return h.opts.Features }

// StreamFeatures makes what the features announce to a client that has signed in.
func (h *Host) StreamFeatures() (all []*xmlstream.Element) {
	for _, f := range h.opts.Features {
		if f.Stream != nil {
			all = append(all, f.Stream())
		}
	}
	return all
}

// Start begins the features' background work.
func (h *Host) Start() {
	for _, f := range h.opts.Features {
		if f.Run == nil {
			continue
		}
		h.wg.Go(func() {
			if err := f.Run(h.ctx); err != nil && h.ctx.Err() == nil {
				h.log.Error("feature stopped", "feature", f.Name, "error", err)
			}
		})
	}
}

// farewell is how long sessions have, when the host stops, to take what is still to be told them.
const farewell = 5 * time.Second

// Stop ends every session with reason, waits until they are gone, then ends the background work. Connections that do not
// take what is told them in 5 seconds, or until ctx is done, are cut.
func (h *Host) Stop(ctx context.Context, reason *stanza.StreamError) {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	all := h.online.all()
	for _, s := range all {
		s.Close(reason)
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	for _, s := range all {
		select {
		case <-s.StreamEnded():
		case <-ctx.Done():
			s.Abort()
		}
	}
	for _, s := range all { // what was not delivered has been given to the features before their work ends
		<-s.Ended()
	}
	h.cancel()
	h.later.Stop()
	h.boxes.stop()
	h.wg.Wait()
}

// Bind makes a session of an authenticated stream (RFC 6120 section 7). An empty resource has one generated; a
// resource in use is taken over and its old session ends with conflict (section 7.7.2.2): the usual case is a client
// whose old connection is dead without our knowing. The error is a *stanza.Error.
func (h *Host) Bind(ctx context.Context, local, resource string, c session.Conn) (*session.Session, error) {
	if resource == "" {
		resource = generateResource()
	}
	return h.bind(ctx, local, resource, c, nil)
}

// bind has inline, if it is not nil, deal with the session when the features know it, and before it is written to.
func (h *Host) bind(ctx context.Context, local, resource string, c session.Conn, inline func(*session.Session)) (*session.Session, error) {
	full, err := jid.New(local, h.Name(), resource)
	if err != nil {
		return nil, stanza.NewError(stanza.BadRequest, "the resource is not valid: "+err.Error())
	}
	s := session.New(h.ctx, &h.wg, full, c, &h.sessions)
	for {
		old, reason, err := h.admit(s)
		if err == nil && old != nil {
			err = h.replace(ctx, old, s, reason)
		}
		if err != nil {
			h.disinherit(s, s.Discard(err))
			return nil, err
		}
		if old == nil {
			break
		}
	}
	defer s.Opened()
	if h.opts.Mail.Lasts {
		h.boxes.get(local) // until it is closed
	}
	s.Log().Info("session opened", "secure", c.Info().Secure)
	for _, f := range h.opts.Features {
		if f.Opened != nil {
			f.Opened(ctx, s) // not the session's: what descends from a context leaves room there for as long as it lasts
		}
	}
	if inline != nil {
		inline(s)
	}
	return s, nil
}

// SetLimits takes over SessionsPerUser and DetachedPerUser of other options, for sessions that are opened, or lose their
// connection, from now on.
func (h *Host) SetLimits(sessionsPerUser, detachedPerUser int) {
	h.perUser.Store(int64(sessionsPerUser))
	h.detachedPerUser.Store(int64(cmp.Or(detachedPerUser, 10)))
}

// admit adds a session to those online, or gives the one that has to go first, and why: one that has its resource, or,
// where the user has as many as may be, one that has lost its connection.
func (h *Host) admit(s *session.Session) (old *session.Session, reason, err error) {
	h.mu.Lock() // so that Stop sees every session that was admitted
	defer h.mu.Unlock()
	if h.stopped {
		return nil, nil, stanza.NewError(stanza.ServiceUnavailable, "the server is shutting down")
	}
	most := int(h.perUser.Load())
	old, full := h.online.add(s, most)
	if !full {
		return old, &stanza.StreamError{Condition: stanza.StreamConflict, Text: "replaced by a new connection"}, nil
	}
	if old, _ = oldestDetached(h.online.of(s.JID().Local())); old != nil {
		return old, session.ErrCrowded, nil
	}
	return nil, nil, stanza.NewError(stanza.ResourceConstraint,
		fmt.Sprintf("this account has %d sessions already", most))
}

// replace ends a session for another to be bound. What is left of one with the same resource goes to the other.
func (h *Host) replace(ctx context.Context, old, s *session.Session, reason error) error {
	estate := &session.Estate{}
	heir := old.JID() == s.JID() && old.Bequeath(estate)
	old.Close(reason)
	var err error
	select { // others must see the old one go before the new one comes
	case <-old.Ended():
	case <-ctx.Done():
		err = stanza.NewError(stanza.ResourceConstraint, "the old session of this resource has not ended yet")
	}
	if heir {
		h.redirect(old, estate.Claim(), s)
	}
	return err
}

// closed is a session's way out, whatever ended it.
func (h *Host) closed(s *session.Session, reason error, left []session.Left) {
	defer h.freeze(s)()
	for _, f := range h.opts.Features {
		if f.Closed != nil {
			f.Closed(h.ctx, s)
		}
	}
	h.remember(s)
	h.online.remove(s)
	if h.opts.Mail.Lasts {
		h.boxes.put(h.boxes.find(s.JID().Local()))
	}
	s.Log().Info("session closed", "reason", reason)
	left = slices.DeleteFunc(left, func(l session.Left) bool {
		if !l.Wire.Followed() {
			return false
		}
		l.Wire.Lost() // it is stored, and goes on from there
		return true
	})
	if estate := s.Estate(); estate == nil || !estate.Fill(left) {
		h.redirect(s, left, nil)
	}
}

// generateResource makes a resource that cannot be guessed (RFC 6120 section 7.6).
func generateResource() string {
	var b [15]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// closes ends a session for an error of a kind that its stream does not survive.
func closes(s *session.Session, err error) bool {
	var serr *stanza.StreamError
	if errors.As(err, &serr) {
		s.Close(serr)
	}
	return serr != nil
}

// Receive takes a stanza from a session. It is called by the connection's reader, in order, and does not wait for
// anybody. What is wrong with the stanza is answered here; an element that is no stanza ends the session.
func (h *Host) Receive(s *session.Session, el *xmlstream.Element) {
	defer h.recovered(s)
	s.Heard()
	// RFC 6120 section 8.1.2.1: the server sets 'from', whatever the client put there.
	el.SetAttr("from", s.JID().String())
	st, err := stanza.Parse(el)
	if err != nil && closes(s, err) {
		return
	}
	st.From = s.JID()
	h.opts.Metrics.Routed(routedAs[st.Kind])
	p := &Passage{Stanza: st, Host: h, Session: s}
	if err != nil {
		h.replyError(p, err)
		return
	}
	// Canonical, as it was understood; an empty 'to' is none, and is taken away, for an address may be put there.
	el.SetAttr("to", st.To.String())
	if el.XMLSize(ns.Client) > expansion*h.opts.StanzaBytes {
		s.Close(&stanza.StreamError{Condition: stanza.StreamPolicyViolation,
			Text: "written with its namespaces where they belong, this stanza is too large"})
		return
	}
	if st.Kind == stanza.Message {
		h.purge(el)
	}
	ctx := s.Context()
	done, err := h.walk(ctx, Sent, p)
	if err != nil {
		h.replyError(p, err)
		return
	}
	if st.Kind == stanza.Presence && st.Type == "" && st.To.IsZero() {
		h.arrived(s)
	}
	if !done {
		h.route(ctx, p)
	}
}

var routedAs = [...]metrics.Stanza{stanza.Message: metrics.Message, stanza.Presence: metrics.Presence, stanza.IQ: metrics.IQ}

// expansion is how much larger a stanza may be when it is written by us, compared with the limit for what clients send:
// escapes differ, and a prefix that the client declared once is a declaration on each element.
const expansion = 4

// recovered keeps a fault in the handling of one stanza from ending the server: it ends that session.
func (h *Host) recovered(s *session.Session) {
	if r := recover(); r != nil {
		fault.Log(s.Log(), "handling a stanza", r)
		s.Close(&stanza.StreamError{Condition: stanza.StreamInternalError})
	}
}

// route sends a stanza of a local session on its way.
func (h *Host) route(ctx context.Context, p *Passage) {
	switch {
	case !p.To.IsZero():
		h.registry.Deliver(ctx, p)
	case p.Kind == stanza.Message: // RFC 6120 section 10.3.1: as if it were addressed to the own bare JID
		p.To = p.From.Bare()
		p.SetAttr("to", p.To.String())
		h.registry.Deliver(ctx, p)
	case p.IsRequest(): // section 10.3.3
		h.serve(ctx, p, ToSelf)
	}
	// A result or error without 'to' answers a request of ours; features that ask clients expect none so far. A
	// presence without 'to' has been dealt with at the stage Sent.
}
