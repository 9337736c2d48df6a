package e2e

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A login is a service that signs tokens, over HTTPS with a certificate of an authority of its own: a JWK Set (RFC 7517) at
// /keys, and the discovery document of OpenID Connect that has its URL.
type login struct {
	*httptest.Server
	ca string // path

	mu    sync.Mutex
	shown []map[string]string // JWKs
	down  bool
	asked int // for keys
}

// startLogin starts one without keys, which answers nothing but errors.
func startLogin(t *testing.T) *login {
	t.Helper()
	files := makeCertificate(t, t.TempDir())
	own, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	l := &login{ca: files.ca, down: true}
	l.Server = httptest.NewUnstartedServer(l)
	l.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	l.StartTLS()
	t.Cleanup(l.Close)
	return l
}

func (l *login) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.URL.Path == "/keys" {
		l.asked++
	}
	var answer any
	switch {
	case l.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case q.URL.Path == "/.well-known/openid-configuration":
		answer = map[string]string{"issuer": l.URL, "jwks_uri": l.URL + "/keys"}
	case q.URL.Path == "/keys":
		answer = map[string]any{"keys": l.shown}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) // who hangs up asks again
}

// shows makes those of the service's keys known.
func (l *login) shows(keys ...*signingKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.shown = false, nil
	for _, k := range keys {
		l.shown = append(l.shown, k.public())
	}
}

func (l *login) goDown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
}

// fetches counts how often keys were asked for.
func (l *login) fetches() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// A signingKey is for ES256 (RFC 7518 section 3.4).
type signingKey struct {
	id string
	*ecdsa.PrivateKey
}

func (k *signingKey) public() map[string]string {
	point, err := k.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err) // another curve than P-256
	}
	return map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": k.id, "x": part(point[1:33]), "y": part(point[33:])}
}

// token signs that somebody is a user, for an hour.
func (k *signingKey) token(t *testing.T, issuer, user string) string {
	t.Helper()
	text := part(fmt.Appendf(nil, `{"alg":"ES256","typ":"JWT","kid":%q}`, k.id)) + "." +
		part(fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":["chat"],"exp":%d}`, issuer, user, time.Now().Add(time.Hour).Unix()))
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.PrivateKey, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + part(signature)
}

func part(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// startBelieving runs a server that takes the tokens of a login, whose keys are where place says.
func startBelieving(t *testing.T, l *login, place string) *rollcall {
	t.Helper()
	return startAs(t, fmt.Sprintf(`auth = { method = "jwt", jwt = { issuer = %q, audience = "chat", %s } }`, l.URL, place), "SSL_CERT_FILE="+l.ca)
}

// strophe.js speaks OAUTHBEARER by itself, where it is told not to prefer PLAIN.
var (
	oauthBearerBOSH = kind{"strophe.js over BOSH with OAUTHBEARER", "", "OAUTHBEARER", openStrophe("https://localhost:%d/http-bind",
		func(r *rollcall) int { return r.https }, "SASLOAuthBearer")}
	oauthBearerWSS = kind{"strophe.js over WebSocket with OAUTHBEARER", "", "OAUTHBEARER", openStrophe("wss://localhost:%d/xmpp-websocket",
		func(r *rollcall) int { return r.https }, "SASLOAuthBearer")}
)

// Users sign in with tokens whose keys come from a login service over HTTPS, found by OpenID Connect: by OAUTHBEARER, and in
// place of a password. A key that is new is asked for when the first token comes that names it, one that is gone is worth
// nothing, and the service may be down once its keys are known.
func TestKeysOfALogin(t *testing.T) {
	t.Parallel()
	l := startLogin(t)
	old, next, stranger := &signingKey{"2026", newKey(t)}, &signingKey{"2027", newKey(t)}, &signingKey{"2028", newKey(t)}
	l.shows(old)
	r := startBelieving(t, l, "discovery = true")
	check := func(k kind, user, token, want string) {
		t.Helper()
		if got := signInResult(t, k, r, user, token); got != want {
			t.Errorf("%s: %s, want %s", k.name, got, want)
		}
	}
	fetched := func(times int) {
		t.Helper()
		if got := l.fetches(); got != times {
			t.Errorf("the keys were asked for %d times, want %d", got, times)
		}
	}
	before := old.token(t, l.URL, "john")
	check(oauthBearerBOSH, "john", before, "OAUTHBEARER")
	check(oauthBearerWSS, "", before, "OAUTHBEARER") // the token says who it is
	check(oauthBearerWSS, "jane", before, "invalid-authzid")
	check(oauthBearerBOSH, "john", old.token(t, "https://evil.example", "john"), "not-authorized")
	fetched(1)

	l.shows(next)
	after := next.token(t, l.URL, "john")
	check(oauthBearerWSS, "john", after, "OAUTHBEARER")
	check(slixmppSTARTTLS, "john", after, "PLAIN")
	fetched(2)
	check(oauthBearerBOSH, "john", before, "not-authorized") // on a slow machine it is asked again for that key

	l.goDown()
	check(oauthBearerBOSH, "john", after, "OAUTHBEARER")
	check(oauthBearerWSS, "john", stranger.token(t, l.URL, "john"), "not-authorized")
	r.hasNoSecret(before, after, strings.Split(after, ".")[2])
}

// As long as no keys could be had, nobody's token is wrong.
func TestKeysAtURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		down, ofSome bool
		want         string
	}{
		{"there", false, false, "OAUTHBEARER"}, {"down", true, false, "temporary-auth-failure"},
		{"certified by somebody", false, true, "temporary-auth-failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := startLogin(t)
			key := &signingKey{"2026", newKey(t)}
			if !c.down {
				l.shows(key)
			}
			if c.ofSome {
				l.ca = makeCertificate(t, t.TempDir()).ca
			}
			r := startBelieving(t, l, fmt.Sprintf(`url = "%s/keys"`, l.URL))
			if got := signInResult(t, oauthBearerWSS, r, "john", key.token(t, l.URL, "john")); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
