package host

import (
	"context"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// Copies says whose sessions may get copies of a message, of the sender and the recipient that are accounts of Passage.Host. It
// is for handlers at the stage Copied.
func (p *Passage) Copies() Owner { return p.copies }

// Taken gives the sessions that a message was given to.
func (p *Passage) Taken() []*session.Session { return p.taken }

// Since is when a message came that has waited behind others before it was given to anybody; the zero time for all others.
func (p *Passage) Since() time.Time {
	if p.since == 0 {
		return time.Time{}
	}
	return time.UnixMicro(p.since)
}

// WireFor gives a message as its sender or its recipient is to see it: with its id in that one's archive (XEP-0359).
func (p *Passage) WireFor(o Owner) stanza.Wire {
	return p.identified(p.Wire(), o)
}

// identified is a message with its id in the archive of its sender or its recipient, if it is there.
func (p *Passage) identified(w stanza.Wire, o Owner) stanza.Wire {
	if id := p.StanzaID(o); id != nil {
		return w.With(id.AppendXML(nil, ns.Client))
	}
	return w
}

// copy leads a message through the stage Copied, for the sessions of those who have had no copies yet, when there is anybody
// who wants any.
func (h *Host) copy(ctx context.Context, p *Passage, of Owner) {
	of &^= p.copied
	p.copied |= of
	if of == 0 || p.Kind != stanza.Message || p.unnoted || !h.registry.CopiesWanted() {
		return
	}
	p.traits = traitsOf(p.Element)
	from := h.registry.Host(p.From.Domain())
	if from == h {
		h.copyFor(ctx, p, of)
		return
	}
	h.copyFor(ctx, p, of&Recipient)
	if from != nil {
		from.copyFor(ctx, p, of&Sender)
	}
}

func (h *Host) copyFor(ctx context.Context, p *Passage, of Owner) {
	if of == 0 {
		return
	}
	q := *p
	q.Host, q.copies = h, of
	if _, err := h.walk(ctx, Copied, &q); err != nil {
		h.log.Error("feature failed", "stage", "Copied", "error", err)
	}
}
