package archive

import (
	"sync"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/session"
)

// Pages are sent as clients take them. Each session has a line of queries, of which one is answered at a time, and none while
// much of the pages before is still on its way: so a client that does not read has a few pages waiting, within its outbox, and
// not read from the store, and its other queries cost their words. What is on its way is what was not written or, with stream
// management, not acknowledged.

const (
	lineQueries = 50        // that wait in a session's line
	lineBytes   = 256 << 10 // of them
	lineTime    = 25 * time.Second
	atOnce      = 16 // pages that are read from the store at a time
	queryTime   = 20 * time.Second
)

// request is a query on its way to being answered.
type request struct {
	*query
	iq     *host.IQ
	answer *host.Answer
	since  time.Time
	weight int
}

// lines are those of all sessions that have one.
type lines struct {
	low   int // bytes on their way, at which the next page is sent
	slots chan struct{}
	// work answers a query. Before it sends anything it calls fly with the bytes, and landed when nothing of them is on its
	// way any more.
	work func(r *request, fly func(bytes int) (landed func()))

	mu      sync.Mutex // nothing else is locked, called or sent while it is held
	of      map[*session.Session]*line
	stopped bool
	running sync.WaitGroup
}

// line is guarded by lines.mu.
type line struct {
	waiting []*request
	weight  int
	working bool
	flying  int // bytes of pages on their way
	ended   bool
}

func (l *lines) init(outbox int, work func(*request, func(int) func())) {
	l.of, l.slots, l.low, l.work = make(map[*session.Session]*line), make(chan struct{}, atOnce), outbox/8, work
}

// enter puts a query at the end of its session's line; false when there is no room.
func (l *lines) enter(s *session.Session, r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.of[s]
	if n == nil {
		n = &line{}
		l.of[s] = n
	}
	ok := !l.stopped && s.Context().Err() == nil && len(n.waiting) < lineQueries && n.weight+r.weight <= lineBytes
	if ok {
		n.waiting = append(n.waiting, r)
		n.weight += r.weight
	}
	l.turn(s, n)
	return ok
}

// turn has somebody work on a line when there is something to do, and lets go of it when there is nothing to know. The caller
// holds the mutex.
func (l *lines) turn(s *session.Session, n *line) {
	switch {
	case n.working, n.ended:
	case len(n.waiting) == 0 && n.flying == 0:
		delete(l.of, s)
	case len(n.waiting) > 0 && n.flying <= l.low && !l.stopped:
		n.working = true
		l.running.Go(func() {
			l.slots <- struct{}{}
			defer func() { <-l.slots }()
			for r := l.next(s, n); r != nil; r = l.next(s, n) {
				l.work(r, func(bytes int) func() { return l.fly(s, n, bytes) })
			}
		})
	}
}

// next gives the query whose turn it is; nil when there is none.
func (l *lines) next(s *session.Session, n *line) *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.ended || l.stopped || len(n.waiting) == 0 || n.flying > l.low {
		n.working = false
		l.turn(s, n)
		return nil
	}
	r := n.waiting[0]
	n.waiting[0] = nil
	n.waiting = n.waiting[1:]
	n.weight -= r.weight
	return r
}

// fly notes bytes that are on their way.
func (l *lines) fly(s *session.Session, n *line, bytes int) (landed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.flying += bytes
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		n.flying -= bytes
		l.turn(s, n)
	}
}

// drop is for a session that has ended: nobody waits for its answers.
func (l *lines) drop(s *session.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.of[s]; n != nil {
		n.ended, n.waiting = true, nil
		delete(l.of, s)
	}
}

// stop waits for the queries that are being answered.
func (l *lines) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.running.Wait()
}
