package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

// accounts plays with a server on which users have accounts, with the password "secret".
func accounts(t *testing.T, o xmpptest.Options, play func(t *testing.T, ctx context.Context, w *xmpptest.World, s *xmpptest.Service)) {
	o.DataDir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		service := xmpptest.NewService()
		w, err := xmpptest.Start(t, service, o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		play(t, ctx, w, service)
	})
}

// Attack case 31: a session is not resumed after the password was changed, though the new one is known, and even where it is the
// same word.
func TestChangedPasswordEndsResumption(t *testing.T) {
	for _, change := range []bool{false, true} {
		accounts(t, xmpptest.Options{Accounts: []string{"john"}}, func(t *testing.T, ctx context.Context, w *xmpptest.World, _ *xmpptest.Service) {
			john, err := w.Connect(ctx, "john", "phone")
			if err != nil {
				t.Fatal(err)
			}
			if err := john.Send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>"); err != nil {
				t.Fatal(err)
			}
			enabled, err := john.Receive(ctx)
			if err != nil || !enabled.Is(ns.SM, "enabled") {
				t.Fatal(enabled, err)
			}
			john.Close()
			synctest.Wait()
			if change {
				code, answer, err := w.Ask("PATCH", "http://localhost/admin/users/john", `{"password": "secret"}`)
				if err != nil || code != 200 {
					t.Fatal(code, string(answer), err)
				}
			}
			again, err := w.SignIn(ctx, "john")
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if err := again.Send(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' h='0' previd='%s'/>", enabled.Attr("id"))); err != nil {
				t.Fatal(err)
			}
			got, err := again.Receive(ctx)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case !change && !got.Is(ns.SM, "resumed"):
				t.Errorf("without a change: %s", got)
			case change && (!got.Is(ns.SM, "failed") || got.Child(ns.Stanzas, "item-not-found") == nil):
				t.Errorf("after a change: %s", got)
			}
			if strings.Contains(w.Log(), "password=secret") {
				t.Error("the log has a password")
			}
		})
	}
}

// Somebody who has proven a password just before the account was disabled has no session that could be ended, and gets none that
// lasts.
func TestDisabledBetweenProofAndSession(t *testing.T) {
	accounts(t, xmpptest.Options{Accounts: []string{"john"}}, func(t *testing.T, ctx context.Context, w *xmpptest.World, _ *xmpptest.Service) {
		john, err := w.SignIn(ctx, "john")
		if err != nil {
			t.Fatal(err)
		}
		defer john.Close()
		if code, answer, err := w.Ask("PATCH", "http://localhost/admin/users/john", `{"disabled": true}`); err != nil || code != 200 {
			t.Fatal(code, string(answer), err)
		}
		if err := john.Send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"); err != nil {
			t.Fatal(err)
		}
		for {
			got, err := john.Receive(ctx)
			if err != nil {
				t.Fatalf("no reason is given: %v", err)
			}
			if got.Is(ns.Stream, "error") {
				if got.Child(ns.Streams, "not-authorized") == nil {
					t.Errorf("%s", got)
				}
				return
			}
		}
	})
}

// The application hears of guesses at a user's password once, and the user gets in.
func TestHookGuesses(t *testing.T) {
	o := xmpptest.Options{Accounts: []string{"john"}, Config: []string{"limits.failed_sign_ins = 3"}, HostConfig: []string{
		`webhooks.url = "http://app/hooks"`, `webhooks.secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"`, `webhooks.events = ["sign_in.failures"]`}}
	accounts(t, o, func(t *testing.T, ctx context.Context, w *xmpptest.World, s *xmpptest.Service) {
		if code, answer, err := w.Ask("PATCH", "http://localhost/admin/users/john", `{"password": "canary-new"}`); err != nil || code != 200 {
			t.Fatal(code, string(answer), err)
		}
		for range 6 { // with the password of before
			if c, err := w.Connect(ctx, "john", "x"); err == nil {
				c.Close()
				t.Fatal("the old password is taken")
			}
		}
		synctest.Wait()
		want := `sign_in.failures {"failures":3,"host":"localhost","jid":"john@localhost","user":"john"}`
		if got := s.Told(); len(got) != 1 || got[0] != want {
			t.Errorf("told %q, want %q", got, want)
		}
		if code, answer, err := w.Ask("PATCH", "http://localhost/admin/users/john", `{"password": "secret"}`); err != nil || code != 200 {
			t.Fatal(code, string(answer), err)
		}
		began := time.Now()
		john, err := w.Connect(ctx, "john", "x")
		if err != nil {
			t.Fatal(err)
		}
		john.Close()
		if waited := time.Since(began); waited == 0 || waited > 8*time.Second {
			t.Errorf("John waited %v", waited)
		}
		if strings.Contains(w.Log(), "canary") {
			t.Error("a secret is in the log")
		}
	})
}
