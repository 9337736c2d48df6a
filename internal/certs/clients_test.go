package certs

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/certs/certtest"
)

// shake does a handshake and one byte each way, and gives what the server saw.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err == nil {
			defer c.Close()
			if _, err = c.Write([]byte("x")); err == nil {
				_, err = c.Read(make([]byte, 1)) // takes the session ticket in
			}
		}
		done <- err
	}()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Read(make([]byte, 1))
	if err == nil {
		_, err = s.Write([]byte("y"))
	}
	s.Close()
	if other := <-done; err == nil {
		err = other
	}
	return s.(*tls.Conn).ConnectionState(), err
}

func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	own, ca, other := certtest.New(t, "localhost"), certtest.NewCA(t, "one"), certtest.NewCA(t, "other")
	file := filepath.Join(dir, "ca.pem")
	write := func(pem []byte, at time.Time) {
		t.Helper()
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	certFile, keyFile := own.Write(t, dir)
	store, err := New(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	write(ca.Cert, start)
	var log strings.Builder
	cas, err := NewClientCAs(file, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := start
	cas.now = func() time.Time { return now }
	roots := x509.NewCertPool()
	roots.AddCert(own.Leaf)
	cache := tls.NewLRUClientSessionCache(10)
	client := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{ServerName: "localhost", RootCAs: roots, Certificates: certs}
	}
	server := store.TLSConfigFor(cas, "h2")
	good := ca.Issue(t, x509.ExtKeyUsageClientAuth)

	if s, err := shake(t, server, client()); err != nil || len(s.VerifiedChains) != 0 {
		t.Errorf("without a certificate: %v, %d chains", err, len(s.VerifiedChains))
	}
	if s, err := shake(t, server, client(good)); err != nil || len(s.VerifiedChains) != 1 {
		t.Errorf("a good one: %v, %d chains", err, len(s.VerifiedChains))
	}
	// Go's client leaves out a certificate that no CA of the server's signed, so it is made to send it.
	forced := func(c tls.Certificate) *tls.Config {
		cfg := client()
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
		return cfg
	}
	if _, err := shake(t, server, forced(other.Issue(t, x509.ExtKeyUsageClientAuth))); err == nil {
		t.Error("one of another CA is taken")
	}
	if _, err := shake(t, server, forced(ca.Issue(t, x509.ExtKeyUsageServerAuth))); err == nil {
		t.Error("one for servers is taken")
	}
	if s, err := shake(t, store.TLSConfig(), forced(good)); err != nil || len(s.PeerCertificates) != 0 {
		t.Errorf("a listener that asks for none: %v, %d", err, len(s.PeerCertificates))
	}

	// Renewed CAs are used, and no session of the old ones is resumed.
	resuming := client(good)
	resuming.ClientSessionCache = cache
	for i, want := range []bool{false, true} {
		if s, err := shake(t, server, resuming); err != nil || s.DidResume != want || len(s.VerifiedChains) != 1 {
			t.Fatalf("time %d: %v, resumed %v", i+1, err, s.DidResume)
		}
	}
	write([]byte("rubbish"), start.Add(time.Minute))
	now = now.Add(time.Minute)
	if s, err := shake(t, server, client(good)); err != nil || len(s.VerifiedChains) != 1 || !strings.Contains(log.String(), "not reloaded") {
		t.Errorf("a broken file: %v\n%s", err, log.String())
	}
	write(other.Cert, start.Add(2*time.Minute))
	now = now.Add(time.Minute)
	if s, err := shake(t, server, resuming); err == nil && (s.DidResume || len(s.VerifiedChains) != 0) {
		t.Errorf("a session of the old CAs is resumed: %v, %d chains", s.DidResume, len(s.VerifiedChains))
	}
	if s, err := shake(t, server, forced(other.Issue(t, x509.ExtKeyUsageClientAuth))); err != nil || len(s.VerifiedChains) != 1 {
		t.Errorf("one of the new CA: %v", err)
	}
}

func TestClientCAsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, filepath.Join(dir, "missing.pem")} {
		if _, err := NewClientCAs(file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
