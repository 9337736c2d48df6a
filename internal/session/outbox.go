package session

import (
	"sync"
	"time"

	"rollcall/internal/stanza"
)

// outbox holds the stanzas that wait to be written. Sends only append to it; a goroutine writes while there is
// something to write and takes what has piled up at once. It is bounded in bytes, those being written included.
//
// The bound is for clients that do not read. One that does may be sent more for a while: a roster of thousands of
// contacts, or the presence of them all, comes faster than any network takes it. So beyond the bound stanzas are still
// taken, up to burst times as much, while the last write has been done a moment ago; and a stanza that finds nothing
// waiting is taken whatever its size.
type outbox struct {
	mu      sync.Mutex
	queue   []stanza.Wire
	bytes   int  // in queue and in the batch being written
	writing bool // a writer goroutine exists
	closed  error
	taken   time.Time // when the writer last began a batch: it had written the one before
}

const (
	burst     = 8
	moment    = 2 * time.Second
	batchSize = 64 << 10 // bytes that the writer takes at a time, so that it shows that it gets on
)

// full tells whether a stanza of that size is too much.
func (o *outbox) full(size, limit int) bool {
	switch {
	case o.bytes == 0 || o.bytes+size <= limit:
		return false
	case o.bytes+size > burst*limit:
		return true
	}
	return time.Since(o.taken) > moment
}

// wireOverhead is what a queued stanza costs beside its bytes, so that a queue of tiny ones is bounded as well.
const wireOverhead = 64

// batches keeps emptied queues: an idle session then holds none.
var batches = sync.Pool{New: func() any { b := make([]stanza.Wire, 0, 16); return &b }}

// Send queues a stanza and never blocks. It tells whether the session took it; a session that has ended or whose
// client does not read takes nothing, and the stanza is the caller's to place elsewhere.
func (s *Session) Send(w stanza.Wire) bool {
	o := &s.out
	size := w.Len() + wireOverhead
	o.mu.Lock()
	if o.closed != nil {
		o.mu.Unlock()
		return false
	}
	m := s.managed.Load()
	if m != nil && m.tooMuch(o, size, s.opts.OutboxBytes) {
		reason := ErrOverflow
		if m.detached {
			reason = ErrTooMuch
		}
		o.mu.Unlock()
		s.Close(reason)
		return false
	}
	if m != nil && m.detached {
		m.hold(w)
		o.mu.Unlock()
		return true
	}
	if o.full(size, s.opts.OutboxBytes) {
		o.mu.Unlock()
		s.Close(ErrOverflow)
		return false
	}
	if o.queue == nil {
		o.queue = *batches.Get().(*[]stanza.Wire)
	}
	o.queue = append(o.queue, w)
	o.bytes += size
	start := !o.writing
	if start {
		o.writing = true
		o.taken = time.Now()
		s.owner.Add(1)
	}
	o.mu.Unlock()
	if start {
		go s.counted(s.write)
	}
	return true
}

// close refuses what comes from now on. first tells whether this call did it; then the caller starts the teardown, and,
// when idle says that no writer runs, one to end the stream. Both are counted in owner here.
func (o *outbox) close(reason error, owner *sync.WaitGroup, m *managed) (first, idle bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return false, false
	}
	if m != nil {
		m.end()
	}
	o.closed = reason
	owner.Add(1)
	idle = !o.writing
	if idle {
		o.writing = true
		owner.Add(1)
	}
	return true, idle
}

// take gives the next batch, or nil when there is none; then, with a reason, the outbox is closed and the writer has
// to end the stream, and without one the writer is to stop.
func (o *outbox) take(done []stanza.Wire, doneBytes int, m *managed) (batch []stanza.Wire, size int, reason error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= doneBytes
	if m != nil {
		if m.detached && o.closed == nil { // what waits is for the next connection
			o.writing = false
			return nil, 0, nil
		}
		defer func() {
			if batch != nil {
				batch = m.note(batch)
			}
		}()
	}
	if len(o.queue) == 0 {
		recycle(o.queue)
		o.queue = nil
		o.writing = o.closed != nil
		return nil, 0, o.closed
	}
	o.taken = time.Now()
	if o.bytes > batchSize {
		n := 0
		for n < len(o.queue) && size < batchSize {
			size += o.queue[n].Len() + wireOverhead
			n++
		}
		if n < len(o.queue) {
			batch, o.queue = o.queue[:n:n], o.queue[n:]
			return batch, size, nil
		}
	}
	batch, size = o.queue, o.bytes
	o.queue = nil
	if done != nil {
		o.queue = done[:0]
	}
	return batch, size, nil
}

// write is the writer goroutine: it ends when the outbox is empty.
func (s *Session) write() {
	var done []stanza.Wire
	doneBytes := 0
	var failed Conn
	for {
		batch, size, reason := s.out.take(done, doneBytes, s.managed.Load())
		if batch == nil {
			recycle(done)
			if reason != nil {
				s.endStream(reason)
			}
			return
		}
		if c := s.connection(); c != failed {
			if err := c.Send(batch); err != nil {
				failed = c
				s.Leave(c, err)
			}
		}
		clear(batch) // lets go of the stanzas' bytes
		done, doneBytes = batch, size
	}
}

// recycle gives an emptied batch back, unless a burst made it large.
func recycle(b []stanza.Wire) {
	if b != nil && cap(b) <= 256 {
		b = b[:0]
		batches.Put(&b)
	}
}
