package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The queue of writes, or group commit. Each write is one or a few statements. A goroutine takes what has piled up while the
// last commit ran, writes it in one transaction, and tells each writer when the commit has reached the disk; a write that
// finds nothing before it is committed at once. So a commit costs what it costs once, however many wait for it, and nobody
// waits for company.

// Bounds of the queue and of one transaction.
const (
	defaultQueueWrites = 100_000
	defaultQueueBytes  = 64 << 20
	groupWrites        = 1_000
	groupBytes         = 4 << 20
	defaultPatience    = 30 * time.Second
	// lazyDelay is how long a write that nobody waits for may wait for others.
	lazyDelay = 250 * time.Millisecond
	// writeCost is what a write takes of QueueBytes beside its own bytes, roughly.
	writeCost = 256
)

// A statement is one of a write.
type statement struct {
	query string
	args  []any
	needs error // what it means that no row was changed; nil: nothing. Later statements of the write must do nothing then
}

// A write is what takes place whole or not at all.
type write struct {
	statements func(first ID) []statement // asked for in the transaction; first is the first of its ids
	ids        int                        // how many message ids it takes
	floor      int64                      // no id is less than this
	size       int                        // bytes that it holds
	lazy       bool                       // nobody waits for it: it goes with the next write, or after lazyDelay
	ctx        context.Context            // when it ends before the write's turn, nothing is written; nil: never ends
	done       func(first ID, err error)  // called once, by the writer's goroutine or, when the write is refused, at once

	first  ID
	err    error
	queued time.Time
}

// An engine commits groups of writes. It returns nil when the group was committed; first and err of each write are set then,
// and a write with an error has changed nothing. Otherwise nothing was committed, or it is not known.
type engine interface {
	commit(ctx context.Context, g *group) error
}

// A group is tried again with the same writes, but for those that have run out of patience.
type group struct {
	writes []*write
	number int64 // for an engine that counts them
}

type writer struct {
	engine            engine
	patience          time.Duration
	maxWrites, maxLen int

	mu      sync.Mutex
	queue   []*write // FIFO
	bytes   int      // of queue
	eager   int      // writes in queue that are not lazy
	pending int      // lazy writes, in queue or under way
	closed  bool
	count   Stats

	wake  chan struct{} // has one when something changed
	ctx   context.Context
	end   context.CancelFunc // gives up waiting for a database
	ended chan struct{}
}

func newWriter(ctx context.Context, e engine, o Options) *writer {
	w := &writer{engine: e, patience: o.Patience, maxWrites: o.QueueWrites, maxLen: o.QueueBytes,
		wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if w.patience <= 0 {
		w.patience = defaultPatience
	}
	if w.maxWrites <= 0 {
		w.maxWrites = defaultQueueWrites
	}
	if w.maxLen <= 0 {
		w.maxLen = defaultQueueBytes
	}
	w.ctx, w.end = context.WithCancel(ctx)
	go w.run()
	return w
}

// close writes what is queued, as far as the database lets it, and ends the writer.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.ended
	w.end()
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// add queues a write. Its done is called once in any case.
func (w *writer) add(x *write) {
	x.queued = time.Now()
	if err := w.take(x); err != nil {
		x.done(0, err)
		return
	}
	w.signal()
}

func (w *writer) take(x *write) error {
	cost := x.size + writeCost
	if cost > w.maxLen/2 {
		return fmt.Errorf("%w: it has %d bytes, about %d are allowed", ErrInvalid, x.size, w.maxLen/2)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return fmt.Errorf("%w: it is closed", ErrUnavailable)
	case len(w.queue) >= w.maxWrites || w.bytes+cost > w.maxLen:
		w.count.Refused++
		return fmt.Errorf("%w: %d writes (%d bytes) wait already", ErrUnavailable, len(w.queue), w.bytes)
	}
	w.queue = append(w.queue, x)
	w.bytes += cost
	if x.lazy {
		w.pending++
	} else {
		w.eager++
	}
	return nil
}

// do queues a write and waits until it is done. When ctx ends meanwhile it may be written or not.
func (w *writer) do(ctx context.Context, x *write) (first ID, err error) {
	type result struct {
		first ID
		err   error
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	told := make(chan result, 1)
	x.ctx, x.done = ctx, func(first ID, err error) { told <- result{first, err} }
	w.add(x)
	select {
	case r := <-told:
		return r.first, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// settle waits until the lazy writes that were queued before are written.
func (w *writer) settle(ctx context.Context) error {
	w.mu.Lock()
	pending := w.pending
	w.mu.Unlock()
	if pending == 0 {
		return nil
	}
	_, err := w.do(ctx, &write{statements: func(ID) []statement { return nil }})
	return err
}

// run is the writer's goroutine.
func (w *writer) run() {
	defer close(w.ended)
	var lazy <-chan time.Time
	due := false
	for {
		w.mu.Lock()
		g, closed, waiting := w.next(due), w.closed, len(w.queue) > 0
		w.mu.Unlock()
		switch {
		case len(g.writes) > 0:
			w.write(g)
			lazy, due = nil, false
			continue
		case closed && !waiting:
			return
		case waiting && lazy == nil:
			lazy = time.After(lazyDelay)
		}
		select {
		case <-w.wake:
		case <-lazy:
			lazy, due = nil, true
		}
	}
}

// next takes a group from the queue; an empty one when there are lazy writes only whose time has not come. w.mu is held.
func (w *writer) next(due bool) *group {
	g := &group{}
	if w.eager == 0 && !due && !w.closed {
		return g
	}
	size := 0
	for len(w.queue) > 0 && len(g.writes) < groupWrites && size < groupBytes {
		x := w.pop()
		size += x.size
		g.writes = append(g.writes, x)
	}
	return g
}

// pop takes the first of the queue. w.mu is held.
func (w *writer) pop() *write {
	x := w.queue[0]
	w.queue[0] = nil
	if w.queue = w.queue[1:]; len(w.queue) == 0 {
		w.queue = nil
	}
	w.bytes -= x.size + writeCost
	if !x.lazy {
		w.eager--
	}
	return x
}

// Waits between tries when the database is not there.
const (
	firstWait = 50 * time.Millisecond
	mostWait  = time.Second
)

// write commits a group. A database that is not there is waited for, as long as each write has patience.
func (w *writer) write(g *group) {
	wait := firstWait
	w.drop(g)
	for len(g.writes) > 0 {
		err := w.engine.commit(w.ctx, g)
		if err == nil {
			w.report(g.writes, nil)
			return
		}
		w.mu.Lock()
		w.count.Failures++
		closed := w.closed
		w.mu.Unlock()
		if !errors.Is(err, ErrUnavailable) || closed {
			w.report(g.writes, err)
			return
		}
		w.expire(g, err)
		if len(g.writes) == 0 {
			return
		}
		w.pause(wait)
		wait = min(2*wait, mostWait)
	}
}

// pause waits for a time, or until the writer is closed.
func (w *writer) pause(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-w.wake:
			w.mu.Lock()
			closed := w.closed
			w.mu.Unlock()
			if closed {
				w.signal()
				return
			}
		}
	}
}

// drop takes those writes out of a group whose contexts have ended.
func (w *writer) drop(g *group) {
	kept := g.writes[:0]
	for _, x := range g.writes {
		if x.ctx != nil && x.ctx.Err() != nil {
			w.report([]*write{x}, x.ctx.Err())
			continue
		}
		kept = append(kept, x)
	}
	g.writes = kept
}

// expire ends the writes whose patience has ended, in the group and behind it.
func (w *writer) expire(g *group, reason error) {
	var over []*write
	for len(g.writes) > 0 && time.Since(g.writes[0].queued) >= w.patience {
		over = append(over, g.writes[0])
		g.writes = g.writes[1:]
	}
	if len(g.writes) == 0 {
		w.mu.Lock()
		for len(w.queue) > 0 && time.Since(w.queue[0].queued) >= w.patience {
			over = append(over, w.pop())
		}
		w.mu.Unlock()
	}
	w.report(over, reason)
}

// report tells writers of their results. err counts for all of them; without one each has its own.
func (w *writer) report(writes []*write, err error) {
	w.mu.Lock()
	if err == nil {
		w.count.Commits++
		w.count.LargestGroup = max(w.count.LargestGroup, len(writes))
	}
	for _, x := range writes {
		if x.lazy {
			w.pending--
		}
		if err != nil || x.err != nil {
			w.count.Failed++
			continue
		}
		w.count.Writes++
		w.count.Bytes += uint64(x.size)
		w.count.latency(time.Since(x.queued))
	}
	w.mu.Unlock()
	for _, x := range writes {
		switch {
		case x.done == nil:
		case err != nil:
			x.done(0, err)
		default:
			x.done(x.first, x.err)
		}
	}
}

func (w *writer) stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.count
	s.Queued, s.QueuedBytes = len(w.queue), w.bytes
	return s
}
