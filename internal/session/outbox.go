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

// post queues a stanza where it is to wait, and gives the writer that is to be started, if any, or tells why the session is to
// end for it. The caller holds the outbox's mutex, has seen that it is not closed, and calls unlock.
func (s *Session) post(w stanza.Wire) (start *writer, reason error) {
	o := &s.out
	size := cost(w)
	if m := s.managed.Load(); m != nil {
		if m.detached && !w.IsStanza() {
			return nil, nil
		}
		reason = m.full(o, size, s.opts)
		if m.detached && reason == nil {
			m.wait(w)
			return nil, nil
		}
	}
	if reason == nil && o.full(size, s.opts.OutboxBytes) {
		reason = ErrOverflow
	}
	if reason != nil {
		return nil, reason
	}
	return s.push(w, size), nil
}

// Queued is how much waits for the session's client, in bytes: what is to be written, and what waits for it to come back. What
// was written and is not acknowledged counts where the session is managed.
func (s *Session) Queued() int {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if m := s.managed.Load(); m != nil {
		return s.out.bytes + m.bytes
	}
	return s.out.bytes
}

// unlock lets go of the outbox's mutex, and does what post has said. It is false when the session has to end.
func (s *Session) unlock(start *writer, reason error) bool {
	s.out.mu.Unlock()
	start.start()
	if reason != nil {
		s.Close(reason)
	}
	return reason == nil
}

// push queues a wire and gives the writer that the caller has to start, which is counted then, nil for none. The caller holds
// the outbox's mutex, and has seen that it is not closed.
func (s *Session) push(w stanza.Wire, size int) (start *writer) {
	o := &s.out
	if !o.writing {
		o.writing = true
		o.taken = time.Now()
		start = s.newWriter()
		if o.queue == nil {
			o.queue = start.queue()
		}
	}
	if o.queue == nil {
		o.queue = make([]stanza.Wire, 0, 16)
	}
	o.queue = append(o.queue, w)
	o.bytes += size
	return start
}

// begin lets a session be written to that has only gathered what is sent to it.
func (s *Session) begin() {
	o := &s.out
	o.mu.Lock()
	var start *writer
	if o.writing = len(o.queue) > 0 || o.closed != nil; o.writing {
		o.taken = time.Now()
		start = s.newWriter()
	}
	o.mu.Unlock()
	start.start()
}

// close refuses what comes from now on. first tells whether this call did it; then the caller starts the teardown, and, when
// no writer runs, one to end the stream. Both are counted in owner here.
func (s *Session) close(reason error) (first bool, start *writer) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return false, nil
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
	if !o.writing {
		o.writing = true
		start = s.newWriter()
	}
	return true, start
}

// orderly tells whether what waits is written before the session ends for a reason.
func orderly(reason error) bool {
	var serr *stanza.StreamError
	return errors.As(reason, &serr) || errors.Is(reason, ErrClosed)
}
