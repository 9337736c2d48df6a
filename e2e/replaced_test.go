package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

// What the log says of a certificate that cannot be used, and of one that can.
const (
	certificateKept   = `level=ERROR msg="certificate not reloaded, the old one stays in use"`
	certificateChange = `level=INFO msg="certificate reloaded"`
)

// While they talk over TLS the certificate is replaced, at first without its key: who connects then gets the one before, and the log
// has an error. With the key it is in use, on each port. Nobody's session ends, and no message is lost.
func TestCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	r := start(t, "sender0", "sender1", "sender2", "managed0", "managed1", "managed2", "managed3", "plain0", "plain1", "asleep1", "asleep2")
	before, after := r.certificate, makeCertificate(t, t.TempDir())
	first, second := readCertificate(t, before.cert), readCertificate(t, after.cert)
	replaceFile(t, before.ca, append(readFile(t, before.ca), readFile(t, after.ca)...)) // clients trust both

	c := converse(t, r, 0)
	talkers := slices.Concat(c.senders, c.readers)
	c.all(c.readers, "hear something", func(l *talker) bool { return len(l.seen) > 50 })

	replaceFile(t, before.cert, readFile(t, after.cert))
	r.handshakes("the certificate is refused", func(got *x509.Certificate) bool {
		if !got.Equal(first) {
			t.Fatal("a certificate without its key is in use")
		}
		return strings.Contains(r.process.output.String(), certificateKept)
	})
	for _, port := range []int{r.c2sTLS, r.https} {
		if got := r.handshake(port); !got.Equal(first) {
			t.Errorf("port %d has not got the certificate of before any more", port)
		}
	}
	c.goesOn()

	replaceFile(t, before.key, readFile(t, after.key))
	r.handshakes("the new certificate is in use", func(got *x509.Certificate) bool { return got.Equal(second) })
	for _, port := range []int{r.c2sTLS, r.https} {
		if got := r.handshake(port); !got.Equal(second) {
			t.Errorf("port %d has not got the new certificate", port)
		}
	}
	c.goesOn()
	said := r.process.output.String()
	for _, say := range []string{certificateKept, certificateChange} {
		if n := strings.Count(said, say); n != 1 {
			t.Errorf("the log has %q %d times, want once", say, n)
		}
	}
	if strings.Contains(said, "session closed") {
		t.Error("a session has ended")
	}
	c.end()
	for _, l := range talkers {
		if l.began != 1 || l.resumed != 0 {
			t.Errorf("%s has had %d sessions, resumed %d times", l.user, l.began, l.resumed)
		}
	}
}

// handshakes connects again and again until something is so, which is asked with the certificate of each connection: files are looked
// at when somebody connects.
func (r *rollcall) handshakes(what string, so func(got *x509.Certificate) bool) {
	r.t.Helper()
	until(r.t, what, func() bool { return so(r.handshake(r.c2sTLS)) })
}

// handshake connects to a port, and gives the certificate that is there.
func (r *rollcall) handshake(port int) *x509.Certificate {
	r.t.Helper()
	conn, err := r.dialTLS(port)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// dialTLS connects to a port, and trusts who is certified by the CA, or the CAs, of the server's file.
func (r *rollcall) dialTLS(port int) (*tls.Conn, error) {
	cas, err := os.ReadFile(r.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cas) {
		return nil, errors.New("no certificate in " + r.ca)
	}
	dialer := &net.Dialer{Timeout: patience}
	return tls.DialWithDialer(dialer, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{RootCAs: pool, ServerName: "localhost"})
}

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(readFile(t, path))
	if block == nil {
		t.Fatalf("no certificate in %s", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replaceFile puts another file in a file's place, so that nobody reads half of it.
func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	next := path + ".new"
	if err := errors.Join(os.WriteFile(next, content, 0o600), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
}
