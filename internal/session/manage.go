package session

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"sync"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Stream management (XEP-0198): both sides count stanzas, so that nobody takes for delivered what was lost with a
// connection, and a session outlives its connection for a while. While it has none it is detached: it stays bound, and
// what is sent to it waits.

// The ends of a session that was detached.
var (
	// ErrExpired: nobody has resumed it in time.
	ErrExpired = errors.New("the connection was lost, and the session was not resumed in time")
	// ErrTooMuch: more waits for it than it may hold.
	ErrTooMuch = errors.New("the connection was lost, and too much waits for the session")
	// ErrHandled is about a client that says it has handled more stanzas than it was sent.
	ErrHandled = errors.New("more stanzas are acknowledged than were sent")
)

// maxHeld bounds the stanzas that wait for a detached session.
const maxHeld = 500

// Left is a stanza that was not delivered, and when it was sent to the session.
type Left struct {
	Wire stanza.Wire
	At   time.Time
}

// managed is the state of a session's stream management.
type managed struct {
	id     string // to resume with; "" when the client does not want to
	window time.Duration

	// inbound is held while one stanza of the client is handled, so that no old connection's stanza is handled, or
	// counted, after the session was resumed on another.
	inbound sync.Mutex
	handled uint32 // stanzas of the client since it was enabled

	// Guarded by the outbox's mutex:
	skip     int    // wires that are ahead of <enabled/>, and it, still to be taken from the queue
	sent     uint32 // stanzas taken to be written since
	unacked  []Left // the last of them, those that the client has not acknowledged
	waiting  []Left // what has come while it is detached
	bytes    int    // of unacked and waiting
	asked    bool   // an <r/> is on its way, or its answer
	detached bool
	lives    int // connections that it has had, for timers of old ones
	timer    *time.Timer
	left     []Left // what was not delivered when it ended
}

// Manage begins stream management; resume says that the session may outlive its connection, for max at most (0: as long
// as we let it). The answer, <enabled/>, is queued. It tells whether it did: it does so once. It is called by the
// connection's reader.
func (s *Session) Manage(resume bool, max time.Duration) bool {
	if s.managed.Load() != nil {
		return false
	}
	m := &managed{}
	enabled := xmlstream.New(ns.SM, "enabled")
	if s.opts.Resume > 0 && resume {
		m.window = s.opts.Resume
		if max > 0 {
			m.window = min(m.window, max)
		}
		var id [16]byte
		rand.Read(id[:]) // never fails (crypto/rand)
		m.id = base64.RawURLEncoding.EncodeToString(id[:])
		enabled.SetAttr("id", m.id)
		enabled.SetAttr("resume", "true")
		enabled.SetAttr("max", strconv.Itoa(int(m.window.Seconds())))
	}
	s.out.mu.Lock()
	m.skip = len(s.out.queue) + 1
	s.managed.Store(m)
	s.out.mu.Unlock()
	s.Send(stanza.NewNonza(enabled))
	return true
}

// ResumedBy tells whether a session can be resumed with an id.
func (s *Session) ResumedBy(id string) bool {
	m := s.managed.Load()
	return m != nil && m.id != "" && subtle.ConstantTimeCompare([]byte(m.id), []byte(id)) == 1
}

// Begin is called by a connection's reader before a stanza of the client is handled, and End after it. It is false when
// the session has gone on to another connection.
func (s *Session) Begin(c Conn) bool {
	m := s.managed.Load()
	if m == nil {
		return true
	}
	m.inbound.Lock()
	if s.connection() != c {
		m.inbound.Unlock()
		return false
	}
	return true
}

// End follows a Begin that was true.
func (s *Session) End() {
	if m := s.managed.Load(); m != nil {
		m.handled++
		m.inbound.Unlock()
	}
}

// Acknowledge queues how many stanzas of the client were handled. It is called by the connection's reader.
func (s *Session) Acknowledge() {
	if m := s.managed.Load(); m != nil {
		s.Send(stanza.NewNonza(xmlstream.New(ns.SM, "a", "h", strconv.FormatUint(uint64(m.handled), 10))))
	}
}

// Acknowledged takes the client's count of the stanzas it has handled. The error is ErrHandled.
func (s *Session) Acknowledged(h uint32) error {
	m := s.managed.Load()
	if m == nil {
		return nil
	}
	s.out.mu.Lock()
	err := m.ack(h)
	m.asked = false
	again := err == nil && len(m.unacked) > 0
	if again {
		m.asked = true
	}
	s.out.mu.Unlock()
	if again {
		s.Send(ackRequest)
	}
	return err
}

// Counts gives the stanzas that were sent, for the error about a client that has handled more.
func (s *Session) Counts() (sent uint32) {
	m := s.managed.Load()
	if m == nil {
		return 0
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return m.sent
}

var ackRequest = stanza.NewNonza(xmlstream.New(ns.SM, "r"))

// ack lets go of the first stanzas up to the count h, which wraps at 2^32.
func (m *managed) ack(h uint32) error {
	waiting := m.sent - h // of those that were sent, those not acknowledged
	if uint64(waiting) > uint64(len(m.unacked)) {
		if int32(waiting) < 0 {
			return ErrHandled
		}
		return nil // an old count
	}
	n := len(m.unacked) - int(waiting)
	for i := range n {
		m.bytes -= m.unacked[i].Wire.Len() + wireOverhead
		m.unacked[i] = Left{}
	}
	m.unacked = m.unacked[n:]
	if len(m.unacked) == 0 {
		m.unacked = nil
	}
	return nil
}

// note counts what is about to be written, and asks for an acknowledgement unless one is under way. The caller holds the
// outbox's mutex.
func (m *managed) note(batch []stanza.Wire) []stanza.Wire {
	now := time.Now()
	for _, w := range batch {
		switch {
		case m.skip > 0:
			m.skip--
		case w.IsStanza():
			m.sent++
			m.unacked = append(m.unacked, Left{w, now})
			m.bytes += w.Len() + wireOverhead
		}
	}
	if len(m.unacked) > 0 && !m.asked {
		m.asked = true
		batch = append(batch, ackRequest)
	}
	return batch
}

// tooMuch tells whether a stanza of that size is too much for a session that is managed; limit is the outbox's.
func (m *managed) tooMuch(o *outbox, size, limit int) bool {
	if m.detached {
		return len(m.unacked)+len(m.waiting) >= maxHeld || m.bytes+size > limit
	}
	return m.bytes+o.bytes+size > burst*limit
}

// Leave says that a connection has ended: err is nil when the client closed its stream, a *stanza.StreamError when it is
// to be told, and any other error when the connection is lost. A session that can be resumed is then detached; one that
// has gone on to another connection is left alone. Every other one ends.
func (s *Session) Leave(c Conn, err error) {
	m := s.managed.Load()
	if m == nil {
		s.Close(err)
		return
	}
	var serr *stanza.StreamError
	final := err == nil || errors.As(err, &serr) || m.id == ""
	s.out.mu.Lock()
	current := s.connection() == c
	lost := current && !final && s.out.closed == nil && !m.detached
	if lost {
		m.detach(&s.out)
		m.lives++
		life := m.lives
		m.timer = time.AfterFunc(m.window, func() { s.expire(life) })
	}
	s.out.mu.Unlock()
	switch {
	case !current:
	case final:
		s.Close(err)
		return
	case lost:
		s.Log().Info("session detached", "reason", err)
	}
	c.Abort()
}

// detach puts what waits to be written where it waits for another connection. The caller holds the outbox's mutex.
func (m *managed) detach(o *outbox) {
	m.detached = true
	for _, w := range o.queue {
		o.bytes -= w.Len() + wireOverhead
		if w.IsStanza() {
			m.hold(w)
		}
	}
	clear(o.queue)
	recycle(o.queue)
	o.queue = nil
}

func (m *managed) hold(w stanza.Wire) {
	m.waiting = append(m.waiting, Left{w, time.Now()})
	m.bytes += w.Len() + wireOverhead
}

func (s *Session) expire(life int) {
	m := s.managed.Load()
	s.out.mu.Lock()
	over := m.detached && m.lives == life
	s.out.mu.Unlock()
	if over {
		s.Close(ErrExpired)
	}
}

// Resume goes on with the session on a new connection, whose client has handled h stanzas: it is told how many of its
// own were, then it gets what it has not handled, then what has come meanwhile. An old connection is cut. ok is false
// when the session has ended; the error is ErrHandled.
func (s *Session) Resume(c Conn, h uint32) (ok bool, err error) {
	m := s.managed.Load()
	m.inbound.Lock()
	defer m.inbound.Unlock()
	o := &s.out
	o.mu.Lock()
	if o.closed != nil {
		o.mu.Unlock()
		return false, nil
	}
	if err := m.ack(h); err != nil {
		o.mu.Unlock()
		return true, err
	}
	if m.timer != nil {
		m.timer.Stop()
	}
	m.detached, m.asked, m.skip = false, false, 0
	m.lives++
	old := s.connection()
	s.conn.Store(&c)
	resumed := stanza.NewNonza(xmlstream.New(ns.SM, "resumed", "previd", m.id, "h", strconv.FormatUint(uint64(m.handled), 10)))
	queue := make([]stanza.Wire, 0, 1+len(m.unacked)+len(m.waiting)+len(o.queue))
	queue = append(queue, resumed)
	for _, l := range append(m.unacked, m.waiting...) {
		queue = append(queue, l.Wire)
	}
	m.sent -= uint32(len(m.unacked))
	o.bytes += m.bytes + resumed.Len() + wireOverhead
	m.unacked, m.waiting, m.bytes = nil, nil, 0
	o.queue = append(queue, o.queue...)
	start := !o.writing
	if start {
		o.writing = true
		o.taken = time.Now()
		s.owner.Add(1)
	}
	o.mu.Unlock()
	old.Abort()
	if start {
		go s.counted(s.write)
	}
	s.Log().Info("session resumed")
	return true, nil
}

// end takes what was not delivered out of a session that ends while it is detached. The caller holds the outbox's mutex.
func (m *managed) end() {
	if m.timer != nil {
		m.timer.Stop()
	}
	if !m.detached {
		return
	}
	m.left, m.unacked, m.waiting = append(m.unacked, m.waiting...), nil, nil
}

// undelivered gives what was left when the session had ended, once.
func (s *Session) undelivered() []Left {
	m := s.managed.Load()
	if m == nil {
		return nil
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	left := m.left
	m.left = nil
	return left
}
