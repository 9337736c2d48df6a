// Package jwt finds out from a signed token whose it is: JSON Web Tokens (RFC 7519, by the advice of RFC 8725), signed (RFC 7515) with
// a secret or with keys from a file or from a JWK Set (RFC 7517), whose place OpenID Connect Discovery 1.0 may tell.
//
// Signatures and keys are github.com/go-jose/go-jose's; which of them count, and what a token must say, is decided here.
package jwt

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"rollcall/internal/auth"
	"rollcall/internal/jid"
)

// Algorithms that a configuration can allow. "none" is not among them.
var Algorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Config says which tokens are good for a virtual host.
type Config struct {
	Host string // canonical

	// The keys: one of these.
	Secret string // for HS256 and its like
	Keys   []byte // what a file has: PEM of a public key or certificate, a JWK, or a JWK Set
	Remote *Remote

	Algorithms []string // allowed; none: HS256 with a secret, else RS256, ES256 and EdDSA
	Issuer     string   // what iss must be; "" for anything
	Audience   string   // what must be in aud; "" for anything
	Claim      string   // which names the user: a localpart, or an address at Host
	// EndSessions makes sessions end when their token does.
	EndSessions bool
}

// leeway is by how much clocks may differ.
const leeway = 30 * time.Second

// maxKeys bounds the keys that one token is tried with.
const maxKeys = 32

// A Verifier judges the tokens of one host. Its methods may be called by any goroutine.
type Verifier struct {
	cfg        Config
	algorithms []jose.SignatureAlgorithm
	keys       []jose.JSONWebKey // nil with Config.Remote
}

// New checks the configuration. The error does not quote a key.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{cfg: cfg}
	names := cfg.Algorithms
	if len(names) == 0 {
		names = []string{"RS256", "ES256", "EdDSA"}
		if cfg.Secret != "" {
			names = []string{"HS256"}
		}
	}
	for _, name := range names {
		if !slices.Contains(Algorithms, name) {
			return nil, fmt.Errorf("jwt: there is no algorithm %q", name)
		}
		// RFC 8725 section 3.1: a public key is no secret, and whoever knows it must not be able to sign with it.
		if symmetric := strings.HasPrefix(name, "HS"); symmetric != (cfg.Secret != "") {
			return nil, fmt.Errorf("jwt: the algorithm %s does not go with the keys: HS256, HS384 and HS512 take a secret, the others public keys", name)
		}
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(name))
	}
	var err error
	switch {
	case cfg.Secret != "":
		if len(cfg.Secret) < 32 {
			return nil, errors.New("jwt: a secret of less than 32 bytes can be guessed from a token (RFC 7518 section 3.2); make one and give it to whoever signs: openssl rand -base64 32")
		}
		v.keys = []jose.JSONWebKey{{Key: []byte(cfg.Secret)}}
	case cfg.Keys != nil:
		v.keys, err = parseKeys(cfg.Keys)
	case cfg.Remote == nil:
		err = errors.New("jwt: there are no keys")
	}
	return v, err
}

// parseKeys reads the public keys of a file.
func parseKeys(b []byte) (keys []jose.JSONWebKey, err error) {
	if block, _ := pem.Decode(b); block != nil {
		var key any
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = cert.PublicKey
			}
		default:
			return nil, fmt.Errorf("jwt: the file has a %.40q; it takes a PUBLIC KEY, a CERTIFICATE, a JWK or a JWK Set", block.Type)
		}
		if err != nil {
			return nil, errors.New("jwt: the PEM block of the file cannot be read")
		}
		return []jose.JSONWebKey{{Key: key}}, nil
	}
	var set jose.JSONWebKeySet
	var one jose.JSONWebKey
	if json.Unmarshal(b, &set) != nil || len(set.Keys) == 0 {
		if json.Unmarshal(b, &one) != nil {
			return nil, errors.New("jwt: the file is no PEM, no JWK and no JWK Set")
		}
		set.Keys = []jose.JSONWebKey{one}
	}
	return public(set.Keys)
}

// public leaves the keys that signatures can be verified with. A private key does not belong here, and a secret no less.
func public(all []jose.JSONWebKey) (keys []jose.JSONWebKey, err error) {
	for _, k := range all {
		if _, secret := k.Key.([]byte); !secret && k.IsPublic() && k.Valid() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("jwt: there is no public key for signatures among the keys")
	}
	return keys, nil
}

// Verify finds out whose token it is. The error is an auth.ErrWrong with the reason, which has nothing of the token in it; or a
// fault on our side.
func (v *Verifier) Verify(ctx context.Context, token string) (username string, lease *auth.Lease, err error) {
	t, err := josejwt.ParseSigned(token, v.algorithms)
	if err != nil || len(t.Headers) != 1 {
		return "", nil, auth.Wrong("it is no JWT with an algorithm that is allowed")
	}
	keys := v.keys
	if v.cfg.Remote != nil {
		if keys, err = v.cfg.Remote.keysFor(ctx, t.Headers[0].KeyID); err != nil {
			return "", nil, err
		}
	}
	var claims josejwt.Claims
	all := map[string]any{}
	verified := false
	tried := 0
	for _, k := range keys {
		if kid := t.Headers[0].KeyID; kid != "" && k.KeyID != "" && k.KeyID != kid || k.Algorithm != "" && k.Algorithm != t.Headers[0].Algorithm {
			continue
		}
		if tried++; tried > maxKeys {
			break
		}
		if t.Claims(k.Key, &claims, &all) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return "", nil, auth.Wrong("no key fits its signature")
	}
	if err := v.judge(claims); err != nil {
		return "", nil, err
	}
	if username, err = v.user(all[v.cfg.Claim]); err != nil {
		return "", nil, err
	}
	if v.cfg.EndSessions {
		lease = &auth.Lease{Since: time.Now(), Until: claims.Expiry.Time()}
	}
	return username, lease, nil
}

// judge checks what a token says of itself.
func (v *Verifier) judge(claims josejwt.Claims) error {
	if claims.Expiry == nil {
		return auth.Wrong("it has no exp")
	}
	expected := josejwt.Expected{Issuer: v.cfg.Issuer, Time: time.Now()}
	if v.cfg.Audience != "" {
		expected.AnyAudience = []string{v.cfg.Audience}
	}
	switch err := claims.ValidateWithLeeway(expected, leeway); {
	case errors.Is(err, josejwt.ErrExpired):
		return auth.Wrong("it has expired")
	case errors.Is(err, josejwt.ErrNotValidYet), errors.Is(err, josejwt.ErrIssuedInTheFuture):
		return auth.Wrong("it is not valid yet")
	case errors.Is(err, josejwt.ErrInvalidIssuer):
		return auth.Wrong("it has another iss")
	case errors.Is(err, josejwt.ErrInvalidAudience):
		return auth.Wrong("it has another aud")
	case err != nil:
		return auth.Wrong("it is not valid")
	}
	return nil
}

// user reads the claim that names the user.
func (v *Verifier) user(claim any) (string, error) {
	text, ok := claim.(string)
	if !ok || text == "" {
		return "", auth.Wrong("it does not name a user")
	}
	if strings.Contains(text, "@") {
		j, err := jid.Parse(text)
		if err != nil || !j.IsBare() || j.Domain() != v.cfg.Host {
			return "", auth.Wrong("it names no user of this host")
		}
		return j.Local(), nil
	}
	local, err := jid.Localpart(text)
	if err != nil {
		return "", auth.Wrong("it names no user of this host")
	}
	return local, nil
}
