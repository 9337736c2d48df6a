package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// plusSuffix marks the mechanisms with channel binding (RFC 5802 section 4).
const plusSuffix = "-PLUS"

// scram is the mechanism SCRAM with one hash, with or without channel binding.
func (s *Server) scram(h *scramHash, src Source, plus bool) mechanism {
	m := mechanism{name: h.name, refuse: s.encrypted}
	if plus {
		m.name += plusSuffix
		m.refuse = func(ch Channel) *Failure {
			if f := s.encrypted(ch); f != nil {
				return f
			}
			if len(ch.bindings()) == 0 {
				return &Failure{Condition: InvalidMechanism, Text: "this connection has nothing to bind to"}
			}
			return nil
		}
	}
	m.start = func(ch Channel) step {
		c := &conversation{server: s, hash: h, source: src, plus: plus}
		if len(s.ChannelBindings(ch)) > 0 { // what was offered, not what could have been
			c.bindings = ch.bindings()
		}
		if !s.omitHash {
			c.extension = ",h=" + downgradeHash(h, s.Mechanisms(ch), s.ChannelBindings(ch))
		}
		return c.first
	}
	return m
}

// downgradeHash is XEP-0474's hash of what was advertised (section 5.1).
func downgradeHash(h *scramHash, mechanisms, bindings []string) string {
	const recordSeparator, unitSeparator = "\x1e", "\x1f"
	list := func(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), recordSeparator) }
	text := list(mechanisms)
	if len(bindings) > 0 {
		text += unitSeparator + list(bindings)
	}
	return base64.StdEncoding.EncodeToString(h.sum([]byte(text)))
}

// A conversation is one exchange with SCRAM, of four messages (RFC 5802 section 5):
//
//	client-first: [p=type|n|y],[a=authzid],n=username,r=nonce
//	server-first: r=nonce with ours behind it,s=salt,i=iterations
//	client-final: c=base64(gs2-header binding-data),r=nonce,p=proof
//	server-final: v=our proof
type conversation struct {
	server    *Server
	hash      *scramHash
	source    Source
	plus      bool      // the mechanism has channel binding
	bindings  []binding // what was offered
	extension string    // of server-first

	// Known after client-first.
	user  *account
	all   []candidate // what the client may prove; they have one salt
	bound []byte      // what "c" must be
	nonce string
	begin string // client-first-message-bare "," server-first-message
}

// first answers client-first.
func (c *conversation) first(ctx context.Context, in []byte) (reply, error) {
	m, err := parseClientFirst(in)
	if err != nil {
		return reply{}, err
	}
	if c.bound, err = c.bind(m); err != nil {
		return reply{}, err
	}
	username, err := c.server.identity(ctx, m.authzid, m.username)
	if err != nil {
		return reply{}, err
	}
	if c.user, err = c.server.find(ctx, c.source, username); err != nil {
		return reply{}, err
	}
	if c.all, err = c.server.candidates(ctx, c.hash, c.user); err != nil {
		return reply{}, err
	}
	c.nonce = m.nonce + c.server.crypto.nonce()
	out := fmt.Sprintf("r=%s,s=%s,i=%d%s", c.nonce,
		base64.StdEncoding.EncodeToString(c.all[0].keys.Salt), c.all[0].keys.Iterations, c.extension)
	c.begin = m.bare + "," + out
	return reply{out: []byte(out), next: c.final}, nil
}

// bind compares the client's flag with what was advertised (RFC 5802 section 6) and returns what it must
// repeat in its final message.
func (c *conversation) bind(m clientFirst) ([]byte, error) {
	header := []byte(m.header)
	switch {
	case m.flag == bindingUnsupported && !c.plus:
		return header, nil
	case m.flag == bindingNotOffered && !c.plus && len(c.bindings) == 0:
		return header, nil
	case m.flag == bindingNotOffered && !c.plus:
		// "If the flag is set to "y" and the server supports channel binding, the server MUST fail
		// authentication": somebody has taken the -PLUS mechanisms out of the list on its way.
		return nil, &Failure{Condition: NotAuthorized, Text: "channel binding was offered, but did not reach you"}
	case m.flag == bindingUsed && c.plus:
		for _, b := range c.bindings {
			if b.name == m.binding {
				return append(header, b.data...), nil
			}
		}
		return nil, &Failure{Condition: NotAuthorized, Text: "this type of channel binding was not offered"}
	}
	return nil, malformed("the channel-binding flag does not fit the mechanism")
}

// final answers client-final, which ends the exchange.
func (c *conversation) final(ctx context.Context, in []byte) (reply, error) {
	m, err := parseClientFinal(in)
	if err != nil {
		return reply{}, err
	}
	if subtle.ConstantTimeCompare(m.bound, c.bound) != 1 {
		return reply{}, &Failure{Condition: NotAuthorized, Text: "the channel binding does not match"}
	}
	if m.nonce != c.nonce {
		return reply{}, &Failure{Condition: NotAuthorized, Text: "the nonce is not that of this exchange"}
	}
	if len(m.proof) != c.hash.size {
		return reply{}, malformed("the proof is not as long as the hash")
	}
	message := []byte(c.begin + "," + m.withoutProof)
	found := proven(c.all, func(k Keys) bool {
		clientKey := c.server.crypto.hmac(c.hash, k.StoredKey, message)
		subtle.XORBytes(clientKey, clientKey, m.proof)
		return subtle.ConstantTimeCompare(c.hash.sum(clientKey), k.StoredKey) == 1
	})
	if found == nil {
		return reply{}, errNotAuthorized
	}
	r, err := c.server.accept(ctx, c.user, found)
	if err != nil {
		return reply{}, err
	}
	r.out = []byte("v=" + base64.StdEncoding.EncodeToString(c.server.crypto.hmac(c.hash, found.keys.ServerKey, message)))
	return r, nil
}
