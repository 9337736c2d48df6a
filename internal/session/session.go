package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/stanza"
)

// The reasons a session ends with, beside a *stanza.StreamError and the errors of the transport.
var (
	// ErrClosed: the client closed its stream.
	ErrClosed = errors.New("closed by the client")
	// ErrOverflow: the client does not read what is sent to it.
	ErrOverflow = errors.New("outbox overflow: the client does not read")
)

// Options says how sessions behave. Those of a host share them.
type Options struct {
	OutboxBytes int // the most bytes that may wait to be written
	Log         *slog.Logger
	// Closed is called once when the session ends, by a goroutine of its own, after the last stanza was accepted
	// and before the stream is closed. The session's context is done by then. left is what was not delivered, as far as
	// stream management tells.
	Closed func(s *Session, reason error, left []Left)

	Idle int // stanzas that may wait for a client at which nobody looks (XEP-0352); 0: none

	// Of stream management (XEP-0198):
	Resume  time.Duration // how long a session may outlive its connection; 0: not at all
	Unacked int           // stanzas that a client that is away, or does not acknowledge them, may have waiting
	// Detached is called when the connection was lost of a session that can be resumed, and Resumed when it was: old is
	// the connection before, which may have seemed to live. They and Closed are called one after the other, in the order
	// of what happened; nothing is written on the new connection before Resumed has returned. Both may be nil.
	Detached func(s *Session, old ConnInfo)
	Resumed  func(s *Session, old, new ConnInfo)
}

// Session is a bound client. Its methods may be called by any goroutine.
type Session struct {
	jid    jid.JID
	conn   atomic.Pointer[Conn]
	since  time.Time
	opts   *Options
	ctx    context.Context
	cancel context.CancelCauseFunc
	owner  *sync.WaitGroup // counts our goroutines for whoever stops the server
	opened Latch           // the features know the session
	over   Latch           // the stream is closed
	ended  Latch           // the features were told of the end

	// availability is the presence priority plus availableBias while the session is available, 0 otherwise. It is
	// one word so that routing a message takes no lock.
	availability atomic.Int32

	// heard is when the client last sent a stanza, in whole seconds since the session began.
	heard     atomic.Uint32
	announced atomic.Bool
	managed   atomic.Pointer[managed] // nil without stream management
	holds     atomic.Pointer[holds]   // nil until a stanza of the client is held
	estate    atomic.Pointer[Estate]  // nil unless another session takes the resource over
	idle      atomic.Pointer[idle]    // nil unless some stanzas may wait; changed with the outbox's mutex held

	out outbox
}

const availableBias = 1 << 16

// New makes a session. ctx descends from the server; wg is what the server waits for when it stops. What is sent to the
// session before Opened waits.
func New(ctx context.Context, wg *sync.WaitGroup, j jid.JID, c Conn, o *Options) *Session {
	s := &Session{jid: j, since: time.Now(), opts: o, owner: wg}
	s.out.writing, s.out.taken = true, s.since // until it is opened it only gathers
	s.conn.Store(&c)
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// JID gives the session's full JID.
func (s *Session) JID() jid.JID { return s.jid }

// Since is when the session began.
func (s *Session) Since() time.Time { return s.since }

// Heard notes that the client has sent a stanza. It writes once a second at most.
func (s *Session) Heard() {
	if now := uint32(time.Since(s.since) / time.Second); s.heard.Load() != now {
		s.heard.Store(now)
	}
}

// Idle is how long ago the client last sent a stanza, or the session began, to the second. What keeps a connection alive, and
// acknowledgements of stream management, do not count.
func (s *Session) Idle() time.Duration {
	return time.Since(s.since).Truncate(time.Second) - time.Duration(s.heard.Load())*time.Second
}

func (s *Session) connection() Conn { return *s.conn.Load() }

// Info describes the connection, the last one while there is none.
func (s *Session) Info() ConnInfo { return s.connection().Info() }

// Log gives a logger that names the session. It is made when it is asked for: an idle session holds none.
func (s *Session) Log() *slog.Logger {
	info := s.Info()
	return s.opts.Log.With("jid", s.jid.String(), "transport", info.Transport, "remote", info.RemoteAddr)
}

// Context is done when the session ends; context.Cause gives the reason.
func (s *Session) Context() context.Context { return s.ctx }

// Opened says that the features have been told of the session. It must be called once: a session that ends before
// waits for it, so that no feature sees a session end that it has not seen begin.
func (s *Session) Opened() {
	s.begin()
	s.opened.Open()
}

// Discard releases a session that was made and is not to be used, and gives what was sent to it.
func (s *Session) Discard(reason error) (sent []stanza.Wire) {
	s.cancel(reason)
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.closed = reason
	sent, s.out.queue = s.out.queue, nil
	return sent
}

// Abort cuts the connection of a session that has been closed and whose client does not take what is left for it.
func (s *Session) Abort() { s.connection().Abort() }

// StreamEnded is closed when nothing is written to the client any more.
func (s *Session) StreamEnded() <-chan struct{} { return s.over.Done() }

// Ended is closed when the session has ended and the features were told.
func (s *Session) Ended() <-chan struct{} { return s.ended.Done() }

// Available gives the presence priority of an available session (RFC 6121 section 4.7.2.3).
func (s *Session) Available() (priority int, ok bool) {
	a := s.availability.Load()
	if a == 0 {
		return 0, false
	}
	return int(a) - availableBias, true
}

// SetAvailable marks the session as available with a priority from -128 to 127, and tells whether it was not before.
func (s *Session) SetAvailable(priority int) (initial bool) {
	return s.availability.Swap(int32(priority)+availableBias) == 0
}

// SetUnavailable marks the session as unavailable and tells whether it was available before.
func (s *Session) SetUnavailable() (was bool) { return s.availability.Swap(0) != 0 }

// Announced tells whether the contacts know that the session is available, and it is to know of theirs. A session that
// waits for its roster is available and not yet announced.
func (s *Session) Announced() bool { return s.announced.Load() }

// SetAnnounced says whether the session is announced.
func (s *Session) SetAnnounced(is bool) { s.announced.Store(is) }

// Close ends the session: nothing more is accepted, what waits is written (unless the client does not read), a
// *stanza.StreamError is told to the client, and the connection is closed. Only the first reason counts. It returns
// at once; Ended tells when all is done.
func (s *Session) Close(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	first, start := s.close(reason)
	if !first {
		return
	}
	s.cancel(reason)
	if errors.Is(reason, ErrOverflow) {
		s.connection().Abort()
	}
	go s.teardown()
	start.start()
}

// teardown is the one place where a session ends. It cannot fail: features first, so that no stanza is sent to a
// session that is gone, then the outbox's writer ends the stream.
//
// The goroutines that it and the writer run in were counted in owner while it was certain that the session had not ended:
// who stops the server waits for ended sessions' goroutines and must not see new ones appear.
func (s *Session) teardown() {
	defer s.owner.Done()
	<-s.opened.Done()
	s.SetUnavailable()
	if s.opts.Closed != nil {
		s.told(func() { s.opts.Closed(s, context.Cause(s.ctx), s.undelivered()) })
	}
	s.ended.Open()
}

// endStream says good-bye on the connection; called by the writer once the outbox is closed and empty.
func (s *Session) endStream(c Conn, reason error) {
	defer s.over.Open()
	if !orderly(reason) {
		c.Abort()
		return
	}
	var serr *stanza.StreamError
	errors.As(reason, &serr)
	c.End(serr)
}
