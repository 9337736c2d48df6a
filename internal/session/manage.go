package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Stream management (XEP-0198): both sides count stanzas, so that nobody takes for delivered what was lost with a
// connection, and a session outlives its connection for a while. While it has none it is detached: it stays bound, and
// what is sent to it waits. This file is what both sides count; resume.go is lost connections and new ones, hold.go is
// when a stanza of the client counts as handled.

// TooHigh is about a client that says it has handled more stanzas than it was sent.
type TooHigh struct{ Handled, Sent uint32 }

// Error implements error.
func (e *TooHigh) Error() string {
	return fmt.Sprintf("%d stanzas are acknowledged, and %d were sent", e.Handled, e.Sent)
}

// errUnacked ends the session of a client that reads and acknowledges nothing of it.
var errUnacked = &stanza.StreamError{Condition: stanza.StreamPolicyViolation,
	Text: "too many stanzas wait to be acknowledged (XEP-0198)"}

// answerWithin is how long a client may keep us waiting for an acknowledgement: one from which nothing else comes either
// has lost its connection, and one that does not read may have no more than so many stanzas waiting. It is noticed
// after twice that time at most.
const answerWithin = 45 * time.Second

// managed is the state of a session's stream management.
type managed struct {
	id         string // to resume with; "" when the client does not want to, or may not
	credential uint64 // what the client signed in with
	window     time.Duration

	// inbound is held while one stanza of the client is handled, so that no old connection's stanza is handled, or
	// counted, after the session was resumed on another. It is locked before the outbox's mutex. It is no mutex because it is
	// held for as long as a handler waits for the store, and who resumes the session waits no longer than it may.
	inbound  turn
	received atomic.Uint32 // stanzas of the client since it was enabled: changed by the connection's reader
	heard    atomic.Bool   // something came from the client since silence looked
	away     atomic.Bool   // detached, for those who only look

	// Guarded by the outbox's mutex:
	skip     int         // stanzas and others in the queue that are ahead of <enabled/>
	sent     uint32      // stanzas taken to be written since
	unacked  []Left      // the last of them, those that the client has not acknowledged
	waiting  []Left      // what has come while it is detached
	stamps   []time.Time // when the first stanzas of the queue were sent, after it was resumed
	bytes    int         // of unacked and waiting
	progress time.Time   // when the client last acknowledged something, or the first came to be acknowledged
	asked    bool        // an <r/> is on its way, or its answer
	quiet    time.Time   // when the client was asked, or last heard of since
	silence  *time.Timer // looks whether the client answers
	watching bool        // silence is running
	detached bool
	since    time.Time   // when it was detached
	expiry   *time.Timer // of the window
	left     []Left      // what was not delivered when it ended
	events   []func()    // what the features are to be told, in order
	telling  bool        // somebody tells them
}

// turn is a lock that who waits for it can give up.
type turn chan struct{}

func (t turn) lock()   { t <- struct{}{} }
func (t turn) unlock() { <-t }

// lockFor is lock until ctx is done.
func (t turn) lockFor(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Manage begins stream management on a connection; resume says that the session may outlive it, for max at most (0: as
// long as we let it), and be resumed by who has the same credential. The answer, <enabled/>, is queued. It tells whether
// it did: it does so once. It is called by the connection's reader.
func (s *Session) Manage(resume bool, max time.Duration, credential uint64) bool {
	if s.managed.Load() != nil {
		return false
	}
	m, enabled := s.manage(resume, max, credential)
	if h := s.holds.Load(); h != nil {
		h.forget()
	}
	o := &s.out
	w := stanza.NewNonza(enabled)
	o.mu.Lock()
	if o.closed != nil {
		o.mu.Unlock()
		return true
	}
	m.skip = len(o.queue)
	s.managed.Store(m)
	start := s.push(w, cost(w))
	o.mu.Unlock()
	start.start()
	return true
}

// ManageInline is Manage for a session that is not opened yet, whose client is told by what it gives, before anything that
// waits for it: as in the answer to a request that binds its resource, too (XEP-0198, "Enable Stream Management Inline").
func (s *Session) ManageInline(resume bool, max time.Duration, credential uint64) (enabled *xmlstream.Element) {
	m, enabled := s.manage(resume, max, credential)
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if s.out.closed == nil { // otherwise it ends as soon as it is opened
		s.managed.Store(m)
	}
	return enabled
}

func (s *Session) manage(resume bool, max time.Duration, credential uint64) (m *managed, enabled *xmlstream.Element) {
	m = &managed{credential: credential, inbound: make(turn, 1)}
	enabled = xmlstream.New(ns.SM, "enabled")
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
	return m, enabled
}

// Managed tells whether the client acknowledges stanzas.
func (s *Session) Managed() bool { return s.managed.Load() != nil }

// ResumedBy tells whether a session can be resumed with an id by who has a credential.
func (s *Session) ResumedBy(id string, credential uint64) bool {
	m := s.managed.Load()
	return m != nil && m.resumedBy(id, credential)
}

func (m *managed) resumedBy(id string, credential uint64) bool {
	return m.id != "" && m.credential == credential && subtle.ConstantTimeCompare([]byte(m.id), []byte(id)) == 1
}

// Begin is called by a connection's reader before a stanza of the client is handled, and End after it. It is false when
// the session has gone on to another connection.
func (s *Session) Begin(c Conn) bool {
	m := s.managed.Load()
	if m == nil {
		return true
	}
	m.inbound.lock()
	if s.connection() != c {
		m.inbound.unlock()
		return false
	}
	m.heard.Store(true)
	return true
}

// End follows a Begin that was true.
func (s *Session) End() {
	if m := s.managed.Load(); m != nil {
		m.received.Add(1)
		m.inbound.unlock()
	}
}

// Aside has an element of the client dealt with that is no stanza and not counted, unless the session has gone on to
// another connection. It is called by the connection's reader.
func (s *Session) Aside(c Conn, what func()) {
	if !s.Begin(c) {
		return
	}
	if m := s.managed.Load(); m != nil {
		defer m.inbound.unlock()
	}
	what()
}

// Acknowledge tells the client how many of its stanzas were handled: at once, or when those are that have come by now.
// It is called by the connection's reader.
func (s *Session) Acknowledge(c Conn) {
	if !s.Begin(c) {
		return
	}
	m := s.managed.Load()
	if m == nil {
		return
	}
	n := m.received.Load()
	m.inbound.unlock()
	if h := s.holds.Load(); h != nil && h.owe(n) {
		return
	}
	s.Send(acknowledgement(n))
}

func acknowledgement(n uint32) stanza.Wire {
	return stanza.NewNonza(xmlstream.New(ns.SM, "a", "h", strconv.FormatUint(uint64(n), 10)))
}

// Acknowledged takes the client's count of the stanzas it has handled. The error is a *TooHigh. It is called by the
// connection's reader.
func (s *Session) Acknowledged(c Conn, h uint32) error {
	if !s.Begin(c) {
		return nil
	}
	m := s.managed.Load()
	if m == nil {
		return nil
	}
	defer m.inbound.unlock()
	o := &s.out
	o.mu.Lock()
	before := len(m.unacked)
	acked, err := m.ack(h)
	m.asked = false
	var start *writer
	// A client that counts less than it gets is not asked for the same count again and again.
	if n := len(m.unacked); n > 0 && n < before && o.closed == nil && !m.detached {
		m.ask(s)
		start = s.push(ackRequest, cost(ackRequest))
	}
	o.mu.Unlock()
	start.start()
	delivered(acked)
	return err
}

var ackRequest = stanza.NewNonza(xmlstream.New(ns.SM, "r"))

// check gives how many of the stanzas that are not acknowledged are by the count h, which wraps at 2^32.
func (m *managed) check(h uint32) (n int, err error) {
	waiting := m.sent - h // of those that were sent, those not acknowledged
	if uint64(waiting) > uint64(len(m.unacked)) {
		if int32(waiting) < 0 {
			return 0, &TooHigh{h, m.sent}
		}
		return 0, nil // an old count
	}
	return len(m.unacked) - int(waiting), nil
}

// ack lets go of the first stanzas up to the count h, and gives them: they are delivered.
func (m *managed) ack(h uint32) (acked []Left, err error) {
	n, err := m.check(h)
	if n == 0 {
		return nil, err
	}
	for i := range n {
		m.bytes -= cost(m.unacked[i].Wire)
	}
	m.progress = time.Now()
	acked, m.unacked = m.unacked[:n:n], m.unacked[n:]
	if len(m.unacked) == 0 {
		m.unacked = nil
	}
	return acked, nil
}

// delivered tells those who want to know that stanzas have reached the client, and lets go of their bytes.
func delivered(acked []Left) {
	for i := range acked {
		acked[i].Wire.Delivered()
	}
	clear(acked)
}

// note counts what is about to be written, and asks for an acknowledgement unless one is under way: so there is one for
// what is written at a time, and one for each round trip at most. The caller holds the outbox's mutex.
func (m *managed) note(s *Session, batch []stanza.Wire) []stanza.Wire {
	now := time.Now()
	for _, w := range batch {
		if m.skip > 0 {
			m.skip--
			continue
		}
		if !w.IsStanza() {
			continue
		}
		if len(m.unacked) == 0 {
			m.progress = now
		}
		at := now
		if len(m.stamps) > 0 {
			at, m.stamps = m.stamps[0], m.stamps[1:]
		}
		m.sent++
		m.unacked = append(m.unacked, Left{w, at})
		m.bytes += cost(w)
	}
	if len(m.unacked) > 0 && !m.asked {
		m.ask(s)
		batch = append(batch, ackRequest)
	}
	return batch
}

// ask notes that the client is asked for an acknowledgement, and sees to it that its silence is noticed.
func (m *managed) ask(s *Session) {
	m.asked = true
	m.quiet = time.Now()
	if m.watching {
		return
	}
	m.watching = true
	m.heard.Store(false)
	life := s.out.life
	m.silence = time.AfterFunc(answerWithin, func() { s.listen(life) })
}

var errSilent = errors.New("connection lost: the client does not answer")

// listen looks whether the client has answered, or said anything else.
func (s *Session) listen(life uint32) {
	m := s.managed.Load()
	o := &s.out
	o.mu.Lock()
	if o.life != life || o.closed != nil || !m.asked {
		m.watching = m.watching && o.life != life
		o.mu.Unlock()
		return
	}
	if m.heard.Swap(false) {
		m.quiet = time.Now()
	}
	if wait := answerWithin - time.Since(m.quiet); wait > 0 {
		m.silence.Reset(wait)
		o.mu.Unlock()
		return
	}
	c := s.connection()
	o.mu.Unlock()
	s.Leave(c, errSilent)
}

// full tells why a stanza of that size is too much for a session that is managed, nil when it is not. A client that reads
// and acknowledges may have more stanzas waiting for a while, as it may have more bytes (see outbox).
func (m *managed) full(o *outbox, size int, opts *Options) error {
	switch {
	case m.detached && m.bytes > 0 &&
		(len(m.unacked)+len(m.waiting) >= opts.Unacked || m.bytes+size > opts.OutboxBytes):
		return ErrTooMuch
	case m.detached:
	case m.bytes > 0 && m.bytes+o.bytes+size > burst*opts.OutboxBytes,
		len(m.unacked) >= opts.Unacked && time.Since(m.progress) > answerWithin:
		return errUnacked
	}
	return nil
}
