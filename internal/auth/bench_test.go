package auth

import (
	"encoding/base64"
	"strings"
	"testing"
)

// BenchmarkScram is a whole exchange on the server's side, ended by a wrong proof, which costs what a right
// one does.
func BenchmarkScram(b *testing.B) {
	s := newServer(b, john())
	final := "c=" + base64.StdEncoding.EncodeToString([]byte("p=tls-exporter,,"+string(bound.Exporter)))
	for b.Loop() {
		x, first, _, err := say(b, s, "SCRAM-SHA-256-PLUS", bound, "p=tls-exporter,,n=john,r=fyko+d2lbbFgONRv9qkxdawL")
		if err != nil {
			b.Fatal(err)
		}
		nonce, _, _ := strings.Cut(first, ",")
		_, _, err = x.Next(b.Context(), []byte(final+","+nonce+",p="+proof["SCRAM-SHA-256"]))
		wantFailure(b, err, NotAuthorized)
	}
}

// BenchmarkPlain is one password hashed.
func BenchmarkPlain(b *testing.B) {
	s := newServer(b, john())
	for b.Loop() {
		if _, _, done, err := say(b, s, "PLAIN", secure, "\x00john\x00pencil"); !done {
			b.Fatal(err)
		}
	}
}
