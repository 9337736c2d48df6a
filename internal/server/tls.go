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
	"slices"

	"rollcall/internal/auth"
	"rollcall/internal/certs"
	"rollcall/internal/config"
	"rollcall/internal/jid"
)

// certificates is where listeners have their certificates from: files or an authority.
type certificates interface {
	TLSConfig(protocols ...string) *tls.Config
	TLSConfigFor(clients *certs.ClientCAs, protocols ...string) *tls.Config
}

// wantsCertificate tells whether a client that wants to talk to a host by this name, "" if it does not say, is asked for a
// certificate of its own: where it could sign somebody in.
func (s *Server) wantsCertificate(name string) bool {
	domain, err := jid.Domainpart(name)
	return slices.ContainsFunc(s.cfg.Hosts, func(h config.Host) bool {
		return h.Auth.ClientCA != "" && (name == "" || err == nil && h.Name == domain)
	})
}

// clientCertificates says which certificates of clients sign users of a host in; nil: none.
func (s *Server) clientCertificates(h *virtualHost) (*auth.Certificates, error) {
	a := h.cfg.Auth
	if a.ClientCA == "" {
		return nil, nil
	}
	cas, err := certs.NewClientCAs(a.ClientCA, h.log)
	if err != nil {
		i := slices.IndexFunc(s.cfg.Hosts, func(c config.Host) bool { return c.Name == h.cfg.Name })
		return nil, s.cfg.KeyError(config.HostKey(i, "auth.client_ca"), err)
	}
	return &auth.Certificates{Roots: cas.Pool, Email: a.ClientNames == "email"}, nil
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
