package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"rollcall/internal/certs"
)

// certificates is where listeners have their certificates from: files or an authority.
type certificates interface {
	TLSConfig(protocols ...string) *tls.Config
	TLSConfigFor(clients *certs.ClientCAs, protocols ...string) *tls.Config
}

// newCertificates finds out which, if any.
func (s *Server) newCertificates() error {
	switch {
	case s.cfg.TLS.Cert != "":
		store, err := certs.New(s.cfg.TLS.Cert, s.cfg.TLS.Key, s.log)
		if err != nil {
			return s.cfg.KeyError("tls.cert", err)
		}
		s.certs = store
	case s.cfg.TLS.ACME.Email != "":
		return s.newACME()
	}
	return nil
}

func (s *Server) newACME() error {
	c := s.cfg.TLS.ACME
	o := certs.ACMEOptions{
		Email: c.Email, Directory: c.Directory, Folder: c.Storage, Domains: s.cfg.ACMEDomains(), Log: s.log,
	}
	if o.Folder == "" {
		o.Folder = filepath.Join(s.cfg.DataDir, "acme")
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return s.cfg.KeyError("tls.acme.ca_file", err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(pem) {
			return s.cfg.KeyError("tls.acme.ca_file", fmt.Errorf("has no certificate in PEM form"))
		}
	}
	acme, err := certs.NewACME(o)
	if err != nil {
		return s.cfg.KeyError("tls.acme.domains", err)
	}
	s.acme, s.certs = acme, acme
	return nil
}

// startACME asks the authority for what is missing, once the listeners are there at which it looks.
func (s *Server) startACME(ctx context.Context) error {
	if s.acme == nil {
		return nil
	}
	port := func(names ...string) int {
		for _, name := range names {
			if l := s.listeners[name]; l != nil {
				if at, ok := l.Addr().(*net.TCPAddr); ok {
					return at.Port
				}
			}
		}
		return 0
	}
	return s.acme.Start(ctx, port("http"), port("https", "c2s_tls"))
}

// answerChallenges lets the authority look at what next would not know.
func (s *Server) answerChallenges(next http.Handler) http.Handler {
	if s.acme == nil {
		return next
	}
	return s.acme.Challenges(next)
}
