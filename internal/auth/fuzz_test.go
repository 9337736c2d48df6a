package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/xdg-go/scram"

	"rollcall/internal/jid"
)

var conditions = []string{Aborted, AccountDisabled, CredentialsExpired, EncryptionRequired, IncorrectEncoding,
	InvalidAuthzid, InvalidMechanism, MalformedRequest, MechanismTooWeak, NotAuthorized, TemporaryAuthFailure}

// FuzzExchange sends anything as the messages of every mechanism. "NONCE" in the second message stands for
// the nonce of the server, which no fuzzer would find.
func FuzzExchange(f *testing.F) {
	for i, first := range []string{
		"n,,n=john,r=abc", "y,,n=john,r=abc", "p=tls-exporter,,n=john,r=abc", "p=tls-server-end-point,a=john@localhost,n=john,r=abc,x=1",
		"n,,n=a=2Cb=3Dc,r=~!", "n,,m=1,n=john,r=abc", "\x00john\x00pencil", "jane\x00john\x00pencil", "sirhc", "", ",,,,", "n,,n=\xff,r=a",
		"n,a=jane,n=john,r=abc", "n,,n=ｊｏｈｎ,r=abc",
	} {
		f.Add(uint8(i), []byte(first), []byte("c=biws,r=NONCE,p="+proof["SCRAM-SHA-256"]))
		f.Add(uint8(i), []byte(first), []byte("c=cD10bHMtZXhwb3J0ZXIsLGV4cG9ydGVkIGtleWluZyBtYXRlcmlhbA==,r=NONCE,x=y,p="+proof["SCRAM-SHA-1"]))
		f.Add(uint8(i), []byte(first), []byte("c=,r=,p="))
	}
	// john's password is as good as random, so nobody signs in as he by chance.
	accounts := newServer(f, Accounts{Source: users{"john": {
		SHA1:   Keys{randomBytes(16), 4096, randomBytes(20), randomBytes(20)},
		SHA256: Keys{randomBytes(16), 4096, randomBytes(32), randomBytes(32)}}}, Plain: true})
	accounts.crypto.pbkdf2 = func(h *scramHash, password string, salt []byte, _ int) ([]byte, error) {
		return realPrimitives.pbkdf2(h, password, salt, 1) // milliseconds that show nothing
	}
	open, anonymous := newServer(f, Open{}), newServer(f, Anonymous{})
	ch := bound
	ch.Loopback = true
	f.Fuzz(func(t *testing.T, choice uint8, first, second []byte) {
		names := accounts.Mechanisms(ch)
		s, name := accounts, "PLAIN"
		switch n := int(choice) % (len(names) + 2); {
		case n < len(names):
			name = names[n]
		case n == len(names):
			s = open
		default:
			s, name = anonymous, "ANONYMOUS"
		}
		x, err := s.Start(name, ch)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range [][]byte{first, second, second} {
			out, done, err := x.Next(t.Context(), in)
			checkAnswer(t, in, out, err)
			if done != (x.Username() != "") || done && (err != nil || s == accounts) {
				t.Fatalf("%s: done %v, user %q, %v", name, done, x.Username(), err)
			}
			if done || err != nil {
				user := x.Username()
				if l, err := jid.Localpart(user); user != "" && (err != nil || l != user) {
					t.Fatalf("the user %q is not canonical", user)
				}
				if _, again, err := x.Next(t.Context(), in); again || err == nil || x.Username() != user {
					t.Fatal("the exchange goes on after its end")
				}
				return
			}
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(out), "r="), ",")
			second = []byte(strings.ReplaceAll(string(second), "NONCE", nonce))
		}
		t.Fatal("three messages, and no end")
	})
}

func checkAnswer(t *testing.T, in, out []byte, err error) {
	t.Helper()
	if len(out) > len(in)+200 || !utf8.Valid(out) {
		t.Fatalf("an answer of %d bytes to %d: %q", len(out), len(in), out)
	}
	var failure *Failure
	switch {
	case err == nil:
	case !errors.As(err, &failure), !slices.Contains(conditions, failure.Condition), failure.Condition == TemporaryAuthFailure:
		t.Fatalf("%q: %v", in, err)
	case out != nil, len(failure.Error()) > 300:
		t.Fatalf("%q with %v", out, err)
	}
}

// FuzzClientFirst compares our reading of a first message with that of another make: what we accept, it
// accepts, and means the same by it. (It is not as strict in turn: an empty nonce passes there.)
func FuzzClientFirst(f *testing.F) {
	for _, s := range []string{"n,,n=john,r=abc", "y,a=john,n=john,r=abc,x=y", "n,a=a=2C=3Db,n==2C,r=1,x=,", "p=tls-unique,,n=john,r=abc",
		"n,,n=john,r=abc,m=1", "n,,n=,r=", "n,,n=john=2C2,r=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		ours, err := parseClientFirst([]byte(in))
		if err != nil || ours.flag == bindingUsed {
			return
		}
		other, err := scram.SHA1.NewServer(func(string) (scram.StoredCredentials, error) { return scram.StoredCredentials{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		c := other.NewConversation()
		out, err := c.Step(in)
		if err != nil {
			t.Fatalf("%q: the other says %v", in, err)
		}
		if c.Username() != ours.username || c.AuthzID() != ours.authzid || !strings.HasPrefix(out, "r="+ours.nonce) {
			t.Fatalf("%q: user %q and %q, authzid %q and %q, nonce %q in %q", in,
				ours.username, c.Username(), ours.authzid, c.AuthzID(), ours.nonce, out)
		}
		if ours.header+ours.bare != in {
			t.Fatalf("%q was cut to %q and %q", in, ours.header, ours.bare)
		}
	})
}
