package store

import (
	"context"
	"sync"
	"time"
)

// Patience is of those who have to know something from a store before they can go on: what a user has blocked, or wants archived.
// A store that is away for a moment, as PostgreSQL is that is started again, is waited for, for the first Absence of its being
// away; after that nobody waits in vain. The zero value is ready.
type Patience struct {
	mu      sync.Mutex
	failed  time.Time // when the store last failed
	failing time.Time // since when it has done nothing else; zero: it has not
}

const (
	// Absence is how long a store may be away before it is not waited for.
	Absence = 10 * time.Second
	// Hush is how long a store is left alone when it has failed.
	Hush = time.Second
)

// Wait tries until it succeeds, the store has been away for too long, or ctx is done, and gives the last error. What is tried tells Note,
// and leaves the store alone while Quiet.
func (p *Patience) Wait(ctx context.Context, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Absence)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil || !p.passes() {
			return err
		}
		select {
		case <-time.After(Hush):
		case <-ctx.Done():
			return err
		}
	}
}

// passes tells whether the store may only be away for a moment.
func (p *Patience) passes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.failing.IsZero() && time.Since(p.failing) < Absence
}

// Quiet tells whether the store has failed just now.
func (p *Patience) Quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.failed) < Hush
}

// Note notes that the store was read, or could not be, when that was begun.
func (p *Patience) Note(begun time.Time, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !failed {
		p.failing = time.Time{}
		return
	}
	p.failed = time.Now()
	if p.failing.IsZero() {
		p.failing = begun
	}
}
