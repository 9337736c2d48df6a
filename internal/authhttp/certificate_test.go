package authhttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rollcall/internal/certs/certtest"
)

// A service whose certificate is not that of its host is one that is not there: it hears nothing, and no password is wrong.
func TestCertificateOfTheService(t *testing.T) {
	ca := certtest.NewCA(t, "authority")
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	trusted := &tls.Config{RootCAs: roots}
	check := func(name string, own tls.Certificate, trust *tls.Config, good bool) {
		t.Run(name, func(t *testing.T) {
			s := &service{}
			c, basic := serveTLS(t, s, own, trust, nil), serveTLS(t, s, own, trust, basicStyle)
			_, keys := c.Credentials(t.Context(), "john")
			right, password := c.Check(t.Context(), "john", secret)
			rightToo, asUser := basic.Check(t.Context(), "john", secret)
			if right != good || rightToo != good {
				t.Errorf("right: %t, basic %t", right, rightToo)
			}
			for what, err := range map[string]error{"keys": keys, "a password": password, "basic": asUser} {
				if good != (err == nil) || !good && !strings.Contains(err.Error(), "certificate") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if asked := s.asked.Load(); !good && asked > 0 {
				t.Errorf("it has heard %d requests", asked)
			}
		})
	}
	good := ca.Issue(t, x509.ExtKeyUsageServerAuth, "app")
	check("good", good, trusted, true)
	check("of nobody whom the system knows", good, nil, false)
	for name, own := range ca.NotOf(t, "app") {
		check(name, own, trusted, false)
	}
}

// serveTLS gives a client of a service at the host app, which has a certificate.
func serveTLS(t *testing.T, s *service, own tls.Certificate, trust *tls.Config, change func(*Config)) *Client {
	t.Helper()
	srv := httptest.NewUnstartedServer(s)
	srv.TLS, srv.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{own}}, log.New(t.Output(), "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	cfg := Config{Host: "localhost", URL: "http://app/auth/", Style: MongooseIM, Timeout: 10 * time.Second, Concurrency: 1, UserAgent: "test", TLS: trust,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
		}}
	if change != nil {
		change(&cfg)
	}
	cfg.URL = strings.Replace(cfg.URL, "http:", "https:", 1)
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
