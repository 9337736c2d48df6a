package webhook

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	concurrency = 8     // requests at a time, each about another user
	window      = 1_000 // events in memory
	answerBytes = 4 << 10

	firstPause = time.Second
	mostPause  = 5 * time.Minute
)

// refusals are the pauses before an event that was refused is tried again.
var refusals = []time.Duration{5 * time.Second, time.Minute, 10 * time.Minute}

// item is an event in the window.
type item struct {
	Event
	tries int       // refused
	next  time.Time // not before
	busy  bool
}

// result is what became of one request.
type result struct {
	of    *item
	v     verdict
	after time.Duration
	err   error
}

// worker is the state of Run, which alone touches it.
type worker struct {
	*Sender
	asked    *destination // the last that was asked
	items    []*item      // the first that were not removed, in order
	last     int64        // the last event that was loaded
	all      bool         // there were no more
	active   int
	failures int       // of the application, since it last answered
	pause    time.Time // until then it is not asked
	results  chan result
}

// Run tells events until ctx ends; then it gives up what is under way. It is called once.
func (s *Sender) Run(ctx context.Context) error {
	w := &worker{Sender: s, results: make(chan result, concurrency)}
	defer s.transport.CloseIdleConnections()
	for {
		wait := w.load(ctx)
		if d := w.start(ctx); wait == 0 || d > 0 && d < wait {
			wait = d
		}
		timer := time.NewTimer(cmp.Or(wait, time.Hour))
		select {
		case <-ctx.Done():
			timer.Stop()
			for ; w.active > 0; w.active-- {
				w.settle(ctx, <-w.results)
			}
			return nil
		case r := <-w.results:
			w.active--
			w.settle(ctx, r)
		case <-s.wake:
			w.all = false
		case <-timer.C:
		}
		timer.Stop()
	}
}

// load fills the window. When the outbox cannot be read, it gives the time to wait before it is tried again.
func (w *worker) load(ctx context.Context) (wait time.Duration) {
	for !w.all && len(w.items) < window {
		page, err := w.o.Outbox.Page(ctx, w.last, window-len(w.items))
		if err != nil {
			if ctx.Err() == nil {
				w.o.Log.Error("events for the application cannot be read; trying again", "error", err)
			}
			return firstPause
		}
		for _, e := range page {
			w.items = append(w.items, &item{Event: e})
			w.last = e.ID
		}
		w.all = len(page) == 0
	}
	return 0
}

// start sends what can be sent, and gives the time until there is more to do, 0 when nothing but a result or a new event
// can change anything.
func (w *worker) start(ctx context.Context) (wait time.Duration) {
	now := time.Now()
	to := w.to.Load()
	if to != w.asked {
		w.asked, w.pause, w.failures = to, time.Time{}, min(w.failures, 1) // with 1 it is news when it answers
	}
	var gone []int64
	w.items = slices.DeleteFunc(w.items, func(it *item) bool {
		if it.busy || now.Sub(it.At) <= to.maxAge {
			return false
		}
		w.o.Told("expired")
		w.o.Log.Warn("event for the application dropped: it is too old", "kind", it.Kind, "at", it.At)
		gone = append(gone, it.ID)
		return true
	})
	w.remove(gone)
	if pause := w.pause.Sub(now); pause > 0 {
		return pause
	}
	limit := concurrency
	if w.failures > 0 {
		limit = 1 // is it back?
	}
	seen := make(map[string]bool)
	for _, it := range w.items {
		if w.active >= limit {
			return 0
		}
		if seen[it.User] {
			continue
		}
		seen[it.User] = true
		switch d := it.next.Sub(now); {
		case it.busy:
		case d > 0:
			if wait == 0 || d < wait {
				wait = d
			}
		default:
			it.busy = true
			w.active++
			go func() {
				begun := time.Now()
				v, after, err := w.deliver(ctx, it.Event)
				if v == delivered || ctx.Err() == nil {
					w.o.Asked(time.Since(begun), err)
				}
				w.results <- result{it, v, after, err}
			}()
		}
	}
	return wait
}

// settle takes the result of a request.
func (w *worker) settle(ctx context.Context, r result) {
	it := r.of
	it.busy = false
	switch {
	case r.v == delivered:
		w.answered()
		w.o.Told("delivered")
		w.forget(it)
	case ctx.Err() != nil: // we gave up ourselves
	case r.v == refused:
		w.answered()
		if it.tries < len(refusals) {
			it.next = time.Now().Add(refusals[it.tries])
			it.tries++
			return
		}
		w.o.Told("refused")
		w.o.Log.Warn("event dropped: the application does not take it", "kind", it.Kind, "error", r.err)
		w.forget(it)
	default:
		if w.failures == 0 {
			w.o.Log.Warn("the application takes no events; they wait", "error", r.err)
		}
		pause := min(firstPause<<min(w.failures, 10), mostPause)
		pause += time.Duration(rand.Int64N(int64(pause)/4 + 1)) // others may wait for the same
		w.failures++
		w.pause = time.Now().Add(max(pause, r.after))
	}
}

// answered notes that the application is there.
func (w *worker) answered() {
	if w.failures > 0 {
		w.o.Log.Info("the application takes events again")
	}
	w.failures, w.pause = 0, time.Time{}
}

func (w *worker) forget(it *item) {
	w.items = slices.DeleteFunc(w.items, func(other *item) bool { return other == it })
	w.remove([]int64{it.ID})
}

// remove takes events out of the outbox. If that fails the application is told once more, after a restart.
func (w *worker) remove(ids []int64) {
	if len(ids) == 0 {
		return
	}
	w.o.Outbox.Remove(ids, func(err error) {
		if err != nil {
			w.o.Log.Error("events that were told stay in the database", "events", len(ids), "error", err)
		}
	})
}

// drain lets the connection be used again where little is left of the answer.
func drain(body io.ReadCloser) {
	// An error of an answer that nobody wants changes nothing.
	_, _ = io.CopyN(io.Discard, body, answerBytes)
	_ = body.Close()
}
