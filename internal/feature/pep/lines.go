package pep

import (
	"context"
	"sync"

	"rollcall/internal/stanza"
)

// lines are queues of work, one for each account that has any: what is in one is done one after the other, in a goroutine
// that exists only while there is something to do.
type lines struct {
	mu      sync.Mutex
	ctx     context.Context // of run; nil before it
	wg      sync.WaitGroup
	waiting map[string][]func(context.Context)
	total   int
}

// Bounds of what waits.
const (
	mostOfOne = 200
	mostOfAll = 20_000
)

var errBusy = stanza.NewError(stanza.ResourceConstraint, "the server has too much to do; try again later")

// run lets work be done until ctx ends, and waits for what is under way.
func (l *lines) run(ctx context.Context) error {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
	<-ctx.Done()
	l.wg.Wait()
	return nil
}

// do queues work about an account. The error is errBusy, or the end of the server.
func (l *lines) do(local string, work func(ctx context.Context)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, running := l.waiting[local]
	switch {
	case l.ctx == nil || l.ctx.Err() != nil:
		return stanza.NewError(stanza.ServiceUnavailable, "the server is not ready, or shutting down")
	case len(queue) >= mostOfOne || l.total >= mostOfAll:
		return errBusy
	}
	if l.waiting == nil {
		l.waiting = map[string][]func(context.Context){}
	}
	l.waiting[local] = append(queue, work)
	l.total++
	if !running {
		l.wg.Go(func() { l.serve(l.ctx, local) })
	}
	return nil
}

func (l *lines) serve(ctx context.Context, local string) {
	for {
		l.mu.Lock()
		queue := l.waiting[local]
		if len(queue) == 0 {
			delete(l.waiting, local)
			l.mu.Unlock()
			return
		}
		work := queue[0]
		queue[0] = nil
		l.waiting[local] = queue[1:]
		l.total--
		l.mu.Unlock()
		work(ctx)
	}
}
