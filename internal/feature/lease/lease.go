// Package lease ends sessions that hang on something which has come to its end: the one-use token that the client signed in
// with was revoked, or what it showed says until when it is good for. RFC 6120 section 4.9.3 has the stream errors.
package lease

import (
	"context"
	"maps"
	"sync"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// Options make Leases.
type Options struct {
	// SignIn is how long it can take from the sign-in to the session.
	SignIn time.Duration
	// Tidy is called now and then, to remove tokens that have expired. nil: there are none.
	Tidy func(ctx context.Context)
}

// tidyTime is how often.
const tidyTime = 10 * time.Minute

// Leases are those of a host's sessions. Its methods may be called by any goroutine.
type Leases struct {
	opts Options

	mu      sync.Mutex
	revoked map[revocation]time.Time // when; those that can still concern somebody who is signing in
	purged  time.Time                // when the others were dropped
	held    map[*session.Session]holding
}

// A holding is what a session hangs on, whatever connection it has.
type holding struct {
	*session.Lease
	end *time.Timer // nil: it has none
}

// A revocation is of a user's token, or with "" of all that were shown before.
type revocation struct{ user, token string }

// New makes the leases of a host.
func New(o Options) *Leases {
	return &Leases{opts: o, revoked: make(map[revocation]time.Time), held: make(map[*session.Session]holding)}
}

// Feature is what the host is given.
func (l *Leases) Feature() host.Feature {
	look := func(s *session.Session) {
		if lease := s.Info().Lease; lease != nil {
			l.begin(s, lease)
		}
	}
	f := host.Feature{
		Name:   "lease",
		Opened: func(_ context.Context, s *session.Session) { look(s) },
		// What the client shows as it resumes its session takes the place of what it showed before. A password, or a token that came of
		// one (XEP-0484), has no lease and changes nothing: else whose sign-out ends a session would depend on how its client came back.
		Resumed: func(_ context.Context, s *session.Session, _, _ session.ConnInfo) { look(s) },
		Closed:  func(_ context.Context, s *session.Session) { l.forget(s) },
	}
	if l.opts.Tidy != nil {
		f.Run = l.tidy
	}
	return f
}

func (l *Leases) tidy(ctx context.Context) error {
	t := time.NewTicker(tidyTime)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			l.opts.Tidy(ctx)
		}
	}
}

// Revoke ends the sessions of a user that were opened with a token, or with "" with any token, and those that are being opened
// with one that was shown before. sessions gives those of the user, after the token itself has been taken away. It waits until
// others have seen the sessions go, or ctx is done, and tells how many there were.
func (l *Leases) Revoke(ctx context.Context, user, token string, sessions func() []*session.Session) (n int) {
	l.mu.Lock()
	l.purge()
	l.revoked[revocation{user, token}] = time.Now()
	l.mu.Unlock()
	// Who is not among them yet finds the revocation when they are opened.
	var ended []*session.Session
	for _, s := range sessions() {
		if has := l.token(s); has != "" && (token == "" || token == has) {
			s.Close(errRevoked)
			ended = append(ended, s)
		}
	}
	for _, s := range ended {
		select {
		case <-s.Ended():
		case <-ctx.Done():
		}
	}
	return len(ended)
}

var (
	// Unlike reset, policy-violation does not ask the client to come back at once.
	errRevoked = &stanza.StreamError{Condition: stanza.StreamPolicyViolation, Text: "the token that you signed in with was revoked"}
	// "The server is closing the stream because … the keys or certificates used to establish a secure context for the stream
	// have expired" (section 4.9.3.16): the client is to sign in again.
	errOver = &stanza.StreamError{Condition: stanza.Reset, Text: "what you signed in with has expired: sign in again"}
)

// begin holds a session to its lease.
func (l *Leases) begin(s *session.Session, lease *session.Lease) {
	l.mu.Lock()
	l.drop(s)
	_, one := l.revoked[revocation{s.JID().Local(), lease.Token}]
	at, all := l.revoked[revocation{s.JID().Local(), ""}]
	if s.Context().Err() == nil { // otherwise it has been forgotten already
		h := holding{Lease: lease}
		if !lease.Until.IsZero() {
			h.end = time.AfterFunc(time.Until(lease.Until), func() { s.Close(errOver) })
		}
		l.held[s] = h
	}
	l.mu.Unlock()
	if lease.Token != "" && (one || all && !lease.Since.After(at)) {
		s.Close(errRevoked)
	}
}

func (l *Leases) forget(s *session.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(s)
}

// drop is forget for who holds mu.
func (l *Leases) drop(s *session.Session) {
	if h, ok := l.held[s]; ok {
		if h.end != nil {
			h.end.Stop()
		}
		delete(l.held, s)
	}
}

// token gives the ID of the token that a session hangs on, "" for none.
func (l *Leases) token(s *session.Session) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.held[s]; ok {
		return h.Token
	}
	return ""
}

// purge drops revocations that concern nobody any more. The caller holds mu.
func (l *Leases) purge() {
	now := time.Now()
	if now.Sub(l.purged) < l.opts.SignIn {
		return
	}
	l.purged = now
	maps.DeleteFunc(l.revoked, func(_ revocation, at time.Time) bool { return now.Sub(at) > l.opts.SignIn })
}
