package auth

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"unicode/utf8"

	"rollcall/internal/jid"
)

// A passwordCheck decides whether a password is a user's, and signs the user in if so. The username is canonical, the password
// as the client sent it, UTF-8, not empty, at most as long as the method said.
type passwordCheck func(ctx context.Context, username, password string) (reply, error)

// plain is the mechanism PLAIN (RFC 4616). The client says the password itself, which whoever listens hears
// too; refuse decides where that is acceptable.
func (s *Server) plain(refuse func(Channel) *Failure, most int, check passwordCheck) mechanism {
	return mechanism{
		name:   "PLAIN",
		refuse: refuse,
		start: func(Channel) step {
			return func(ctx context.Context, in []byte) (reply, error) {
				user, password, err := s.parsePlain(ctx, in, most)
				if err != nil {
					return reply{}, err
				}
				return check(ctx, user, password)
			}
		},
	}
}

// private refuses a channel on which others could hear what the client says.
func (s *Server) private(ch Channel) *Failure {
	if ch.Secure || s.cleartext && ch.Loopback {
		return nil
	}
	return &Failure{Condition: EncryptionRequired, Text: "start TLS first"}
}

// parsePlain reads "[authzid] UTF8NUL authcid UTF8NUL passwd" (RFC 4616 section 2).
func (s *Server) parsePlain(ctx context.Context, in []byte, most int) (username, password string, err error) {
	fields := bytes.Split(in, []byte{0})
	if len(fields) != 3 || len(fields[1]) == 0 || len(fields[2]) == 0 || !utf8.Valid(in) {
		return "", "", malformed("PLAIN takes [authzid] NUL username NUL password, in UTF-8")
	}
	if len(fields[2]) > most {
		return "", "", errNotAuthorized
	}
	username, err = s.identity(ctx, string(fields[0]), string(fields[1]))
	return username, string(fields[2]), err
}

// identity brings the name that a client signs in with into canonical form, and refuses to let it act as
// anybody else: the authorization identity must be empty or that user's bare JID (RFC 6120 section 6.3.8), or
// the bare username, which some clients send (COMPAT). Who tries is counted here, and may have to wait.
func (s *Server) identity(ctx context.Context, authzid, authcid string) (username string, err error) {
	username, err = jid.Localpart(authcid)
	if err != nil {
		return "", errNotAuthorized // nobody has such a name
	}
	if authzid == "" || s.means(authzid, username) {
		return username, claim(ctx, username)
	}
	return "", s.otherIdentity()
}

// otherIdentity is the answer to a client that wants to act as somebody else.
func (s *Server) otherIdentity() *Failure {
	return &Failure{Condition: InvalidAuthzid,
		Text: fmt.Sprintf("only the own address at %s may be the authorization identity", s.host)}
}

// means tells whether an authorization identity is that of a user.
func (s *Server) means(authzid, username string) bool {
	if local, err := jid.Localpart(authzid); err == nil {
		return local == username
	}
	j, err := jid.Parse(authzid)
	return err == nil && j.IsBare() && j.Local() == username && j.Domain() == s.host
}

// verify is a passwordCheck against the keys of a source, and tokens.
func (s *Server) verify(ctx context.Context, src Source, username, password string) (reply, error) {
	prepared, err := preparePassword(password)
	if err != nil {
		return reply{}, errNotAuthorized // nobody can have such a password
	}
	u, err := s.find(ctx, src, username)
	if err != nil {
		return reply{}, err
	}
	all, err := s.candidates(ctx, &hashSHA256, u)
	if err != nil {
		return reply{}, err
	}
	free, err := s.slot(ctx)
	if err != nil {
		return reply{}, err
	}
	defer free()
	got, err := s.crypto.derive(&hashSHA256, prepared, all[0].keys.Salt, all[0].keys.Iterations)
	if err != nil {
		return reply{}, err
	}
	c := proven(all, func(k Keys) bool { return subtle.ConstantTimeCompare(got.StoredKey, k.StoredKey) == 1 })
	if c == nil {
		return reply{}, errNotAuthorized
	}
	if c.token == "" && c.keys.Iterations < s.iterations {
		s.upgrade(ctx, src, username, password, c.keys.StoredKey)
	}
	return s.accept(ctx, u, c)
}

// slot waits until a password may be hashed; free is to be called afterwards.
func (s *Server) slot(ctx context.Context) (free func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("too many passwords to hash: %w", context.Cause(ctx))
	}
}
