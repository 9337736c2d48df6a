package host

import (
	"context"

	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Stage is a point in the path of a stanza where features take part. The order of the constants is the order of the
// path, and the order of features at one stage is their order in server/features.go: this file and that one are the
// whole answer to "what happens to a message?". What lies between the stages is the host's: mail.go, post.go, flush.go.
type Stage uint8

const (
	// Sent: a local session sent the stanza, its 'from' is stamped, and what only servers may say is out of it; before
	// anything else is done with it. A presence without 'to' ends here, with the feature that broadcasts it.
	Sent Stage = iota
	// Received: the stanza has reached the virtual host of its recipient, an account; before it is matched with
	// the account's sessions. Probes are answered here.
	Received
	// Archived: a message that is worth it is about to be stored, where the store lasts: for its recipient until a client has
	// acknowledged it. Features say by Passage.Archive in whose archive it is to be for good. It goes on when it is on
	// the disk, and only then is it acknowledged to its sender.
	Archived
	// Unclaimed: a message for an account that no session of it took. One that is stored waits for a session. Others are
	// kept in memory where that is worth it, and otherwise answered with service-unavailable, where RFC 6121 section 8.5
	// asks for it.
	Unclaimed
	// Copied: a message is on its way, and other sessions of its sender or its recipient may get copies of it: for whom, says
	// Passage.Copies. It comes to its sender's when it cannot be refused any more, and to its recipient's when it has been given
	// to the sessions that it is for, Passage.Taken, or waits, and there were none. It is not reached while
	// Registry.CopiesWanted is false. What is refused, and what comes late, is not copied.
	Copied

	stages
)

// Passage is a stanza on its way. Handlers read it; they never change the element (With). Of a Broadcast the element is nil.
type Passage struct {
	*stanza.Stanza
	Host    *Host            // whose stage this is
	Session *session.Session // the local session that sent it; nil at other hosts' stages
	// Broadcast marks a presence that goes to the sender's contacts, as opposed to one addressed by the sender.
	Broadcast bool

	traits  Traits
	unnoted bool // taken is not noted: nobody wanted copies when it was placed
	// Of the stages Archived and Copied:
	archive Owner
	copies  Owner              // whose are to be made now
	copied  Owner              // whose are made, or are not to be
	since   int64              // when it came, in microseconds since 1970, if it has waited; 0 otherwise
	ids     [2]store.ID        // of the sender's and the recipient's archived copy, 0 for none
	taken   []*session.Session // who got it

	wire   stanza.Wire
	isWire bool
}

// Wire gives the stanza as recipients get it, serialized once.
func (p *Passage) Wire() stanza.Wire {
	if !p.isWire {
		p.wire, p.isWire = stanza.NewWire(p.Element), true
	}
	return p.wire
}

// With gives a stanza on its way with another element, of the same kind and addresses.
func (p *Passage) With(el *xmlstream.Element) *Passage {
	st := *p.Stanza
	st.Element = el
	return &Passage{Stanza: &st, Host: p.Host, Session: p.Session}
}

// Keep gives a passage that can be kept for long: the serialized stanza and its head, without the parsed element.
func (p *Passage) Keep() *Passage {
	st := *p.Stanza
	st.Element = nil
	return &Passage{Stanza: &st, Host: p.Host, Session: p.Session, wire: p.Wire().Clone(), isWire: true}
}

// walk leads a stanza through the features at one stage.
func (h *Host) walk(ctx context.Context, stage Stage, p *Passage) (done bool, err error) {
	for _, handle := range h.index.stages[stage] {
		if done, err = handle(ctx, p); done || err != nil {
			return done, err
		}
	}
	return false, nil
}
