package auth

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// jar is a TokenStore in memory.
type jar struct {
	mu    sync.Mutex
	kept  map[string][]StoredToken // the newest first
	fails error
}

// Tokens implements TokenStore.
func (j *jar) Tokens(_ context.Context, username string, most int) (all []StoredToken, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.kept[username] {
		if t.Expires.After(time.Now()) && len(all) < most {
			all = append(all, t)
		}
	}
	return all, j.fails
}

// AddToken implements TokenStore.
func (j *jar) AddToken(_ context.Context, username string, t StoredToken, keep int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.kept == nil {
		j.kept = map[string][]StoredToken{}
	}
	all := append([]StoredToken{t}, j.kept[username]...)
	j.kept[username] = all[:min(keep, len(all))]
	return j.fails
}

// UseToken implements TokenStore.
func (j *jar) UseToken(_ context.Context, username, id string) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.kept[username], func(t StoredToken) bool { return t.ID == id && t.Expires.After(time.Now()) })
	if i < 0 || j.fails != nil {
		return false, j.fails
	}
	j.kept[username] = slices.Delete(j.kept[username], i, i+1)
	return true, nil
}

func withTokens(j *jar) func(*Config) { return func(c *Config) { c.Tokens = j } }

func makeToken(t testing.TB, s *Server, user string, ttl time.Duration) Token {
	t.Helper()
	token, err := s.MakeToken(t.Context(), user, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// signInWith signs in with any mechanism. The lease is that of the session.
func signInWith(t testing.TB, s *Server, mechanism, user, password string) (*Exchange, error) {
	t.Helper()
	if mechanism == "PLAIN" {
		x, _, _, err := say(t, s, mechanism, secure, "\x00"+user+"\x00"+password)
		return x, err
	}
	conv := newClient(t, mechanism, user, password, "").NewConversation()
	x, err := s.Start(mechanism, secure)
	if err != nil {
		return nil, err
	}
	var out []byte
	for done := false; !done; {
		in, err := conv.Step(string(out))
		if err != nil {
			t.Fatal(err)
		}
		if out, done, err = x.Next(t.Context(), []byte(in)); err != nil {
			return x, err
		}
	}
	if _, err := conv.Step(string(out)); err != nil {
		t.Errorf("the client does not believe the server: %v", err)
	}
	return x, nil
}

// A token is a password once, with every mechanism, for users who have a password and for those who have none, and the password
// goes on working.
func TestTokenSignsInOnce(t *testing.T) {
	j := &jar{}
	s := newServer(t, john(), withTokens(j))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		for _, user := range []string{"john", "jane"} {
			token, other := makeToken(t, s, user, time.Minute), makeToken(t, s, user, time.Minute)
			if !regexp.MustCompile(`^rct_[a-z2-7]{26}$`).MatchString(token.Text) || token.Text == other.Text || token.ID == other.ID ||
				strings.Contains(token.Text, token.ID) {
				t.Errorf("tokens %+v and %+v", token, other)
			}
			x, err := signInWith(t, s, mechanism, user, token.Text)
			if err != nil || x.Username() != user {
				t.Fatalf("%s: %s does not sign in: %v", mechanism, user, err)
			}
			if l := x.Lease(); l == nil || l.Token != token.ID || l.Since.IsZero() {
				t.Errorf("%s: lease %+v", mechanism, l)
			}
			_, err = signInWith(t, s, mechanism, user, token.Text)
			wantFailure(t, err, NotAuthorized)
			_, err = signInWith(t, s, mechanism, map[string]string{"john": "jane", "jane": "john"}[user], other.Text)
			wantFailure(t, err, NotAuthorized)
			if _, err = signInWith(t, s, mechanism, user, other.Text); err != nil {
				t.Errorf("%s: the other token: %v", mechanism, err)
			}
		}
		x, err := signInWith(t, s, mechanism, "john", "pencil")
		if err != nil || x.Lease() != nil {
			t.Errorf("%s with the password: %v, lease %v", mechanism, err, x.Lease())
		}
	}
	if left := len(j.kept["john"]) + len(j.kept["jane"]); left > 0 {
		t.Errorf("%d tokens are left", left)
	}
}

// A session that was opened with the password can be resumed by who has a token, and the other way round.
func TestTokenIsTheSameCredential(t *testing.T) {
	s := newServer(t, john(), withTokens(&jar{}))
	one, err1 := signInWith(t, s, "PLAIN", "john", "pencil")
	two, err2 := signInWith(t, s, "SCRAM-SHA-1", "john", makeToken(t, s, "john", time.Minute).Text)
	if err := errors.Join(err1, err2); err != nil || one.Credential() != two.Credential() || one.Credential() == 0 {
		t.Errorf("%v: %d and %d", err, one.Credential(), two.Credential())
	}
}

// Attack case 21: nobody learns from the answers, or from the work, whether a user exists or has tokens.
func TestTokensDoNotShow(t *testing.T) {
	s := newServer(t, john(), withTokens(&jar{}))
	work := count(s)
	for _, mechanism := range s.Mechanisms(bound) {
		var shapes, costs [][]string
		look := func(user string) {
			t.Helper()
			*work = nil
			shapes = append(shapes, guess(t, s, mechanism, user))
			costs = append(costs, slices.Clone(*work))
		}
		look("john")
		look("jane")
		for range 3 {
			makeToken(t, s, "john", time.Minute)
			makeToken(t, s, "jane", time.Minute)
		}
		look("john")
		look("jane")
		for i := 1; i < len(shapes); i++ {
			if !slices.Equal(shapes[0], shapes[i]) || !slices.Equal(costs[0], costs[i]) {
				t.Errorf("%s: %q for %q, and then %q for %q", mechanism, shapes[0], costs[0], shapes[i], costs[i])
			}
		}
	}
}

// The salt stays what it is, whatever tokens there are.
func TestTokensHaveTheSaltOfThePassword(t *testing.T) {
	s := newServer(t, john(), withTokens(&jar{}), noHash)
	for _, user := range []string{"john", "jane"} {
		var salts []string
		for range 3 {
			_, first, _, err := say(t, s, "SCRAM-SHA-256", secure, "n,,n="+user+",r=abc")
			if err != nil {
				t.Fatal(err)
			}
			_, salt, _ := strings.Cut(first, ",s=")
			salts = append(salts, salt)
			makeToken(t, s, user, time.Minute)
		}
		if salts[0] != salts[1] || salts[1] != salts[2] {
			t.Errorf("%s: %q", user, salts)
		}
	}
}

// What a token was made beside is gone when the password is changed.
func TestTokenAfterAnotherPassword(t *testing.T) {
	source := users{"john": pencil()}
	s := newServer(t, Accounts{Source: source, Plain: true}, withTokens(&jar{}))
	token := makeToken(t, s, "john", time.Minute)
	fresh, err := MakeCredentials("crayon")
	if err != nil {
		t.Fatal(err)
	}
	source["john"] = fresh
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		_, err := signInWith(t, s, mechanism, "john", token.Text)
		wantFailure(t, err, NotAuthorized)
		if _, err := signInWith(t, s, mechanism, "john", "crayon"); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, john(), withTokens(&jar{}))
		short, long := makeToken(t, s, "john", time.Minute), makeToken(t, s, "john", 48*time.Hour)
		if ttl := time.Until(long.Expires); ttl != MaxTokenTime {
			t.Errorf("a token for %v", ttl)
		}
		time.Sleep(time.Minute)
		_, err := signInWith(t, s, "SCRAM-SHA-256", "john", short.Text)
		wantFailure(t, err, NotAuthorized)
		if _, err := signInWith(t, s, "SCRAM-SHA-256", "john", long.Text); err != nil {
			t.Error(err)
		}
	})
}

// Of two who prove the same token at the same moment one is let in.
func TestTokenProvenTwice(t *testing.T) {
	s := newServer(t, john(), withTokens(&jar{}))
	token := makeToken(t, s, "john", time.Minute)
	var finals []func() error
	for range 2 {
		conv := newClient(t, "SCRAM-SHA-256", "john", token.Text, "").NewConversation()
		x, err := s.Start("SCRAM-SHA-256", secure)
		if err != nil {
			t.Fatal(err)
		}
		first, _ := conv.Step("")
		challenge, _, err := x.Next(t.Context(), []byte(first))
		if err != nil {
			t.Fatal(err)
		}
		final, err := conv.Step(string(challenge))
		if err != nil {
			t.Fatal(err)
		}
		finals = append(finals, func() error {
			_, _, err := x.Next(t.Context(), []byte(final))
			return err
		})
	}
	if err := finals[0](); err != nil {
		t.Error(err)
	}
	wantFailure(t, finals[1](), NotAuthorized)
}

// A user has so many; the oldest give way.
func TestTokensAreBounded(t *testing.T) {
	j := &jar{}
	s := newServer(t, john(), withTokens(j))
	var all []Token
	for range MaxTokens + 1 {
		all = append(all, makeToken(t, s, "john", time.Minute))
	}
	if n := len(j.kept["john"]); n != MaxTokens {
		t.Errorf("%d tokens are kept", n)
	}
	_, err := signInWith(t, s, "SCRAM-SHA-1", "john", all[0].Text)
	wantFailure(t, err, NotAuthorized)
	if _, err := signInWith(t, s, "SCRAM-SHA-1", "john", all[1].Text); err != nil {
		t.Error(err)
	}
}

// A store that fails is no reason to forget a password.
func TestTokenStoreFails(t *testing.T) {
	j := &jar{}
	s := newServer(t, john(), withTokens(j))
	token := makeToken(t, s, "john", time.Minute)
	j.fails = errors.New("the disk is on fire")
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		_, err := signInWith(t, s, mechanism, "john", token.Text)
		if f := wantFailure(t, err, TemporaryAuthFailure); strings.Contains(f.Error(), token.Text) {
			t.Errorf("the token is in %q", f)
		}
	}
	if _, err := s.MakeToken(t.Context(), "john", time.Minute); err == nil {
		t.Error("a token that is not kept")
	}
	s = newServer(t, Accounts{Source: failing{errors.New("no database")}}, withTokens(&jar{}))
	if _, err := s.MakeToken(t.Context(), "john", time.Minute); err == nil {
		t.Error("a token without the user's salt")
	}
	for _, s := range []*Server{newServer(t, john()), newServer(t, Anonymous{}, withTokens(&jar{}))} {
		if _, err := s.MakeToken(t.Context(), "john", time.Minute); !errors.Is(err, ErrNoTokens) {
			t.Errorf("%v, want ErrNoTokens", err)
		}
	}
}
