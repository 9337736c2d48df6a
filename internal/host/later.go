package host

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Later is for handlers that would have to wait, as those do that read or write what is stored: work is done by another
// goroutine, after what was put off for the same sender before, and its result is the answer. The handler returns what Later
// returns. ctx ends after 20 seconds, or when the host stops. A sender whose requests wait already, and are too many or too
// large, is answered with resource-constraint; a request that had to wait for so long that it was answered without is
// not done at all.
func (iq *IQ) Later(work func(ctx context.Context) (*xmlstream.Element, error)) (*xmlstream.Element, error) {
	d := &deferred{work: work, answer: iq.Defer(), weight: deferredWeight + iq.Payload().XMLSize(ns.Client)}
	if !iq.Host.later.enter(iq.From, d) {
		return nil, stanza.NewError(stanza.ResourceConstraint, "too many requests wait already; try again later")
	}
	iq.Host.later.run(iq.Host, iq.From)
	return nil, ErrDeferred
}

// What may wait, in bytes: each request weighs its payload and something for being there.
const (
	deferredWeight    = 512
	deferredPerSender = 1 << 20
	deferredInAll     = 64 << 20

	laterTime  = 20 * time.Second
	laterAtOne = 64 // senders whose requests are worked on at a time
)

// deferred is a request that waits for its turn.
type deferred struct {
	work   func(ctx context.Context) (*xmlstream.Element, error)
	answer *Answer
	weight int
}

// later has the requests that were put off, by sender. A sender is in queues while somebody works for it.
type later struct {
	mu      sync.Mutex
	queues  map[jid.JID]*laterQueue
	weight  int
	stopped bool
	running sync.WaitGroup
	slots   chan struct{}
}

type laterQueue struct {
	waiting []*deferred
	weight  int
	working bool
}

func (l *later) init() {
	l.queues = make(map[jid.JID]*laterQueue)
	l.slots = make(chan struct{}, laterAtOne)
}

// enter puts a request at the end of its sender's, if there is room.
func (l *later) enter(from jid.JID, d *deferred) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[from]
	switch {
	case l.stopped, l.weight+d.weight > deferredInAll:
		return false
	case q == nil:
		q = &laterQueue{}
		l.queues[from] = q
	case q.weight+d.weight > deferredPerSender:
		return false
	}
	q.waiting = append(q.waiting, d)
	q.weight += d.weight
	l.weight += d.weight
	return true
}

// run sees to it that somebody works for the sender. Its goroutine ends when nothing waits; stop waits for it.
func (l *later) run(h *Host, from jid.JID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[from]
	if q == nil || q.working || l.stopped {
		return
	}
	q.working = true
	l.running.Go(func() {
		l.slots <- struct{}{}
		defer func() { <-l.slots }()
		for d := l.next(from, nil); d != nil; d = l.next(from, d) {
			h.perform(d)
		}
	})
}

// next takes done out and gives the first that waits; nil when there is none, and the sender's queue is gone.
func (l *later) next(from jid.JID, done *deferred) *deferred {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[from]
	if done != nil {
		q.weight -= done.weight
		l.weight -= done.weight
	}
	if len(q.waiting) == 0 {
		delete(l.queues, from)
		return nil
	}
	d := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return d
}

// perform does one of them. A fault in it is answered, and logged.
func (h *Host) perform(d *deferred) {
	if d.answer.given.Load() { // it waited too long
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, laterTime)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("panic while working on a request", "panic", r, "stack", string(debug.Stack()))
			d.answer.Send(nil, stanza.NewError(stanza.InternalServerError, ""))
		}
	}()
	d.answer.Send(d.work(ctx))
}

// stop waits for what is being done; the host's context has ended.
func (l *later) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.running.Wait()
}
