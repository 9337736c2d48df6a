package session

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// The ends of a session that was detached.
var (
	// ErrExpired: nobody has resumed it in time.
	ErrExpired = errors.New("the connection was lost, and the session was not resumed in time")
	// ErrTooMuch: more waits for it than it may hold.
	ErrTooMuch = errors.New("the connection was lost, and too much waits for the session")
	// ErrCrowded: its user has too many that are detached, or needs its place.
	ErrCrowded = errors.New("the connection was lost, and the user has other sessions")
)

// errGone is why a session is not resumed that has ended, or that another connection has resumed meanwhile.
var errGone = errors.New("session: not to be resumed")

// replaced is what an old connection is told whose session goes on with a new one.
var replaced = &stanza.StreamError{Condition: stanza.StreamConflict, Text: "the session goes on with another connection"}

// Left is a stanza that was not delivered, and when it was sent to the session.
type Left struct {
	Wire stanza.Wire
	At   time.Time
}

// Leave says that a connection has ended: err is nil when the client closed its stream, a *stanza.StreamError when it is
// to be told, and any other error when the connection is lost. A session that can be resumed is then detached; one that
// has gone on to another connection is left alone. Every other one ends.
func (s *Session) Leave(c Conn, err error) {
	m := s.managed.Load()
	var serr *stanza.StreamError
	if m == nil {
		s.Close(err)
		return
	}
	final := err == nil || errors.As(err, &serr) || m.id == ""
	o := &s.out
	o.mu.Lock()
	if s.connection() != c || o.closed != nil || m.detached {
		o.mu.Unlock()
		return
	}
	if final {
		o.mu.Unlock()
		s.Close(err)
		return
	}
	m.detach(s)
	old := c.Info()
	s.tell(func() {
		if s.opts.Detached != nil {
			s.opts.Detached(s, old)
		}
	})
	s.owner.Add(1) // it has not ended
	defer s.owner.Done()
	o.mu.Unlock()
	c.Abort()
	s.Log().Info("session detached", "reason", err)
	s.telling()
}

// Detached tells whether the session has lost its connection and may be resumed.
func (s *Session) Detached() bool {
	m := s.managed.Load()
	return m != nil && m.away.Load()
}

// DetachedSince is when it was detached; zero when it is not.
func (s *Session) DetachedSince() time.Time {
	m := s.managed.Load()
	if m == nil {
		return time.Time{}
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if !m.detached {
		return time.Time{}
	}
	return m.since
}

// detach puts what waits to be written where it waits for another connection. The caller holds the outbox's mutex.
func (m *managed) detach(s *Session) {
	o := &s.out
	m.detached, m.since = true, time.Now()
	m.away.Store(true)
	for _, w := range o.queue {
		switch {
		case m.skip > 0: // it is ahead of <enabled/>: the client cannot resume, and what is worth it goes somewhere else
			m.skip--
			if w.Followed() {
				m.wait(w)
			}
		case w.IsStanza():
			m.wait(w)
		}
	}
	clear(o.queue)
	o.queue, o.bytes, o.writing, m.skip, m.stamps = nil, 0, false, 0, nil
	m.await(s)
}

// await begins another life, in which the session waits to be resumed. The caller holds the outbox's mutex.
func (m *managed) await(s *Session) {
	s.live()
	life := s.out.life
	m.expiry = time.AfterFunc(m.window, func() { s.expire(life) })
}

// live begins another life. The caller holds the outbox's mutex.
func (s *Session) live() {
	m := s.managed.Load()
	s.out.life++
	m.asked, m.watching = false, false
	for _, t := range []*time.Timer{m.silence, m.expiry} {
		if t != nil {
			t.Stop()
		}
	}
	if h := s.holds.Load(); h != nil {
		h.oweNothing()
	}
}

func (m *managed) wait(w stanza.Wire) {
	at := time.Now()
	if len(m.stamps) > 0 {
		at, m.stamps = m.stamps[0], m.stamps[1:]
	}
	m.waiting = append(m.waiting, Left{w, at})
	m.bytes += cost(w)
}

func (s *Session) expire(life uint32) {
	s.out.mu.Lock()
	over := s.out.life == life
	s.out.mu.Unlock()
	if over {
		s.Close(ErrExpired)
	}
}

// Resume goes on with the session on a new connection, whose client has handled h stanzas: it is told how many of its
// own were, then it gets what it has not handled, then what has come meanwhile. An old connection is told that it was
// replaced, and has nothing more to do with the session from the beginning. Stanzas of the client that somebody still
// holds are waited for, so that it knows which to send again. The error is a *TooHigh, or says that the session has
// ended, or was resumed by somebody else meanwhile, or that ctx is done.
func (s *Session) Resume(ctx context.Context, c Conn, h uint32) error {
	_, err := s.resume(ctx, c, h, false)
	return err
}

// ResumeInline is Resume for who tells the client itself how many of its stanzas were handled, before c lets anything else
// through (XEP-0198, "Inline Stream Resumption").
func (s *Session) ResumeInline(ctx context.Context, c Conn, h uint32) (handled uint32, err error) {
	return s.resume(ctx, c, h, true)
}

func (s *Session) resume(ctx context.Context, c Conn, h uint32, inline bool) (handled uint32, err error) {
	old, life, lived, err := s.seize(ctx, c, h)
	if err != nil {
		return 0, err
	}
	if held := s.holds.Load(); held != nil {
		err = held.wait(ctx, s.ctx)
	}
	m := s.managed.Load()
	o := &s.out
	var acked []Left
	var start *writer
	o.mu.Lock()
	switch {
	case o.closed != nil || o.life != life:
		err = errGone
	case err != nil: // its window has begun with the new connection
		s.tell(func() {
			if lived && s.opts.Detached != nil {
				s.opts.Detached(s, old)
			}
		})
	default:
		acked = m.attach(s, h, inline)
		handled = m.received.Load()
		s.tell(func() {
			if s.opts.Resumed != nil {
				s.opts.Resumed(s, old, c.Info())
			}
		})
		start = s.newWriter()
	}
	o.mu.Unlock()
	delivered(acked)
	if !errors.Is(err, errGone) {
		s.telling()
	}
	if err != nil {
		return 0, err
	}
	start.start()
	s.Log().Info("session resumed", "from", old.RemoteAddr)
	return handled, nil
}

// seize takes the session from its connection, if it lives, for another. It is then detached, as if its connection had
// been lost.
func (s *Session) seize(ctx context.Context, c Conn, h uint32) (old ConnInfo, life uint32, lived bool, err error) {
	m := s.managed.Load()
	// A stanza of the old connection that is being handled belongs to the session.
	if err := m.inbound.lockFor(ctx); err != nil {
		return old, 0, false, err
	}
	defer m.inbound.unlock()
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return old, 0, false, errGone
	}
	if _, err := m.check(h); err != nil {
		return old, 0, false, err
	}
	before := s.connection()
	old = before.Info()
	s.conn.Store(&c)
	if m.detached {
		m.await(s)
		return old, o.life, false, nil
	}
	m.detach(s)
	s.owner.Add(1) // it has not ended
	go func() {
		defer s.owner.Done()
		before.End(replaced)
	}()
	return old, o.life, true, nil
}

// attach queues what a client that has handled h stanzas is to get on its new connection; that it is resumed, too, unless
// it is told inline. It gives those that the client has handled. The caller holds the outbox's mutex.
func (m *managed) attach(s *Session, h uint32, inline bool) (acked []Left) {
	o := &s.out
	acked, err := m.ack(h)
	if err != nil {
		return nil // cannot be: it was checked, and nothing has been sent since
	}
	s.wake()
	s.live()
	m.detached = false
	m.away.Store(false)
	m.progress = time.Now()
	all := slices.Concat(m.unacked, m.waiting)
	o.queue, o.bytes = make([]stanza.Wire, 0, 1+len(all)), m.bytes
	if !inline {
		resumed := stanza.NewNonza(xmlstream.New(ns.SM, "resumed", "previd", m.id,
			"h", strconv.FormatUint(uint64(m.received.Load()), 10)))
		o.queue = append(o.queue, resumed)
		o.bytes += cost(resumed)
	}
	m.stamps = make([]time.Time, 0, len(all))
	for _, l := range all {
		o.queue = append(o.queue, l.Wire)
		m.stamps = append(m.stamps, l.At)
	}
	m.sent -= uint32(len(m.unacked))
	m.unacked, m.waiting, m.bytes = nil, nil, 0
	o.writing, o.taken = true, time.Now()
	return acked
}

// end takes what was not delivered out of a session that ends. Its messages are not written any more: they go somewhere
// else; but for errors, which go nowhere else, and behind which there may be an acknowledgement of what was refused. The caller
// holds the outbox's mutex.
func (m *managed) end(o *outbox) {
	for _, t := range []*time.Timer{m.silence, m.expiry} {
		if t != nil {
			t.Stop()
		}
	}
	m.left = slices.Concat(m.unacked, m.waiting)
	m.unacked, m.waiting, m.bytes = nil, nil, 0
	m.away.Store(false)
	rest := o.queue[:0]
	for _, w := range o.queue {
		if w.IsStanza() && m.skip == 0 {
			m.wait(w)
		}
		if !w.IsMessage() || w.IsError() || m.skip > 0 {
			rest = append(rest, w)
		}
		m.skip = max(0, m.skip-1)
	}
	clear(o.queue[len(rest):])
	o.queue = rest
	m.left = append(m.left, m.waiting...)
	m.waiting, m.bytes = nil, 0
}

// undelivered gives what was left when the session had ended, once.
func (s *Session) undelivered() (left []Left) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	left, s.out.astray, s.out.told = s.out.astray, nil, true
	if m := s.managed.Load(); m != nil {
		left = append(left, m.left...)
		m.left = nil
	}
	return left
}

// stray is for stanzas that the client does not count and that could not be written: whoever follows one hears of it with all
// that is left of the session, or, when that was told, now.
func (s *Session) stray(batch []stanza.Wire) {
	s.out.mu.Lock()
	told := s.out.told
	if !told {
		s.out.lose(batch)
	}
	s.out.mu.Unlock()
	for _, w := range batch {
		if told && w.Followed() {
			w.Lost()
		}
	}
}

// lose notes stanzas that have not reached the client. The caller holds the mutex.
func (o *outbox) lose(batch []stanza.Wire) {
	for _, w := range batch {
		if w.Followed() {
			o.astray = append(o.astray, Left{w, time.Now()})
		}
	}
}

// tell has the features told something, after all that they were to be told before. The caller holds the outbox's mutex,
// and calls telling when it has let go of it.
func (s *Session) tell(what func()) {
	m := s.managed.Load()
	m.events = append(m.events, what)
}

// telling tells the features what they are to be told, and returns when they were told all that had been queued.
func (s *Session) telling() {
	m := s.managed.Load()
	done := make(chan struct{})
	s.out.mu.Lock()
	m.events = append(m.events, func() { close(done) })
	busy := m.telling
	m.telling = true
	for !busy && len(m.events) > 0 {
		next := m.events[0]
		m.events = m.events[1:]
		s.out.mu.Unlock()
		next()
		s.out.mu.Lock()
	}
	if !busy {
		m.telling, m.events = false, nil
	}
	s.out.mu.Unlock()
	<-done
}

// told tells the features something and returns when they were told.
func (s *Session) told(what func()) {
	if s.managed.Load() == nil {
		what()
		return
	}
	s.out.mu.Lock()
	s.tell(what)
	s.out.mu.Unlock()
	s.telling()
}

// Receipt is what is remembered of a session that has ended: how many stanzas of the client were handled, for a client
// that comes back too late and asks with the same id and credential (XEP-0198 section 5).
type Receipt struct {
	m     *managed
	holds *holds
}

// Receipt gives the session's; false when it cannot be resumed.
func (s *Session) Receipt() (Receipt, bool) {
	m := s.managed.Load()
	if m == nil || m.id == "" {
		return Receipt{}, false
	}
	return Receipt{m, s.holds.Load()}, true
}

// For tells whether the receipt is for who asks.
func (r Receipt) For(id string, credential uint64) bool { return r.m.resumedBy(id, credential) }

// Handled gives the number, when nothing is held any more; false when ctx is done before.
func (r Receipt) Handled(ctx context.Context) (uint32, bool) {
	if r.holds != nil && r.holds.wait(ctx, ctx) != nil {
		return 0, false
	}
	return r.m.received.Load(), true
}

// Estate takes what a session leaves to the one that takes its resource over, while that one is being bound.
type Estate struct {
	mu      sync.Mutex
	left    []Left
	claimed bool
}

// Bequeath says, before the session is closed for it, that another takes its resource over; false when one does already.
func (s *Session) Bequeath(e *Estate) bool { return s.estate.CompareAndSwap(nil, e) }

// Estate is where what the session leaves is to go; nil unless another takes its resource over.
func (s *Session) Estate() *Estate { return s.estate.Load() }

// Fill puts in what was left. It is false when nobody waits for it any more.
func (e *Estate) Fill(left []Left) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.claimed {
		return false
	}
	e.left = left
	return true
}

// Claim gives what was left by now; what is left later is not for the one who claims.
func (e *Estate) Claim() []Left {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claimed = true
	return e.left
}

// Inherit queues a stanza for a session that is not yet opened, whatever waits for it already.
func (s *Session) Inherit(w stanza.Wire) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.push(w, cost(w))
}
