package auth

import (
	"context"
	"unicode/utf8"

	"rollcall/internal/jid"
)

// external is the mechanism EXTERNAL (RFC 4422 appendix A): what surrounds the stream has proven who the client is, as
// Channel.User says. Every host has it, whatever its method: nobody who comes over a network has such a channel.
func (s *Server) external() mechanism {
	return mechanism{
		name: "EXTERNAL",
		refuse: func(ch Channel) *Failure {
			if ch.User == "" {
				return &Failure{Condition: InvalidMechanism, Text: "nothing here says who the client is"}
			}
			return nil
		},
		start: func(ch Channel) step {
			return func(_ context.Context, in []byte) (reply, error) {
				if !utf8.Valid(in) {
					return reply{}, malformed("the authorization identity is not UTF-8")
				}
				user, err := jid.Localpart(ch.User)
				if err != nil {
					return reply{}, errNotAuthorized // nobody has such a name
				}
				if authzid := string(in); authzid != "" && !s.means(authzid, user) {
					return reply{}, s.otherIdentity()
				}
				return reply{user: user}, nil
			}
		},
	}
}
