package auth

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"
)

// Outside is the method for users whom somebody else knows: an application that says whether a password is right, or an
// authority whose signed tokens say who somebody is. SCRAM takes a server that knows passwords, so there is PLAIN, and OAUTHBEARER
// where there is Bearer: inside TLS or, when the Config allows sign-in outside TLS, on loopback.
type Outside struct {
	// Check decides whether what a client sends as password proves who it is. The username is canonical. ErrWrong
	// (see errors.Is): it does not; a *Failure goes to the client as it is; after any other error the client is told to try again
	// later.
	Check func(ctx context.Context, username, password string) (*Lease, error)
	// Bearer finds out whose token it is; nil: there are none. Its errors are those of Check.
	Bearer func(ctx context.Context, token string) (username string, lease *Lease, err error)
	// Marks tells apart passwords, for Exchange.Credential. Tokens, of which a user has another each time, are not told apart.
	Marks bool
}

// ErrWrong is what a method of Outside says of what does not prove anything.
var ErrWrong = errors.New("auth: wrong password or token")

// Wrong is ErrWrong with a reason, for the log alone. It has nothing in it of what was shown.
func Wrong(reason string) error { return wrong(reason) }

type wrong string

func (w wrong) Error() string      { return ErrWrong.Error() + ": " + string(w) }
func (wrong) Is(target error) bool { return target == ErrWrong }

// reasonOf is the reason of an error made by Wrong, "" of others.
func reasonOf(err error) string {
	var w wrong
	errors.As(err, &w)
	return string(w)
}

func (o Outside) mechanisms(s *Server) ([]mechanism, error) {
	if o.Check == nil {
		return nil, errors.New("nobody to ask")
	}
	var ms []mechanism
	if o.Bearer != nil {
		ms = append(ms, s.oauthBearer(o.Bearer))
	}
	most := maxPasswordBytes
	if o.Bearer != nil {
		most = maxMessage // a token is longer than a password
	}
	return append(ms, s.plain(s.private, most, func(ctx context.Context, username, password string) (reply, error) {
		if s.tokens != nil && looksLikeToken(password) { // which are nobody else's business
			lease, err := s.useToken(ctx, username, tokenID(password))
			return reply{user: username, lease: lease}, err
		}
		lease, err := o.Check(ctx, username, password)
		if errors.Is(err, ErrWrong) {
			err = notAuthorized(err)
		}
		r := reply{user: username, lease: lease}
		if o.Marks {
			r.cred = maphash.String(seed, username+"\x00"+password)
		}
		return r, err
	})), nil
}

// looksLikeToken tells whether a password can be a one-use token.
func looksLikeToken(password string) bool {
	return len(password) == len(tokenPrefix)+26 && strings.HasPrefix(password, tokenPrefix)
}
