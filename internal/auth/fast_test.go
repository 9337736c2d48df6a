package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shelf is a ClientTokenStore in memory.
type shelf struct {
	kept map[string][]byte // by user and client
	room int
	fail error
}

func (s *shelf) Update(_ context.Context, username, client string, change func([]byte) ([]byte, error)) error {
	if s.fail != nil {
		return s.fail
	}
	key := username + " " + client
	old, there := s.kept[key]
	fresh, err := change(bytes.Clone(old))
	switch {
	case err != nil:
		return err
	case fresh == nil:
		delete(s.kept, key)
	case !there && len(s.kept) >= s.room:
		return ErrTooManyClients
	default:
		s.kept[key] = fresh
	}
	return nil
}

func (s *shelf) List(_ context.Context, username string) (map[string][]byte, error) {
	all := map[string][]byte{}
	for key, v := range s.kept {
		if client, ok := strings.CutPrefix(key, username+" "); ok {
			all[client] = v
		}
	}
	return all, s.fail
}

func (s *shelf) Remove(_ context.Context, username, client string) error {
	delete(s.kept, username+" "+client)
	return s.fail
}

const phone, laptop = "d4565fa7-4d72-4749-b3d3-740edbf87770", "0b1f6a0e-0f4d-4f7c-8d3a-6b6a4a3f9a11"

// tokenServer is a host with one user, john, whose password is pencil, for a test in a bubble of fake time.
type tokenServer struct {
	t *testing.T
	*Server
	users users
	shelf *shelf
}

func withFAST(t *testing.T, test func(t *testing.T, s *tokenServer)) {
	pencil() // outside the bubble: it is made once
	synctest.Test(t, func(t *testing.T) {
		s := &tokenServer{t: t, users: users{"john": pencil()}, shelf: &shelf{kept: map[string][]byte{}, room: 3}}
		s.Server = newServer(t, Accounts{Source: s.users, Plain: true}, func(c *Config) { c.FAST, c.Tokens = s.shelf, &jar{} })
		test(t, s)
	})
}

// password signs john in with it.
func (s *tokenServer) password() *Exchange {
	s.t.Helper()
	x, err := s.Start("PLAIN", bound)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, done, err := x.Next(s.t.Context(), []byte("\x00john\x00pencil")); err != nil || !done {
		s.t.Fatal(err)
	}
	return x
}

// issue gives a token to who has signed in.
func (s *tokenServer) issue(x *Exchange, client, mechanism string) string {
	s.t.Helper()
	got, ok, err := s.IssueToken(s.t.Context(), x, bound, client, mechanism)
	if err != nil || !ok {
		s.t.Fatalf("issued: %v, %v", ok, err)
	}
	if b, err := base64.RawURLEncoding.DecodeString(got.Token); err != nil || len(b) != 32 {
		s.t.Errorf("the token %q does not hold 256 bits", got.Token)
	}
	if time.Until(got.Expires) != tokenLife {
		s.t.Errorf("it expires at %v", got.Expires)
	}
	return got.Token
}

// ht is a message of draft-schmaus-kitten-sasl-ht-09 section 3.
func ht(token, side string, binding []byte) []byte {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte(side))
	m.Write(binding)
	return m.Sum(nil)
}

// use signs john in with a token. It gives what a client may learn: the condition of the failure, or "".
func (s *tokenServer) use(token, mechanism string, binding []byte, use TokenUse) (*Exchange, string) {
	s.t.Helper()
	x, err := s.StartToken(mechanism, bound, use)
	var out []byte
	if err == nil {
		out, _, err = x.Next(s.t.Context(), append([]byte("john\x00"), ht(token, "Initiator", binding)...))
	}
	var f *Failure
	switch {
	case errors.As(err, &f):
		return nil, f.Condition
	case err != nil:
		s.t.Fatal(err)
	case !bytes.Equal(out, ht(token, "Responder", binding)):
		s.t.Errorf("the server did not prove that it knows the token")
	case x.Username() != "john":
		s.t.Errorf("signed in as %q", x.Username())
	}
	return x, ""
}

const ht256 = "HT-SHA-256-"

func TestFAST(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		if got := strings.Join(s.TokenMechanisms(bound), " "); got != "HT-SHA-256-EXPR HT-SHA-256-ENDP HT-SHA-256-NONE" {
			t.Errorf("offered: %s", got)
		}
		if got := strings.Join(s.TokenMechanisms(secure), " "); got != "HT-SHA-256-NONE" {
			t.Errorf("offered where there is nothing to bind to: %s", got)
		}
		if got := s.TokenMechanisms(plainChannel); got != nil {
			t.Errorf("offered in clear: %s", got)
		}
		by := s.password()
		for name, binding := range map[string][]byte{"EXPR": bound.Exporter, "ENDP": bound.EndPoint, "NONE": nil} {
			token := s.issue(by, phone, ht256+name)
			for range 2 {
				x, got := s.use(token, ht256+name, binding, TokenUse{Client: phone})
				if got != "" {
					t.Fatalf("%s: %s", name, got)
				}
				if x.Credential() != by.Credential() || x.Renew() != "" {
					t.Errorf("%s: credential %d, by the password %d; renew %q", name, x.Credential(), by.Credential(), x.Renew())
				}
			}
			// Attack case 19: another connection's binding, or another mechanism.
			for other, data := range map[string][]byte{"EXPR": bound.Exporter, "ENDP": bound.EndPoint, "NONE": nil} {
				if other == name {
					data = []byte("another connection's")
				}
				if _, got := s.use(token, ht256+other, data, TokenUse{Client: phone}); got != NotAuthorized {
					t.Errorf("a token for %s with %s: %q", name, other, got)
				}
			}
			for _, client := range []string{laptop, "", strings.ToUpper(phone)} {
				if _, got := s.use(token, ht256+name, binding, TokenUse{Client: client}); got != NotAuthorized {
					t.Errorf("the token of a client in the hands of %q: %q", client, got)
				}
			}
		}
		if _, err := s.Start("HT-SHA-256-NONE", bound); err == nil {
			t.Error("it is one of the mechanisms for those who have no token")
		}
		for _, in := range []string{"", "john", "john\x00", "john\x00short", "\x00" + strings.Repeat("x", 32), "john\x00" + strings.Repeat("x", 33)} {
			x, err := s.StartToken("HT-SHA-256-NONE", bound, TokenUse{Client: phone})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = x.Next(t.Context(), []byte(in))
			wantFailure(t, err, MalformedRequest)
		}
		for _, in := range []string{"marie\x00", "@\x00", "\xff\x00"} { // who do not exist, or cannot
			x, err := s.StartToken("HT-SHA-256-NONE", bound, TokenUse{Client: phone})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = x.Next(t.Context(), []byte(in+strings.Repeat("x", 32)))
			wantFailure(t, err, NotAuthorized)
		}
	})
}

// What is stored signs nobody in: neither the token nor what proves it can be found from it without the client's id.
func TestStoredTokensAreNoTokens(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		token := s.issue(s.password(), phone, "HT-SHA-256-NONE")
		for name, stored := range s.shelf.kept {
			for _, secret := range []string{token, phone, base64.StdEncoding.EncodeToString(ht(token, "Initiator", nil))} {
				if strings.Contains(name, secret) || strings.Contains(string(stored), secret) {
					t.Errorf("stored under %s: %s", name, stored)
				}
			}
		}
	})
}

// XEP-0484 section 3.5: a token that a client may not have received takes nothing away from the one that it has.
func TestTokenRotation(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		first := s.issue(s.password(), phone, "HT-SHA-256-NONE")
		if x, got := s.use(first, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != "" || x.Renew() != "" {
			t.Fatalf("%s, renew %s", got, x.Renew())
		}
		time.Sleep(tokenTurn)
		x, _ := s.use(first, "HT-SHA-256-NONE", nil, TokenUse{Client: phone})
		if x.Renew() != "HT-SHA-256-NONE" {
			t.Fatal("it is not replaced in time")
		}
		lost := s.issue(x, phone, x.Renew())
		x, got := s.use(first, "HT-SHA-256-NONE", nil, TokenUse{Client: phone})
		if got != "" || x.Renew() == "" {
			t.Fatalf("the client has not received the second: %s", got)
		}
		third := s.issue(x, phone, x.Renew())
		if _, got := s.use(lost, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != NotAuthorized {
			t.Errorf("one that was never used, and replaced: %q", got)
		}
		for _, step := range []struct{ name, token, want string }{
			{"the third", third, ""}, {"the first, after it", first, NotAuthorized}, {"the third again", third, ""},
		} {
			if _, got := s.use(step.token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != step.want {
				t.Errorf("%s: %q", step.name, got)
			}
		}
		time.Sleep(tokenLife)
		if _, got := s.use(third, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != CredentialsExpired {
			t.Errorf("after its time: %q", got)
		}
		if _, got := s.use(first, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != NotAuthorized {
			t.Errorf("whoever has no token learns that one has expired: %q", got)
		}
	})
}

func TestTokenInvalidation(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		token := s.issue(s.password(), phone, "HT-SHA-256-NONE")
		other := s.issue(s.password(), laptop, "HT-SHA-256-NONE")
		time.Sleep(tokenTurn)
		x, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone, Invalidate: true})
		if got != "" || x.Renew() != "" { // "The server MUST NOT include a new token in the response"
			t.Errorf("%q, renew %q", got, x.Renew())
		}
		if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != NotAuthorized {
			t.Errorf("used once more: %q", got)
		}
		if _, got := s.use(other, "HT-SHA-256-NONE", nil, TokenUse{Client: laptop}); got != "" {
			t.Errorf("the other client's: %q", got)
		}
		again := s.issue(x, phone, "HT-SHA-256-NONE")
		if _, got := s.use(again, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != "" {
			t.Errorf("one that it asked for: %q", got)
		}
	})
}

// A client that numbers its uses cannot have one of them replayed.
func TestTokenCount(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		token := s.issue(s.password(), phone, "HT-SHA-256-NONE")
		for _, step := range []struct {
			count uint32
			want  string
		}{{0, ""}, {0, NotAuthorized}, {1, ""}, {7, ""}, {7, NotAuthorized}, {2, NotAuthorized}, {8, ""}} {
			if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone, Counted: true, Count: step.count}); got != step.want {
				t.Errorf("%d: %q, want %q", step.count, got, step.want)
			}
		}
		if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != "" {
			t.Errorf("without a number: %q", got) // the XEP asks for one with 0-RTT only
		}
	})
}

// Attack case 31's relative: with the password go the tokens that came of it, also when the account is another one.
func TestTokensEndWithThePassword(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		before := s.password()
		token := s.issue(before, phone, "HT-SHA-256-NONE")
		old := s.users["john"]
		delete(s.users, "john")
		if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got == "" {
			t.Error("it signs in somebody who does not exist")
		}
		if _, ok, err := s.IssueToken(t.Context(), before, bound, phone, "HT-SHA-256-NONE"); ok || err != nil {
			t.Errorf("issued to somebody who does not exist: %v, %v", ok, err)
		}
		fresh, err := MakeCredentials("pencil") // the same, but set anew
		if err != nil {
			t.Fatal(err)
		}
		s.users["john"] = fresh
		if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != CredentialsExpired {
			t.Errorf("with another password: %q", got)
		}
		// Who has signed in with the old password just before gets no token with the new one.
		if _, ok, err := s.IssueToken(t.Context(), before, bound, phone, "HT-SHA-256-NONE"); ok || err != nil {
			t.Errorf("issued for an old password: %v, %v", ok, err)
		}
		s.users["john"] = old
	})
}

func TestWhoGetsNoToken(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		external, err := s.Start("EXTERNAL", Channel{Secure: true, User: "john"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := external.Next(t.Context(), []byte{}); err != nil {
			t.Fatal(err)
		}
		once, err := s.Start("PLAIN", bound) // a session that hangs on a one-use token must not outlive it so
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := once.Next(t.Context(), []byte("\x00john\x00"+makeToken(t, s.Server, "john", time.Minute).Text)); err != nil {
			t.Fatal(err)
		}
		for name, ask := range map[string]struct {
			x                 *Exchange
			client, mechanism string
		}{
			"no id": {s.password(), "", "HT-SHA-256-NONE"}, "no mechanism": {s.password(), phone, "SCRAM-SHA-256"},
			"one that is not offered": {s.password(), phone, "HT-SHA-512-NONE"}, "no password": {external, phone, "HT-SHA-256-NONE"},
			"a one-use token": {once, phone, "HT-SHA-256-NONE"},
		} {
			if _, ok, err := s.IssueToken(t.Context(), ask.x, bound, ask.client, ask.mechanism); ok || err != nil {
				t.Errorf("%s: issued %v, %v", name, ok, err)
			}
		}
		if len(s.shelf.kept) != 0 {
			t.Errorf("stored: %v", s.shelf.kept)
		}
	})
}

// The clients of a user have a bounded number of tokens: the one that expires first gives way.
func TestClientTokensAreBounded(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		var issued []string
		for n := range 5 {
			issued = append(issued, s.issue(s.password(), phone+strconv.Itoa(n), "HT-SHA-256-NONE"))
			time.Sleep(time.Minute)
		}
		for n, token := range issued {
			want := ""
			if n < 2 {
				want = NotAuthorized
			}
			if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone + strconv.Itoa(n)}); got != want {
				t.Errorf("client %d: %q, want %q", n, got, want)
			}
		}
		for name := range s.shelf.kept { // what is damaged is replaced
			s.shelf.kept[name] = []byte("{")
		}
		if _, got := s.use(issued[4], "HT-SHA-256-NONE", nil, TokenUse{Client: phone + "4"}); got != TemporaryAuthFailure {
			t.Errorf("damaged: %q", got)
		}
		s.issue(s.password(), phone+"4", "HT-SHA-256-NONE")
	})
}

// A database that is down is no reason to take a token away.
func TestClientTokenStoreFails(t *testing.T) {
	withFAST(t, func(t *testing.T, s *tokenServer) {
		by := s.password()
		token := s.issue(by, phone, "HT-SHA-256-NONE")
		s.shelf.fail = errors.New("the disk is full")
		if _, got := s.use(token, "HT-SHA-256-NONE", nil, TokenUse{Client: phone}); got != TemporaryAuthFailure {
			t.Errorf("%q", got)
		}
		if _, ok, err := s.IssueToken(t.Context(), by, bound, phone, "HT-SHA-256-NONE"); ok || err == nil {
			t.Errorf("issued %v, %v", ok, err)
		}
	})
}
