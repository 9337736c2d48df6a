package auth

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Attack case 22, for each way in: guesses from one network come to an end before anything is looked up or hashed, whatever is
// guessed, and nobody elsewhere is kept out.
func TestEveryWayInIsGuarded(t *testing.T) {
	pencil() // outside the bubble: it is made once
	const tries = 5
	type way struct {
		server func(t *testing.T, looked *atomic.Int32, change ...func(*Config)) *Server
		// in signs john in: rightly, or with a guess.
		in func(t *testing.T, s *Server, ch Channel, right bool) error
		// nameless: it says who the user is only when it is right, so that it has to be looked at. It counts, too.
		nameless bool
	}
	accounts := func(t *testing.T, looked *atomic.Int32, change ...func(*Config)) *Server {
		s := newServer(t, Accounts{Source: counted{users{"john": pencil()}, looked}, Plain: true}, change...)
		p := s.crypto.pbkdf2
		s.crypto.pbkdf2 = func(h *scramHash, password string, salt []byte, iterations int) ([]byte, error) {
			looked.Add(1)
			return p(h, password, salt, iterations)
		}
		return s
	}
	application := func(bearer bool) func(*testing.T, *atomic.Int32, ...func(*Config)) *Server {
		return func(t *testing.T, looked *atomic.Int32, change ...func(*Config)) *Server {
			o := outside()
			check, whose := o.Check, o.Bearer
			o.Check = func(ctx context.Context, username, password string) (*Lease, error) {
				looked.Add(1)
				return check(ctx, username, password)
			}
			o.Bearer = func(ctx context.Context, token string) (string, *Lease, error) {
				looked.Add(1)
				return whose(ctx, token)
			}
			if !bearer {
				o.Bearer = nil
			}
			return newServer(t, o, change...)
		}
	}
	choose := func(right bool, yes, no string) string {
		if right {
			return yes
		}
		return no
	}
	plain := func(right, wrong string) func(*testing.T, *Server, Channel, bool) error {
		return func(t *testing.T, s *Server, ch Channel, ok bool) error {
			_, _, _, err := say(t, s, "PLAIN", ch, "\x00john\x00"+choose(ok, right, wrong))
			return err
		}
	}
	token := func(t *testing.T, s *Server, ch Channel, right bool) error {
		text := "rct_aaaaaaaaaaaaaaaaaaaaaaaaaa"
		if right {
			text = makeToken(t, s, "john", time.Minute).Text
		}
		_, _, _, err := say(t, s, "PLAIN", ch, "\x00john\x00"+text)
		return err
	}
	scram := func(mechanism string) func(*testing.T, *Server, Channel, bool) error {
		return func(t *testing.T, s *Server, ch Channel, right bool) error {
			conv := newClient(t, mechanism, "john", choose(right, "pencil", "crayon"), "").NewConversation()
			_, err := converse(t, s, mechanism, ch, conv)
			return err
		}
	}
	for name, w := range map[string]way{
		"accounts, PLAIN":              {accounts, plain("pencil", "crayon"), false},
		"accounts, SCRAM-SHA-1":        {accounts, scram("SCRAM-SHA-1"), false},
		"accounts, SCRAM-SHA-256":      {accounts, scram("SCRAM-SHA-256"), false},
		"accounts, a one-use token":    {accounts, token, false},
		"application, PLAIN":           {application(false), plain("pencil", "crayon"), false},
		"application, a one-use token": {application(false), token, false},
		"tokens, as a password":        {application(true), plain("pencil", "crayon"), false},
		"tokens, OAUTHBEARER": {application(true), func(t *testing.T, s *Server, ch Channel, right bool) error {
			_, out, done, err := say(t, s, "OAUTHBEARER", ch, "n,,\x01auth=Bearer "+choose(right, "jwt", "guess")+"\x01\x01")
			if err == nil && !done && out != "" { // and it says no more: it knows
				return errNotAuthorized
			}
			return err
		}, true},
		"FAST": {accounts, func(t *testing.T, s *Server, ch Channel, right bool) error {
			x, err := s.StartToken(ht256+"NONE", ch, TokenUse{Client: phone})
			if err != nil {
				t.Fatal(err)
			}
			secret := "guess"
			if right {
				p, _, _, err := say(t, s, "PLAIN", ch, "\x00john\x00pencil")
				if err != nil {
					return err
				}
				issued, ok, err := s.IssueToken(t.Context(), p, ch, phone, ht256+"NONE")
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				secret = issued.Token
			}
			_, _, err = x.Next(t.Context(), append([]byte("john\x00"), ht(secret, "Initiator", nil)...))
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var looked atomic.Int32
				s := w.server(t, &looked, withTokens(&jar{}), func(c *Config) {
					c.Guard, c.FAST = NewGuard(GuardOptions{Tries: tries}), &shelf{kept: map[string][]byte{}, room: 3}
				})
				from := func(network string) Channel { return Channel{Secure: true, Origin: netip.MustParsePrefix(network)} }
				for range tries {
					wantFailure(t, w.in(t, s, from("192.0.2.66/32"), false), NotAuthorized)
				}
				if w.nameless {
					wantFailure(t, w.in(t, s, from("192.0.2.66/32"), false), NotAuthorized)
					wantFailure(t, w.in(t, s, from("192.0.2.66/32"), true), TemporaryAuthFailure)
					w.in = plain("pencil", "crayon")
				}
				before := looked.Load()
				for range 100 {
					wantFailure(t, w.in(t, s, from("192.0.2.66/32"), false), TemporaryAuthFailure)
				}
				if n := looked.Load() - before; n != 0 {
					t.Errorf("%d times something was looked up or hashed for a network that was refused", n)
				}
				if err := w.in(t, s, from("198.51.100.1/32"), true); err != nil {
					t.Errorf("from elsewhere: %v", err)
				}
			})
		})
	}
}

// counted is a source that counts how often it is asked.
type counted struct {
	users
	n *atomic.Int32
}

func (c counted) Credentials(ctx context.Context, username string) (Credentials, error) {
	c.n.Add(1)
	return c.users.Credentials(ctx, username)
}
