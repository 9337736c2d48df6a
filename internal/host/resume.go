package host

import (
	"context"
	"errors"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Resumption is what a client says that wants to go on with a session (XEP-0198 section 5).
type Resumption struct {
	ID         string // of the session
	Handled    uint32 // how many stanzas of it the client has handled
	Credential uint64 // what it has signed in with: the same as when the session began
}

// NotResumed says why a session is not resumed.
type NotResumed struct {
	Condition stanza.Condition
	// Handled is how many of the client's stanzas were handled, where Known: there was such a session.
	Handled uint32
	Known   bool
}

// Error implements error.
func (e *NotResumed) Error() string { return "not resumed: " + string(e.Condition) }

// Resume goes on, on a new connection, with a session of a user. A session of somebody else, or of somebody who has signed
// in with another password, is none. The error is a *NotResumed or a *session.TooHigh. ctx bounds the call only.
func (h *Host) Resume(ctx context.Context, local string, r Resumption, c session.Conn) (*session.Session, error) {
	s, _, err := h.resume(ctx, local, r, func(s *session.Session) (uint32, error) { return 0, s.Resume(ctx, c, r.Handled) })
	return s, err
}

// ResumeInline is Resume for who tells the client itself how many of its stanzas were handled, see
// session.Session.ResumeInline.
func (h *Host) ResumeInline(ctx context.Context, local string, r Resumption, c session.Conn) (s *session.Session, handled uint32, err error) {
	return h.resume(ctx, local, r, func(s *session.Session) (uint32, error) { return s.ResumeInline(ctx, c, r.Handled) })
}

func (h *Host) resume(ctx context.Context, local string, r Resumption,
	attach func(*session.Session) (uint32, error)) (*session.Session, uint32, error) {
	if h.opts.Resume == 0 {
		return nil, 0, &NotResumed{Condition: stanza.FeatureNotImplemented}
	}
	for _, s := range h.online.of(local) {
		if !s.ResumedBy(r.ID, r.Credential) {
			continue
		}
		handled, err := attach(s)
		var wrong *session.TooHigh
		switch {
		case err == nil:
			return s, handled, nil
		case errors.As(err, &wrong):
			return nil, 0, err
		case s.Context().Err() != nil: // it has just ended
			h.remember(s)
		}
		break
	}
	refused := &NotResumed{Condition: stanza.ItemNotFound}
	if receipt, found := h.past.find(local, r.ID, r.Credential); found {
		refused.Handled, refused.Known = receipt.Handled(ctx)
	}
	return nil, 0, refused
}

// remember keeps what a client that comes back too late may be told of its session.
func (h *Host) remember(s *session.Session) {
	if receipt, ok := s.Receipt(); ok {
		h.past.add(s.JID().Local(), receipt)
	}
}

// detached is told that a session has lost its connection. A user has a few that are so: the one that has been for longest
// gives way.
func (h *Host) detached(s *session.Session, old session.ConnInfo) {
	for _, f := range h.opts.Features {
		if f.Detached != nil {
			f.Detached(h.ctx, s, old)
		}
	}
	if oldest, n := oldestDetached(h.online.of(s.JID().Local())); n > int(h.detachedPerUser.Load()) {
		oldest.Close(session.ErrCrowded)
	}
}

func (h *Host) resumed(s *session.Session, old, new session.ConnInfo) {
	for _, f := range h.opts.Features {
		if f.Resumed != nil {
			f.Resumed(h.ctx, s, old, new)
		}
	}
}

// oldestDetached gives the session that has been detached for longest, nil when none is, and how many are.
func oldestDetached(sessions []*session.Session) (oldest *session.Session, n int) {
	var since time.Time
	for _, s := range sessions {
		at := s.DetachedSince()
		if at.IsZero() {
			continue
		}
		n++
		if oldest == nil || at.Before(since) {
			oldest, since = s, at
		}
	}
	return oldest, n
}

// redirect deals with what was not delivered to a session that has ended: messages go to the heir that has taken its
// resource over, if there is one, or to the account's other sessions, or where a message goes that nobody takes, unless
// another session has got a copy; requests are answered with an error; presence, and what the server itself had to say, is
// over.
func (h *Host) redirect(s *session.Session, left []session.Left, heir *session.Session) {
	for _, l := range left {
		if last := l.Wire.Lost(); !last || l.Wire.IsPresence() {
			continue
		}
		el, err := l.Wire.Element(xmlstream.Limits{Bytes: expansion*h.opts.StanzaBytes + 4096})
		if err != nil {
			h.log.Error("an undelivered stanza cannot be read back", "jid", s.JID().String(), "error", err)
			continue
		}
		st, err := stanza.Parse(el)
		if err != nil || el.Attr("from") == "" { // what is from nobody is from the server itself
			continue
		}
		if st.From, err = jid.Parse(el.Attr("from")); err != nil {
			continue // cannot be: it was written here
		}
		p := &Passage{Stanza: st, Host: h}
		switch {
		case p.IsRequest():
			h.replyError(p, stanza.NewError(stanza.RecipientUnavailable, "the recipient has lost its connection"))
		case st.Kind != stanza.Message || st.Type == stanza.TypeError || st.Type == stanza.TypeHeadline:
		case isCopy(el): // of what others have
		case st.Type == stanza.TypeGroupchat: // for that session only, which a room takes for left
			h.replyError(p, stanza.NewError(stanza.RecipientUnavailable, "the recipient has lost its connection"))
		default:
			h.redirectMessage(p, s, l.At, heir)
		}
	}
}

// redirectMessage sends a message on its way again, with the time at which it was first sent (XEP-0203).
func (h *Host) redirectMessage(p *Passage, s *session.Session, at time.Time, heir *session.Session) {
	if _, delayed := payload.DelayOf(p.Element, h.Name()); !delayed {
		p.Element.Append(payload.Delay(h.Name(), at, ""))
	}
	if heir != nil {
		heir.Inherit(stanza.NewWire(p.Element))
		return
	}
	p.To = s.JID().Bare()
	p.SetAttr("to", p.To.String())
	p.copied = Sender | Recipient // when it was sent
	h.deliverMessage(h.ctx, p)
}

// isCopy tells whether a message is a carbon copy (XEP-0280); clients cannot send any.
func isCopy(message *xmlstream.Element) bool {
	return message.Child(ns.Carbons, "received") != nil || message.Child(ns.Carbons, "sent") != nil
}

// disinherit finds another place for what a session has inherited that was not bound after all.
func (h *Host) disinherit(s *session.Session, inherited []stanza.Wire) {
	left := make([]session.Left, len(inherited))
	for i, w := range inherited {
		left[i] = session.Left{Wire: w, At: time.Now()} // it has its stamp
	}
	h.redirect(s, left, nil)
}
