package auth

import (
	"context"
	"errors"
)

// Accounts is the method for users whose passwords the server knows: SCRAM, and PLAIN where allowed.
type Accounts struct {
	Source Source
	// Unbound leaves the -PLUS mechanisms out. COMPAT slixmpp before 1.8.5: it takes them on TLS 1.3 as well, where it
	// cannot bind, and then the others as if they had not been offered, which looks like an attack.
	Unbound bool
	// Kept says that the accounts are kept here: Credentials has Account and Disabled, and looking again is cheap (Stands).
	Kept  bool
	Plain bool // also PLAIN, inside TLS or, when the Config allows sign-in outside TLS, on loopback
}

func (a Accounts) mechanisms(s *Server) ([]mechanism, error) {
	if a.Source == nil {
		return nil, errors.New("accounts without a source of credentials")
	}
	s.source, s.kept = a.Source, a.Kept
	// With channel binding first: a strong hash does not keep anybody out of the middle (XEP-0438 section 4.1).
	var ms []mechanism
	if !a.Unbound {
		ms = append(ms, s.scram(&hashSHA256, a.Source, true), s.scram(&hashSHA1, a.Source, true))
	}
	ms = append(ms, s.scram(&hashSHA256, a.Source, false), s.scram(&hashSHA1, a.Source, false))
	if !a.Plain {
		return ms, nil
	}
	ms = append(ms, s.plain(s.private, maxPasswordBytes, func(ctx context.Context, username, password string) (reply, error) {
		return s.verify(ctx, a.Source, username, password)
	}))
	return ms, nil
}

// Open is the method for demonstrations and tests: any name with any password, from this machine only, TLS
// or not. It has PLAIN alone, since SCRAM proves a password that both sides know.
type Open struct{}

func (Open) mechanisms(s *Server) ([]mechanism, error) {
	return []mechanism{s.plain(func(ch Channel) *Failure {
		if ch.Loopback {
			return nil
		}
		return &Failure{Condition: InvalidMechanism,
			Text: "this host takes any password, so users can sign in from the server's own machine only"}
	}, maxPasswordBytes, func(_ context.Context, username, _ string) (reply, error) { return reply{user: username}, nil })}, nil
}

// Anonymous is the method for guests (RFC 4505): everybody gets a new name, which nobody can guess. What the
// client says of itself is not used for anything (XEP-0175 section 3).
type Anonymous struct{}

func (Anonymous) mechanisms(s *Server) ([]mechanism, error) {
	s.tokens = nil // nobody is anybody
	return []mechanism{{
		name:   "ANONYMOUS",
		mute:   true,
		refuse: s.encrypted,
		start: func(Channel) step {
			return func(context.Context, []byte) (reply, error) { return reply{user: s.crypto.nonce()}, nil }
		},
	}}, nil
}
