package host

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// answerTimeout bounds the time in which a deferred request is answered, whatever its feature does.
const answerTimeout = 30 * time.Second

// IQ is a request to the server on its way to being answered, exactly once.
type IQ struct {
	*Passage
	answer *Answer
}

// Payload gives the request's child element.
func (iq *IQ) Payload() *xmlstream.Element { return iq.First() }

// ErrDeferred is what a handler returns that has called IQ.Defer.
var ErrDeferred = errors.New("host: answered later")

// Defer puts the answer off: the handler returns ErrDeferred, and something answers later. If nothing has in 30 s, the
// sender gets remote-server-timeout.
func (iq *IQ) Defer() *Answer {
	a := &Answer{iq: iq}
	a.timer = time.AfterFunc(answerTimeout, func() {
		if !a.given.Swap(true) { // not claim, which reads a.timer
			iq.Host.reply(iq.Passage, nil, stanza.NewError(stanza.RemoteServerTimeout, "no answer in time"))
		}
	})
	iq.answer = a
	return a
}

// Answer is a request's one answer.
type Answer struct {
	iq    *IQ
	timer *time.Timer
	given atomic.Bool
}

// Send answers with a payload or an error, as an IQHandler does. Only the first call counts.
func (a *Answer) Send(payload *xmlstream.Element, err error) {
	if a.claim() {
		a.iq.Host.reply(a.iq.Passage, payload, err)
	}
}

// SendWire answers with a result that is serialized already: w is the whole iq.
func (a *Answer) SendWire(w stanza.Wire) {
	if a.claim() {
		a.iq.Host.toSender(a.iq.Passage, w)
	}
}

func (a *Answer) claim() bool {
	if a.given.Swap(true) {
		return false
	}
	a.timer.Stop()
	return true
}

// serve answers a request that is addressed to the server itself: to the host, or on behalf of an account.
func (h *Host) serve(ctx context.Context, p *Passage, target Target) {
	payload := p.First()
	key := IQKey{target, p.Type, payload.Space, payload.Local}
	handle := h.index.iq[key]
	if handle == nil && target == ToSelf {
		key.Target = ToAccount
		handle = h.index.iq[key]
	}
	if handle == nil {
		// RFC 6120 section 8.3.3.19
		h.reply(p, nil, stanza.NewError(stanza.ServiceUnavailable, ""))
		return
	}
	iq := &IQ{Passage: p}
	el, err := handle(ctx, iq)
	switch {
	case iq.answer != nil && errors.Is(err, ErrDeferred):
	case iq.answer != nil: // it deferred the answer, and then answered all the same
		iq.answer.Send(el, err)
	default:
		h.reply(p, el, err)
	}
}

// reply answers a request with a result or an error.
func (h *Host) reply(p *Passage, payload *xmlstream.Element, err error) {
	if err != nil {
		h.replyError(p, err)
		return
	}
	h.toSender(p, stanza.NewWire(p.Result(payload)))
}

// replyError sends an error to a stanza's sender, unless the stanza may not be answered.
func (h *Host) replyError(p *Passage, err error) {
	serr, ok := stanza.AsError(err)
	if !ok {
		h.log.Error("stanza not handled", "kind", p.Kind.String(), "from", p.From.String(), "error", err)
	}
	if p.MayBeAnswered() {
		h.toSender(p, stanza.NewWire(p.ErrorReply(serr)))
	}
}

// toSender sends an answer to where the stanza came from.
func (h *Host) toSender(p *Passage, w stanza.Wire) {
	if p.Session != nil && p.Session.JID() == p.From {
		p.Session.Send(w)
		return
	}
	if s := h.registry.Session(p.From); s != nil {
		s.Send(w)
	}
}
