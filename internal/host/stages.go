package host

import (
	"context"

	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// Stage is a point in the path of a stanza where features take part. The order of the constants is the order of the
// path, and the order of features at one stage is their order in server/features.go: this file and that one are the
// whole answer to "what happens to a message?".
type Stage uint8

const (
	// Sent: a local session sent the stanza and its 'from' is stamped; before anything else is done with it. A
	// presence without 'to' ends here, with the feature that broadcasts it.
	Sent Stage = iota
	// Received: the stanza has reached the virtual host of its recipient, an account; before it is matched with
	// the account's sessions. Probes are answered here.
	Received
	// Unclaimed: a message for an account that no session of it took; storage would come here. What no feature
	// deals with is answered with service-unavailable, where RFC 6121 section 8.5 asks for it.
	Unclaimed

	stages
)

// Passage is a stanza on its way. Handlers read it; they never change the element. Of a Broadcast the element is nil.
type Passage struct {
	*stanza.Stanza
	Host    *Host            // whose stage this is
	Session *session.Session // the local session that sent it; nil at other hosts' stages
	// Broadcast marks a presence that goes to the sender's contacts, as opposed to one addressed by the sender.
	Broadcast bool

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
