package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/certs/certtest"
)

// fixture is a store over files in a folder of its own, with a clock that the test moves.
type fixture struct {
	*Store
	t    *testing.T
	dir  string
	logs bytes.Buffer
	at   time.Time
}

func newFixture(t *testing.T, p certtest.Pair) *fixture {
	f := &fixture{t: t, dir: t.TempDir(), at: time.Now()}
	cert, key := p.Write(t, f.dir)
	s, err := New(cert, key, slog.New(slog.NewTextHandler(&f.logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f.Store = s
	s.now = func() time.Time { return f.at }
	s.polled = f.at
	return f
}

// replace writes files with a modification time that differs from the old one, whatever the file system's clock.
func (f *fixture) replace(cert, key []byte) {
	f.t.Helper()
	f.at = f.at.Add(pollInterval)
	for name, b := range map[string][]byte{f.certFile: cert, f.keyFile: key} {
		if b == nil {
			continue
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			f.t.Fatal(err)
		}
		if err := os.Chtimes(name, f.at, f.at); err != nil {
			f.t.Fatal(err)
		}
	}
}

// handshake connects a client to a server with config and gives what the client saw and what the server's side of
// the connection remembers.
func (f *fixture) handshake(server, client *tls.Config) (tls.ConnectionState, *Conn) {
	f.t.Helper()
	// Over a real socket: the server's session tickets come after its handshake, which a pipe would not buffer.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *Conn)
	go func() {
		defer close(accepted)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		wrapped := &Conn{Conn: c}
		s := tls.Server(wrapped, server)
		if s.Handshake() == nil {
			s.Write([]byte("x"))
		}
		accepted <- wrapped
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		<-accepted
		f.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		f.t.Fatal(err)
	}
	return c.ConnectionState(), <-accepted
}

func TestReload(t *testing.T) {
	first, second := certtest.New(t, "localhost"), certtest.New(t, "localhost")
	f := newFixture(t, first)
	server := f.TLSConfig()
	client := &tls.Config{InsecureSkipVerify: true}
	served := func(step string, want certtest.Pair) {
		t.Helper()
		got, conn := f.handshake(server, client)
		if !got.PeerCertificates[0].Equal(want.Leaf) {
			t.Fatalf("%s: another certificate is served", step)
		}
		if sum := sha256.Sum256(want.Leaf.Raw); !bytes.Equal(conn.EndPoint(), sum[:]) {
			t.Fatalf("%s: tls-server-end-point is not that of the certificate served", step)
		}
	}
	served("at start", first)

	f.replace(second.Cert, nil)
	served("certificate without its key", first)
	served("asked again", first)
	if n := strings.Count(f.logs.String(), "level=ERROR"); n != 1 {
		t.Errorf("the mismatch was logged %d times, want once:\n%s", n, &f.logs)
	}

	f.replace(nil, second.Key)
	served("with its key", second)

	f.replace([]byte("no PEM"), nil)
	served("broken file", second)

	if err := os.Remove(f.certFile); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(pollInterval)
	served("file gone", second)

	f.replace(first.Cert, first.Key)
	served("back again", first)
}

func TestFilesAreLookedAtNowAndThen(t *testing.T) {
	first, second := certtest.New(t, "localhost"), certtest.New(t, "localhost")
	f := newFixture(t, first)
	f.replace(second.Cert, second.Key)
	f.at = f.polled.Add(pollInterval - time.Nanosecond)
	if !f.refresh().pair.Leaf.Equal(first.Leaf) {
		t.Error("the files were read again before the interval had passed")
	}
	f.at = f.polled.Add(pollInterval)
	if !f.refresh().pair.Leaf.Equal(second.Leaf) {
		t.Error("the files were not read again after the interval")
	}
}

// A resumed session has no Certificate message: its end point is the certificate that the client saw before, so a
// ticket must not outlive its certificate.
func TestResumption(t *testing.T) {
	first, second := certtest.New(t, "localhost"), certtest.New(t, "localhost")
	f := newFixture(t, first)
	server := f.TLSConfig()
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost",
		ClientSessionCache: tls.NewLRUClientSessionCache(4)}

	f.handshake(server, client)
	state, conn := f.handshake(server, client)
	if !state.DidResume {
		t.Fatal("a session ticket was not taken")
	}
	if sum := sha256.Sum256(first.Leaf.Raw); !bytes.Equal(conn.EndPoint(), sum[:]) {
		t.Error("a resumed session has no end point")
	}

	f.at = f.at.Add(ticketLife)
	if state, _ = f.handshake(server, client); !state.DidResume {
		t.Error("a ticket of the key before was not taken")
	}

	f.replace(second.Cert, second.Key)
	state, conn = f.handshake(server, client)
	if state.DidResume {
		t.Error("a ticket made under the old certificate was taken")
	}
	if sum := sha256.Sum256(second.Leaf.Raw); !bytes.Equal(conn.EndPoint(), sum[:]) {
		t.Error("the end point is not that of the new certificate")
	}
}

// Attack case 16.
func TestOldProtocolsAreRefused(t *testing.T) {
	f := newFixture(t, certtest.New(t, "localhost"))
	for name, client := range map[string]*tls.Config{
		"TLS 1.1":        {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"3DES":           {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}},
		"RC4":            {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}},
		"CBC":            {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"other protocol": {NextProtos: []string{"h2"}},
	} {
		t.Run(name, func(t *testing.T) {
			client.InsecureSkipVerify = true
			a, b := net.Pipe()
			done := make(chan error, 1)
			go func() {
				defer b.Close()
				done <- tls.Server(b, f.TLSConfig("xmpp-client")).Handshake()
			}()
			if err := tls.Client(a, client).Handshake(); err == nil {
				t.Error("the client was served")
			}
			a.Close()
			if err := <-done; err == nil {
				t.Error("the server took the handshake for a good one")
			}
		})
	}
	state, _ := f.handshake(f.TLSConfig("xmpp-client"), &tls.Config{InsecureSkipVerify: true,
		NextProtos: []string{"xmpp-client"}})
	if state.NegotiatedProtocol != "xmpp-client" || state.Version != tls.VersionTLS13 {
		t.Errorf("negotiated %q and version %x", state.NegotiatedProtocol, state.Version)
	}
}

func TestEd25519HasNoEndPoint(t *testing.T) {
	f := newFixture(t, certtest.NewEd25519(t, "localhost"))
	if _, conn := f.handshake(f.TLSConfig(), &tls.Config{InsecureSkipVerify: true}); conn.EndPoint() != nil {
		t.Error("an end point was made up: RFC 5929 defines none for Ed25519")
	}
}

func TestNewNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	cert, key := certtest.New(t, "a").Write(t, dir)
	_, otherKey := certtest.New(t, "b").Write(t, t.TempDir())
	for _, tc := range []struct{ cert, key, want string }{
		{filepath.Join(dir, "none.pem"), key, "none.pem"},
		{cert, filepath.Join(dir, "none.key"), "none.key"},
		{cert, otherKey, otherKey},
		{key, key, key},
	} {
		if _, err := New(tc.cert, tc.key, log); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("New(%q, %q): error %v does not name %q", tc.cert, tc.key, err, tc.want)
		}
	}
}
