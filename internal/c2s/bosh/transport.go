package bosh

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	sessions "rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// gather is how much may wait here for the client's next request. What is more waits in the session's outbox, which is
// bounded, and its writer in Send.
const gather = 64 << 10

// endTimeout is how long Close waits for the client to hear of the end.
const endTimeout = 2 * time.Second

var errEnded = errors.New("the stream has ended")

// Handshake implements c2s.Transport: the HTTP server did all there is.
func (s *session) Handshake(context.Context) error { return nil }

// CanStartTLS implements c2s.Transport: "Inclusion of TLS negotiation elements is […] NOT RECOMMENDED" (XEP-0206
// section 2).
func (s *session) CanStartTLS() bool { return false }

// StartTLS implements c2s.Transport.
func (s *session) StartTLS(context.Context, *xmlstream.Element) error { return errors.ErrUnsupported }

// SetLimits implements c2s.Transport.
func (s *session) SetLimits(l xmlstream.Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// Measure implements c2s.Transport.
func (s *session) Measure(m *c2s.Meter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = m
}

// Restart implements c2s.Transport: the client says it (XEP-0206 section 5).
func (s *session) Restart() {}

// Channel implements c2s.Transport. Requests come over any connection, so there is nothing to bind to.
func (s *session) Channel() auth.Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return auth.Channel{Secure: s.secure, Loopback: s.local, User: s.user}
}

// Info implements c2s.Transport.
func (s *session) Info() sessions.ConnInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := sessions.ConnInfo{Transport: "bosh", RemoteAddr: s.remote, Secure: s.secure}
	if s.tls != nil {
		info.TLSVersion = tls.VersionName(s.tls.Version)
		info.Cipher = tls.CipherSuiteName(s.tls.CipherSuite)
	}
	return info
}

// Next implements c2s.Transport. That it is called again says that what it gave before was dealt with.
func (s *session) Next() (c2s.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading != nil {
		s.reading.taken = true
		s.reading = nil
		s.pump()
		s.watch()
	}
	for len(s.events) == 0 && !s.over {
		s.readable.Wait()
	}
	switch {
	case s.over && s.cause != nil:
		return c2s.Event{}, s.cause
	case s.over:
		return c2s.Event{}, io.EOF
	}
	ev := s.events[0]
	s.events[0] = event{}
	if s.events = s.events[1:]; len(s.events) == 0 {
		s.events = nil
	}
	s.reading = ev.turn
	return ev.Event, ev.err
}

// Open implements c2s.Transport.
func (s *session) Open(h c2s.Header, features *xmlstream.Element) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = h.From
	if features == nil { // End follows
		return nil
	}
	s.opened = true
	return s.write(features)
}

// Write implements c2s.Transport.
func (s *session) Write(els ...*xmlstream.Element) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(els...)
}

func (s *session) write(els ...*xmlstream.Element) error {
	if s.over {
		return errEnded
	}
	for _, el := range els {
		s.appendElement(el)
	}
	s.pump()
	s.watch()
	return nil
}

// Send implements c2s.Transport. It waits while too much waits for the client to send a request; when none comes, the
// session ends.
func (s *session) Send(ws []stanza.Wire) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) >= gather && !s.over {
		s.writable.Wait()
	}
	if s.over {
		return errEnded
	}
	for i := range ws {
		s.out = ws[i].AppendFramed(s.out)
	}
	s.pump()
	s.watch()
	return nil
}

// End implements c2s.Transport.
func (s *session) End(h c2s.Header, serr *stanza.StreamError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.from == "" {
		s.from = h.From
	}
	s.over = true
	s.makeFinal(serr)
	s.finish()
	s.watch()
}

// Abort implements c2s.Transport.
func (s *session) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.end(nil, itemNotFound)
	s.finish()
	s.watch()
}

// Close implements c2s.Transport. A client that is between two requests hears of the end with the next one.
func (s *session) Close() {
	s.Abort() // does nothing after End
	s.unexpected()
	t := time.NewTimer(endTimeout)
	defer t.Stop()
	select {
	case <-s.closing:
		s.h.forget(s)
	case <-t.C:
		s.h.keep(s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events, s.reading = nil, nil
	if s.told {
		s.turns, s.out, s.final = nil, nil, nil
	}
}
