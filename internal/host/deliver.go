package host

import (
	"context"

	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// deliver brings a stanza to an address at this host (RFC 6121 section 8).
func (h *Host) deliver(ctx context.Context, p *Passage) {
	if p.To.Local() != "" {
		h.deliverAccount(ctx, p)
		return
	}
	// RFC 6121 section 8.4 leaves messages and presence to the server itself to the implementation: there is
	// nobody who would read them.
	switch {
	case p.IsRequest() && p.To.IsHost():
		h.serve(ctx, p, ToHost)
	case p.IsRequest() || p.Kind == stanza.Message:
		h.replyError(p, stanza.NewError(stanza.ServiceUnavailable, ""))
	}
}

// deliverAccount brings a stanza to an account (section 8.5).
func (h *Host) deliverAccount(ctx context.Context, p *Passage) {
	done, err := h.walk(ctx, Received, p)
	if err != nil {
		h.replyError(p, err)
		return
	}
	if done {
		return
	}
	if p.Kind == stanza.Message {
		h.deliverMessage(ctx, p)
		return
	}
	h.place(ctx, p)
}

// place matches a stanza with an account's sessions.
func (h *Host) place(ctx context.Context, p *Passage) {
	p.unnoted = !h.registry.CopiesWanted()
	sessions := h.online.of(p.To.Local())
	if p.To.IsFull() {
		if s := find(sessions, p.To); s == nil || !h.sendTo(s, p, p.Wire()) { // section 8.5.3.1
			h.noSuchResource(ctx, p, sessions)
			return
		}
		h.copy(ctx, p, Sender|Recipient)
		return
	}
	switch p.Kind {
	case stanza.Message:
		h.messageToBare(ctx, p, sessions)
	case stanza.Presence:
		h.presenceToBare(p, sessions)
	case stanza.IQ:
		h.iqToBare(ctx, p)
	}
}

// sendTo sends a stanza to a session, and notes that it has it where others want copies.
func (h *Host) sendTo(s *session.Session, p *Passage, w stanza.Wire) bool {
	ok := s.Send(w)
	if ok && !p.unnoted {
		p.taken = append(p.taken, s)
	}
	return ok
}

// noSuchResource treats a stanza for a resource that is not connected (section 8.5.3.2): a chat message goes to the
// account, other messages are answered with an error where one is allowed, presence is dropped.
func (h *Host) noSuchResource(ctx context.Context, p *Passage, sessions []*session.Session) {
	switch {
	case p.Kind == stanza.Message && (p.Type == stanza.TypeChat || p.Type == stanza.TypeError):
		h.messageToBare(ctx, p, sessions)
	case p.Kind == stanza.Message && p.Type == stanza.TypeHeadline, p.Kind == stanza.Presence:
	default:
		h.replyError(p, stanza.NewError(stanza.ServiceUnavailable, ""))
	}
}

// messageToBare treats a message for an account (section 8.5.2.1.1, table 1).
func (h *Host) messageToBare(ctx context.Context, p *Passage, sessions []*session.Session) {
	taken := false
	switch p.Type {
	case stanza.TypeError: // for nobody, but for those who know of what it is about
		h.copy(ctx, p, Sender|Recipient)
		return
	case stanza.TypeGroupchat:
		h.replyError(p, stanza.NewError(stanza.ServiceUnavailable, "there is no room at this address"))
		return
	case stanza.TypeHeadline: // to all with a priority that is not negative
		for _, s := range sessions {
			if prio, ok := s.Available(); ok && prio >= 0 {
				h.sendTo(s, p, p.Wire())
			}
		}
		h.copy(ctx, p, Sender|Recipient)
		return
	default: // to the most available ones; one that is just ending takes nothing, and the next are tried
		for best := topPriority(sessions, 127); best >= 0 && !taken; best = topPriority(sessions, best-1) {
			taken = h.sendToTop(p, sessions, best)
		}
	}
	if !taken {
		h.unclaimed(ctx, p)
		return
	}
	h.copy(ctx, p, Sender|Recipient)
}

// sendToTop sends a message to the sessions with a priority, and tells whether any took it. Those that have lost their
// connection and have as much or more get copies, to have them when they come back (XEP-0198): a client that is away for a
// moment misses nothing, and none that is there has to wait for one that is not. Of a message of which there are copies a
// session that is not resumed sends none on, as long as another has one.
func (h *Host) sendToTop(p *Passage, sessions []*session.Session, best int) (taken bool) {
	var copies *stanza.Copies
	several := 0
	for _, s := range sessions {
		if isTop(s, best) {
			several++
		}
	}
	if several > 1 {
		copies = stanza.NewCopies(nil)
	}
	for _, s := range sessions {
		if !isTop(s, best) {
			continue
		}
		w := p.Wire()
		if copies != nil {
			w = w.Copy(copies)
		}
		switch ok := h.sendTo(s, p, w); {
		case ok:
			taken = true
			if copies != nil && !s.Managed() { // nobody will hear more of it
				copies.Delivered()
			}
		case copies != nil:
			copies.Lost()
		}
	}
	if copies != nil && copies.Lost() { // those that took it have ended since
		return false
	}
	return taken
}

// isTop tells whether a session gets what goes to those with a priority.
func isTop(s *session.Session, best int) bool {
	prio, ok := s.Available()
	return ok && (prio == best || prio > best && s.Detached())
}

// topPriority gives the highest priority among the available sessions that is not over a bound, -1 when none is zero or
// more. Those that have lost their connection count when there are no others.
func topPriority(sessions []*session.Session, bound int) int {
	best, away := -1, -1
	for _, s := range sessions {
		prio, ok := s.Available()
		switch {
		case !ok || prio > bound:
		case s.Detached():
			away = max(away, prio)
		default:
			best = max(best, prio)
		}
	}
	if best < 0 {
		return away
	}
	return best
}

// unclaimed treats a stanza that no session took.
func (h *Host) unclaimed(ctx context.Context, p *Passage) {
	if p.Kind == stanza.Presence {
		return
	}
	if p.Kind == stanza.Message {
		done, err := h.walk(ctx, Unclaimed, p)
		switch {
		case err != nil:
			h.replyError(p, err)
			return
		case done:
			h.copy(ctx, p, Sender|Recipient)
			return
		case h.keep(ctx, p):
			return
		}
	}
	h.replyError(p, stanza.NewError(stanza.ServiceUnavailable, ""))
}

// presenceToBare treats a presence for an account (section 8.5.2.1.2): every available session gets it. A contact's is
// not for a session whose own roster has not arrived: it will ask for what it may see. Probes and subscriptions have
// been dealt with at earlier stages.
func (h *Host) presenceToBare(p *Passage, sessions []*session.Session) {
	if p.Type != "" && p.Type != stanza.TypeUnavailable {
		return
	}
	contact := p.Broadcast && p.From.Bare() != p.To
	for _, s := range sessions {
		if _, ok := s.Available(); ok && (s.Announced() || !contact) {
			s.Send(p.Wire())
		}
	}
}

// iqToBare answers a request on behalf of an account (section 8.5.2.1.3); results and errors are not expected there.
func (h *Host) iqToBare(ctx context.Context, p *Passage) {
	switch {
	case !p.IsRequest():
	case p.From.Bare() == p.To:
		h.serve(ctx, p, ToSelf)
	default:
		h.serve(ctx, p, ToAccount)
	}
}
