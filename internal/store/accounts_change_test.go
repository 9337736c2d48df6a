package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestDisabled(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if err := s.AddAccount(ctx, "localhost", "john", credentials(1)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, true, false} {
			if err := s.SetDisabled(ctx, "localhost", "john", want); err != nil {
				t.Fatal(err)
			}
			if a, err := s.Account(ctx, "localhost", "john"); err != nil || a.Disabled != want {
				t.Errorf("disabled: %v, want %v: %v", a.Disabled, want, err)
			}
		}
		if err := s.SetDisabled(ctx, "localhost", "jane", true); !errors.Is(err, ErrNotFound) {
			t.Errorf("nobody is disabled: %v", err)
		}
	})
}

func TestRoles(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		role := func(user string, want Role) {
			t.Helper()
			if a, err := s.Account(ctx, "localhost", user); err != nil || a.Role != want {
				t.Errorf("%s: %q, want %q: %v", user, a.Role, want, err)
			}
		}
		for range 2 { // whoever gets a name again has no role by it
			if err := s.AddAccount(ctx, "localhost", "john", credentials(1)); err != nil {
				t.Fatal(err)
			}
			role("john", RoleUser)
			if err := s.SetRole(ctx, "localhost", "john", RoleAdmin); err != nil {
				t.Fatal(err)
			}
			role("john", RoleAdmin)
			if err := s.RemoveAccount(ctx, "localhost", "john"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.AddAccountAs(ctx, "localhost", "marie", RoleAdmin, credentials(1)); err != nil {
			t.Fatal(err)
		}
		role("marie", RoleAdmin)
		for what, err := range map[string]error{
			"nobody has a role":          s.SetRole(ctx, "localhost", "john", RoleAdmin),
			"nor on another host":        s.SetRole(ctx, "example.com", "marie", RoleUser),
			"a role that is none":        s.SetRole(ctx, "localhost", "marie", "root"),
			"none":                       s.SetRole(ctx, "localhost", "marie", ""),
			"an account with such a one": s.AddAccountAs(ctx, "localhost", "kate", "root", credentials(1)),
			"an import with such a one":  s.ImportAccounts(ctx, []ImportedAccount{{Host: "localhost", Username: "kate", Credentials: credentials(1), Role: "root"}}, true),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		role("marie", RoleAdmin)
		// An import that says nothing of roles leaves them alone.
		for _, step := range []struct{ says, want Role }{{"", RoleAdmin}, {RoleUser, RoleUser}, {"", RoleUser}, {RoleAdmin, RoleAdmin}} {
			all := []ImportedAccount{{Host: "localhost", Username: "marie", Credentials: credentials(2), Role: step.says}}
			if err := s.ImportAccounts(ctx, all, true); err != nil {
				t.Fatal(err)
			}
			role("marie", step.want)
		}
		all := []ImportedAccount{{Host: "localhost", Username: "new", Credentials: credentials(2)}, {Host: "localhost", Username: "newer", Credentials: credentials(2), Role: RoleAdmin}}
		if err := s.ImportAccounts(ctx, all, false); err != nil {
			t.Fatal(err)
		}
		role("new", RoleUser)
		role("newer", RoleAdmin)
		if n, err := s.CountAccounts(ctx, "localhost"); err != nil || n != 3 {
			t.Errorf("%d accounts: %v", n, err)
		}
	})
}

// Two passwords of an account are never set at the same time, whatever the clock says: that is how they are told apart.
func TestEveryPasswordIsLaterThanTheOneBefore(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		clock := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
		s.now = func() time.Time { return clock }
		if err := s.AddAccount(ctx, "localhost", "john", credentials(1)); err != nil {
			t.Fatal(err)
		}
		last := clock
		for i := range 4 {
			if i == 2 {
				clock = clock.Add(-time.Hour)
			}
			if err := s.SetCredentials(ctx, "localhost", "john", credentials(2+i)); err != nil {
				t.Fatal(err)
			}
			a, err := s.Account(ctx, "localhost", "john")
			if err != nil || !a.Changed.After(last) {
				t.Errorf("changed %v, after %v: %v", a.Changed, last, err)
			}
			last = a.Changed
		}
		a, err := s.Account(ctx, "localhost", "john")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.UpgradeCredentials(ctx, "localhost", "john", a.Credentials.SHA256.StoredKey, credentials(9)); err != nil {
			t.Fatal(err)
		}
		if a, err = s.Account(ctx, "localhost", "john"); err != nil || a.Changed != last || a.Credentials.SHA256.Iterations != credentials(9).SHA256.Iterations {
			t.Errorf("hashed anew: changed %v, %d iterations: %v", a.Changed, a.Credentials.SHA256.Iterations, err)
		}
		// Somebody has set another password meanwhile.
		if err := s.UpgradeCredentials(ctx, "localhost", "john", credentials(1).SHA256.StoredKey, credentials(8)); !errors.Is(err, ErrNotFound) {
			t.Errorf("an old password replaces a new one: %v", err)
		}
	})
}

// What signs a user in beside the password goes with the password, and only then.
func TestPasswordTakesTheOtherWaysInWithIt(t *testing.T) {
	before, kept := signIns, data
	signIns, data = append([]string{"account_values"}, before...), []string{"messages"}
	t.Cleanup(func() { signIns, data = before, kept })
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		key := Key{"localhost", "john", "tokens", "t"}
		other := Key{"localhost", "marie", "tokens", "t"}
		for _, k := range []Key{key, other} {
			if err := s.AddAccount(ctx, k.Host, k.Username, credentials(1)); err != nil {
				t.Fatal(err)
			}
			if err := s.SetValue(ctx, k, []byte("x"), 10); err != nil {
				t.Fatal(err)
			}
		}
		john := func(replace bool) error {
			return s.ImportAccounts(ctx, []ImportedAccount{{Host: "localhost", Username: "john", Credentials: credentials(6)}}, replace)
		}
		steps := []struct {
			name string
			do   func() error
			goes bool
		}{
			{"hashed anew", func() error {
				a, err := s.Account(ctx, "localhost", "john")
				return errors.Join(err, s.UpgradeCredentials(ctx, "localhost", "john", a.Credentials.SHA256.StoredKey, credentials(2)))
			}, false},
			{"enabled", func() error { return s.SetDisabled(ctx, "localhost", "john", false) }, false},
			{"a password that is refused", func() error {
				if s.SetCredentials(ctx, "localhost", "john", Credentials{}) == nil {
					return errors.New("was taken")
				}
				return nil
			}, false},
			{"an import that is refused", func() error {
				if err := john(false); !errors.Is(err, ErrExists) {
					return fmt.Errorf("want ErrExists: %w", err)
				}
				return nil
			}, false},
			{"another password", func() error { return s.SetCredentials(ctx, "localhost", "john", credentials(3)) }, true},
			{"disabled", func() error { return s.SetDisabled(ctx, "localhost", "john", true) }, true},
			{"imported over it", func() error { return john(true) }, true},
			{"removed", func() error { return s.RemoveAccount(ctx, "localhost", "john") }, true},
		}
		for _, step := range steps {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			_, err := s.Value(ctx, key)
			if gone := errors.Is(err, ErrNotFound); gone != step.goes {
				t.Errorf("%s: gone: %v (%v)", step.name, gone, err)
			}
			if err := s.SetValue(ctx, key, []byte("x"), 10); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Value(ctx, other); err != nil {
				t.Errorf("%s: Marie's: %v", step.name, err)
			}
		}
	})
}

func TestImportIsAllOrNothing(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var all []ImportedAccount
		for i := range 20 {
			all = append(all, ImportedAccount{Host: "localhost", Username: fmt.Sprintf("u%02d", i), Credentials: credentials(i), Disabled: i == 3})
		}
		weak := credentials(4)
		weak.SHA1, weak.SHA256.Iterations, weak.SHA256.Salt = Keys{}, MinImportedIterations, weak.SHA256.Salt[:MinImportedSalt]
		all[4].Credentials = weak
		if err := s.AddAccount(ctx, "localhost", "u15", credentials(99)); err != nil {
			t.Fatal(err)
		}
		if err := s.ImportAccounts(ctx, all, false); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "u15@localhost") {
			t.Errorf("over one that exists: %v", err)
		}
		if got := list(ctx, t, s, "localhost"); len(got) != 1 {
			t.Errorf("%d accounts after an import that failed", len(got))
		}
		for _, bad := range []ImportedAccount{
			{Host: "localhost", Username: "UPPER", Credentials: credentials(1)},
			{Host: "localhost", Username: "v"},
			{Host: "localhost", Username: "v", Credentials: Credentials{SHA1: Keys{Salt: []byte("12345678"), Iterations: 4095,
				StoredKey: make([]byte, 20), ServerKey: make([]byte, 20)}}},
		} {
			if err := s.ImportAccounts(ctx, append(all[:2:2], bad), true); err == nil {
				t.Errorf("%+v was taken", bad)
			}
		}
		if err := s.ImportAccounts(ctx, all, true); err != nil {
			t.Fatal(err)
		}
		got := list(ctx, t, s, "localhost")
		if len(got) != 20 || !got[3].Disabled || got[5].Disabled {
			t.Errorf("%d accounts", len(got))
		}
		if c := got[4].Credentials; !c.SHA1.absent() || c.SHA256.Iterations != MinImportedIterations {
			t.Errorf("u04 has %+v", c)
		}
		page, err := s.AccountsAfter(ctx, "localhost", "u17", 5)
		if err != nil || len(page) != 2 || page[0].Username != "u18" {
			t.Errorf("behind u17: %d accounts: %v", len(page), err)
		}
	})
}
