package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"rollcall/internal/auth"
)

const secret = "canary secret of more than 32 bytes"

type claims map[string]any

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := josejwt.Signed(signer).Claims(map[string]any(c)).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func verifier(t testing.TB, c Config) *Verifier {
	t.Helper()
	c.Host = "example.com"
	if c.Claim == "" {
		c.Claim = "sub"
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestClaims(t *testing.T) {
	v := verifier(t, Config{Secret: secret, Issuer: "https://login", Audience: "chat", EndSessions: true})
	good := func() claims {
		return claims{"sub": "john", "iss": "https://login", "aud": []string{"x", "chat"}, "exp": in(time.Minute)}
	}
	for _, c := range []struct {
		name   string
		change func(claims)
		want   string // "": refused
	}{
		{"as it is", func(claims) {}, "john"},
		{"not canonical", func(c claims) { c["sub"] = "JOHN" }, "john"},
		{"an address", func(c claims) { c["sub"] = "John@Example.com" }, "john"},
		{"one aud", func(c claims) { c["aud"] = "chat" }, "john"},
		{"nbf", func(c claims) { c["nbf"] = in(-time.Minute) }, "john"},
		{"just expired, clocks differ", func(c claims) { c["exp"] = in(-10 * time.Second) }, "john"},
		{"no exp", func(c claims) { delete(c, "exp") }, ""},
		{"expired", func(c claims) { c["exp"] = in(-time.Minute) }, ""},
		{"exp is text", func(c claims) { c["exp"] = "never" }, ""},
		{"not yet", func(c claims) { c["nbf"] = in(time.Minute) }, ""},
		{"another issuer", func(c claims) { c["iss"] = "https://evil" }, ""},
		{"no issuer", func(c claims) { delete(c, "iss") }, ""},
		{"another audience", func(c claims) { c["aud"] = "shop" }, ""},
		{"no audience", func(c claims) { delete(c, "aud") }, ""},
		{"nobody", func(c claims) { delete(c, "sub") }, ""},
		{"a number", func(c claims) { c["sub"] = 7 }, ""},
		{"empty", func(c claims) { c["sub"] = "" }, ""},
		{"a user elsewhere", func(c claims) { c["sub"] = "john@evil.example" }, ""},
		{"a full address", func(c claims) { c["sub"] = "john@example.com/x" }, ""},
		{"no name", func(c claims) { c["sub"] = "jo hn" }, ""},
	} {
		token := good()
		c.change(token)
		user, lease, err := v.Verify(t.Context(), sign(t, jose.HS256, []byte(secret), "", token))
		if c.want == "" && (!errors.Is(err, auth.ErrWrong) || user != "" || lease != nil) || c.want != "" && (err != nil || user != c.want) {
			t.Errorf("%s: %q %v, want %q", c.name, user, err, c.want)
		}
		if c.want != "" && (lease == nil || lease.Until.Unix() != token["exp"]) {
			t.Errorf("%s: the lease is %+v", c.name, lease)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, lease, err := verifier(t, Config{Secret: secret}).Verify(t.Context(), sign(t, jose.HS256, []byte(secret), "", good())); err != nil || lease != nil {
		t.Errorf("without end_sessions: %+v %v", lease, err)
	}
	j := verifier(t, Config{Secret: secret, Claim: "jid"})
	if user, _, err := j.Verify(t.Context(), sign(t, jose.HS256, []byte(secret), "", claims{"jid": "john@example.com", "exp": in(time.Minute)})); user != "john" || err != nil {
		t.Errorf("the claim of ejabberd: %q %v", user, err)
	}
}

func pemOf(t testing.TB, key any) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func keyPairs(t testing.TB) (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return r, e
}

// RFC 8725 section 2.1: what a token says of its algorithm is not believed.
func TestAlgorithms(t *testing.T) {
	r, e := keyPairs(t)
	john := claims{"sub": "john", "exp": in(time.Minute)}
	v := verifier(t, Config{Keys: pemOf(t, &r.PublicKey)})
	if user, _, err := v.Verify(t.Context(), sign(t, jose.RS256, r, "any", john)); user != "john" || err != nil {
		t.Errorf("RS256: %q %v", user, err)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	body := part(fmt.Sprintf(`{"sub":"john","exp":%d}`, in(time.Minute)))
	whole := sign(t, jose.RS256, r, "", john)
	for name, token := range map[string]string{
		"none":                            part(`{"alg":"none"}`) + "." + body + ".",
		"None":                            part(`{"alg":"None"}`) + "." + body + "." + part("x"),
		"the public key as a secret":      sign(t, jose.HS256, pemOf(t, &r.PublicKey), "", john),
		"an algorithm that is not pinned": sign(t, jose.PS256, r, "", john),
		"another key":                     sign(t, jose.ES256, e, "", john),
		"cut":                             whole[:len(whole)-9],
		"another body":                    strings.Split(whole, ".")[0] + "." + body + "." + strings.Split(whole, ".")[2] + "x",
		"nothing":                         "", "dots": "..", "no JWT": "canary",
		"its own key": func() string {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: e}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				t.Fatal(err)
			}
			text, err := josejwt.Signed(signer).Claims(map[string]any(john)).Serialize()
			if err != nil {
				t.Fatal(err)
			}
			return text
		}(),
	} {
		if user, _, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrWrong) || user != "" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %q %v", name, user, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	r, _ := keyPairs(t)
	private, err := json.Marshal(jose.JSONWebKey{Key: r})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"no keys": {}, "a short secret": {Secret: "canary"}, "a secret for RS256": {Secret: secret, Algorithms: []string{"RS256"}},
		"HS256 with a public key": {Keys: pemOf(t, &r.PublicKey), Algorithms: []string{"RS256", "HS256"}},
		"none":                    {Keys: pemOf(t, &r.PublicKey), Algorithms: []string{"none"}},
		"a private key":           {Keys: private}, "no key": {Keys: []byte("canary")}, "an empty set": {Keys: []byte(`{"keys":[]}`)},
		"a secret in a set": {Keys: []byte(`{"keys":[{"kty":"oct","k":"Y2FuYXJ5"}]}`)},
		"a private PEM":     {Keys: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// authority serves a JWK Set, and its discovery document.
type authority struct {
	*httptest.Server
	asked  atomic.Int32
	keys   atomic.Pointer[jose.JSONWebKeySet] // nil: it is down
	issuer string
}

func startAuthority(t *testing.T) *authority {
	a := &authority{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, a.issuer, a.URL+"/keys")
		case a.keys.Load() == nil:
			a.asked.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			a.asked.Add(1)
			if err := json.NewEncoder(w).Encode(a.keys.Load()); err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(a.Close)
	a.issuer = a.URL
	return a
}

func (a *authority) has(keys ...jose.JSONWebKey) { a.keys.Store(&jose.JSONWebKeySet{Keys: keys}) }

// later makes a Remote believe that time has passed.
func (r *Remote) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.named, r.fetched = r.asked.Add(-d), r.named.Add(-d), r.fetched.Add(-d)
}

// Keys are fetched when they are needed; a kid that is not known asks again, and no more often than is good.
func TestRemote(t *testing.T) {
	one, two := keyPairs(t)
	a := startAuthority(t)
	r, err := NewRemote(a.URL, true, "test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	told, failed := int32(0), 0
	r.Observe = func(_ time.Duration, err error) {
		told++
		if err != nil {
			failed++
		}
	}
	v := verifier(t, Config{Remote: r, Issuer: a.URL})
	john := claims{"sub": "john", "iss": a.URL, "exp": in(time.Hour)}
	first, second := sign(t, jose.RS256, one, "first", john), sign(t, jose.ES256, two, "second", john)
	check := func(what, token string, want error, asked int32) {
		t.Helper()
		user, _, err := v.Verify(t.Context(), token)
		switch {
		case want == nil && (err != nil || user != "john"), want == auth.ErrWrong && !errors.Is(err, want),
			want != nil && want != auth.ErrWrong && (err == nil || errors.Is(err, auth.ErrWrong)):
			t.Errorf("%s: %q %v, want %v", what, user, err, want)
		}
		if got := a.asked.Load(); got != asked {
			t.Errorf("%s: asked %d times, want %d", what, got, asked)
		}
	}
	down := errors.New("any")
	check("it is down", first, down, 1)
	check("not asked again at once", first, down, 1)
	r.later(keysPause)
	a.has(jose.JSONWebKey{Key: one.Public(), KeyID: "first"})
	check("the first key", first, nil, 2)
	check("it is known", first, nil, 2)
	check("an unknown kid, just after keys came", second, auth.ErrWrong, 3)
	for range 20 {
		check("again and again", second, auth.ErrWrong, 3)
	}
	a.has(jose.JSONWebKey{Key: two.Public(), KeyID: "second"})
	r.later(keysPause)
	check("the new key", second, nil, 4)
	check("the old key is gone", first, auth.ErrWrong, 4)
	a.keys.Store(nil)
	r.later(keysAge)
	check("down: the keys stay", second, nil, 5)
	a.has(jose.JSONWebKey{Key: two.Public(), KeyID: "second"})
	a.issuer = "https://evil.example"
	r.later(keysAge)
	check("a document of somebody else", second, nil, 5)

	if told != a.asked.Load()+1 || failed != 3 { // the authority does not count what somebody else answers
		t.Errorf("told %d times, %d of them of failures", told, failed)
	}

	r.turn <- struct{}{} // somebody is fetching
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.later(keysAge)
	if _, _, err := v.Verify(ctx, second); err == nil || errors.Is(err, auth.ErrWrong) {
		t.Errorf("who has gone: %v", err)
	}
}

func TestNewRemoteRefuses(t *testing.T) {
	for _, address := range []string{"", "login.example.com", "ftp://x/", "https://me:canary@x/", "https://x/#y"} {
		if _, err := NewRemote(address, false, "test", nil, nil); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	v := verifier(f, Config{Secret: secret})
	f.Add(sign(f, jose.HS256, []byte(secret), "", claims{"sub": "john", "exp": 1}))
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if user, _, err := v.Verify(t.Context(), token); err == nil || user != "" {
			t.Errorf("%q signs %q in", token, user)
		}
	})
}
