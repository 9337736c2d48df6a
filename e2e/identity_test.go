package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/auth"
)

// signInResult opens a session, and tells how that went: the mechanism, or the condition of the failure.
func signInResult(t *testing.T, k kind, r *rollcall, user, password string) string {
	t.Helper()
	c := k.open(t, r, user, password)
	e := c.wait("the sign-in", func(e event) bool { return e.Event == "auth-failed" || e.Event == "online" })
	if e.Event == "online" {
		c.quit()
		return e.Mechanism
	}
	return e.Condition
}

// startAs is start with another line in place of those about sign-in, and more in the server's environment.
func startAs(t *testing.T, line string, env ...string) *rollcall {
	t.Helper()
	r := start(t)
	r.env = env
	r.process.stop(t)
	b, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(b), "auth.method")
	_, after, ok := strings.Cut(rest, "roster.url")
	if !ok {
		t.Fatalf("the configuration is another one:\n%s", b)
	}
	if err := os.WriteFile(r.config, []byte(before+line+"\nroster.url"+after), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run()
	return r
}

func (r *rollcall) hasNoSecret(secrets ...string) {
	r.t.Helper()
	r.process.stop(r.t)
	for _, s := range secrets {
		if strings.Contains(r.process.output.String(), s) {
			r.t.Errorf("the log has a secret in it: %.12s…", s)
		}
	}
}

// An application that knows the passwords lets its users in, in both dialects; when it is down, nobody's password is wrong.
func TestPasswordsOfTheApplication(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, pass, _ := r.BasicAuth()
		q := r.URL.Query()
		switch {
		case down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/auth/check_password":
			fmt.Fprint(w, name == "rollcall" && pass == "canary-own" && q.Get("user") == "john" && q.Get("server") == "localhost" && q.Get("pass") == password)
		case r.URL.Path == "/login" && name == "john" && pass == password:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer app.Close()
	for name, keys := range map[string]string{
		"mongooseim": `auth = { method = "http", url = "` + app.URL + `/auth", cache = "0s", credentials = "rollcall:canary-own" }`,
		"basic":      `auth = { method = "http", style = "basic", cache = "0s", url = "` + app.URL + `/login" }`,
	} {
		t.Run(name, func(t *testing.T) {
			r := startAs(t, keys)
			for _, k := range []kind{slixmppSTARTTLS, xmppjsWSS} {
				for _, c := range [][3]string{{"john", password, "PLAIN"}, {"john", "wrong", "not-authorized"}, {"jane", password, "not-authorized"}} {
					if got := signInResult(t, k, r, c[0], c[1]); got != c[2] {
						t.Errorf("%s, %s: %s, want %s", k.name, c[0], got, c[2])
					}
				}
			}
			down.Store(true)
			defer down.Store(false)
			if got := signInResult(t, slixmppSTARTTLS, r, "john", password); got != "temporary-auth-failure" {
				t.Errorf("while the application is down: %s", got)
			}
			r.hasNoSecret(password, "canary-own")
		})
	}
}

// One that gives keys has its users sign in with SCRAM.
func TestKeysOfTheApplication(t *testing.T) {
	t.Parallel()
	c, err := auth.MakeCredentials(password)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(k auth.Keys) string {
		b := base64.StdEncoding.EncodeToString
		return b(k.Salt) + "|" + b(k.StoredKey) + "|" + b(k.ServerKey)
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/auth/get_password" || r.URL.Query().Get("user") != "john" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "==MULTI_SCRAM==,%d,===SHA1===%s,==SHA256==%s", auth.Iterations, keys(c.SHA1), keys(c.SHA256))
	}))
	defer app.Close()
	r := startAs(t, `auth = { method = "http", scram = true, url = "`+app.URL+`/auth" }`)
	for _, k := range []kind{slixmppSTARTTLS, xmppjsWSS} {
		for _, c := range [][3]string{{"john", password, k.scram}, {"john", "wrong", "not-authorized"}, {"jane", password, "not-authorized"}} {
			if got := signInResult(t, k, r, c[0], c[1]); got != c[2] {
				t.Errorf("%s, %s: %s, want %s", k.name, c[0], got, c[2])
			}
		}
	}
}

// Tokens that openssl has signed.
func TestSignedTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	private, public := filepath.Join(dir, "key.pem"), filepath.Join(dir, "public.pem")
	openssl := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = strings.NewReader(stdin)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("openssl %s: %v", args[0], err)
		}
		return out.String()
	}
	openssl("", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private)
	openssl("", "pkey", "-in", private, "-pubout", "-out", public)
	sign := func(user string, exp time.Time) string {
		text := part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, user, exp.Unix()))
		return text + "." + part([]byte(openssl(text, "dgst", "-sha256", "-sign", private)))
	}
	if _, err := os.Stat(public); err != nil {
		t.Fatal(err)
	}
	r := startAs(t, fmt.Sprintf(`auth = { method = "jwt", jwt = { key_file = %q } }`, public))
	soon := time.Now().Add(time.Hour)
	john := sign("john", soon)
	for _, k := range []kind{slixmppSTARTTLS, xmppjsWSS} {
		for _, c := range [][3]string{
			{"john", john, "PLAIN"}, {"jane", john, "not-authorized"}, {"john", john[:len(john)-8], "not-authorized"},
			{"john", sign("john", time.Now().Add(-time.Hour)), "not-authorized"},
		} {
			if got := signInResult(t, k, r, c[0], c[1]); got != c[2] {
				t.Errorf("%s, %s: %s, want %s", k.name, c[0], got, c[2])
			}
		}
	}
	r.hasNoSecret(john, strings.Split(john, ".")[2])
	for _, reason := range []string{"it is another user's", "no key fits its signature", "it has expired"} {
		if !strings.Contains(r.process.output.String(), fmt.Sprintf("condition=not-authorized try=1 reason=%q", reason)) {
			t.Errorf("the log does not say %q", reason)
		}
	}
}
