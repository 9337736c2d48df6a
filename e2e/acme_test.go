package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// acmeServer writes the configuration of a server that has its certificates from a, with the listeners of listen.
func acmeServer(t *testing.T, dir string, a *authority, listen string, domains ...string) (config string) {
	t.Helper()
	text := fmt.Sprintf("data_dir = \"data\"\nlog.level = \"debug\"\n[listen]\n%s\n[tls.acme]\nemail = \"admin@acme.test\"\ndirectory = %q\nca_file = %q\n",
		listen, a.directory, a.ca)
	for _, d := range domains {
		text += fmt.Sprintf("[[host]]\nname = %q\nroster.url = \"http://127.0.0.1:1/%%s\"\n", d)
	}
	config = filepath.Join(dir, "rollcall.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// What the library says when it has a certificate, and when that one is in use.
var (
	gotCertificate = regexp.MustCompile(`certificate obtained successfully`)
	inUse          = regexp.MustCompile(`certificate obtained successfully(.|\n)*added certificate to cache`)
	bothInUse      = regexp.MustCompile(`(added certificate to cache(.|\n)*){2}`)
	renewed        = regexp.MustCompile(`certificate renewed successfully(.|\n)*replaced certificate in cache`)
)

// Certificates for two hosts, asked for by TLS-ALPN-01, are used on all three listeners that speak TLS; after a restart
// they are used again, and the authority is not asked.
func TestACMEByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c2s, direct, https := freePort(t), freePort(t), freePort(t)
	a := startAuthority(t, dir, freePort(t), https, 90*24*time.Hour)
	config := acmeServer(t, dir, a, fmt.Sprintf("c2s = \"127.0.0.1:%d\"\nc2s_tls = \"127.0.0.1:%d\"\nhttps = \"127.0.0.1:%d\"\nhttp = \"\"", c2s, direct, https),
		"a.acme.test", "b.acme.test")
	serials := map[string]string{}
	for run := range 2 {
		p := startProcess(t, exec.Command(binary, "serve", "-c", config))
		p.waitOutput(t, bothInUse)
		p.waitOutput(t, regexp.MustCompile(`msg=ready`))
		roots := a.roots(t)
		for _, name := range []string{"a.acme.test", "b.acme.test"} {
			for listener, dial := range map[string]func() (net.Conn, error){
				"https":   func() (net.Conn, error) { return net.Dial("tcp", fmt.Sprint("127.0.0.1:", https)) },
				"c2s_tls": func() (net.Conn, error) { return net.Dial("tcp", fmt.Sprint("127.0.0.1:", direct)) },
				"c2s":     func() (net.Conn, error) { return dialSTARTTLS(fmt.Sprint("127.0.0.1:", c2s), name) },
			} {
				leaf := handshake(t, listener, dial, &tls.Config{ServerName: name, RootCAs: roots})
				if serials[name] == "" {
					serials[name] = leaf.SerialNumber.String()
				}
				if serials[name] != leaf.SerialNumber.String() || len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != name {
					t.Errorf("run %d, %s: certificate %s for %v, want %s", run, listener, leaf.SerialNumber, leaf.DNSNames, serials[name])
				}
			}
		}
		p.stop(t)
		if text := p.output.String(); run == 1 && gotCertificate.MatchString(text) {
			t.Error("a certificate was asked for though there was one")
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, "data", "acme")); err != nil || fi.Mode().Perm()&0o077 != 0 {
		t.Errorf("the folder of keys: %v, %v; want it closed to others", fi, err)
	}
}

// The http listener alone is enough: HTTP-01. The certificate is then there for STARTTLS.
func TestACMEByHTTP(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c2s, http := freePort(t), freePort(t)
	a := startAuthority(t, dir, http, freePort(t), 90*24*time.Hour)
	config := acmeServer(t, dir, a, fmt.Sprintf("c2s = \"127.0.0.1:%d\"\nhttp = \"127.0.0.1:%d\"", c2s, http), "c.acme.test")
	p := startProcess(t, exec.Command(binary, "serve", "-c", config))
	p.waitOutput(t, inUse)
	leaf := handshake(t, "c2s", func() (net.Conn, error) { return dialSTARTTLS(fmt.Sprint("127.0.0.1:", c2s), "c.acme.test") },
		&tls.Config{ServerName: "c.acme.test", RootCAs: a.roots(t)})
	if leaf.DNSNames[0] != "c.acme.test" {
		t.Errorf("certificate for %v", leaf.DNSNames)
	}
}

// A certificate that has run out while the server was down is renewed when it is up again.
func TestACMERenews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	https := freePort(t)
	a := startAuthority(t, dir, freePort(t), https, 5*time.Second)
	config := acmeServer(t, dir, a, fmt.Sprintf("c2s = \"\"\nhttp = \"\"\nhttps = \"127.0.0.1:%d\"", https), "d.acme.test")
	serve := func(said *regexp.Regexp) *x509.Certificate {
		p := startProcess(t, exec.Command(binary, "serve", "-c", config))
		defer p.stop(t)
		p.waitOutput(t, said)
		// What counts is which certificate it is: it may have run out while we look.
		return handshake(t, "https", func() (net.Conn, error) { return net.Dial("tcp", fmt.Sprint("127.0.0.1:", https)) },
			&tls.Config{ServerName: "d.acme.test", InsecureSkipVerify: true})
	}
	first := serve(inUse)
	<-time.After(time.Until(first.NotAfter)) // the only clock that an authority knows
	if second := serve(renewed); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the old certificate is used")
	}
}

// handshake connects and returns the certificate that the listener showed.
func handshake(t *testing.T, listener string, dial func() (net.Conn, error), config *tls.Config) *x509.Certificate {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatalf("%s: %v", listener, err)
	}
	defer conn.Close()
	c := tls.Client(conn, config)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("%s, %s: %v", listener, config.ServerName, err)
	}
	return c.ConnectionState().PeerCertificates[0]
}

// dialSTARTTLS goes through RFC 6120 section 5.4.2 up to the handshake.
func dialSTARTTLS(addr, domain string) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "<stream:stream to='%s' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"+
		"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", domain)
	var got strings.Builder
	for b := make([]byte, 1); !strings.Contains(got.String(), "<proceed"); got.Write(b) {
		if _, err := io.ReadFull(conn, b); err != nil {
			conn.Close()
			return nil, fmt.Errorf("after %s: %w", &got, err)
		}
	}
	for b := make([]byte, 1); b[0] != '>'; {
		if _, err := io.ReadFull(conn, b); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}
