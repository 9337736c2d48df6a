package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rollcall/internal/certs/certtest"
)

// newACME is a source that has asked nobody yet; how it gets certificates is tested with a real authority in e2e.
func newACME(t *testing.T, log *slog.Logger, domains ...string) *ACME {
	t.Helper()
	a, err := NewACME(ACMEOptions{
		Email: "admin@a.example", Directory: "https://127.0.0.1:1/dir", Folder: t.TempDir(), Domains: domains, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

// have puts a certificate there as if it had come from the authority.
func have(t *testing.T, a *ACME, p certtest.Pair) {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.magic.CacheUnmanagedTLSCertificate(t.Context(), pair, nil); err != nil {
		t.Fatal(err)
	}
}

func TestEachDomainHasItsCertificate(t *testing.T) {
	a := newACME(t, slog.New(slog.DiscardHandler), "a.example", "bücher.example")
	first, second := certtest.New(t, "a.example"), certtest.New(t, "xn--bcher-kva.example")
	have(t, a, first)
	have(t, a, second)
	server := a.TLSConfig("h2")
	f := &fixture{t: t}
	for name, want := range map[string]certtest.Pair{
		"a.example": first, "A.Example": first, "xn--bcher-kva.example": second, "other.example": first, "": first,
	} {
		state, conn := f.handshake(server, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if !state.PeerCertificates[0].Equal(want.Leaf) || state.NegotiatedProtocol != "h2" {
			t.Errorf("%q: the certificate of %v, protocol %q", name, state.PeerCertificates[0].DNSNames, state.NegotiatedProtocol)
		}
		if sum := sha256.Sum256(want.Leaf.Raw); !bytes.Equal(conn.EndPoint(), sum[:]) {
			t.Errorf("%q: tls-server-end-point is not that of the certificate served", name)
		}
	}
}

// A ticket of one domain is none for another: its client has not seen that certificate.
func TestResumptionPerDomain(t *testing.T) {
	a := newACME(t, slog.New(slog.DiscardHandler), "a.example", "b.example")
	have(t, a, certtest.New(t, "a.example"))
	have(t, a, certtest.New(t, "b.example"))
	server := a.TLSConfig()
	f := &fixture{t: t}
	cache := oneSession{tls.NewLRUClientSessionCache(1)}
	resumed := func(name string) bool {
		state, _ := f.handshake(server, &tls.Config{ServerName: name, InsecureSkipVerify: true, ClientSessionCache: cache})
		return state.DidResume
	}
	if resumed("a.example") || !resumed("a.example") || !resumed("a.example") {
		t.Error("a session is not resumed")
	}
	if resumed("b.example") {
		t.Error("a session of another domain was resumed")
	}
}

// oneSession gives the last session to every server.
type oneSession struct{ tls.ClientSessionCache }

func (c oneSession) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get("x") }
func (c oneSession) Put(_ string, s *tls.ClientSessionState)    { c.ClientSessionCache.Put("x", s) }

func TestNothingIsServedBeforeTheFirstCertificate(t *testing.T) {
	a := newACME(t, slog.New(slog.DiscardHandler), "a.example")
	config := a.TLSConfig("h2", "http/1.1")
	for _, protocols := range [][]string{{"h2"}, {challengeALPN}} {
		got, err := config.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "a.example", SupportedProtos: protocols, Conn: fakeConn(t)})
		if err == nil {
			t.Errorf("%v: a handshake is answered with %d certificates", protocols, len(got.Certificates))
		}
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, path := range []string{"/", "/.well-known/acme-challenge/x", "/.well-known/host-meta"} {
		w := httptest.NewRecorder()
		a.Challenges(next).ServeHTTP(w, httptest.NewRequest("GET", "http://a.example"+path, nil))
		if w.Code != http.StatusTeapot {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestADomainThatIsNone(t *testing.T) {
	_, err := NewACME(ACMEOptions{Folder: t.TempDir(), Domains: []string{"a b.example"}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), `"a b.example"`) {
		t.Errorf("error %v", err)
	}
}

func TestLogsOfTheLibrary(t *testing.T) {
	var out bytes.Buffer
	log := zap.New(zapCore{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})}).Named("obtain").With(zap.String("ca", "x"))
	log.Debug("hidden")
	log.Warn("again", zap.Int("attempt", 2), zap.Error(errors.New("no\nluck")))
	if got := out.String(); strings.Contains(got, "hidden") || strings.Count(got, "\n") != 1 ||
		!strings.Contains(got, `level=WARN msg="certificates: again" ca=x attempt=2 error="no\nluck"`) {
		t.Errorf("logged\n%s", got)
	}
}

func fakeConn(t *testing.T) net.Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a
}

// net/http speaks HTTP/2 only when the outer configuration has it; with a plain listener beside it that is decided by
// whichever is served first.
func TestProtocolsStandOutside(t *testing.T) {
	for name, c := range map[string]*tls.Config{
		"files": newFixture(t, certtest.New(t, "localhost")).TLSConfig("h2"), "ACME": newACME(t, slog.New(slog.DiscardHandler), "a.example").TLSConfig("h2"),
	} {
		if len(c.NextProtos) != 1 || c.NextProtos[0] != "h2" {
			t.Errorf("%s: %v", name, c.NextProtos)
		}
	}
}
