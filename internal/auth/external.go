package auth

import (
	"context"
	"errors"
	"slices"
	"unicode/utf8"

	"rollcall/internal/jid"
)

// external is the mechanism EXTERNAL (RFC 4422 appendix A): what surrounds the stream has proven who the client is, as
// Channel.User or a certificate says. Every host has it, whatever its method: nobody who comes over a network without a
// certificate has such a channel.
func (s *Server) external() mechanism {
	return mechanism{
		name: "EXTERNAL",
		refuse: func(ch Channel) *Failure {
			if ch.User == "" && len(ch.names) == 0 {
				return &Failure{Condition: InvalidMechanism, Text: "nothing here says who the client is"}
			}
			return nil
		},
		start: func(ch Channel) step {
			return func(ctx context.Context, in []byte) (reply, error) {
				if !utf8.Valid(in) {
					return reply{}, malformed("the authorization identity is not UTF-8")
				}
				if ch.User == "" {
					return s.byCertificate(ctx, ch.names, string(in))
				}
				user, err := jid.Localpart(ch.User)
				if err != nil {
					return reply{}, errNotAuthorized // nobody has such a name
				}
				if authzid := string(in); authzid != "" && !s.means(authzid, user) {
					return reply{}, s.otherIdentity()
				}
				as, err := s.standing(ctx, user)
				return reply{user: user, as: as}, err
			}
		},
	}
}

// byCertificate signs in one of those whom the client's certificate is for: the one that it names, or the only one ("If no
// authorization identity is included, then the server SHOULD return a SASL failure case of <invalid-authzid/>").
func (s *Server) byCertificate(ctx context.Context, names []string, authzid string) (reply, error) {
	i := slices.IndexFunc(names, func(name string) bool { return s.means(authzid, name) })
	switch {
	case authzid == "" && len(names) > 1:
		return reply{}, &Failure{Condition: InvalidAuthzid, Text: "the certificate is for several users: say which one"}
	case authzid == "":
		i = 0
	case i < 0:
		return reply{}, s.otherIdentity()
	}
	r := reply{user: names[i]}
	if s.source != nil { // a certificate makes no account
		c, err := s.source.Credentials(ctx, names[i])
		if errors.Is(err, ErrUnknownUser) {
			err = &Failure{Condition: NotAuthorized, Text: "there is no such account"}
		}
		if err != nil {
			return reply{}, err
		}
		r.as = c.standing()
	}
	return r, nil
}

// standing looks up that of a user who may have no account.
func (s *Server) standing(ctx context.Context, user string) (standing, error) {
	if !s.kept {
		return standing{}, nil
	}
	c, err := s.source.Credentials(ctx, user)
	if errors.Is(err, ErrUnknownUser) {
		return standing{}, nil
	}
	return c.standing(), err
}
