package session

import (
	"context"
	"sync"
	"sync/atomic"
)

// A stanza of a client counts as handled when everybody who holds it has let go of it: what stores messages, say, holds
// each until it is stored. The count that the client is told goes on in order, past stanzas that nobody holds.

// maxHolds bounds the holds of one session. Beyond it the connection is read no further.
const maxHolds = 128

// maxOwed bounds the client's requests for acknowledgements that wait; more are answered together.
const maxOwed = 16

// holds are a session's. Those that were taken before the client's stanzas were counted have no slot.
type holds struct {
	mu        sync.Mutex
	n         int      // not let go of
	slots     []*slot  // of stanzas, in order; the first is held
	owed      []uint32 // requests to be answered: how many stanzas had come by then
	answering bool     // somebody answers them
	room      chan struct{}
	idle      chan struct{}
	session   *Session
}

// slot is a stanza that is held, or that follows one that is.
type slot struct {
	at uint32 // the number of stanzas before it
	n  int
}

// Hold keeps the stanza that is being handled from counting as handled until release is called, which may be done by any
// goroutine, once. It is called by the connection's reader between Begin and End.
func (s *Session) Hold() (release func()) {
	h := s.holds.Load()
	if h == nil {
		h = &holds{session: s}
		s.holds.Store(h) // nobody else does: there is one reader at a time
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	var held *slot
	if m := s.managed.Load(); m != nil {
		at := m.received.Load()
		if k := len(h.slots); k > 0 && h.slots[k-1].at == at {
			held = h.slots[k-1]
		} else {
			held = &slot{at: at}
			h.slots = append(h.slots, held)
		}
		held.n++
	}
	var released atomic.Bool
	return func() {
		if !released.Swap(true) {
			h.release(held)
		}
	}
}

func (h *holds) release(held *slot) {
	h.mu.Lock()
	h.n--
	if held != nil {
		held.n--
	}
	for len(h.slots) > 0 && h.slots[0].n == 0 {
		h.slots[0] = nil
		h.slots = h.slots[1:]
	}
	if len(h.slots) == 0 {
		h.slots = nil
	}
	if h.room != nil && h.n < maxHolds {
		close(h.room)
		h.room = nil
	}
	if h.idle != nil && h.n == 0 {
		close(h.idle)
		h.idle = nil
	}
	h.answer()
	h.mu.Unlock()
}

// handled is the number of stanzas that are handled, all before the first that is not. The caller holds mu.
func (h *holds) handled() uint32 {
	if len(h.slots) > 0 {
		return h.slots[0].at
	}
	return h.session.managed.Load().received.Load()
}

// owe puts off the answer to a client's request for an acknowledgement when one of the first n stanzas is held. It tells
// whether it did.
func (h *holds) owe(n uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.slots) == 0 && !h.answering {
		return false
	}
	if len(h.owed) < maxOwed {
		h.owed = append(h.owed, n)
	} else {
		h.owed[maxOwed-1] = n
	}
	h.answer()
	return true
}

// answer answers the requests whose stanzas are handled, in order. The caller holds mu, which is let go of meanwhile.
func (h *holds) answer() {
	if h.answering {
		return
	}
	h.answering = true
	for len(h.owed) > 0 {
		n := h.handled()
		if int32(n-h.owed[0]) < 0 {
			break
		}
		if h.owed = h.owed[1:]; len(h.owed) == 0 {
			h.owed = nil
		}
		h.mu.Unlock()
		h.session.Send(acknowledgement(n))
		h.mu.Lock()
	}
	h.answering = false
}

// oweNothing is for the end of a connection: the next is told by <resumed/>.
func (h *holds) oweNothing() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owed = nil
}

// forget is for the beginning of stream management: what is held is not counted.
func (h *holds) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slots = nil
}

// wait waits until nothing is held, or either context is done.
func (h *holds) wait(ctx, end context.Context) error {
	for {
		h.mu.Lock()
		if h.n == 0 {
			h.mu.Unlock()
			return nil
		}
		if h.idle == nil {
			h.idle = make(chan struct{})
		}
		idle := h.idle
		h.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.Done():
			return context.Cause(end)
		}
	}
}

// Pause waits while the session has as many holds as it may have. It is called by the connection's reader, after End.
func (s *Session) Pause() {
	h := s.holds.Load()
	if h == nil {
		return
	}
	for {
		h.mu.Lock()
		if h.n < maxHolds {
			h.mu.Unlock()
			return
		}
		if h.room == nil {
			h.room = make(chan struct{})
		}
		room := h.room
		h.mu.Unlock()
		select {
		case <-room:
		case <-s.ctx.Done():
			return
		}
	}
}
