// Package certs keeps the server's TLS certificates (RFC 7590, RFC 9325: TLS 1.2 and later, ECDHE with AEAD ciphers):
// one from files, loaded again when they change, or one for each domain from a certificate authority (RFC 8555). It
// tells a connection which certificate its handshake used, as the channel binding tls-server-end-point needs it
// (RFC 5929 section 4).
package certs

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pollInterval is how often, at most, a handshake looks whether the files have changed. A renewed certificate is in
// use that long after it was written, at the latest with the second handshake.
const pollInterval = 2 * time.Second

// Store holds a certificate and its key from PEM files. Its methods may be called by any goroutine.
type Store struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	current atomic.Pointer[certificate]

	polling sync.Mutex // held by the one handshake that looks at the files; it guards what follows
	polled  time.Time
	tried   stamps // the files that were last loaded, with or without success
}

// certificate is a loaded certificate and what is derived from it.
type certificate struct {
	name     string // tells it from others of the same source; a renewed one has it too
	pair     tls.Certificate
	endPoint []byte // tls-server-end-point, nil when the RFC defines none for it
}

// stamps tell one version of the two files from another.
type stamps [2]struct {
	modified time.Time
	size     int64
}

// New loads a certificate chain and its key. The error names the file that is at fault.
func New(certFile, keyFile string, log *slog.Logger) (*Store, error) {
	s := &Store{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	found, err := s.stat()
	if err != nil {
		return nil, err
	}
	c, err := s.load()
	if err != nil {
		return nil, err
	}
	s.tried, s.polled = found, s.now()
	s.current.Store(c)
	s.warnExpired(c)
	return s, nil
}

func (s *Store) stat() (st stamps, err error) {
	for i, name := range [...]string{s.certFile, s.keyFile} {
		fi, err := os.Stat(name)
		if err != nil {
			return st, fmt.Errorf("TLS certificate: %w", err)
		}
		st[i].modified, st[i].size = fi.ModTime(), fi.Size()
	}
	return st, nil
}

func (s *Store) load() (*certificate, error) {
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", s.certFile, s.keyFile, err)
	}
	return &certificate{pair: pair, endPoint: endPoint(pair.Leaf)}, nil
}

// TLSConfig makes a server configuration that always uses the current certificate. protocols are the ALPN names the
// listener speaks; none means that ALPN is left alone.
func (s *Store) TLSConfig(protocols ...string) *tls.Config { return s.TLSConfigFor(nil, protocols...) }

// TLSConfigFor is TLSConfig for clients that may have a certificate of their own: one that is sent must be good. nil asks
// for none.
func (s *Store) TLSConfigFor(clients *ClientCAs, protocols ...string) *tls.Config {
	return tlsConfig(s, clients, protocols)
}

// pick implements source.
func (s *Store) pick(*tls.ClientHelloInfo) (*certificate, error) { return s.refresh(), nil }

// clock implements source.
func (s *Store) clock() time.Time { return s.now() }

// refresh gives the certificate to use now, after a look at the files when the last one is some time ago. It never
// fails and hardly waits: one handshake looks, the others go on with what is there.
func (s *Store) refresh() *certificate {
	if s.polling.TryLock() {
		defer s.polling.Unlock()
		if now := s.now(); now.Sub(s.polled) >= pollInterval {
			s.polled = now
			s.reload()
		}
	}
	return s.current.Load()
}

// reload loads the files if they changed since they were last tried. A certificate and key that do not fit, as while
// one of the two has been replaced, leave the old pair in use: the next change is the next try.
func (s *Store) reload() {
	found, err := s.stat()
	if err == nil && found == s.tried {
		return
	}
	if err != nil {
		if s.tried != (stamps{}) { // said once
			s.log.Error("certificate not reloaded, the old one stays in use", "error", err)
			s.tried = stamps{}
		}
		return
	}
	s.tried = found
	c, err := s.load()
	if err != nil {
		s.log.Error("certificate not reloaded, the old one stays in use", "error", err)
		return
	}
	s.current.Store(c)
	s.log.Info("certificate reloaded", "file", s.certFile, "valid_until", c.pair.Leaf.NotAfter)
	s.warnExpired(c)
}

func (s *Store) warnExpired(c *certificate) {
	if s.now().After(c.pair.Leaf.NotAfter) {
		s.log.Warn("the TLS certificate has expired, clients will refuse it",
			"file", s.certFile, "valid_until", c.pair.Leaf.NotAfter)
	}
}
