package host

import (
	"cmp"
	"context"
	"errors"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Mail says where messages wait for their recipients (XEP-0160).
//
// A box that lasts gets every message that is worth it (see Passage.storable) before anybody else does: the message is
// handed on, and acknowledged to its sender, when it is on the disk, and is taken out when a client has acknowledged it
// (XEP-0198) or, without stream management, when it was written to one. So what is in the box and in nobody's hands (see
// box.flight) waits to be delivered, whatever has happened to whom; it goes to the next session that becomes available.
//
// A box that does not last, in memory, gets only what no session has taken.
type Mail struct {
	Box   store.Mailbox // nil: what nobody takes is refused
	Lasts bool
	Limit int // messages that may wait for one account; more are refused with resource-constraint
	// Known says what the box is to know of a recipient of whom no session is bound, before it keeps a message for that name.
	// It does not wait. nil: nothing, anybody may be.
	Known func(from, to jid.JID) store.Known
	UIDs  *UIDs // of messages that are in an archive; nil: none is
	// Told is told of each message that was to be stored: why it was not, or nil. It must not block; it may be nil.
	Told func(err error)
}

func (m *Mail) count(err error) {
	if m.Told != nil {
		m.Told(err)
	}
}

// Owner says in whose archive a message is to be.
type Owner uint8

// The owners.
const (
	Sender Owner = 1 << iota
	Recipient
)

// Archive has a message kept in an account's archive. It is for handlers at the stage Archived.
func (p *Passage) Archive(o Owner) { p.archive |= o }

// ArchivedAs gives the id of the message in the archive of its sender or its recipient, 0 when it is not there.
func (p *Passage) ArchivedAs(o Owner) store.ID { return p.ids[o-Sender] }

// StanzaID makes the id of the message in the archive of its sender or its recipient (XEP-0359), nil when it is not there. It is
// for the eyes of that one alone.
func (p *Passage) StanzaID(o Owner) *xmlstream.Element {
	by := p.From
	if o == Recipient {
		by = p.To
	}
	h := p.Host.registry.Host(by.Domain())
	if id := p.ArchivedAs(o); id != 0 && h != nil && h.opts.Mail.UIDs != nil {
		return payload.StanzaID(by.Bare().String(), h.opts.Mail.UIDs.Of(id))
	}
	return nil
}

// letter is a message of which somebody else's turn comes first, or that is being stored. The box's mutex guards it.
type letter struct {
	p     *Passage
	wire  stanza.Wire
	kept  bool     // it is stored, or is to be
	id    store.ID // in the box, once it is
	ready bool
}

// deliverMessage brings a message to an account, after the stage Received.
func (h *Host) deliverMessage(ctx context.Context, p *Passage) {
	m := &h.opts.Mail
	if m.Box == nil {
		h.place(ctx, p)
		return
	}
	b := h.boxes.find(p.To.Local())
	if !m.Lasts && b == nil { // as long as nothing waits, what is in memory only need not either
		h.place(ctx, p)
		return
	}
	p.traits = traitsOf(p.Element)
	sessions := h.online.of(p.To.Local())
	switch {
	case p.storable() && (find(sessions, p.To) != nil || p.To.IsBare() || p.Type == stanza.TypeChat) && h.waits(p, sessions):
		h.accept(ctx, p, sessions)
	case b == nil || !b.queue(h, &letter{p: p, ready: true}):
		h.place(ctx, p)
	}
}

// waits tells whether a message may wait for its recipient if need be.
func (h *Host) waits(p *Passage, sessions []*session.Session) bool {
	return h.opts.Mail.Limit > 0 || topPriority(sessions, 127) >= 0 || find(sessions, p.To) != nil
}

// accept has a message stored before it is handed on.
func (h *Host) accept(ctx context.Context, p *Passage, sessions []*session.Session) {
	if err := h.askArchives(ctx, p); err != nil {
		h.replyError(p, err)
		return
	}
	b := h.boxes.get(p.To.Local())
	l := &letter{p: p, wire: p.Wire(), kept: true}
	release := p.Hold()
	entries := h.entries(p, l.wire, b.limit(h, sessions), h.known(p, sessions))
	b.enter(l)
	h.opts.Mail.Box.Append(entries, func(ids []store.ID, err error) {
		defer h.boxes.put(b)
		defer h.guard("a message that was stored")
		h.opts.Mail.count(err)
		if err != nil {
			b.withdraw(l)
			release(h.refusal(err))
			h.advance(b)
			return
		}
		l.id = ids[0]
		if entries[0].Archived {
			p.ids[Recipient-Sender] = ids[0]
			if p.From.Bare() == p.To.Bare() {
				p.ids[0] = ids[0]
			}
		}
		if len(ids) > 1 {
			p.ids[0] = ids[1]
		}
		release(nil)
		if p.From.Bare() != p.To.Bare() { // of what somebody sends to themselves each session gets one
			h.copy(h.ctx, p, Sender)
		}
		b.settle(l)
		h.advance(b)
	})
}

// askArchives leads a message through the stage Archived, at its sender's host too.
func (h *Host) askArchives(ctx context.Context, p *Passage) (err error) {
	if p.traits&NotArchived != 0 || !h.opts.Mail.Lasts {
		return nil
	}
	if _, err = h.walk(ctx, Archived, p); err != nil {
		return err
	}
	if from := h.registry.Host(p.From.Domain()); from != nil && from != h && from.opts.Mail.Lasts {
		q := *p
		q.Host, q.archive = from, 0
		_, err = from.walk(ctx, Archived, &q)
		p.archive |= q.archive
	}
	return err
}

// known is what is to be known of a recipient.
func (h *Host) known(p *Passage, sessions []*session.Session) store.Known {
	if h.opts.Mail.Known == nil || len(sessions) > 0 {
		return store.Anybody
	}
	return h.opts.Mail.Known(p.From.Bare(), p.To.Bare())
}

// refusal is what a sender is told whose message cannot be stored.
func (h *Host) refusal(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return stanza.NewError(stanza.ServiceUnavailable, "")
	case errors.Is(err, store.ErrLimit):
		return stanza.NewError(stanza.ResourceConstraint, "too many messages wait for the recipient already")
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrUnavailable):
		return stanza.NewError(stanza.ResourceConstraint, "the server cannot store messages just now; try again later")
	}
	return err
}

// entries are what is stored of a message: the recipient's copy, and the sender's where it is in an archive.
func (h *Host) entries(p *Passage, w stanza.Wire, limit int, known store.Known) []store.Entry {
	self := p.From.Bare() == p.To.Bare()
	to := p.entry(p.To, w, time.Now())
	to.Archived, to.Limit, to.Known = p.archive&Recipient != 0 || self && p.archive != 0, limit, known
	if p.archive&Sender == 0 || self {
		return []store.Entry{to}
	}
	from := to
	from.Host, from.Username, from.With, from.Resource = p.From.Domain(), p.From.Local(), p.To.Bare().String(), p.To.Resource()
	from.Archived, from.Undelivered, from.Limit, from.Known = true, false, 0, store.Anybody
	return []store.Entry{to, from}
}

// entry is what is stored of a message for an account that has not got it.
func (p *Passage) entry(account jid.JID, w stanza.Wire, at time.Time) store.Entry {
	id := cmp.Or(payload.OriginID(p.Element), p.ID)
	if len(id) > store.MaxStanzaID {
		id = ""
	}
	return store.Entry{Host: account.Domain(), Username: account.Local(), With: p.From.Bare().String(), Resource: p.From.Resource(), At: at,
		Kind: int64(p.traits), StanzaID: id, Stanza: w.AppendTo(nil), Undelivered: true}
}

// keep has a message wait that nobody has taken, in a box that does not last, unless it is about this moment and news to nobody
// later; false when it is one that is to be refused.
func (h *Host) keep(ctx context.Context, p *Passage) bool {
	m := &h.opts.Mail
	if m.Box == nil {
		return false
	}
	if p.traits = traitsOf(p.Element); m.Lasts || !p.storable() {
		if p.traits&HasBody != 0 {
			return false
		}
		h.copy(ctx, p, Sender|Recipient)
		return true
	}
	b := h.boxes.get(p.To.Local())
	defer h.boxes.put(b)
	m.Box.Append(h.entries(p, p.Wire(), m.Limit, h.known(p, h.online.of(p.To.Local()))), func(_ []store.ID, err error) {
		m.count(err)
		if err != nil {
			h.replyError(p, h.refusal(err))
			return
		}
		h.boxes.retain(b)
		h.copy(ctx, p, Sender|Recipient)
	})
	h.flush(b)
	return true
}
