package auth

import (
	"errors"
	"testing"
	"time"
)

// Between the proof and the session the account may be removed, and another made of that name by somebody else: whatever way the
// user came, nobody gets a session of an account that is not the one that was signed in to.
func TestStands(t *testing.T) {
	const other = 7 // number of another account, or password
	disabled := func(u users) {
		u["john"] = Credentials{SHA1: u["john"].SHA1, SHA256: u["john"].SHA256, Version: 1, Account: 1, Disabled: true}
	}
	made := func(u users) {
		c := pencil() // the same password, even
		c.Version, c.Account = other, other
		u["john"], u["jane"] = c, c
	}
	changes := map[string]func(users){
		"nothing":               func(users) {},
		"removed":               func(u users) { delete(u, "john") },
		"removed and made anew": made,
		"disabled":              disabled,
		"another password":      func(u users) { c := u["john"]; c.Version = other; u["john"] = c },
	}
	for name, way := range map[string]struct {
		in func(t *testing.T, s *Server) (*Exchange, error)
		// keeps is the change after which a session may begin all the same, "" for none.
		keeps string
	}{
		"PLAIN": {in: func(t *testing.T, s *Server) (*Exchange, error) { return signInWith(t, s, "PLAIN", "john", "pencil") }},
		"SCRAM": {in: func(t *testing.T, s *Server) (*Exchange, error) {
			return signInWith(t, s, "SCRAM-SHA-256", "john", "pencil")
		}},
		"SCRAM-SHA-1": {in: func(t *testing.T, s *Server) (*Exchange, error) {
			return signInWith(t, s, "SCRAM-SHA-1", "john", "pencil")
		}},
		"a one-use token": {in: func(t *testing.T, s *Server) (*Exchange, error) {
			return signInWith(t, s, "SCRAM-SHA-256", "john", makeToken(t, s, "john", time.Minute).Text)
		}},
		"FAST": {in: func(t *testing.T, s *Server) (*Exchange, error) {
			p, err := signInWith(t, s, "PLAIN", "john", "pencil")
			if err != nil {
				t.Fatal(err)
			}
			token, ok, err := s.IssueToken(t.Context(), p, secure, phone, ht256+"NONE")
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			x, err := s.StartToken(ht256+"NONE", secure, TokenUse{Client: phone})
			if err == nil {
				_, _, err = x.Next(t.Context(), append([]byte("john\x00"), ht(token.Token, "Initiator", nil)...))
			}
			return x, err
		}},
		// Who proves no password may have another one.
		"a certificate": {keeps: "another password", in: func(t *testing.T, s *Server) (*Exchange, error) {
			x, _, _, err := say(t, s, "EXTERNAL", Channel{Secure: true, names: []string{"john"}}, "")
			return x, err
		}},
		"vouched for": {keeps: "another password", in: func(t *testing.T, s *Server) (*Exchange, error) {
			x, _, _, err := say(t, s, "EXTERNAL", Channel{User: "john"}, "")
			return x, err
		}},
	} {
		for what, change := range changes {
			t.Run(name+", "+what, func(t *testing.T) {
				c := pencil()
				c.Version, c.Account = 1, 1
				u := users{"john": c}
				s := newServer(t, Accounts{Source: u, Plain: true, Kept: true}, withTokens(&jar{}),
					func(c *Config) { c.FAST = &shelf{kept: map[string][]byte{}, room: 3} })
				x, err := way.in(t, s)
				if err != nil {
					t.Fatal(err)
				}
				change(u)
				err = s.Stands(t.Context(), x)
				if keeps := what == "nothing" || what == way.keeps; keeps && err != nil || !keeps && !errors.Is(err, ErrGone) {
					t.Errorf("%v", err)
				}
				if what == "disabled" { // and who comes now learns why, when it is proven
					_, err := signInWith(t, s, "PLAIN", "john", "crayon")
					wantFailure(t, err, NotAuthorized)
					if name != "FAST" {
						_, err = way.in(t, s)
						wantFailure(t, err, AccountDisabled)
					}
				}
			})
		}
	}
	t.Run("without an account", func(t *testing.T) {
		u := users{}
		s := newServer(t, Accounts{Source: u, Kept: true}, withTokens(&jar{}))
		token := makeToken(t, s, "jane", time.Minute).Text
		x, err := signInWith(t, s, "SCRAM-SHA-256", "jane", token)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stands(t.Context(), x); err != nil {
			t.Error(err)
		}
		made(u)
		if err := s.Stands(t.Context(), x); !errors.Is(err, ErrGone) {
			t.Errorf("there is an account now, whosever it is: %v", err)
		}
	})
	t.Run("the source fails", func(t *testing.T) {
		s := newServer(t, john(), func(*Config) {})
		x, err := signInWith(t, s, "PLAIN", "john", "pencil")
		if err != nil {
			t.Fatal(err)
		}
		down := errors.New("down")
		s.source = failing{down}
		if err := s.Stands(t.Context(), x); err != nil {
			t.Errorf("a source elsewhere is asked: %v", err)
		}
		s.kept = true
		if err := s.Stands(t.Context(), x); !errors.Is(err, down) {
			t.Errorf("%v", err)
		}
	})
}
