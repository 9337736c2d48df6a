package auth

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"rollcall/internal/jid"
)

// oauthBearer is the mechanism OAUTHBEARER (RFC 7628). The client shows a token, which says who it is, and may name itself, in
// the GS2 header, only as that user.
func (s *Server) oauthBearer(whose func(ctx context.Context, token string) (string, *Lease, error)) mechanism {
	return mechanism{
		name:   "OAUTHBEARER",
		refuse: s.private,
		start: func(Channel) step {
			return func(ctx context.Context, in []byte) (reply, error) {
				authzid, token, err := parseBearer(in)
				if err != nil {
					return reply{}, err
				}
				user, lease, err := whose(ctx, token)
				if errors.Is(err, ErrWrong) {
					attemptOf(ctx).showedNothing() // the client learns it now
					return bearerRefused(reasonOf(err))
				}
				if err != nil {
					return reply{}, err
				}
				if local, err := jid.Localpart(user); err != nil || local != user {
					return bearerRefused("it does not name a user")
				}
				user, err = s.identity(ctx, authzid, user)
				return reply{user: user, lease: lease}, err
			}
		},
	}
}

// bearerRefused is section 3.2.2: "the server sends an error result" in JSON, to which the client answers with a single
// %x01, and "the server then fails" the exchange.
func bearerRefused(reason string) (reply, error) {
	return reply{out: []byte(`{"status":"invalid_token"}`), next: func(context.Context, []byte) (reply, error) {
		return reply{}, &Failure{Condition: NotAuthorized, Text: "the token is not valid here", Reason: reason}
	}}, nil
}

// parseBearer reads (section 3.1)
//
//	client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
//
// of whose pairs only auth counts: "the host and port … SHOULD be" there for methods that sign the request.
func parseBearer(in []byte) (authzid, token string, err error) {
	header, pairs, ok := bytes.Cut(in, []byte{1})
	if !ok || !utf8.Valid(in) || !bytes.HasSuffix(pairs, []byte{1}) {
		return "", "", malformed("OAUTHBEARER takes a GS2 header and auth=Bearer token, with %x01 behind each and at the end")
	}
	flag, rest, ok1 := strings.Cut(string(header), ",")
	name, left, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 || left != "" || flag != "n" && flag != "y" {
		return "", "", malformed("the GS2 header is n,[a=address], and there is no channel binding")
	}
	if name != "" {
		if authzid, err = parseName('a', name); err != nil {
			return "", "", err
		}
	}
	for pair := range strings.SplitSeq(string(pairs[:len(pairs)-1]), "\x01") {
		key, value, _ := strings.Cut(pair, "=")
		if key != "auth" {
			continue
		}
		scheme, t, _ := strings.Cut(value, " ")
		t = strings.Trim(t, " ")
		if token != "" || t == "" || !strings.EqualFold(scheme, "Bearer") {
			return "", "", malformed("there is one auth=Bearer token")
		}
		token = t
	}
	if token == "" {
		return "", "", malformed("there is no auth=Bearer token")
	}
	return authzid, token, nil
}
