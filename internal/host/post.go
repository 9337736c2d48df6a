package host

import (
	"slices"
	"sync"
	"sync/atomic"

	"rollcall/internal/fault"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
)

// boxes are the accounts of which there is something to be known: letters on their way, messages in somebody's hands, messages
// that wait in memory, or, where messages are stored, sessions.
type boxes struct {
	mu      sync.Mutex // nothing else is locked, called or sent while it is held
	all     map[string]*box
	n       atomic.Int32 // len(all), for those who only look
	stopped bool
	running sync.WaitGroup // flushes
}

// box is what is known of an account's messages beside what is stored of them.
type box struct {
	local string
	refs  int  // guarded by boxes.mu; the box is gone when there are none
	held  bool // something waits in memory, which is a ref

	mu sync.Mutex // boxes.mu may be locked while it is held; nothing is called or sent
	// lane has the letters in the order in which they came. Those that are not to be stored wait for those before them that are,
	// and while the box is being flushed: what one says to another arrives in order (RFC 6120 section 10.1).
	lane    []*letter
	walking bool // somebody goes through the lane
	// flight has the messages that sessions have in their hands. Those that were delivered are kept until nobody can have read
	// them from the store before.
	flight map[store.ID]flight
	weight int // of those in flight that are not delivered, in messages
	bytes  int // likewise
	// clear says that no message waits in the store: all are in flight. Only then may a new one go past the store's.
	clear    bool
	flushing bool                  // what waits is being read and sent; new messages wait behind it
	paused   bool                  // a flush goes on when those in flight have come down
	again    bool                  // a flush has to begin anew: something waits that it has gone past
	more     bool                  // there are new messages behind those that a flush has read
	reached  store.ID              // the last that a flush has sent
	frozen   int                   // sessions that are ending: what they have lost is not yet known
	fresh    map[store.ID]*Passage // messages that came while it was flushed, and were never late
}

// flight is a message in flight.
type flight struct {
	size      int
	delivered bool
	owed      bool // it was delivered, and the store could not be told
	telling   bool // the store is just being told: what is read from it now may have the message still
}

// done tells whether a message need not be remembered: what is read from the store from now on does not have it.
func (f flight) done() bool { return f.delivered && !f.owed && !f.telling }

// take notes that a message is in flight. The caller holds the mutex.
func (b *box) take(id store.ID, size int) {
	b.flight[id] = flight{size: size}
	b.weight++
	b.bytes += size
}

// land notes that a message is in flight no more. The caller holds the mutex.
func (b *box) land(id store.ID) {
	b.weight--
	b.bytes -= b.flight[id].size
	delete(b.flight, id)
}

// laneLimit bounds the letters of an account that are not stored and wait; those that are stored are bounded by their
// senders' holds.
const laneLimit = 200

func (x *boxes) find(local string) *box {
	if x.n.Load() == 0 {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all[local]
}

// get gives an account's box, a new one if need be. The caller has to put it back.
func (x *boxes) get(local string) *box {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.all[local]
	if b == nil {
		b = &box{local: local, flight: make(map[store.ID]flight), fresh: make(map[store.ID]*Passage)}
		if x.all == nil {
			x.all = make(map[string]*box)
		}
		x.all[local] = b
		x.n.Add(1)
	}
	b.refs++
	return b
}

// keep is get for who has the box.
func (x *boxes) keep(b *box) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b.refs++
}

func (x *boxes) put(b *box) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unref(b)
}

func (x *boxes) unref(b *box) {
	if b.refs--; b.refs == 0 {
		delete(x.all, b.local)
		x.n.Add(-1)
	}
}

// retain keeps a box as long as something waits in it in memory.
func (x *boxes) retain(b *box) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !b.held {
		b.held = true
		b.refs++
	}
}

func (x *boxes) loosen(b *box) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.held {
		b.held = false
		x.unref(b)
	}
}

// run does something in a goroutine; false when the host has stopped.
func (x *boxes) run(what func()) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopped {
		return false
	}
	x.running.Go(what)
	return true
}

func (x *boxes) stop() {
	x.mu.Lock()
	x.stopped = true
	x.mu.Unlock()
	x.running.Wait()
}

// guard keeps a fault in what the store's goroutine calls from ending the server.
func (h *Host) guard(what string) {
	if r := recover(); r != nil {
		fault.Log(h.log, "handling "+what, r)
	}
}

// limit is how many messages may be stored for the account: any number while its sessions take them, which they do within
// their own bounds.
func (b *box) limit(h *Host, sessions []*session.Session) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.clear && !b.flushing && topPriority(sessions, 127) >= 0 {
		return 0
	}
	return max(1, h.opts.Mail.Limit+b.weight)
}

func (b *box) enter(l *letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lane = append(b.lane, l)
}

// queue has a letter that is not stored wait for its turn. It is false when there is nothing to wait for, or too much waits.
func (b *box) queue(h *Host, l *letter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lane) == 0 && !b.walking && !b.flushing && b.frozen == 0 || len(b.lane) >= laneLimit+maxHeld {
		return false
	}
	b.lane = append(b.lane, l)
	return true
}

// maxHeld is for the letters among them that are stored.
const maxHeld = 1_000

// withdraw takes a letter out that was not stored.
func (b *box) withdraw(l *letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.lane, l); i >= 0 {
		b.lane = slices.Delete(b.lane, i, i+1)
	}
}

// settle says that a letter is stored.
func (b *box) settle(l *letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.ready = true
}

// advance hands on the letters whose turn has come. Who comes while somebody does leaves it to that one.
func (h *Host) advance(b *box) {
	b.mu.Lock()
	if b.walking {
		b.mu.Unlock()
		return
	}
	b.walking = true
	for len(b.lane) > 0 {
		l := b.lane[0]
		behind := b.flushing || b.frozen > 0
		if !l.ready || behind && !l.kept {
			break
		}
		b.lane[0] = nil
		b.lane = b.lane[1:]
		if l.kept && l.id <= b.reached { // a flush has read it from the store before we have heard that it is there
			b.mu.Unlock()
			h.overtaken(b, l.p)
			b.mu.Lock()
			continue
		}
		if behind { // the flush will find it in the store
			b.fresh[l.id] = l.p
			b.more = true
			continue
		}
		ordered := b.clear
		if l.kept {
			b.take(l.id, l.wire.Len())
		}
		b.mu.Unlock()
		if l.kept {
			h.hand(b, l, ordered)
		} else {
			h.place(h.ctx, l.p)
		}
		b.mu.Lock()
	}
	if len(b.lane) == 0 {
		b.lane = nil
	}
	b.walking = false
	b.mu.Unlock()
}

// overtaken is for a message that has been sent already. Those who have it are, for all that matters, those who would get it
// now.
func (h *Host) overtaken(b *box, p *Passage) {
	sessions := h.online.of(b.local)
	if s := find(sessions, p.To); s != nil {
		p.taken = []*session.Session{s}
	} else {
		best := topPriority(sessions, 127)
		for _, s := range sessions {
			if isTop(s, best) {
				p.taken = append(p.taken, s)
			}
		}
	}
	h.copy(h.ctx, p, Sender|Recipient)
}

// hand gives a message that is stored to whom it is for. ordered says that no other waits.
func (h *Host) hand(b *box, l *letter, ordered bool) {
	sessions := h.online.of(b.local)
	full := l.p.To.IsFull() && find(sessions, l.p.To) != nil
	if !full && !ordered && topPriority(sessions, 127) >= 0 { // behind those that wait
		b.leave(l.id, l.p)
		h.flush(b)
		return
	}
	taken, ending := h.give(b, l.id, l.p, l.p.identified(l.wire, Recipient), sessions)
	switch {
	case taken != nil:
		l.p.taken = taken
		h.copy(h.ctx, l.p, Sender|Recipient)
	case ending != nil: // what they have lost goes before it
		b.leave(l.id, l.p)
		h.flush(b, ending...)
	default:
		b.leave(l.id, nil)
		h.unclaimedStored(l.p)
		h.flush(b) // somebody may have come
	}
}

// leave says that nobody has a message after all; it waits in the store, as one that has just come if p is not nil.
func (b *box) leave(id store.ID, p *Passage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.land(id)
	b.clear, b.again = false, true
	if p != nil {
		b.fresh[id] = p
	}
}

// give sends a stored message to the sessions that it is for (RFC 6121 section 8.5), and gives those that took it. Where none
// did it gives those that are ending: once they have ended it is to be tried again.
func (h *Host) give(b *box, id store.ID, p *Passage, w stanza.Wire, sessions []*session.Session) (taken, ending []*session.Session) {
	var to []*session.Session
	if s := find(sessions, p.To); s != nil && p.To.IsFull() {
		to = []*session.Session{s}
	} else {
		for _, s := range sessions {
			if s.Context().Err() != nil {
				ending = append(ending, s)
			}
		}
		best := topPriority(sessions, 127)
		if ending != nil || best < 0 {
			return nil, ending
		}
		for _, s := range sessions {
			if isTop(s, best) {
				to = append(to, s)
			}
		}
	}
	h.boxes.keep(b) // until it has landed
	copies := stanza.NewCopies(func(delivered bool) { h.landed(b, id, delivered) })
	refused := 0
	for _, s := range to {
		if s.Send(w.Copy(copies)) {
			taken = append(taken, s)
		} else {
			ending = append(ending, s)
			refused++
		}
	}
	if taken == nil {
		h.boxes.put(b)
		return nil, ending
	}
	for range refused + 1 { // those, and ours
		copies.Lost()
	}
	return taken, nil
}

// landed is told what has become of a message in flight.
func (h *Host) landed(b *box, id store.ID, delivered bool) {
	defer h.boxes.put(b)
	b.mu.Lock()
	b.land(id)
	if delivered {
		b.flight[id] = flight{delivered: true, telling: true}
	} else {
		b.clear, b.again = false, true
	}
	b.mu.Unlock()
	if delivered {
		h.strike(b, id)
	}
	b.mu.Lock()
	if f, ok := b.flight[id]; ok && f.telling {
		f.telling = false
		b.flight[id] = f
	}
	if b.flight[id].done() && !b.flushing { // otherwise somebody may just read it from the store
		delete(b.flight, id)
	}
	goOn := !delivered || b.paused && b.weight <= flightLow && b.bytes <= h.opts.OutboxBytes/4
	b.mu.Unlock()
	if goOn {
		h.flush(b)
	}
}

// strike takes a message out of the store that was delivered. While that fails the message is known to be delivered here.
func (h *Host) strike(b *box, id store.ID) {
	h.boxes.keep(b)
	h.opts.Mail.Box.Delivered(h.Name(), b.local, []store.ID{id}, func(err error) {
		if err == nil {
			h.boxes.put(b)
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.flight[id] = flight{delivered: true, owed: true}
		b.clear = false // a flush tries again
	})
}

// owed gives those that strike could not take out, for another try. The box's references go with them.
func (b *box) owed() (ids []store.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, f := range b.flight {
		if f.owed {
			b.flight[id] = flight{delivered: true}
			ids = append(ids, id)
		}
	}
	return ids
}

// freeze keeps the messages of a session's account back while the session ends: what it has lost goes before what comes. thaw
// is called when all of that is known.
func (h *Host) freeze(s *session.Session) (thaw func()) {
	if h.opts.Mail.Box == nil || !h.opts.Mail.Lasts && h.boxes.find(s.JID().Local()) == nil {
		return func() {}
	}
	b := h.boxes.get(s.JID().Local())
	b.mu.Lock()
	b.frozen++
	b.mu.Unlock()
	return func() {
		b.mu.Lock()
		b.frozen--
		b.mu.Unlock()
		h.flush(b)
		h.advance(b)
		h.boxes.put(b)
	}
}

// arrived is told of a session's available presence.
func (h *Host) arrived(s *session.Session) {
	if h.opts.Mail.Box == nil {
		return
	}
	if prio, ok := s.Available(); !ok || prio < 0 {
		return
	}
	if b := h.boxes.find(s.JID().Local()); b != nil {
		h.flush(b)
	}
}
