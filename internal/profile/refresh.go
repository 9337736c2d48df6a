package profile

import (
	"context"
	"sync"
)

// A Kind is what came of a refresh.
type Kind uint8

// The kinds.
const (
	Changed Kind = iota
	Unchanged
	Offline // nobody is there and nothing is in memory: who asks next has it fetched
	Failed
)

// A Result is what came of a refresh for one user.
type Result struct {
	Kind Kind
	Err  error // with Failed
}

// atOnce is how many users of one refresh are waited for at a time.
const atOnce = 64

// Refresh fetches the profiles of users anew, each by a fetch that begins after the call, and gives a result for each, in the
// same order, soon after ctx is done at the latest.
func (e *Engine) Refresh(ctx context.Context, users []string) []Result {
	results := make([]Result, len(users))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, local := range users {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			results[i] = e.refresh(ctx, local)
		})
	}
	all.Wait()
	return results
}

func (e *Engine) refresh(ctx context.Context, local string) Result {
	online := e.opts.Online != nil && e.opts.Online(local)
	e.mu.Lock()
	t := e.entries[local]
	if t == nil && !online {
		e.mu.Unlock()
		return Result{Kind: Offline} // a copy in the store is asked about before it is used
	}
	t = e.touch(local)
	t.stale = true
	wish := t.begun + 1
	e.hold(t)
	e.mu.Unlock()
	defer e.release(t)
	changed := false
	for {
		e.mu.Lock()
		f := t.flight
		if f == nil {
			f = e.fetch(t, true)
		}
		e.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return Result{Kind: Failed, Err: context.Cause(ctx)}
		}
		changed = changed || f.changed
		switch {
		case f.n < wish:
		case f.err != nil:
			return Result{Kind: Failed, Err: f.err}
		case changed:
			return Result{Kind: Changed}
		default:
			return Result{Kind: Unchanged}
		}
	}
}
