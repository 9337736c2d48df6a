package session

import (
	"errors"
	"slices"
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
	bytes   int // in queue and in the batch being written
	closed  error
	taken   time.Time // when the writer last began a batch: it had written the one before
	writing bool      // a writer goroutine exists, or is about to: see Opened
	astray  []Left    // followed by somebody, not counted by the client, and not written
	told    bool      // those were given to whom the session's end was told
	// life numbers the times with one connection or with none (see managed): a writer, or a timer, of an earlier life
	// has no business with the session any more.
	life uint32
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

func cost(w stanza.Wire) int { return w.Len() + wireOverhead }

// batches keeps emptied queues: an idle session then holds none.
var batches = sync.Pool{New: func() any { b := make([]stanza.Wire, 0, 16); return &b }}

// Send queues a stanza and never blocks. It tells whether the session took it; a session that has ended or whose
// client does not read takes nothing, and the stanza is the caller's to place elsewhere. What is no stanza is dropped
// while the session has no connection.
func (s *Session) Send(w stanza.Wire) bool {
	if i := s.idle.Load(); i != nil && w.IsStanza() {
		return s.sendIdle(i, w)
	}
	o := &s.out
	o.mu.Lock()
	if o.closed != nil {
		o.mu.Unlock()
		return false
	}
	return s.unlock(s.post(w))
}

// post queues a stanza where it is to wait, and tells whether a writer is to be started, or why the session is to end for
// it. The caller holds the outbox's mutex, has seen that it is not closed, and calls unlock.
func (s *Session) post(w stanza.Wire) (start bool, reason error) {
	o := &s.out
	size := cost(w)
	if m := s.managed.Load(); m != nil {
		if m.detached && !w.IsStanza() {
			return false, nil
		}
		reason = m.full(o, size, s.opts)
		if m.detached && reason == nil {
			m.wait(w)
			return false, nil
		}
	}
	if reason == nil && o.full(size, s.opts.OutboxBytes) {
		reason = ErrOverflow
	}
	if reason != nil {
		return false, reason
	}
	return s.push(w, size), nil
}

// unlock lets go of the outbox's mutex, and does what post has said. It is false when the session has to end.
func (s *Session) unlock(start bool, reason error) bool {
	life := s.out.life
	s.out.mu.Unlock()
	if start {
		go s.write(life)
	}
	if reason != nil {
		s.Close(reason)
	}
	return reason == nil
}

// push queues a wire and tells whether the caller has to start a writer, which is counted then. The caller holds the
// outbox's mutex, and has seen that it is not closed.
func (s *Session) push(w stanza.Wire, size int) (start bool) {
	o := &s.out
	if o.queue == nil {
		o.queue = *batches.Get().(*[]stanza.Wire)
	}
	o.queue = append(o.queue, w)
	o.bytes += size
	if o.writing {
		return false
	}
	o.writing = true
	o.taken = time.Now()
	s.owner.Add(1)
	return true
}

// begin lets a session be written to that has only gathered what is sent to it.
func (s *Session) begin() {
	o := &s.out
	o.mu.Lock()
	idle := len(o.queue) == 0 && o.closed == nil
	o.writing = !idle
	life := o.life
	if !idle {
		o.taken = time.Now()
		s.owner.Add(1)
	}
	o.mu.Unlock()
	if !idle {
		go s.write(life)
	}
}

// close refuses what comes from now on. first tells whether this call did it; then the caller starts the teardown, and,
// when idle says that no writer runs, one to end the stream. Both are counted in owner here.
func (s *Session) close(reason error) (first, idle bool, life uint32) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return false, false, 0
	}
	s.forgetIdle()
	if m := s.managed.Load(); m != nil {
		m.end(o)
	} else if !orderly(reason) {
		o.lose(o.queue)
		o.queue = slices.DeleteFunc(o.queue, stanza.Wire.Followed)
	}
	o.closed = reason
	s.owner.Add(1)
	idle = !o.writing
	if idle {
		o.writing = true
		s.owner.Add(1)
	}
	return true, idle, o.life
}

// orderly tells whether what waits is written before the session ends for a reason.
func orderly(reason error) bool {
	var serr *stanza.StreamError
	return errors.As(reason, &serr) || errors.Is(reason, ErrClosed)
}

// take gives the next batch and the connection that it is for, or nil when there is none; then, with a reason, the
// outbox is closed and the writer has to end the stream, and without one the writer is to stop. The first uncounted of the
// batch will not be acknowledged by the client.
func (s *Session) take(done int, empty []stanza.Wire, life uint32) (batch []stanza.Wire, size, uncounted int, c Conn, reason error) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.life != life { // the connection is lost, or the session has gone on to another
		return nil, 0, 0, nil, nil
	}
	c = s.connection()
	o.bytes -= done
	if len(o.queue) == 0 {
		recycle(o.queue)
		o.queue = nil
		o.writing = o.closed != nil
		return nil, 0, 0, c, o.closed
	}
	o.taken = time.Now()
	batch, size = o.queue, o.bytes
	if o.bytes > batchSize {
		n, some := 0, 0
		for n < len(o.queue) && some < batchSize {
			some += cost(o.queue[n])
			n++
		}
		if n < len(o.queue) {
			batch, size = o.queue[:n:n], some
		}
	}
	if o.queue = o.queue[len(batch):]; len(o.queue) == 0 {
		o.queue = nil
		if empty != nil {
			o.queue = empty[:0]
		}
	}
	uncounted = len(batch)
	if m := s.managed.Load(); m != nil && o.closed == nil {
		uncounted = min(m.skip, uncounted)
		batch = m.note(s, batch)
	}
	return batch, size, uncounted, c, nil
}

// write is the writer goroutine of one life: it ends when the outbox is empty.
func (s *Session) write(life uint32) {
	defer s.owner.Done()
	var last []stanza.Wire
	written, failed := 0, false
	for {
		batch, size, uncounted, c, reason := s.take(written, last, life)
		if batch == nil {
			recycle(last)
			if reason != nil {
				s.endStream(c, reason)
			}
			return
		}
		var err error
		if !failed {
			err = c.Send(batch)
		}
		switch failed = failed || err != nil; {
		case failed:
			s.stray(batch[:uncounted])
		default:
			for i := range uncounted {
				batch[i].Delivered()
			}
		}
		if err != nil {
			s.Leave(c, err)
		}
		clear(batch) // lets go of the stanzas' bytes
		last, written = batch, size
	}
}

// recycle gives an emptied batch back, unless a burst made it large.
func recycle(b []stanza.Wire) {
	if b != nil && cap(b) <= 256 {
		b = b[:0]
		batches.Put(&b)
	}
}
