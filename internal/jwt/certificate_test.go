package jwt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rollcall/internal/auth"
	"rollcall/internal/certs/certtest"
)

// Keys from a place whose certificate is not that of its host are not taken, so that nobody signs in by them; it is not even asked.
func TestCertificateOfTheKeys(t *testing.T) {
	ca := certtest.NewCA(t, "authority")
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	trusted := &tls.Config{RootCAs: roots}
	_, key := keyPairs(t)
	token := sign(t, jose.ES256, key, "", claims{"sub": "john", "iss": "https://login", "exp": in(time.Hour)})
	check := func(name string, own tls.Certificate, trust *tls.Config, discovery, good bool) {
		t.Run(fmt.Sprintf("%s, discovery %t", name, discovery), func(t *testing.T) {
			remote, asked := remoteTLS(t, own, trust, discovery, jose.JSONWebKey{Key: key.Public()})
			user, _, err := verifier(t, Config{Remote: remote, Issuer: "https://login"}).Verify(t.Context(), token)
			switch {
			case good && (err != nil || user != "john"):
				t.Errorf("%q %v", user, err)
			case !good && (err == nil || errors.Is(err, auth.ErrWrong) || !strings.Contains(err.Error(), "certificate")):
				t.Errorf("%q %v", user, err)
			case !good && asked.Load() > 0:
				t.Errorf("it has heard %d requests", asked.Load())
			}
		})
	}
	good := ca.Issue(t, x509.ExtKeyUsageServerAuth, "login")
	for _, discovery := range []bool{false, true} {
		check("good", good, trusted, discovery, true)
		check("of nobody whom the system knows", good, nil, discovery, false)
		for name, own := range ca.NotOf(t, "login") {
			check(name, own, trusted, discovery, false)
		}
	}
}

// remoteTLS gives the keys of an authority at the host login, which has a certificate, and how often it is asked.
func remoteTLS(t *testing.T, own tls.Certificate, trust *tls.Config, discovery bool, key jose.JSONWebKey) (*Remote, *atomic.Int32) {
	t.Helper()
	asked := &atomic.Int32{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var answer any = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}}
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			answer = map[string]string{"issuer": "https://login", "jwks_uri": "https://login/keys"}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	srv.TLS, srv.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{own}}, log.New(t.Output(), "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	remote, err := NewRemote("https://login", discovery, "test", trust, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remote.Close)
	return remote, asked
}
