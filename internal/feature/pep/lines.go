package pep

import (
	"context"

	"rollcall/internal/fault"
	"rollcall/internal/lines"
	"rollcall/internal/stanza"
)

// waiting are the bounds of what is to be done about accounts.
var waiting = lines.Bounds{Weight: 200, Weighs: 20_000}

var errBusy = stanza.NewError(stanza.ResourceConstraint, "the server has too much to do; try again later")

// run lets work be done until ctx ends, and waits for what is under way.
func (p *PEP) run(ctx context.Context) error {
	p.ctx.Store(&ctx)
	<-ctx.Done()
	p.lines.Stop()
	return nil
}

// do has work done about an account, after what came before. The error is errBusy, or the end of the server.
func (p *PEP) do(local string, work func(ctx context.Context)) error {
	ctx := p.ctx.Load()
	if ctx == nil || (*ctx).Err() != nil {
		return stanza.NewError(stanza.ServiceUnavailable, "the server is not ready, or shutting down")
	}
	if !p.lines.Do(local, 1, func(lines.Fly) {
		defer func() {
			if r := recover(); r != nil {
				fault.Log(p.opts.Log, "working on nodes", r)
			}
		}()
		work(*ctx)
	}) {
		return errBusy
	}
	return nil
}
