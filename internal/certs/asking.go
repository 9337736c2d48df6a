package certs

import "crypto/tls"

// Asking makes a server configuration of another that asks a client for a certificate where asks says so of the name that it
// wants to talk to (SNI; "" when it does not say). A client need not have one, and nobody has checked it but for its key: that
// is left to who knows the CAs that count.
func Asking(t *tls.Config, asks func(serverName string) bool) *tls.Config {
	pick := t.GetConfigForClient
	t = t.Clone()
	t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		picked, err := pick(hello)
		if err != nil || !asks(hello.ServerName) {
			return picked, err
		}
		picked = picked.Clone() // with the keys of its tickets
		picked.ClientAuth = tls.RequestClientCert
		return picked, nil
	}
	return t
}
