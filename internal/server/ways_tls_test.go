package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
	"rollcall/internal/ns"
)

// dialTLS connects to one of the entrances and, where TLS has to be asked for, asks. There is no handshake yet.
func (w *doors) dialTLS(t *testing.T, port, host string, cfg *tls.Config) (*c2stest.Peer, *tls.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", w.Addr(port).String())
	if err != nil {
		t.Fatal(err)
	}
	p := c2stest.NewStream(t, conn)
	if port == "c2s" {
		p.Open(host)
		p.Send("<starttls xmlns='" + ns.TLS + "'/>")
		p.Expect("<proceed xmlns='" + ns.TLS + "'/>")
	}
	return p, tls.Client(conn, cfg)
}

// Attack case 16 at each entrance: WebSocket and BOSH have one.
func TestNoEntranceTakesOldTLS(t *testing.T) {
	w := newDoors(t)
	for _, port := range []string{"c2s", "c2s_tls", "https"} {
		for name, tc := range map[string]struct {
			version uint16 // the newest
			suite   uint16
			good    bool
		}{
			"TLS 1.0":      {tls.VersionTLS10, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, false},
			"TLS 1.1":      {tls.VersionTLS11, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, false},
			"3DES":         {tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, false},
			"RC4":          {tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, false},
			"CBC":          {tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, false},
			"what is good": {tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true},
		} {
			_, c := w.dialTLS(t, port, "localhost", &tls.Config{RootCAs: w.own.Pool(), ServerName: "localhost",
				MinVersion: tls.VersionTLS10, MaxVersion: tc.version, CipherSuites: []uint16{tc.suite}})
			if err := c.Handshake(); (err == nil) != tc.good {
				t.Errorf("%s, %s: %v", port, name, err)
			}
		}
	}
}

// Attack case 24 at each way in by certificate: the subjectAltName says whose it is, nothing else, and it is signed, valid, for
// clients, and for a user of the host.
func TestCertificatesThatSignNobodyIn(t *testing.T) {
	dir := t.TempDir()
	ca := certtest.NewCA(t, "ours")
	w := &doors{own: certtest.New(t, "localhost")}
	w.own.Write(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "users.pem"), ca.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), []byte(`
data_dir = "data"
listen = { c2s = "127.0.0.1:0", c2s_tls = "127.0.0.1:0", http = "" }
tls = { cert = "cert.pem", key = "key.pem" }
[[host]]
name = "localhost"
auth = { client_ca = "users.pem", client_names = "email" }
`))
	if err != nil {
		t.Fatal(err)
	}
	addAccount(t, cfg, "john")
	w.Server = start(t, cfg, slog.New(slog.DiscardHandler))
	with := func(change func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.EmailAddresses, c.ExtKeyUsage = []string{"john@localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			change(c)
		}
	}
	for name, cert := range map[string]tls.Certificate{
		"good": ca.Sign(t, with(func(*x509.Certificate) {})),
		"the common name": ca.Sign(t, with(func(c *x509.Certificate) {
			c.EmailAddresses, c.Subject = nil, pkix.Name{CommonName: "john@localhost"}
		})),
		"another part of the name": ca.Sign(t, with(func(c *x509.Certificate) {
			c.EmailAddresses, c.Subject = nil, pkix.Name{CommonName: "x", OrganizationalUnit: []string{"john@localhost", "CN=john@localhost"}}
		})),
		"the address as a domain": ca.Sign(t, with(func(c *x509.Certificate) { c.EmailAddresses, c.DNSNames = nil, []string{"john.localhost"} })),
		"signed by itself":        certtest.CA{}.Sign(t, with(func(*x509.Certificate) {})),
		"of another authority":    certtest.NewCA(t, "ours").Sign(t, with(func(*x509.Certificate) {})),
		"expired":                 ca.Sign(t, with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })),
		"not valid yet":           ca.Sign(t, with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })),
		"for servers":             ca.Sign(t, with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })),
		"of another host's user":  ca.Sign(t, with(func(c *x509.Certificate) { c.EmailAddresses = []string{"john@elsewhere.example"} })),
	} {
		for _, port := range []string{"c2s", "c2s_tls"} {
			for _, f := range profiles {
				p, c := w.dialTLS(t, port, "localhost", &tls.Config{RootCAs: w.own.Pool(), ServerName: "localhost",
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }})
				p.Secure(c)
				is := strings.Contains(f.names(p.Open("localhost")), "EXTERNAL")
				p.Send(f.begin("EXTERNAL", "", ""))
				got, want := fmt.Sprint(is, " ", f.outcome(p.Receive())), "false "+auth.InvalidMechanism
				if name == "good" {
					want = "true success"
				}
				if f.space == ns.SASL && name == "good" { // "" is no initial response there
					want = "true challenge"
				}
				if got != want {
					t.Errorf("%s, %s, %s: offered and answered %s, want %s", name, port, f.name, got, want)
				}
			}
		}
	}
}

// A client signs in with a password that there was before auth.password_min, and gets no other that is shorter than that.
func TestShortPasswordOfAClient(t *testing.T) {
	dir := t.TempDir()
	w := &doors{own: certtest.New(t, "localhost")}
	w.own.Write(t, dir)
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), []byte(`
data_dir = "data"
listen = { c2s = "", c2s_tls = "127.0.0.1:0", http = "" }
tls = { cert = "cert.pem", key = "key.pem" }
[[host]]
name = "localhost"
auth = { plain = true, password_min = 8 }
`))
	if err != nil {
		t.Fatal(err)
	}
	addAccount(t, cfg, "john")
	w.Server = start(t, cfg, slog.New(slog.DiscardHandler))
	p, c := w.dialTLS(t, "c2s_tls", "localhost", &tls.Config{RootCAs: w.own.Pool(), ServerName: "localhost"})
	p.Secure(c)
	p.Open("localhost")
	p.Send(profiles[1].begin("PLAIN", "\x00john\x00pencil", "<bind xmlns='urn:xmpp:bind:0'/>"))
	if el := p.Receive(); el.Local != "success" {
		t.Fatalf("received %s", el)
	}
	p.Receive()
	for password, want := range map[string]string{"sevenup": "not-acceptable", "eightups": "result"} {
		p.Send(registration("john", password))
		if got := outcome(p.Receive()); got != want {
			t.Errorf("%s: %s, want %s", password, got, want)
		}
	}
}
