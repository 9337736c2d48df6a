package auth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"time"

	"rollcall/internal/jid"
)

// Certificates say which certificates of clients sign users of a host in, by EXTERNAL (XEP-0178 v1.2 section 2). Whose a
// certificate is stands in its subjectAltName, nowhere else.
type Certificates struct {
	Roots func() *x509.CertPool // the CAs that count; called for each connection with a certificate
	Email bool                  // email addresses are users' addresses; otherwise id-on-xmppAddr is (RFC 6120 section 13.7.1.4)
}

// maxNames bounds how many users one certificate may be for.
const maxNames = 16

// Certified gives the channel with whom the client may be by its certificate, for Start and the others. What is wrong with a
// certificate is not told apart: the client is then one that has none.
func (s *Server) Certified(ch Channel) Channel {
	ch.names = nil
	if s.certificates == nil || len(ch.Certificates) == 0 || !ch.Secure {
		return ch
	}
	leaf := *ch.Certificates[0]
	// The name is dealt with here, but crypto/x509 does not know this kind of it.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidSubjectAltName.Equal)
	between := x509.NewCertPool()
	for _, c := range ch.Certificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.certificates.Roots(), Intermediates: between, CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return ch
	}
	names := leaf.EmailAddresses
	if !s.certificates.Email {
		names = xmppAddresses(leaf.Extensions)
	}
	for _, name := range names[:min(len(names), maxNames)] {
		if j, err := jid.Parse(name); err == nil && j.IsBare() && j.Domain() == s.host && !slices.Contains(ch.names, j.Local()) {
			ch.names = append(ch.names, j.Local())
		}
	}
	return ch
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
)

// xmppAddresses reads the id-on-xmppAddr of a subjectAltName: otherName [0] { type-id, value [0] EXPLICIT UTF8String } (RFC 5280
// section 4.2.1.6).
func xmppAddresses(extensions []pkix.Extension) (addresses []string) {
	for _, e := range extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil
		}
		for _, name := range names {
			if name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
				continue
			}
			var id asn1.ObjectIdentifier
			var wrapped asn1.RawValue
			var address string
			rest, err := asn1.Unmarshal(name.Bytes, &id)
			if err != nil || !id.Equal(oidXMPPAddr) {
				continue
			}
			if _, err := asn1.Unmarshal(rest, &wrapped); err != nil || wrapped.Class != asn1.ClassContextSpecific || wrapped.Tag != 0 {
				continue
			}
			if _, err := asn1.UnmarshalWithParams(wrapped.Bytes, &address, "utf8"); err == nil {
				addresses = append(addresses, address)
			}
		}
	}
	return addresses
}
