package auth

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// FAST (XEP-0484 v0.2.0): a client that has signed in gets a token for its installation, with which it signs in later, in one
// message and without its password, by a mechanism of draft-schmaus-kitten-sasl-ht-09:
//
//	client: username NUL HMAC(token, "Initiator" binding-data)
//	server: HMAC(token, "Responder" binding-data)
//
// A token is derived from a random seed and the id of the client's installation. The seed is stored, and of the id a keyed
// hash; the id comes with each request. So what is stored signs nobody in. A token is good for one user, installation,
// mechanism and password, and for tokenLife; one that is in use is replaced every day, and goes when its successor is used.

// A ClientTokenStore keeps what is known of the tokens of the clients of one host's users: some hundred bytes for each client, whose
// name has 32 characters. It forgets them with the account.
type ClientTokenStore interface {
	// Update changes what is kept of a client: change gets it, nil when there is nothing, and returns what it is to be, nil for
	// nothing. Nobody else's write comes in between. An error of change ends it and is returned. ErrTooManyClients when a user
	// may have no more.
	Update(ctx context.Context, username, client string, change func(old []byte) ([]byte, error)) error
	// List gives all that is kept of a user's clients.
	List(ctx context.Context, username string) (map[string][]byte, error)
	// Remove forgets a client; it is no error when there is none of that name.
	Remove(ctx context.Context, username, client string) error
}

// ErrTooManyClients is what a ClientTokenStore says when there is no room for another client of a user.
var ErrTooManyClients = errors.New("auth: too many clients with tokens")

const (
	tokenLife = 21 * 24 * time.Hour
	tokenTurn = 24 * time.Hour // after which a token that is used is replaced
)

// tokenMechanisms are those that prove a token, the strongest first; binding names what they are bound to.
var tokenMechanisms = []struct{ name, binding string }{
	{"HT-SHA-256-EXPR", "tls-exporter"},
	{"HT-SHA-256-ENDP", "tls-server-end-point"},
	{"HT-SHA-256-NONE", ""},
}

// TokenMechanisms names what StartToken accepts on a channel, strongest first; none where there are no tokens.
func (s *Server) TokenMechanisms(ch Channel) (names []string) {
	if s.fast == nil || s.encrypted(ch) != nil {
		return nil
	}
	offered := s.ChannelBindings(ch)
	for _, m := range tokenMechanisms {
		if m.binding == "" || slices.Contains(offered, m.binding) {
			names = append(names, m.name)
		}
	}
	return names
}

// bindingData is what a mechanism of TokenMechanisms is bound to.
func (ch Channel) bindingData(mechanism string) []byte {
	for _, m := range tokenMechanisms {
		for _, b := range ch.bindings() {
			if m.name == mechanism && m.binding == b.name {
				return b.data
			}
		}
	}
	return nil
}

// A TokenUse is what a client says beside proving its token.
type TokenUse struct {
	Client     string // id of its installation
	Counted    bool   // it numbers its uses of the token
	Count      uint32 // the number of this one
	Invalidate bool   // the token is not to be good any more
}

// StartToken begins an exchange in which a client proves a token, see Start.
func (s *Server) StartToken(name string, ch Channel, use TokenUse) (*Exchange, error) {
	if !slices.Contains(s.TokenMechanisms(ch), name) {
		return s.Start(name, ch) // which knows what to say
	}
	return s.begin(func(ctx context.Context, in []byte) (reply, error) {
		return s.useClientToken(ctx, in, name, ch.bindingData(name), use)
	}, false, ch), nil
}

// A clientToken is what is stored of a token.
type clientToken struct {
	Mechanism string    `json:"mechanism"`
	Seed      []byte    `json:"seed"`
	Issued    time.Time `json:"issued"`
	Expires   time.Time `json:"expires"`
	Password  []byte    `json:"password"` // which the user had; a keyed hash
	Uses      int64     `json:"uses"`     // the client's highest number plus 1
}

// clientTokens are those of one client (XEP-0484 section 5.1): the one that it uses, and one that it has been given.
type clientTokens struct {
	Current *clientToken `json:"current,omitempty"`
	New     *clientToken `json:"new,omitempty"`
}

func readTokens(stored []byte) (t clientTokens, err error) {
	if stored != nil {
		if err = json.Unmarshal(stored, &t); err != nil {
			err = errors.New("auth: the stored tokens of a client are damaged") // without quoting them
		}
	}
	return t, err
}

var errToken = &Failure{Condition: NotAuthorized, Text: "this token is not, or no longer, known"}
var errTokenExpired = &Failure{Condition: CredentialsExpired, Text: "this token has expired; sign in with the password"}

// useClientToken answers the client's one message.
func (s *Server) useClientToken(ctx context.Context, in []byte, mechanism string, binding []byte, use TokenUse) (reply, error) {
	name, proof, ok := bytes.Cut(in, []byte{0})
	if !ok || len(name) == 0 || len(proof) != hashSHA256.size {
		return reply{}, malformed("HT takes username NUL hashed token")
	}
	user, err := s.identity(ctx, "", string(name))
	switch {
	case err != nil:
		return reply{}, err
	case use.Client == "":
		return reply{}, errToken
	}
	c, err := s.source.Credentials(ctx, user)
	if err != nil && !errors.Is(err, ErrUnknownUser) {
		return reply{}, err
	}
	var used clientToken
	var secret []byte
	err = s.fast.Update(ctx, user, s.tokenClient(user, use.Client), func(old []byte) ([]byte, error) {
		all, err := readTokens(old)
		if err != nil {
			return nil, err
		}
		for _, t := range []*clientToken{all.New, all.Current} {
			if t == nil || t.Mechanism != mechanism {
				continue
			}
			secret = s.tokenSecret(t, user, use.Client)
			if subtle.ConstantTimeCompare(s.prove(secret, "Initiator", binding), proof) == 1 {
				if err := t.use(use, s.fingerprint(user, c)); err != nil {
					return nil, err
				}
				used = *t
				return all.after(t, use, old)
			}
		}
		return nil, errToken
	})
	if err != nil {
		return reply{}, err
	}
	r := reply{user: user, cred: mark(c), as: c.standing(), out: s.prove(secret, "Responder", binding)}
	if !use.Invalidate && time.Since(used.Issued) >= tokenTurn {
		r.renew = mechanism
	}
	return r, nil
}

// use counts a use of a token that was proven, unless it is not good any more.
func (t *clientToken) use(u TokenUse, password []byte) error {
	switch {
	case !time.Now().Before(t.Expires), subtle.ConstantTimeCompare(t.Password, password) != 1:
		return errTokenExpired
	case u.Counted && int64(u.Count) < t.Uses: // it was seen before
		return errToken
	case u.Counted:
		t.Uses = int64(u.Count) + 1
	}
	return nil
}

// after is what is stored once t, one of them, was used: "move the token from the 'new' slot to the 'current' slot". old is
// what was stored before, which is not written again when it is the same.
func (all clientTokens) after(t *clientToken, use TokenUse, old []byte) ([]byte, error) {
	switch {
	case use.Invalidate: // and one that the client was given and does not seem to have
		return nil, nil
	case t == all.New:
		all = clientTokens{Current: t}
	case !use.Counted:
		return old, nil
	}
	return json.Marshal(all)
}

// A ClientToken is a token as a client gets it.
type ClientToken struct {
	Token   string
	Expires time.Time
}

// IssueToken makes a token for the client that has just signed in with an exchange, for a mechanism that TokenMechanisms names
// on its channel. It is false when this client gets none: it has no id, or has not proven the password that the user has now
// or a token that came of it, as opposed to a one-use token.
func (s *Server) IssueToken(ctx context.Context, x *Exchange, ch Channel, client, mechanism string) (t ClientToken, ok bool, err error) {
	if client == "" || x.Credential() == 0 || x.Lease() != nil || !slices.Contains(s.TokenMechanisms(ch), mechanism) {
		return t, false, nil
	}
	user := x.Username()
	c, err := s.source.Credentials(ctx, user)
	switch {
	case errors.Is(err, ErrUnknownUser), err == nil && mark(c) != x.Credential():
		return t, false, nil
	case err != nil:
		return t, false, err
	}
	now := time.Now()
	fresh := &clientToken{Mechanism: mechanism, Seed: randomBytes(32), Issued: now.UTC(), Expires: now.Add(tokenLife).UTC(),
		Password: s.fingerprint(user, c)}
	add := func(old []byte) ([]byte, error) {
		all, err := readTokens(old)
		if err != nil || all.Current != nil && !now.Before(all.Current.Expires) {
			all.Current = nil // what is damaged is no good to anybody
		}
		all.New = fresh
		return json.Marshal(all)
	}
	name := s.tokenClient(user, client)
	err = s.fast.Update(ctx, user, name, add)
	if errors.Is(err, ErrTooManyClients) {
		if err = s.makeRoom(ctx, user); err == nil {
			err = s.fast.Update(ctx, user, name, add)
		}
	}
	if err != nil {
		return t, false, fmt.Errorf("auth: a token cannot be kept: %w", err)
	}
	return ClientToken{string(s.tokenSecret(fresh, user, client)), fresh.Expires}, true, nil
}

// makeRoom forgets the client of a user whose tokens expire first.
func (s *Server) makeRoom(ctx context.Context, user string) error {
	all, err := s.fast.List(ctx, user)
	if err != nil {
		return err
	}
	first, at := "", time.Time{}
	for client, stored := range all {
		t, _ := readTokens(stored) // what is damaged goes first
		var expires time.Time
		for _, slot := range []*clientToken{t.Current, t.New} {
			if slot != nil && slot.Expires.After(expires) {
				expires = slot.Expires
			}
		}
		if first == "" || expires.Before(at) {
			first, at = client, expires
		}
	}
	return s.fast.Remove(ctx, user, first)
}

// tokenClient is the name that a user's client has in the store.
func (s *Server) tokenClient(user, client string) string {
	return hex.EncodeToString(s.derive("rollcall fast client", s.host, user, client)[:16])
}

// tokenSecret is a token as its client has it: 43 letters, digits, "-" and "_".
func (s *Server) tokenSecret(t *clientToken, user, client string) []byte {
	sum := s.crypto.hmac(&hashSHA256, t.Seed, joined("rollcall fast token", t.Mechanism, s.host, user, client))
	return base64.RawURLEncoding.AppendEncode(nil, sum)
}

// prove is either side's message.
func (s *Server) prove(secret []byte, side string, binding []byte) []byte {
	return s.crypto.hmac(&hashSHA256, secret, append([]byte(side), binding...))
}

// fingerprint tells a password of a user from all others; unlike mark it is stored.
func (s *Server) fingerprint(user string, c Credentials) []byte {
	if c.Version != 0 {
		return s.derive("rollcall fast password", s.host, user, strconv.FormatInt(c.Version, 10))[:16]
	}
	return s.derive("rollcall fast password", s.host, user, string(c.SHA1.Salt), string(c.SHA1.StoredKey),
		string(c.SHA256.Salt), string(c.SHA256.StoredKey))[:16]
}
