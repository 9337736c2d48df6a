package session

import "rollcall/internal/stanza"

// While a client says that nobody looks at it, some of what is sent to it may wait, so that its radio may sleep (XEP-0352).
// What waits is not in the outbox: nobody has counted it. It goes out, in order and before it, with the first stanza that may
// not wait, and when the client says that somebody looks again. It waits on while the session has no connection, and the
// client that resumes the session gets it.

// Defers tells whether a stanza may wait, and what it is about: of those about the same the last is enough. It is called by
// any goroutine.
type Defers func(w stanza.Wire) (about string, may bool)

// idle is what waits. All but defers is guarded by the outbox's mutex.
type idle struct {
	defers Defers
	queue  []stanza.Wire  // in order; the zero Wire where one was replaced by a later one
	places map[string]int // in queue, by what they are about
	bytes  int
}

// SetIdle says whether some of what is sent to the client may wait; nil: nothing, and what waits is sent. With
// Options.Idle 0 nothing ever waits.
func (s *Session) SetIdle(defers Defers) {
	o := &s.out
	o.mu.Lock()
	i := s.idle.Load()
	if defers != nil || i == nil || o.closed != nil {
		if i == nil && o.closed == nil && s.opts.Idle > 0 && defers != nil {
			s.idle.Store(&idle{defers: defers, places: make(map[string]int)})
		}
		o.mu.Unlock()
		return
	}
	s.idle.Store(nil)
	s.unlock(s.postAll(i.take()))
}

// sendIdle is Send for a session of whose stanzas some may wait.
func (s *Session) sendIdle(i *idle, w stanza.Wire) bool {
	about, may := i.defers(w)
	o := &s.out
	o.mu.Lock()
	switch {
	case o.closed != nil:
		o.mu.Unlock()
		return false
	case s.idle.Load() != i: // somebody looks again
		o.mu.Unlock()
		return s.Send(w)
	case may && !w.Followed() && i.put(w, about, s.opts):
		o.mu.Unlock()
		return true
	}
	return s.unlock(s.postAll(append(i.take(), w)))
}

// put has a stanza wait; false when too much does. The caller holds the outbox's mutex.
func (i *idle) put(w stanza.Wire, about string, o *Options) bool {
	at, replaces := i.places[about]
	bytes := i.bytes + cost(w)
	if replaces {
		bytes -= cost(i.queue[at])
	} else if len(i.places) >= o.Idle {
		return false
	}
	if bytes > o.OutboxBytes/4 {
		return false
	}
	if replaces {
		i.queue[at].Delivered() // as far as anybody cares
		i.queue[at] = stanza.Wire{}
	}
	if len(i.queue) > 2*len(i.places)+16 {
		i.compact()
	}
	i.places[about] = len(i.queue)
	i.queue = append(i.queue, w)
	i.bytes = bytes
	return true
}

// compact takes out the places of those that were replaced.
func (i *idle) compact() {
	moved := make(map[int]int, len(i.places)) // from where to where
	rest := make([]stanza.Wire, 0, len(i.queue))
	for at, w := range i.queue {
		if w.IsStanza() {
			moved[at] = len(rest)
			rest = append(rest, w)
		}
	}
	for about, at := range i.places {
		if to, ok := moved[at]; ok {
			i.places[about] = to
		} else {
			delete(i.places, about) // the one that is being replaced
		}
	}
	i.queue = rest
}

// take gives what waits. The caller holds the outbox's mutex.
func (i *idle) take() []stanza.Wire {
	var all []stanza.Wire
	for _, w := range i.queue {
		if w.IsStanza() {
			all = append(all, w)
		}
	}
	clear(i.places)
	i.queue, i.bytes = nil, 0
	return all
}

// postAll queues stanzas. The caller holds the outbox's mutex.
func (s *Session) postAll(all []stanza.Wire) (start *writer, reason error) {
	for _, w := range all {
		var first *writer
		if first, reason = s.post(w); reason != nil {
			break
		}
		if first != nil {
			start = first
		}
	}
	return start, reason
}

// wake ends the waiting when the session goes on with another connection: "stream resumption does not affect the current CSI
// state, which always defaults to 'active' for new and resumed streams" (section 5.3). The caller holds the outbox's mutex.
func (s *Session) wake() {
	i := s.idle.Swap(nil)
	if i == nil {
		return
	}
	for _, w := range i.take() {
		s.managed.Load().wait(w)
	}
}

// forgetIdle is for a session that ends: what nobody was in a hurry to tell is over. The caller holds the outbox's mutex.
func (s *Session) forgetIdle() {
	i := s.idle.Swap(nil)
	if i == nil {
		return
	}
	for _, w := range i.take() {
		w.Lost()
	}
}
