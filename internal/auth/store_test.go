package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"rollcall/internal/auth"
	"rollcall/internal/store"
)

// accounts is what fits the store to auth.Source: the accounts of one host.
type accounts struct {
	store *store.Store
	host  string
}

func (a accounts) Credentials(ctx context.Context, username string) (auth.Credentials, error) {
	account, err := a.store.Account(ctx, a.host, username)
	if errors.Is(err, store.ErrNotFound) {
		return auth.Credentials{}, auth.ErrUnknownUser
	}
	c := account.Credentials
	return auth.Credentials{SHA1: auth.Keys(c.SHA1), SHA256: auth.Keys(c.SHA256)}, err
}

// Accounts in a real store, from the making of one to its removal.
func TestAccountsInAStore(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	st, err := store.Open(ctx, store.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := st.Secret(ctx, "decoy salts")
	if err != nil {
		t.Fatal(err)
	}
	server, err := auth.New(auth.Config{Host: "localhost", Secret: secret,
		Method: auth.Accounts{Source: accounts{st, "localhost"}, Plain: true}})
	if err != nil {
		t.Fatal(err)
	}
	credentials := func(password string) store.Credentials {
		c, err := auth.MakeCredentials(password)
		if err != nil {
			t.Fatal(err)
		}
		return store.Credentials{SHA1: store.Keys(c.SHA1), SHA256: store.Keys(c.SHA256)}
	}
	check := func(password, want string) {
		t.Helper()
		for mechanism, hash := range map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256} {
			if got := signIn(t, server, mechanism, hash, password); got != want {
				t.Errorf("%s with %q: %s, want %s", mechanism, password, got, want)
			}
		}
		x, err := server.Start("PLAIN", auth.Channel{Secure: true})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = x.Next(ctx, []byte("\x00john\x00"+password))
		if got := outcome(x, err); got != want {
			t.Errorf("PLAIN with %q: %s, want %s", password, got, want)
		}
	}

	check("pencil", auth.NotAuthorized)
	if err := st.AddAccount(ctx, "localhost", "john", credentials("pencil")); err != nil {
		t.Fatal(err)
	}
	check("pencil", "john")
	check("crayon", auth.NotAuthorized)
	if err := st.SetCredentials(ctx, "localhost", "john", credentials("crayon")); err != nil {
		t.Fatal(err)
	}
	check("pencil", auth.NotAuthorized)
	check("crayon", "john")
	if err := st.RemoveAccount(ctx, "localhost", "john"); err != nil {
		t.Fatal(err)
	}
	check("crayon", auth.NotAuthorized)
	if err := st.AddAccount(ctx, "example.com", "john", credentials("crayon")); err != nil {
		t.Fatal(err)
	}
	check("crayon", auth.NotAuthorized) // John of another host

	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	check("crayon", auth.TemporaryAuthFailure)
}

// outcome is the user, or the condition of the failure.
func outcome(x *auth.Exchange, err error) string {
	var f *auth.Failure
	if errors.As(err, &f) {
		return f.Condition
	}
	return x.Username()
}

func signIn(t *testing.T, server *auth.Server, mechanism string, hash scram.HashGeneratorFcn, password string) string {
	t.Helper()
	client, err := hash.NewClient("john", password, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.WithMinIterations(auth.Iterations).NewConversation()
	x, err := server.Start(mechanism, auth.Channel{Secure: true})
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for done := false; !done; {
		in, err := conv.Step(string(out))
		if err != nil {
			t.Fatal(err)
		}
		if out, done, err = x.Next(t.Context(), []byte(in)); err != nil {
			return outcome(x, err)
		}
	}
	if _, err := conv.Step(string(out)); err != nil || !strings.HasPrefix(string(out), "v=") {
		t.Errorf("%q: %v", out, err)
	}
	return x.Username()
}
