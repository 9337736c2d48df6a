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

func template(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
}
