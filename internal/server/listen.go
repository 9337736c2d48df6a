package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"

	"rollcall/internal/c2s/tcp"
	"rollcall/internal/certs"
	"rollcall/internal/proxied"
)

// addresses lists the listeners that are configured.
func (s *Server) addresses() map[string]string {
	all := map[string]string{
		"c2s": s.cfg.Listen.C2S, "c2s_tls": s.cfg.Listen.C2STLS, "http": s.cfg.Listen.HTTP, "https": s.cfg.Listen.HTTPS,
	}
	for name, address := range all {
		if address == "" {
			delete(all, name)
		}
	}
	return all
}

// listen opens every listener, or none.
func (s *Server) listen() error {
	open := s.opts.Listen
	if open == nil {
		open = func(name, address string) (net.Listener, error) {
			if name == "c2s" || name == "c2s_tls" {
				return tcp.Listen(s.accepting, address)
			}
			return net.Listen("tcp", address)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, address := range s.addresses() {
		l, err := open(name, address)
		if err != nil {
			return fmt.Errorf("listen.%s: %w%s", name, err, hint(err))
		}
		if p := s.cfg.Listen.ProxyProtocol; len(p) > 0 && (name == "c2s" || name == "c2s_tls") {
			l = proxied.Listen(l, p, s.log)
		}
		s.listeners[name] = l
		s.log.Info("listening", "listener", name, "address", l.Addr().String())
	}
	return nil
}

// hint says what to do about an address that cannot be listened on.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program, or another rollcall, listens there: stop it, or choose another port"
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 need a right (CAP_NET_BIND_SERVICE), see docs/dns.md"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; this machine has no such address: write one that it has, or \":5222\" for all of them"
	}
	return ""
}

// serve takes connections on every listener.
func (s *Server) serve() {
	for name, l := range s.listeners {
		s.serving.Go(func() {
			switch name {
			case "c2s", "c2s_tls":
				s.fail(name, s.serveTCP(l, name == "c2s_tls"))
			case "http":
				s.fail(name, s.http.Serve(l))
			case "https":
				s.fail(name, s.http.ServeTLS(certs.Listen(l), "", ""))
			}
		})
	}
}

func (s *Server) serveTCP(l net.Listener, direct bool) error {
	o := tcp.Options{Direct: direct, WriteStall: s.cfg.Limits.WriteStall, Log: s.log}
	if s.certs != nil {
		if direct {
			o.TLS = s.certs.TLSConfig(tcp.ALPN)
		} else {
			o.TLS = s.certs.TLSConfig()
		}
		o.TLS = certs.TakingTurns(certs.Asking(o.TLS, s.wantsCertificate), s.turns)
	}
	return tcp.Serve(s.accepting, l, s.c2s, o)
}

// httpsConfig is the TLS configuration of the https listener, nil without a certificate.
func (s *Server) httpsConfig() *tls.Config {
	if s.certs == nil {
		return nil
	}
	return certs.TakingTurns(s.certs.TLSConfigFor(s.clientCAs, "h2", "http/1.1"), s.turns)
}
