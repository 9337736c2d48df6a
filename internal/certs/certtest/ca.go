package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// A CA signs certificates.
type CA struct {
	Leaf *x509.Certificate
	Cert []byte // in PEM
	key  *ecdsa.PrivateKey
}

// NewCA makes a CA.
func NewCA(tb testing.TB, name string) CA {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := template(tb, name)
	template.KeyUsage, template.IsCA, template.BasicConstraintsValid = x509.KeyUsageCertSign, true, true
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return CA{leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key}
}

// Issue signs a certificate for one use. Names with an "@" are email addresses, the others domains.
func (c CA) Issue(tb testing.TB, usage x509.ExtKeyUsage, names ...string) tls.Certificate {
	tb.Helper()
	return c.Sign(tb, func(template *x509.Certificate) {
		template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		for _, name := range names {
			if strings.Contains(name, "@") {
				template.EmailAddresses = append(template.EmailAddresses, name)
			} else {
				template.DNSNames = append(template.DNSNames, name)
			}
		}
	})
}

// Sign signs a certificate that is what fill makes of it; that of the zero CA is signed by itself.
func (c CA) Sign(tb testing.TB, fill func(*x509.Certificate)) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := template(tb, "issued")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	fill(template)
	parent, by := c.Leaf, c.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// NotOf gives certificates that show nobody to be the service of a host, by what is wrong with them. All but two are of c.
func (c CA) NotOf(tb testing.TB, host string) map[string]tls.Certificate {
	tb.Helper()
	ours := func(change func(*x509.Certificate)) func(*x509.Certificate) {
		return func(template *x509.Certificate) {
			template.DNSNames, template.ExtKeyUsage = []string{host}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			change(template)
		}
	}
	good := ours(func(*x509.Certificate) {})
	return map[string]tls.Certificate{
		"expired":              c.Sign(tb, ours(func(t *x509.Certificate) { t.NotAfter = t.NotBefore.Add(time.Minute) })),
		"not valid yet":        c.Sign(tb, ours(func(t *x509.Certificate) { t.NotBefore = t.NotAfter.Add(-time.Minute) })),
		"of another host":      c.Issue(tb, x509.ExtKeyUsageServerAuth, "not."+host),
		"the CN alone":         c.Sign(tb, ours(func(t *x509.Certificate) { t.Subject.CommonName, t.DNSNames = host, nil })),
		"for clients":          c.Issue(tb, x509.ExtKeyUsageClientAuth, host),
		"of another authority": NewCA(tb, c.Leaf.Subject.CommonName).Sign(tb, good),
		"signed by itself":     CA{}.Sign(tb, good),
	}
}

func template(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
}
