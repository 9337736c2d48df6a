package certs

import (
	"crypto"
	"crypto/rand"
	_ "crypto/sha256" // the hashes that endPoint uses
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a network connection that remembers which certificate the TLS handshake over it used. Wrap a connection in
// it before it is given to tls.Server.
type Conn struct {
	net.Conn
	used atomic.Pointer[certificate]
	gate atomic.Pointer[gate] // nil until the handshake takes a turn
}

// EndPoint gives the channel-binding data tls-server-end-point of the handshake over this connection: nil before it,
// and for a certificate whose signature names no hash (Ed25519).
func (c *Conn) EndPoint() []byte {
	if used := c.used.Load(); used != nil {
		return used.endPoint
	}
	return nil
}

// cipherSuites are those of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 section 4.2). Those of
// TLS 1.3 all have both and are not configurable.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// ticketLife is how long one key makes session tickets. Tickets of the key before it are still taken.
const ticketLife = 24 * time.Hour

// A source knows the certificate for each handshake.
type source interface {
	pick(*tls.ClientHelloInfo) (*certificate, error) // by any goroutine
	clock() time.Time
}

// serving is what new handshakes with a certificate use: it, and the keys of its session tickets.
type serving struct {
	cert   *certificate
	pool   *x509.CertPool // of clients' certificates
	config *tls.Config
	keys   [][32]byte // the first makes tickets, all take them
	since  time.Time
}

// tlsConfig makes a server configuration that always uses the certificate that src picks. protocols are the ALPN names
// the listener speaks; none means that ALPN is left alone. Clients may have a certificate of their own: one that is sent
// must be good. nil asks for none.
//
// Each certificate has ticket keys of its own: a resumed session is one whose client has seen this very certificate,
// which makes tls-server-end-point right for it as well. The same holds for the CAs of clients: a session that was made
// under older ones is not resumed.
func tlsConfig(src source, clients *ClientCAs, protocols []string) *tls.Config {
	var mu sync.Mutex
	now := map[string]serving{} // by the certificate's name; a renewed one takes the place of the old
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols, // net/http looks here whether it is to speak HTTP/2
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			cert, err := src.pick(hello)
			if err != nil {
				return nil, err
			}
			pool, at := clients.pool(), src.clock()
			mu.Lock()
			s := now[cert.name]
			if s.cert != cert || s.pool != pool || at.Sub(s.since) >= ticketLife {
				s = s.next(cert, pool, protocols, at)
				now[cert.name] = s
			}
			mu.Unlock()
			if c, ok := hello.Conn.(*Conn); ok {
				c.used.Store(cert)
			}
			return s.config, nil
		},
	}
}

func (o serving) next(cert *certificate, pool *x509.CertPool, protocols []string, at time.Time) serving {
	n := serving{cert: cert, pool: pool, config: config(cert.pair, pool, protocols), keys: make([][32]byte, 1, 2), since: at}
	rand.Read(n.keys[0][:]) // never fails (crypto/rand)
	if o.cert == cert && o.pool == pool {
		n.keys = append(n.keys, o.keys[0])
	}
	// Without keys of its own a configuration from GetConfigForClient would use those of the outer one.
	n.config.SetSessionTicketKeys(n.keys)
	return n
}

func config(pair tls.Certificate, clients *x509.CertPool, protocols []string) *tls.Config {
	t := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: cipherSuites,
		NextProtos:   protocols,
	}
	if clients != nil {
		t.ClientAuth, t.ClientCAs = tls.VerifyClientCertIfGiven, clients
	}
	return t
}

// endPoint hashes a certificate as RFC 5929 section 4.1 says: with the hash of its signature, but SHA-256 instead of
// MD5 and SHA-1.
func endPoint(cert *x509.Certificate) []byte {
	var h crypto.Hash
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil
	}
	d := h.New()
	d.Write(cert.Raw)
	return d.Sum(nil)
}

// Listen wraps the connections that l accepts in Conn, for a server that puts TLS over them itself, as net/http does.
func Listen(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c}, nil
}
