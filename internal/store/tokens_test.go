package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func tokenIDs(t *testing.T, s *Store, host, username string) (ids []string) {
	t.Helper()
	all, err := s.Tokens(t.Context(), host, username, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	return ids
}

func TestTokenLife(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		clock := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
		s.now = func() time.Time { return clock }
		add := func(username, id string, ttl time.Duration, keep int) {
			t.Helper()
			if err := s.AddToken(ctx, "h", username, Token{ID: id, Expires: clock.Add(ttl), Credentials: credentials(1)}, keep); err != nil {
				t.Fatal(err)
			}
			clock = clock.Add(time.Second)
		}
		want := func(what string, got []string, ids ...string) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(ids) {
				t.Errorf("%s: %q, want %q", what, got, ids)
			}
		}
		add("john", "one", time.Hour, 3)
		add("john", "two", time.Hour, 3)
		add("marie", "one", time.Hour, 3) // another user's of the same name
		want("two tokens, the newest first", tokenIDs(t, s, "h", "john"), "two", "one")
		want("another host", tokenIDs(t, s, "other", "john"))
		if all, err := s.Tokens(ctx, "h", "john", 1); err != nil || len(all) != 1 || all[0].Expires != clock.Add(time.Hour-2*time.Second) ||
			string(all[0].Credentials.SHA256.StoredKey) != string(credentials(1).SHA256.StoredKey) {
			t.Errorf("the newest: %+v %v", all, err)
		}

		// The oldest give way.
		add("john", "three", time.Hour, 3)
		add("john", "four", time.Minute, 3)
		want("three are kept", tokenIDs(t, s, "h", "john"), "four", "three", "two")
		want("and another user's", tokenIDs(t, s, "h", "marie"), "one")

		// Used once.
		for i, err := range []error{s.UseToken(ctx, "h", "john", "three"), s.UseToken(ctx, "h", "john", "three"),
			s.UseToken(ctx, "h", "marie", "four"), s.UseToken(ctx, "other", "john", "four")} {
			if (i == 0) != (err == nil) || i > 0 && !errors.Is(err, ErrNotFound) {
				t.Errorf("use %d: %v", i, err)
			}
		}
		want("the rest", tokenIDs(t, s, "h", "john"), "four", "two")

		// They expire, to the second.
		clock = clock.Add(time.Minute)
		want("after a minute", tokenIDs(t, s, "h", "john"), "two")
		if err := s.UseToken(ctx, "h", "john", "four"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an expired token: %v", err)
		}
		rows := func() (n int) {
			if err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM tokens`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := rows(); n != 3 {
			t.Errorf("%d rows, want two that are valid and an expired one", n)
		}
		if err := s.RemoveExpiredTokens(ctx); err != nil || rows() != 2 {
			t.Errorf("%d rows, want 2: %v", rows(), err)
		}
		clock = clock.Add(time.Hour)
		add("jane", "new", time.Hour, 3)
		if n := rows(); n != 1 {
			t.Errorf("%d rows: a new token did not clear away what had expired", n)
		}

		// Removed, one or all.
		add("jane", "newer", time.Hour, 3)
		add("jane", "newest", time.Hour, 3)
		for _, c := range []struct {
			id   string
			want int
		}{{"newer", 1}, {"newer", 0}, {"", 2}, {"", 0}} {
			if n, err := s.RemoveTokens(ctx, "h", "jane", c.id); err != nil || n != c.want {
				t.Errorf("remove %q: %d %v, want %d", c.id, n, err, c.want)
			}
		}
	})
}

// Who gets the name later does not inherit a token, and one without keys for SCRAM is kept as it is.
func TestTokensGoWithTheAccount(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if err := errors.Join(s.AddAccount(ctx, "localhost", "john", credentials(1)),
			s.AddToken(ctx, "localhost", "john", Token{ID: "i", Expires: time.Now().Add(time.Hour)}, 5)); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Tokens(ctx, "localhost", "john", 5); err != nil || len(all) != 1 || len(all[0].Credentials.SHA1.Salt) != 0 {
			t.Errorf("%+v %v", all, err)
		}
		if err := s.RemoveAccount(ctx, "localhost", "john"); err != nil {
			t.Fatal(err)
		}
		if ids := tokenIDs(t, s, "localhost", "john"); len(ids) > 0 {
			t.Errorf("left: %q", ids)
		}
		if err := s.AddToken(ctx, "localhost", "JOHN", Token{ID: "i", Expires: time.Now().Add(time.Hour)}, 5); err == nil {
			t.Error("a token of a name that is not canonical")
		}
	})
}

// Of many who show a token at once, one is let in.
func TestTokenIsUsedOnce(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if err := s.AddToken(ctx, "localhost", "john", Token{ID: "i", Expires: time.Now().Add(time.Hour)}, 5); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var in, out atomic.Int32
		for range 20 {
			wg.Go(func() {
				switch err := s.UseToken(context.WithoutCancel(ctx), "localhost", "john", "i"); {
				case err == nil:
					in.Add(1)
				case errors.Is(err, ErrNotFound):
					out.Add(1)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 || out.Load() != 19 {
			t.Errorf("%d were let in, %d were not", in.Load(), out.Load())
		}
	})
}
