package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"rollcall/internal/auth"
	"rollcall/internal/store"
)

// Tokens in a real store: they end with the password and with the account, and a user has a bounded number.
func TestTokensInAStore(t *testing.T) {
	const mechanism = "HT-SHA-256-NONE"
	ctx := t.Context()
	st, err := store.Open(ctx, store.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	server, err := auth.New(auth.Config{Host: "localhost", Secret: make([]byte, 32), FAST: clientTokens{st, "localhost"},
		Method: auth.Accounts{Source: accounts{st, "localhost"}, Plain: true}})
	if err != nil {
		t.Fatal(err)
	}
	secure := auth.Channel{Secure: true}
	credentials := func(password string) store.Credentials {
		c, err := auth.MakeCredentials(password)
		if err != nil {
			t.Fatal(err)
		}
		return store.Credentials{SHA1: store.Keys(c.SHA1), SHA256: store.Keys(c.SHA256)}
	}
	byPassword := func(password string) *auth.Exchange {
		t.Helper()
		x, err := server.Start("PLAIN", secure)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.Next(ctx, []byte("\x00john\x00"+password)); err != nil {
			t.Fatal(err)
		}
		return x
	}
	issue := func(x *auth.Exchange, client string) string {
		t.Helper()
		got, ok, err := server.IssueToken(ctx, x, secure, client, mechanism)
		if err != nil || !ok {
			t.Fatalf("issued %v, %v", ok, err)
		}
		return got.Token
	}
	use := func(token, client string) string {
		t.Helper()
		x, err := server.StartToken(mechanism, secure, auth.TokenUse{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		m := hmac.New(sha256.New, []byte(token))
		m.Write([]byte("Initiator"))
		_, _, err = x.Next(context.Background(), append([]byte("john\x00"), m.Sum(nil)...))
		var f *auth.Failure
		if errors.As(err, &f) {
			return f.Condition
		}
		return ""
	}
	if err := st.AddAccount(ctx, "localhost", "john", credentials("pencil")); err != nil {
		t.Fatal(err)
	}
	x := byPassword("pencil")
	var tokens []string
	for n := range tokenClients + 1 {
		tokens = append(tokens, issue(x, fmt.Sprint("client ", n)))
	}
	known := 0
	for n, token := range tokens {
		if use(token, fmt.Sprint("client ", n)) == "" {
			known++
		}
	}
	last := len(tokens) - 1
	if name := fmt.Sprint("client ", last); known != tokenClients || use(tokens[last], name) != "" {
		t.Errorf("%d tokens of %d are known, the last: %q", known, len(tokens), use(tokens[last], name))
	}
	if err := st.SetCredentials(ctx, "localhost", "john", credentials("crayon")); err != nil {
		t.Fatal(err)
	}
	if got := use(tokens[last], fmt.Sprint("client ", last)); got != auth.CredentialsExpired {
		t.Errorf("with another password: %q", got)
	}
	token := issue(byPassword("crayon"), "client 1")
	if got := use(token, "client 1"); got != "" {
		t.Errorf("a token that came of the new password: %q", got)
	}
	if err := st.RemoveAccount(ctx, "localhost", "john"); err != nil {
		t.Fatal(err)
	}
	if got := use(token, "client 1"); got != auth.NotAuthorized {
		t.Errorf("without an account: %q", got)
	}
	if err := st.AddAccount(ctx, "localhost", "john", credentials("crayon")); err != nil {
		t.Fatal(err)
	}
	if got := use(token, "client 1"); got != auth.NotAuthorized {
		t.Errorf("somebody else of that name: %q", got)
	}
	if all, err := (clientTokens{st, "localhost"}).List(ctx, "john"); err != nil || len(all) != 0 {
		t.Errorf("the new account has %d clients, %v", len(all), err)
	}
}
