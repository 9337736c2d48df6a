package session

import (
	"sync"
	"time"

	"rollcall/internal/stanza"
)

// writer writes what is in an outbox until there is nothing more, in a goroutine of its own: there is one only while there is
// something to write. It comes from a pool, with queues that were emptied before, so that an idle session holds none of either
// and a busy one makes none.
//
// The goroutine begins with a stack of 2 KiB, in which all fits that is on it down to the system call (see tcp.transport.Send):
// growing it would cost a quarter of what the write does. So what write works with is here, and not on the stack.
type writer struct {
	run func() // write, made once

	session *Session
	life    uint32 // of the session, see outbox

	batch     []stanza.Wire // that is being written
	size      int           // its cost
	uncounted int           // the first of it will not be acknowledged by the client
	conn      Conn          // that it is for
	failed    bool          // nothing more can be written
	reason    error         // the outbox is closed, and the stream is to be ended
	emptied   [2][]stanza.Wire
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// newWriter makes a writer of the session's life as it is now, and counts its goroutine, while it is certain that the session
// has not ended. The caller holds the outbox's mutex.
func (s *Session) newWriter() *writer {
	s.owner.Add(1)
	w := writers.Get().(*writer)
	if w.run == nil {
		w.run = w.write
	}
	w.session, w.life = s, s.out.life
	return w
}

// start begins to write; nil does nothing. The caller has let go of the outbox's mutex.
func (w *writer) start() {
	if w != nil {
		go w.run()
	}
}

func (w *writer) write() {
	for w.session.take(w) {
		var err error
		if !w.failed {
			err = w.conn.Send(w.batch)
		}
		w.written(err)
	}
	w.finish()
}

// written deals with a batch that was written, or was not.
//
//go:noinline
func (w *writer) written(err error) {
	if w.failed = w.failed || err != nil; w.failed {
		w.session.stray(w.batch[:w.uncounted])
	} else {
		for i := range w.uncounted {
			w.batch[i].Delivered()
		}
	}
	if err != nil {
		w.session.Leave(w.conn, err)
	}
	w.empty(w.batch)
	w.batch = nil
}

// finish gives the writer back, and ends the stream where that is to be done.
//
//go:noinline
func (w *writer) finish() {
	s, c, reason := w.session, w.conn, w.reason
	*w = writer{run: w.run, emptied: w.emptied}
	writers.Put(w)
	if reason != nil {
		s.endStream(c, reason)
	}
	s.owner.Done()
}

// queue gives an emptied queue, nil when there is none.
func (w *writer) queue() (q []stanza.Wire) {
	for i := range w.emptied {
		if q, w.emptied[i] = w.emptied[i], nil; q != nil {
			return q
		}
	}
	return nil
}

// empty keeps a queue for later, unless a burst made it large, and lets go of its stanzas' bytes.
func (w *writer) empty(q []stanza.Wire) {
	clear(q)
	for i := range w.emptied {
		if w.emptied[i] == nil && q != nil && cap(q) <= 256 {
			w.emptied[i] = q[:0]
			return
		}
	}
}

// take gives the writer its next batch, and counts the one before as written. It is false when there is none; then, with a
// reason, the outbox is closed and the writer has to end the stream, and without one the writer is to stop.
func (s *Session) take(w *writer) bool {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.life != w.life { // the connection is lost, or the session has gone on to another
		return false
	}
	w.conn = s.connection()
	o.bytes -= w.size
	w.size = 0
	if len(o.queue) == 0 {
		w.empty(o.queue)
		o.queue = nil
		o.writing = o.closed != nil
		w.reason = o.closed
		return false
	}
	o.taken = time.Now()
	w.batch, w.size = o.queue, o.bytes
	if o.bytes > batchSize {
		n, some := 0, 0
		for n < len(o.queue) && some < batchSize {
			some += cost(o.queue[n])
			n++
		}
		if n < len(o.queue) {
			w.batch, w.size = o.queue[:n:n], some
		}
	}
	if o.queue = o.queue[len(w.batch):]; len(o.queue) == 0 {
		o.queue = w.queue()
	}
	w.uncounted = len(w.batch)
	if m := s.managed.Load(); m != nil && o.closed == nil {
		w.uncounted = min(m.skip, w.uncounted)
		w.batch = m.note(s, w.batch)
	}
	return true
}
