package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// One-use tokens: an application that has a user signed in gives the user's web page a token, with which the page signs in
// here as with a password, once and soon.
//
// SCRAM takes them too, although a server says which salt a password was hashed with before it can know whether the client has
// the password or a token: the keys of a token are made with the salt and the iterations of the user's password, or of the
// decoy that stands for a user without one. So what the server says is the same whether there are tokens or not, and only at the
// end the client's proof fits one key or another. A token is random (130 bits), so what is kept of it is of no use to anybody
// who wants to find it. When the password is changed, and the salt with it, tokens that were made before are worth nothing.

// A TokenStore keeps the tokens of one host's users. Its methods are called by any goroutine. Errors are faults of ours.
type TokenStore interface {
	// Tokens lists those of a user that are valid, the newest first, and no more than most.
	Tokens(ctx context.Context, username string, most int) ([]StoredToken, error)
	// AddToken keeps a token; the oldest of the user's give way, so that there are keep at most.
	AddToken(ctx context.Context, username string, t StoredToken, keep int) error
	// UseToken takes a valid token away, by its ID. It is false when there is none (any more).
	UseToken(ctx context.Context, username, id string) (bool, error)
}

// A StoredToken is what is kept of a token.
type StoredToken struct {
	ID          string // a hash
	Expires     time.Time
	Credentials Credentials // absent keys for a hash: SCRAM does not take it
}

// A Token is one that was just made.
type Token struct {
	Text    string // what the client sends as password
	ID      string // what it is known by afterwards; no secret
	Expires time.Time
}

const (
	// MaxTokens is how many valid ones a user can have at a time.
	MaxTokens = 16

	// MaxTokenTime is the longest that a token may wait to be used.
	MaxTokenTime = time.Hour

	tokenPrefix = "rct_" // by which people, and tools that look for secrets in the wrong place, know one
)

// A Lease is what a session that was opened with a token hangs on. It is nil for who signed in with a password.
type Lease struct {
	Token string    // ID of the one-use token, "" for none
	Since time.Time // when the client showed it
	Until time.Time // when the session is to end; the zero time: it is not
}

// ErrNoTokens says that users of a host cannot have one-use tokens.
var ErrNoTokens = errors.New("auth: there are no tokens on this host")

// MakeToken makes a token with which a user, a canonical localpart, can sign in once within ttl (to MaxTokenTime). The user need not
// exist. The error is ErrNoTokens, a *Failure that has its cause, that of ctx, or that of the store.
func (s *Server) MakeToken(ctx context.Context, username string, ttl time.Duration) (Token, error) {
	if s.tokens == nil {
		return Token{}, ErrNoTokens
	}
	text := tokenPrefix + randomText()
	t := Token{Text: text, ID: tokenID(text), Expires: time.Now().Add(min(ttl, MaxTokenTime)).UTC().Truncate(time.Microsecond)}
	kept := StoredToken{ID: t.ID, Expires: t.Expires}
	if s.source != nil {
		var err error
		if kept.Credentials, err = s.tokenKeys(ctx, username, text); err != nil {
			return Token{}, err
		}
	}
	return t, s.tokens.AddToken(ctx, username, kept, MaxTokens)
}

// tokenKeys derives a token's keys as if it were the user's password.
func (s *Server) tokenKeys(ctx context.Context, username, text string) (c Credentials, err error) {
	like, err := s.find(ctx, s.source, username)
	if err != nil {
		return c, err
	}
	free, err := s.slot(ctx)
	if err != nil {
		return c, err
	}
	defer free()
	for h, keys := range map[*scramHash]*Keys{&hashSHA1: &c.SHA1, &hashSHA256: &c.SHA256} {
		of, err := like.keys(h)
		if err != nil {
			return c, err
		}
		if *keys, err = s.crypto.derive(h, text, of.Salt, of.Iterations); err != nil {
			return c, err
		}
	}
	return c, nil
}

// tokenID is what a token is known by.
func tokenID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// A candidate is what a client may prove that it knows: the user's password, or a token.
type candidate struct {
	keys  Keys
	valid bool   // false: a decoy, which nobody can prove
	token string // its ID; "" for the password
}

// candidates are the user's password and tokens. There are always as many, so that the work does not tell how many tokens there
// are. All have the same salt.
func (s *Server) candidates(ctx context.Context, h *scramHash, u *account) ([]candidate, error) {
	keys, err := u.keys(h)
	if err != nil {
		return nil, err
	}
	all := []candidate{{keys: keys, valid: u.has(h)}}
	if s.tokens == nil {
		return all, nil
	}
	tokens, err := s.tokens.Tokens(ctx, u.username, MaxTokens)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens[:min(len(tokens), MaxTokens)] {
		k := h.keys(t.Credentials)
		same := bytes.Equal(k.Salt, keys.Salt) && k.Iterations == keys.Iterations && len(k.StoredKey) == h.size && len(k.ServerKey) == h.size
		if same {
			all = append(all, candidate{keys: k, valid: true, token: t.ID})
		}
	}
	decoy := candidate{keys: s.decoy(h, u.username)}
	for len(all) < 1+MaxTokens {
		all = append(all, decoy)
	}
	return all, nil
}

// proven finds the candidate that fits, nil when none does: each is looked at, whichever it is.
func proven(all []candidate, fits func(Keys) bool) (found *candidate) {
	for i := range all {
		if ok := fits(all[i].keys); ok && all[i].valid && found == nil {
			found = &all[i]
		}
	}
	return found
}

// accept signs in whoever has proven one of the candidates, and uses the token up if that was one.
func (s *Server) accept(ctx context.Context, u *account, c *candidate) (reply, error) {
	r := reply{user: u.username, cred: u.mark(), as: u.stored.standing()}
	if c.token == "" {
		return r, nil
	}
	var err error
	r.lease, err = s.useToken(ctx, u.username, c.token)
	return r, err
}

// useToken takes a token away by its ID. The error is errNotAuthorized when somebody was faster.
func (s *Server) useToken(ctx context.Context, username, id string) (*Lease, error) {
	lease := &Lease{Token: id, Since: time.Now()} // before it is used: see feature/lease
	ok, err := s.tokens.UseToken(ctx, username, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a token cannot be used: %w", err)
	case !ok:
		return nil, errNotAuthorized
	}
	return lease, nil
}
