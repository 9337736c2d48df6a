package rosterhttp

import (
	"context"
	"errors"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/jid"
)

// gatherTime is how long a name waits for others that are wanted at about the same time, while requests are under way.
const gatherTime = time.Millisecond

// batches collects fetches and has them go out together: the contract's section 4. A fetch waits in a queue
// for company, for a slot, or until there are enough for a request; whoever joins while all slots are taken
// is in one of the next requests. Users are taken from the queue, and only then the request is written, so
// no fetch is answered from a request that was sent before it joined.
//
// A request belongs to the Client and not to one of those who wait for it: who gives up leaves the others
// alone, and a request that nobody waits for any more is given up.
type batches struct {
	url   *url.URL
	shown string // the URL as messages may have it
	size  int    // users in a request
	slow  bool   // for tests: wait for company in any case

	mu        sync.Mutex
	queue     []*wanted
	waiting   int  // of queue, those whose callers have not left
	gathering bool // a goroutine is going to take from the queue
	closed    bool
	underWay  map[*batch]struct{}

	enough  chan struct{} // wakes who gathers: there are enough for a request
	closing chan struct{}
	running sync.WaitGroup
}

// wanted is one fetch.
type wanted struct {
	Request
	owner jid.JID
	ctx   context.Context // of the caller
	done  chan outcome    // takes one without blocking

	taken bool        // out of the queue; guarded by batches.mu
	batch *batch      // that it is in then; nil when it was refused. The same
	left  atomic.Bool // the caller has given up
}

// outcome is the end of a fetch.
type outcome struct {
	res  Result
	fail *Error
}

// batch is one request.
type batch struct {
	users   []*wanted
	index   map[string]int // of users, by localpart
	waiting int            // callers who have not left; guarded by batches.mu
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

func newBatches(cfg Config) (*batches, error) {
	t, err := parseTemplate(keyBatch, cfg.BatchURL)
	if err != nil {
		return nil, err
	}
	host, err := jid.New("", cfg.Host, "")
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(t.expand(host))
	if err != nil {
		return nil, &ConfigError{Key: keyBatch, Err: errors.New("makes no URL with this host")}
	}
	return &batches{
		url: target, shown: shownURL(target), size: cfg.BatchSize, underWay: map[*batch]struct{}{},
		enough: make(chan struct{}, 1), closing: make(chan struct{}),
	}, nil
}

// together asks for one user's roster in a batch.
func (c *Client) together(ctx context.Context, r Request, owner jid.JID) (Result, *Error) {
	fail := c.useless(r.Notified)
	w := &wanted{Request: r, owner: owner, ctx: ctx, done: make(chan outcome, 1)}
	if fail == nil && !c.join(w) {
		fail = shuttingDown()
	}
	if fail != nil {
		return Result{}, c.unsent(fail)
	}
	select {
	case o := <-w.done:
		return o.res, o.fail
	case <-ctx.Done():
		fail := canceled(ctx)
		if taken := c.leave(w); !taken {
			return Result{}, c.unsent(fail)
		}
		fail.Batch, fail.URL = true, c.batches.shown
		return Result{}, fail // its batch counts it
	}
}

// unsent completes the error of a fetch that was in no request, and counts it.
func (c *Client) unsent(fail *Error) *Error {
	fail.Batch, fail.URL = true, c.batches.shown
	c.observe(Observation{Batch: true, Users: 1}, fail.Kind.String())
	return fail
}

// join puts w into the queue; false when it is closed.
func (c *Client) join(w *wanted) bool {
	b := c.batches
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	c.record.add(0, 1)
	b.queue = append(b.queue, w)
	b.waiting++
	c.gather()
	return true
}

// gather sees to it that somebody takes from the queue. The caller holds b.mu.
func (c *Client) gather() {
	b := c.batches
	if !b.gathering {
		b.gathering = true
		b.running.Go(c.nextBatch)
	}
	if b.waiting >= b.size {
		select {
		case b.enough <- struct{}{}:
		default: // it was told already
		}
	}
}

// leave takes w out of the queue, or tells that it is in a batch already; one that nobody waits for any more
// ends.
func (c *Client) leave(w *wanted) (taken bool) {
	b := c.batches
	end := context.CancelCauseFunc(func(error) {})
	defer func() { end(errors.New("nobody waits for the answer any more")) }()
	b.mu.Lock()
	defer b.mu.Unlock()
	w.left.Store(true)
	if w.taken {
		if w.batch == nil {
			return true
		}
		if w.batch.waiting--; w.batch.waiting == 0 {
			end = w.batch.cancel
		}
		return true
	}
	c.record.add(0, -1)
	b.waiting--
	// Those who have left are passed over when a batch is made. They must not pile up until then.
	if len(b.queue) > 2*(b.waiting+b.size) {
		b.queue = slices.DeleteFunc(b.queue, func(w *wanted) bool { return w.left.Load() })
	}
	return false
}

// nextBatch waits until there is a batch to be sent, leaves what is behind it in the queue to another
// goroutine, and sends it.
func (c *Client) nextBatch() {
	b := c.batches
	b.awaitCompany()
	select {
	case c.slots <- struct{}{}:
		c.record.add(1, 0)
		defer c.exit()
	case <-b.closing:
	}
	next, refused := c.take()
	for _, w := range refused {
		w.done <- outcome{fail: c.unsent(shuttingDown())}
	}
	if next != nil {
		defer c.forget(next)
		c.send(next)
	}
}

// awaitCompany waits until it is worth while to send. When nothing is under way that is at once, but for those who are
// about to ask and only have to be let: a name that is wanted alone need not wait, and of many that are wanted one after the
// other the rest find the first ones under way.
func (b *batches) awaitCompany() {
	b.mu.Lock()
	idle := len(b.underWay) == 0 && !b.slow
	b.mu.Unlock()
	if idle {
		for range yields {
			runtime.Gosched()
		}
		return
	}
	company := time.NewTimer(gatherTime)
	defer company.Stop()
	select {
	case <-company.C:
	case <-b.enough:
	case <-b.closing:
	}
}

// yields is how often others are let run before a batch is sent when nothing is under way.
const yields = 4

// take makes a batch of the first users in the queue, each once: who asks for the same user a second time
// waits for the next one. After Close it gives whoever is in the queue to be refused.
func (c *Client) take() (next *batch, refused []*wanted) {
	b := c.batches
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gathering = false
	select {
	case <-b.enough: // it was about those who are taken now
	default:
	}
	if b.closed {
		refused = slices.DeleteFunc(b.queue, func(w *wanted) bool { return w.left.Load() })
		for _, w := range refused {
			w.taken = true
		}
		c.record.add(0, -b.waiting)
		b.queue, b.waiting = nil, 0
		return nil, refused
	}
	if b.waiting == 0 {
		b.queue = nil
		return nil, nil
	}
	next = &batch{index: make(map[string]int, min(b.waiting, b.size))}
	var rest []*wanted
	for i, w := range b.queue {
		if len(next.users) == b.size {
			rest = append(rest, b.queue[i:]...)
			break
		}
		_, twice := next.index[w.owner.Local()]
		switch {
		case w.left.Load():
		case twice:
			rest = append(rest, w)
		default:
			w.taken, w.batch = true, next
			next.index[w.owner.Local()] = len(next.users)
			next.users = append(next.users, w)
		}
	}
	b.queue = rest
	next.waiting = len(next.users)
	b.waiting -= next.waiting
	c.record.add(0, -next.waiting)
	next.ctx, next.cancel = context.WithCancelCause(context.WithoutCancel(next.users[0].ctx))
	b.underWay[next] = struct{}{}
	if b.waiting > 0 {
		c.gather()
	}
	return next, nil
}

// forget ends what a batch has left behind.
func (c *Client) forget(done *batch) {
	b := c.batches
	b.mu.Lock()
	delete(b.underWay, done)
	b.mu.Unlock()
	done.cancel(nil)
}

// close refuses whoever waits, ends what is under way, and waits for it.
func (b *batches) close() {
	b.mu.Lock()
	var end []context.CancelCauseFunc
	if !b.closed {
		b.closed = true
		close(b.closing)
		for u := range b.underWay {
			end = append(end, u.cancel)
		}
	}
	b.mu.Unlock()
	for _, cancel := range end {
		cancel(errors.New("the server is shutting down"))
	}
	b.running.Wait()
}
