// Package lines has work done in order, for each of many: what is in one line is done one after the other, by a goroutine that exists
// only while there is something to do.
package lines

import "sync"

// Bounds are those of what is in lines; 0 is none. The weight of work counts until it is done.
type Bounds struct {
	Waiting        int // in one line, beside what is being done
	Weight, Weighs int // of one line, and of all
	AtOnce         int // lines that are worked on at a time
	Flying         int // in one line: while more is on its way nothing is done
}

// A Fly notes that the work under way has sent something, of so many bytes. landed is called once, when nothing of it is on its way any
// more; it does not wait.
type Fly func(bytes int) (landed func())

// Lines are those of all who have one. Their methods may be called by any goroutine, and do not wait, but for Stop.
type Lines[K comparable] struct {
	bounds Bounds
	slots  chan struct{} // nil: no bound

	mu      sync.Mutex // nothing else is locked, called or sent while it is held
	of      map[K]*line
	weight  int
	stopped bool
	running sync.WaitGroup
}

// line is guarded by Lines.mu.
type line struct {
	waiting []item
	weight  int
	working bool
	flying  int
	dropped bool
}

type item struct {
	work   func(Fly)
	weight int
}

// New makes lines.
func New[K comparable](b Bounds) *Lines[K] {
	l := &Lines[K]{bounds: b, of: map[K]*line{}}
	if b.AtOnce > 0 {
		l.slots = make(chan struct{}, b.AtOnce)
	}
	return l
}

// Do puts work at the end of a line. It is false when there is no room, or after Stop. A panic in work is not caught.
func (l *Lines[K]) Do(of K, weight int, work func(Fly)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.of[of]
	if n == nil {
		n = &line{}
	}
	over := func(is, bound int) bool { return bound > 0 && is > bound }
	if l.stopped || over(len(n.waiting)+1, l.bounds.Waiting) || over(n.weight+weight, l.bounds.Weight) || over(l.weight+weight, l.bounds.Weighs) {
		return false
	}
	l.of[of] = n
	n.waiting = append(n.waiting, item{work, weight})
	n.weight += weight
	l.weight += weight
	l.turn(of, n)
	return true
}

// turn has somebody work on a line when there is something to do, and lets go of it when there is nothing to know. The caller holds the
// mutex.
func (l *Lines[K]) turn(of K, n *line) {
	switch {
	case n.working, n.dropped:
	case len(n.waiting) == 0 && n.flying == 0:
		delete(l.of, of)
	case len(n.waiting) > 0 && n.flying <= l.bounds.Flying:
		n.working = true
		l.running.Go(func() { l.serve(of, n) })
	}
}

func (l *Lines[K]) serve(of K, n *line) {
	if l.slots != nil {
		l.slots <- struct{}{}
		defer func() { <-l.slots }()
	}
	fly := func(bytes int) func() {
		l.fly(of, n, bytes)
		return func() { l.fly(of, n, -bytes) }
	}
	for next, ok := l.next(of, n, 0); ok; next, ok = l.next(of, n, next.weight) {
		next.work(fly)
	}
}

// next gives what is to be done, after something of a weight has been done.
func (l *Lines[K]) next(of K, n *line, done int) (item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.weight -= done
	l.weight -= done
	if n.dropped || len(n.waiting) == 0 || n.flying > l.bounds.Flying {
		n.working = false
		l.turn(of, n)
		return item{}, false
	}
	next := n.waiting[0]
	n.waiting[0] = item{}
	n.waiting = n.waiting[1:]
	return next, true
}

func (l *Lines[K]) fly(of K, n *line, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.flying += bytes
	l.turn(of, n)
}

// Drop forgets what waits in a line: nobody wants it any more.
func (l *Lines[K]) Drop(of K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.of[of]
	if n == nil {
		return
	}
	for _, one := range n.waiting {
		n.weight -= one.weight
		l.weight -= one.weight
	}
	n.dropped, n.waiting = true, nil
	delete(l.of, of)
}

// Waiting counts what waits, in all lines, beside what is being done.
func (l *Lines[K]) Waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.of {
		n += len(one.waiting)
	}
	return n
}

// Empty tells whether nothing waits, is being done, or is on its way.
func (l *Lines[K]) Empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.of) == 0 && l.weight == 0
}

// Stop takes no more work, and waits for what is being done, and for what waits and may be done.
func (l *Lines[K]) Stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.running.Wait()
}
