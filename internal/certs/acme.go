package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/net/idna"
)

// challengeALPN is the protocol by which an authority asks for the answer to a challenge: RFC 8737 section 4.
const challengeALPN = "acme-tls/1"

// ACMEOptions say whose certificates to get, and where.
type ACMEOptions struct {
	Email     string         // of the account
	Directory string         // URL of the authority's directory (RFC 8555 section 7.1.1)
	Roots     *x509.CertPool // certify the authority's own server; nil: the machine's
	Folder    string         // where account, keys and certificates are kept; made when missing
	Domains   []string       // at least one; the first is used for clients that ask for no name, or for another
	Log       *slog.Logger
}

// ACME gets a certificate for each domain from an authority and renews it in time (RFC 8555, challenges http-01 and
// tls-alpn-01). Its methods may be called by any goroutine.
type ACME struct {
	domains []string
	issuer  *certmagic.ACMEIssuer
	magic   *certmagic.Config
	cache   *certmagic.Cache

	mu    sync.Mutex
	known map[string]*certificate // by domain
}

// NewACME makes a source of certificates that does nothing yet: call Start, and Stop in the end.
func NewACME(o ACMEOptions) (*ACME, error) {
	a := &ACME{known: map[string]*certificate{}}
	for _, d := range o.Domains {
		ascii, err := idna.Lookup.ToASCII(d)
		if err != nil {
			return nil, fmt.Errorf("no certificate can be had for %q: %w", d, err)
		}
		a.domains = append(a.domains, ascii)
	}
	log := zap.New(zapCore{handler: o.Log.Handler()})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Logger:           log,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:            &certmagic.FileStorage{Path: o.Folder},
		DefaultServerName:  a.domains[0],
		FallbackServerName: a.domains[0],
		Logger:             log,
	})
	a.issuer = certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA: o.Directory, TestCA: o.Directory, Email: o.Email, Agreed: true, TrustedRoots: o.Roots, Logger: log,
	})
	a.magic.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

// Start begins to get and renew certificates, in the background until ctx is done: a failure is logged and tried again.
// httpPort and tlsPort are the ports at which this server listens for HTTP with Challenges and for TLS with TLSConfig;
// 0 where it does not. The authority asks at ports 80 and 443: what comes there must arrive here.
func (a *ACME) Start(ctx context.Context, httpPort, tlsPort int) error {
	a.issuer.AltHTTPPort, a.issuer.DisableHTTPChallenge = httpPort, httpPort == 0
	a.issuer.AltTLSALPNPort, a.issuer.DisableTLSALPNChallenge = tlsPort, tlsPort == 0
	return a.magic.ManageAsync(ctx, a.domains)
}

// Stop ends the care for certificates. The ctx of Start must be done.
func (a *ACME) Stop() { a.cache.Stop() }

// Challenges answers what the authority asks by HTTP (RFC 8555 section 8.3); everything else goes to next.
func (a *ACME) Challenges(next http.Handler) http.Handler { return a.issuer.HTTPChallengeHandler(next) }

// TLSConfig makes a server configuration that uses the certificate for the name the client asks for, and answers the
// authority's challenges. Handshakes fail until the first certificate has come.
func (a *ACME) TLSConfig(protocols ...string) *tls.Config { return a.TLSConfigFor(nil, protocols...) }

// TLSConfigFor is TLSConfig for clients that may have a certificate of their own, as Store.TLSConfigFor.
func (a *ACME) TLSConfigFor(cas *ClientCAs, protocols ...string) *tls.Config {
	outer := tlsConfig(a, cas, protocols)
	clients := outer.GetConfigForClient
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != challengeALPN {
			return clients(hello)
		}
		answer, err := a.magic.GetCertificate(hello)
		if err != nil {
			return nil, err
		}
		return config(*answer, nil, []string{challengeALPN}), nil
	}
	return outer
}

// pick implements source.
func (a *ACME) pick(hello *tls.ClientHelloInfo) (*certificate, error) {
	pair, err := a.magic.GetCertificate(hello)
	if err != nil {
		return nil, err
	}
	name := pair.Leaf.Subject.CommonName
	if len(pair.Leaf.DNSNames) > 0 {
		name = pair.Leaf.DNSNames[0]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.known[name]
	if c == nil || c.pair.Leaf != pair.Leaf || !bytes.Equal(c.pair.OCSPStaple, pair.OCSPStaple) {
		c = &certificate{name: name, pair: *pair, endPoint: endPoint(pair.Leaf)}
		a.known[name] = c
	}
	return c, nil
}

// clock implements source.
func (*ACME) clock() time.Time { return time.Now() }
