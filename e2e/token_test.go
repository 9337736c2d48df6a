package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

const adminToken = "canary-admin-token"

// call asks the admin API with that token, and decodes its answer into v.
func (r *rollcall) call(method, path, body string, v any) {
	r.t.Helper()
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", r.http, path), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil || resp.StatusCode != 200 || json.Unmarshal(text.Bytes(), v) != nil {
		r.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, &text, err)
	}
}

type token struct{ JID, Token, ID string }

// Clients sign in with one-use tokens in place of passwords, whether the user has an account or not; and what opened with them
// ends when they are revoked.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := startService(t)
	r := startWith(t, fmt.Sprintf("[admin]\ntoken = %q\n", adminToken), s.rosterURL(), "john")
	r.service = s
	var tokens []token
	newToken := func(user string) (made token) {
		r.call("POST", "/admin/tokens", fmt.Sprintf(`{"user": %q}`, user), &made)
		tokens = append(tokens, made)
		return made
	}
	refused := func(k kind, user, password string) {
		t.Helper()
		c := k.open(t, r, user, password)
		e := c.wait("a refusal", func(e event) bool { return e.Event == "auth-failed" || e.Event == "online" })
		if e.Event != "auth-failed" || e.Condition != "not-authorized" {
			t.Errorf("%s: got %s %s, want auth-failed not-authorized", k.name, e.Event, e.Condition)
		}
	}
	for _, user := range []string{"john", "jane"} { // jane has no account
		s.set(user, `{"marie@localhost": {"name": "Marie"}}`)
		for _, k := range []kind{slixmppSTARTTLS, xmppjsWSS, stropheBOSHTLS} {
			made := newToken(user)
			c := k.open(t, r, user, made.Token)
			e := c.wait("the sign-in", func(e event) bool { return e.Event == "auth-failed" || e.Event == "online" })
			if e.Event != "online" || e.Mechanism != k.scram {
				t.Errorf("%s, %s: %+v, want %s", k.name, user, e, k.scram)
				continue
			}
			if got := c.roster()["marie@localhost"].Name; got != "Marie" {
				t.Errorf("%s, %s: the contact is %q", k.name, user, got)
			}
			refused(k, user, made.Token) // once is once
			c.quit()
		}
	}
	unused := newToken("john")
	c := slixmppSTARTTLS.open(t, r, "john", newToken("john").Token)
	c.wait("the sign-in", func(e event) bool { return e.Event == "online" })
	var gone struct{ Tokens, Sessions int }
	if r.call("DELETE", "/admin/tokens/john", "", &gone); gone.Tokens != 1 || gone.Sessions != 1 {
		t.Errorf("revoked %+v, want one token and one session", gone)
	}
	c.wait("the end", func(e event) bool { return e.Event == "stream-error" && e.Condition == "policy-violation" })
	refused(slixmppSTARTTLS, "john", unused.Token)

	out, err := exec.Command(binary, "user", "token", "-c", r.config, "jane@localhost").Output() // beside the server
	if err != nil {
		t.Fatal(err)
	}
	tokens = append(tokens, token{Token: strings.TrimSpace(string(out))})
	c = xmppjsWSS.open(t, r, "jane", strings.TrimSpace(string(out)))
	c.wait("the sign-in", func(e event) bool { return e.Event == "online" })
	c.quit()

	r.process.stop(t)
	for _, one := range tokens {
		if strings.Contains(r.process.output.String(), one.Token) {
			t.Error("the log has a token in it")
		}
	}
	if strings.Contains(r.process.output.String(), adminToken) {
		t.Error("the log has the admin's token in it")
	}
}
