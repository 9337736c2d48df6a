package auth

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// count records every call of a primitive of a server: what was computed, and with how much.
func count(s *Server) *[]string {
	var calls []string
	p := s.crypto
	s.crypto = primitives{
		pbkdf2: func(h *scramHash, password string, salt []byte, iterations int) ([]byte, error) {
			calls = append(calls, fmt.Sprintf("pbkdf2 %s, salt of %d, %d times", h.name, len(salt), iterations))
			return p.pbkdf2(h, password, salt, iterations)
		},
		hmac: func(h *scramHash, key, data []byte) []byte {
			calls = append(calls, fmt.Sprintf("hmac %s, key of %d, data of %d", h.name, len(key), len(data)))
			return p.hmac(h, key, data)
		},
		nonce: func() string {
			calls = append(calls, "nonce")
			return p.nonce()
		},
	}
	return &calls
}

var proof = map[string]string{
	"SCRAM-SHA-1":   base64.StdEncoding.EncodeToString(make([]byte, 20)),
	"SCRAM-SHA-256": base64.StdEncoding.EncodeToString(make([]byte, 32)),
}

// guess signs in with a wrong password. It returns the answers, with what is random in them taken out.
func guess(t testing.TB, s *Server, mechanism, user string) (shape []string) {
	t.Helper()
	first, err := refused(t, s, mechanism, user)
	if mechanism == "PLAIN" {
		return []string{err.Error()}
	}
	first = regexp.MustCompile(`r=abc[a-z2-7]{26},`).ReplaceAllString(first, "r=abcNONCE,")
	first = regexp.MustCompile(`s=[A-Za-z0-9+/]{22}==`).ReplaceAllString(first, "s=SALT")
	return []string{first, err.Error()}
}

// refused is guess with the answers as they are.
func refused(t testing.TB, s *Server, mechanism, user string) (first string, err error) {
	t.Helper()
	if mechanism == "PLAIN" {
		_, _, _, err := say(t, s, "PLAIN", bound, "\x00"+user+"\x00guess")
		return "", err
	}
	hash, plus := strings.CutSuffix(mechanism, plusSuffix)
	header, data := "n,,", ""
	if plus {
		header, data = "p=tls-exporter,,", string(bound.Exporter)
	}
	x, first, done, err := say(t, s, mechanism, bound, header+"n="+user+",r=abc")
	if err != nil || done {
		t.Fatalf("%s: first message: %v, %v", user, done, err)
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(first, "r="), ",")
	out, done, err := x.Next(t.Context(), []byte("c="+base64.StdEncoding.EncodeToString([]byte(header+data))+
		",r="+nonce+",p="+proof[hash]))
	if err == nil || done || out != nil {
		t.Fatalf("%s signed in with a guess", user)
	}
	return first, err
}

// Attack case 21: unknown and known users get the same messages for the same work. The time that it takes is
// not measured here, what takes time is.
func TestUnknownUserLooksKnown(t *testing.T) {
	only256 := pencil()
	only256.SHA1 = Keys{}
	s := newServer(t, Accounts{Plain: true, Source: users{"john": pencil(), "anna": only256}})
	work := count(s)
	for _, mechanism := range s.Mechanisms(bound) {
		var shapes, costs [][]string
		for _, user := range []string{"john", "jane", "anna"} {
			*work = nil
			shapes = append(shapes, guess(t, s, mechanism, user))
			costs = append(costs, slices.Clone(*work))
		}
		if len(costs[0]) < 4 {
			t.Errorf("%s: only %q was counted", mechanism, costs[0])
		}
		for i := 1; i < len(shapes); i++ {
			if !slices.Equal(shapes[0], shapes[i]) {
				t.Errorf("%s: a known user gets\n%q\nan unknown one\n%q", mechanism, shapes[0], shapes[i])
			}
			if !slices.Equal(costs[0], costs[i]) {
				t.Errorf("%s: a known user costs\n%q\nan unknown one\n%q", mechanism, costs[0], costs[i])
			}
		}
		if mechanism != "PLAIN" && !strings.Contains(shapes[0][0], "r=abcNONCE,s=SALT,i=10000,h=") {
			t.Errorf("%s: server-first is %q", mechanism, shapes[0][0])
		}
	}
}

// The salt of a user who does not exist is as stable as one that is stored, and as little related to others.
func TestDecoySalt(t *testing.T) {
	secret := []byte("0123456789abcdef")
	salt := func(host, mechanism, user string, secret []byte) string {
		s := newServer(t, Accounts{Source: users{}}, noHash, func(c *Config) { c.Host, c.Secret = host, secret })
		_, first, _, err := say(t, s, mechanism, bound, "n,,n="+user+",r=abc")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(first, ",s=")
		salt, _, _ := strings.Cut(rest, ",")
		raw, err := base64.StdEncoding.DecodeString(salt)
		if err != nil || len(raw) != saltSize {
			t.Fatalf("salt %q: %d bytes, %v", salt, len(raw), err)
		}
		return salt
	}
	first := salt("localhost", "SCRAM-SHA-256", "jane", secret)
	for what, again := range map[string]string{
		"another server with the secret": salt("localhost", "SCRAM-SHA-256", "jane", secret),
		"another spelling":               salt("localhost", "SCRAM-SHA-256", "JANE", secret),
	} {
		if again != first {
			t.Errorf("%s: the salt changed", what)
		}
	}
	for what, other := range map[string]string{
		"another user":       salt("localhost", "SCRAM-SHA-256", "janet", secret),
		"another hash":       salt("localhost", "SCRAM-SHA-1", "jane", secret),
		"another host":       salt("localhosu", "SCRAM-SHA-256", "jane", secret),
		"another secret":     salt("localhost", "SCRAM-SHA-256", "jane", []byte("0123456789abcdeF")),
		"a secret of chance": salt("localhost", "SCRAM-SHA-256", "jane", nil),
	} {
		if other == first {
			t.Errorf("%s: the same salt", what)
		}
	}
	one := salt("localhost", "SCRAM-SHA-256", "jane", nil)
	if two := salt("localhost", "SCRAM-SHA-256", "jane", nil); one == two {
		t.Error("two servers made the same secret")
	}
}

// A right proof does not help when the keys are a decoy, in SCRAM and in PLAIN.
func TestDecoyNeverSignsIn(t *testing.T) {
	s := newServer(t, Accounts{Source: users{}, Plain: true})
	for _, exists := range []bool{true, false} {
		c := &conversation{server: s, hash: &hashSHA256, source: users{}}
		if _, err := c.first(t.Context(), []byte("n,,n=jane,r=abc")); err != nil {
			t.Fatal(err)
		}
		if c.all[0].valid {
			t.Fatal("jane is known")
		}
		// Let the decoy be one for which the proof is known: the stored key is the hash of zeroes.
		stored := hashSHA256.sum(make([]byte, 32))
		c.all[0].valid, c.all[0].keys.StoredKey = exists, stored
		withoutProof := "c=biws,r=" + c.nonce
		p := s.crypto.hmac(c.hash, stored, []byte(c.begin+","+withoutProof))
		r, err := c.final(t.Context(), []byte(withoutProof+",p="+base64.StdEncoding.EncodeToString(p)))
		if exists && (err != nil || r.user != "jane") {
			t.Errorf("the proof of this test is wrong: %v", err)
		}
		if !exists {
			wantFailure(t, err, NotAuthorized)
		}
	}

	// For PLAIN, let every password lead to the key whose hash the decoy stores.
	s.crypto.hmac = func(h *scramHash, key, data []byte) []byte {
		switch {
		case string(data) == "Client Key":
			return []byte("the client key")
		case strings.Contains(string(data), "stored key"):
			return hashSHA256.sum([]byte("the client key"))
		}
		return realPrimitives.hmac(h, key, data)
	}
	decoy := s.decoy(&hashSHA256, "jane")
	if _, err := s.verify(t.Context(), users{"jane": {SHA256: decoy}}, "jane", "anything"); err != nil {
		t.Errorf("the password of this test is wrong: %v", err)
	}
	_, err := s.verify(t.Context(), users{}, "jane", "anything")
	wantFailure(t, err, NotAuthorized)
}
