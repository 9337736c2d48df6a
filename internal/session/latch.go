package session

import "sync"

// Latch is an event that happens once. Its channel is made when somebody waits before it has happened: most sessions
// live and end without anybody waiting, and a channel takes 96 bytes. The zero Latch has not happened.
type Latch struct {
	mu       sync.Mutex
	happened bool
	c        chan struct{} // nil: nobody waits
}

// always is what those get who come after the event.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Open makes the event happen. Doing so again changes nothing.
func (l *Latch) Open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.happened = true
	if l.c != nil {
		close(l.c)
		l.c = nil
	}
}

// Done is closed when the event has happened.
func (l *Latch) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.happened {
		return always
	}
	if l.c == nil {
		l.c = make(chan struct{})
	}
	return l.c
}
