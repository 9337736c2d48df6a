package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// certificate is a certificate for localhost, signed by a CA of this test's own. Paths of PEM files.
type certificate struct{ ca, cert, key string }

func makeCertificate(t *testing.T, dir string) certificate {
	t.Helper()
	files := certificate{
		ca:   filepath.Join(dir, "ca.pem"),
		cert: filepath.Join(dir, "cert.pem"),
		key:  filepath.Join(dir, "key.pem"),
	}
	valid := x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}

	caKey := newKey(t)
	ca := valid
	ca.SerialNumber = big.NewInt(1)
	ca.Subject = pkix.Name{CommonName: "rollcall e2e CA"}
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	signer := writeCertificate(t, files.ca, &ca, &ca, caKey, caKey)

	key := newKey(t)
	leaf := valid
	leaf.SerialNumber = big.NewInt(2)
	leaf.Subject = pkix.Name{CommonName: "localhost"}
	leaf.DNSNames = []string{"localhost"}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	writeCertificate(t, files.cert, &leaf, signer, key, caKey)

	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, files.key, "PRIVATE KEY", der)
	return files
}

// certifiedUsers makes a CA for users, and a certificate for one, with the commands of docs/sign-in.md: dir gets users-ca.pem,
// and USER.pem and USER.key.
func certifiedUsers(t *testing.T, dir, user string) {
	t.Helper()
	commands := documented(t, "sign-in.md", "sh", map[string]string{"openssl req": "openssl req", "chat.example.com": "localhost", "john": user})
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writeCertificate returns the certificate as written: with the SubjectKeyId that certificates signed by it refer to,
// which OpenSSL's strict mode (Python's default since 3.13) asks for.
func writeCertificate(
	t *testing.T, path string, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey,
) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, path, "CERTIFICATE", der)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
