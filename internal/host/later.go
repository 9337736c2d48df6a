package host

import (
	"context"
	"time"

	"rollcall/internal/fault"
	"rollcall/internal/lines"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// What may be put off, in bytes: each request weighs its payload and something for being there.
const (
	deferredWeight = 512

	laterTime = 20 * time.Second
)

// deferrals are the bounds of requests that were put off, by sender.
var deferrals = lines.Bounds{Weight: 1 << 20, Weighs: 64 << 20, AtOnce: 64}

// Later is for handlers that would have to wait, as those do that read or write what is stored: work is done by another
// goroutine, after what was put off for the same sender before, and its result is the answer. The handler returns what Later
// returns. ctx ends after 20 seconds, or when the host stops. A sender whose requests wait already, and are too many or too
// large, is answered with resource-constraint; a request that had to wait for so long that it was answered without is
// not done at all.
func (iq *IQ) Later(work func(ctx context.Context) (*xmlstream.Element, error)) (*xmlstream.Element, error) {
	answer, h := iq.Defer(), iq.Host
	if !h.later.Do(iq.From, deferredWeight+iq.Payload().XMLSize(ns.Client), func(lines.Fly) { h.perform(answer, work) }) {
		return nil, stanza.NewError(stanza.ResourceConstraint, "too many requests wait already; try again later")
	}
	return nil, ErrDeferred
}

// perform does one of them. A fault in it is answered, and logged.
func (h *Host) perform(answer *Answer, work func(ctx context.Context) (*xmlstream.Element, error)) {
	if answer.given.Load() { // it waited too long
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, laterTime)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			fault.Log(h.log, "working on a request", r)
			answer.Send(nil, stanza.NewError(stanza.InternalServerError, ""))
		}
	}()
	answer.Send(work(ctx))
}
