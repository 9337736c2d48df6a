package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, by *authority) *authority {
	t.Helper()
	c := certificate("authority")
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	a := &authority{}
	a.cert, a.key = issue(t, c, by)
	return a
}

func certificate(cn string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// issue signs a certificate; nil: by itself.
func issue(t *testing.T, c *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// xmppNames makes a subjectAltName of id-on-xmppAddr, with another otherName before them.
func xmppNames(t *testing.T, critical bool, addresses ...string) []pkix.Extension {
	t.Helper()
	must := func(b []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	name := func(id asn1.ObjectIdentifier, text string) asn1.RawValue {
		value := must(asn1.MarshalWithParams(text, "utf8"))
		wrapped := must(asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}))
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(must(asn1.Marshal(id)), wrapped...)}
	}
	names := []asn1.RawValue{name(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, "marie@localhost")}
	for _, a := range addresses {
		names = append(names, name(oidXMPPAddr, a))
	}
	return []pkix.Extension{{Id: oidSubjectAltName, Critical: critical, Value: must(asn1.Marshal(names))}}
}

// Attack case 24, and XEP-0178 section 2.
func TestCertificates(t *testing.T) {
	ca, stranger := newAuthority(t, nil), newAuthority(t, nil)
	between := newAuthority(t, ca)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	server := func(email bool) *Server {
		return newServer(t, Accounts{Source: users{"john": pencil(), "marie": pencil()}}, func(c *Config) {
			c.Certificates = &Certificates{Roots: func() *x509.CertPool { return pool }, Email: email}
		})
	}
	john := xmppNames(t, false, "john@localhost")
	with := func(change func(*x509.Certificate)) *x509.Certificate {
		c := certificate("marie@localhost") // where nobody looks
		c.ExtraExtensions = john
		change(c)
		return c
	}
	same := func(*x509.Certificate) {}
	for name, tc := range map[string]struct {
		cert    *x509.Certificate
		by      *authority
		chain   []*x509.Certificate
		email   bool
		authzid string
		want    string // a user, or a condition
	}{
		"one address":                     {cert: with(same), by: ca, want: "john"},
		"which it names":                  {cert: with(same), by: ca, authzid: "john@localhost", want: "john"},
		"another's":                       {cert: with(same), by: ca, authzid: "marie@localhost", want: InvalidAuthzid},
		"another host's":                  {cert: with(same), by: ca, authzid: "john@other.example", want: InvalidAuthzid},
		"a chain":                         {cert: with(same), by: between, chain: []*x509.Certificate{between.cert}, want: "john"},
		"half a chain":                    {cert: with(same), by: between, want: InvalidMechanism},
		"another CA":                      {cert: with(same), by: stranger, want: InvalidMechanism},
		"another CA, which it brings":     {cert: with(same), by: stranger, chain: []*x509.Certificate{stranger.cert}, want: InvalidMechanism},
		"self-signed":                     {cert: with(same), want: InvalidMechanism},
		"expired":                         {cert: with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), by: ca, want: InvalidMechanism},
		"not yet valid":                   {cert: with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), by: ca, want: InvalidMechanism},
		"a server's":                      {cert: with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), by: ca, want: InvalidMechanism},
		"a common name and nothing else":  {cert: certificate("john@localhost"), by: ca, want: InvalidMechanism},
		"an email address that is none":   {cert: with(func(c *x509.Certificate) { c.ExtraExtensions, c.EmailAddresses = nil, []string{"john@localhost"} }), by: ca, want: InvalidMechanism},
		"an email address that is one":    {cert: with(func(c *x509.Certificate) { c.ExtraExtensions, c.EmailAddresses = nil, []string{"john@localhost"} }), by: ca, email: true, want: "john"},
		"an address where email is asked": {cert: with(same), by: ca, email: true, want: InvalidMechanism},
		"critical":                        {cert: with(func(c *x509.Certificate) { c.ExtraExtensions = xmppNames(t, true, "john@localhost") }), by: ca, want: "john"},
		"several": {cert: with(func(c *x509.Certificate) {
			c.ExtraExtensions = xmppNames(t, false, "john@localhost", "marie@localhost")
		}), by: ca, want: InvalidAuthzid},
		"one of several": {cert: with(func(c *x509.Certificate) {
			c.ExtraExtensions = xmppNames(t, false, "john@localhost", "marie@localhost")
		}), by: ca, authzid: "marie@localhost", want: "marie"},
		"one here and others elsewhere": {cert: with(func(c *x509.Certificate) {
			c.ExtraExtensions = xmppNames(t, false, "marie@other.example", "JOHN@localhost", "@", "localhost", "john@localhost/x")
		}), by: ca, want: "john"},
		"nobody here": {cert: with(func(c *x509.Certificate) {
			c.ExtraExtensions = xmppNames(t, false, "john@other.example")
		}), by: ca, want: InvalidMechanism},
		"somebody without an account": {cert: with(func(c *x509.Certificate) {
			c.ExtraExtensions = xmppNames(t, false, "anna@localhost")
		}), by: ca, want: NotAuthorized},
		"a name that is no name": {cert: with(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{0x30, 0x03, 0xa0, 0x01, 0x06}}}
		}), by: ca, want: InvalidMechanism},
	} {
		cert, _ := issueOrSkip(t, tc.cert, tc.by)
		if cert == nil {
			continue
		}
		s := server(tc.email)
		ch := s.Certified(Channel{Secure: true, Certificates: append([]*x509.Certificate{cert}, tc.chain...)})
		if offered := slices.Contains(s.Mechanisms(ch), "EXTERNAL"); offered != (tc.want != InvalidMechanism) {
			t.Errorf("%s: offered %v", name, offered)
		}
		x, err := s.Start("EXTERNAL", ch)
		if err == nil {
			_, _, err = x.Next(t.Context(), []byte(tc.authzid))
		}
		if strings.Contains(tc.want, "-") {
			wantFailure(t, err, tc.want)
		} else if err != nil || x.Username() != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// issueOrSkip gives no certificate when crypto/x509 cannot read it: a handshake with it fails.
func issueOrSkip(t *testing.T, c *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil
	}
	return made, key
}
