package store

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// What is stored for somebody whom the store is to know is stored for no others, with its sender's copy or not at all.
func TestOnlyForWhomIsKnown(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if err := s.AddAccount(ctx, "h", "account", credentials(1)); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"h", "elsewhere"} { // known at another host is not known at this one
			name := map[string]string{"h": "member", "elsewhere": "nobody"}[host]
			if err := s.SetValue(ctx, MemberKey(host, name), nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SetValue(ctx, Key{"h", "nobody", "profile", ""}, nil, 0); err != nil { // anybody's may have been asked for
			t.Fatal(err)
		}
		if err := s.SaveRosters(ctx, []RosterSave{{Roster: Roster{Host: "h", Username: "listed", Version: 1, Tag: "t", Document: []byte("{}")}}}); err != nil {
			t.Fatal(err)
		}
		stored := map[string]int{}
		for name, least := range map[string]Known{"account": Listed, "member": Listed, "listed": Listed, "nobody": Anybody} {
			for _, known := range []Known{Anybody, Member, Listed} {
				for _, limit := range []int{0, 50} {
					want := known == Anybody || known <= least && !(name == "listed" && known == Member)
					_, err := appendWait(s, Entry{Host: "h", Username: "sender", Archived: true},
						Entry{Host: "h", Username: name, Archived: true, Undelivered: true, Limit: limit, Known: known})
					if want && err != nil || !want && !errors.Is(err, ErrNotFound) {
						t.Errorf("%s, %d, limit %d: %v", name, known, limit, err)
					}
					if want {
						stored[name]++
						stored["sender"]++
					}
				}
			}
		}
		for name, want := range stored {
			if n, err := s.CountMessages(ctx, "h", name, Query{}); n != want || err != nil {
				t.Errorf("%s has %d, %v; want %d", name, n, err, want)
			}
		}
		if _, err := appendWait(s, Entry{Host: "h", Username: "member", Undelivered: true, Limit: 1, Known: Member}); !errors.Is(err, ErrLimit) {
			t.Errorf("a full mailbox of a member: %v", err)
		}
		if n, users, err := s.CountMailboxes(ctx, "h"); n != stored["sender"] || users != len(stored)-1 || err != nil {
			t.Errorf("%d wait for %d users, %v", n, users, err)
		}
		if err := s.RemoveAccount(ctx, "h", "account"); err != nil {
			t.Fatal(err)
		}
		if _, err := appendWait(s, Entry{Host: "h", Username: "account", Undelivered: true, Known: Member}); !errors.Is(err, ErrNotFound) {
			t.Errorf("an account that was removed: %v", err)
		}
	})
}

// However many names somebody makes up, nothing is kept.
func TestMadeUpNames(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		const names = 10_000
		told := make(chan error, names)
		for i := range names {
			s.Append([]Entry{{Host: "h", Username: fmt.Sprint("nobody", i), At: time.Now(), Stanza: make([]byte, 200), Undelivered: true, Limit: 100, Known: Listed}},
				func(_ []ID, err error) { told <- err })
		}
		for range names {
			if err := <-told; !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
		for _, table := range []string{"messages", "account_values", "accounts", "rosters"} {
			var n int
			if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows in %s, %v", n, table, err)
			}
		}
	})
}

// A name is in use as long as something is kept under it that would be its owner's.
func TestNameInUse(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		err := errors.Join(
			s.AddAccount(ctx, "h", "account", credentials(1)),
			s.SetValue(ctx, MemberKey("h", "member"), nil, 0),
			s.SetValue(ctx, Key{"h", "shown", "profile", ""}, nil, 0), // anybody's may have been asked for
			s.AddToken(ctx, "h", "invited", Token{ID: "id", Expires: time.Now().Add(time.Hour), Credentials: credentials(1)}, 1),
			s.SaveRosters(ctx, []RosterSave{
				{Roster: Roster{Host: "h", Username: "listed", Version: 1, Tag: "t", Document: []byte(`{"a@h":{}}`)}},
				{Roster: Roster{Host: "h", Username: "empty", Version: 1, Tag: "t", Document: []byte("{}")}},
			}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := appendWait(s, Entry{Host: "h", Username: "written", Undelivered: true}); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"account": true, "member": true, "invited": true, "listed": true, "written": true,
			"shown": false, "empty": false, "nobody": false} {
			for host, want := range map[string]bool{"h": want, "elsewhere": false} {
				if got, err := s.NameInUse(ctx, host, name); err != nil || got != want {
					t.Errorf("%s@%s: %v, %v", name, host, got, err)
				}
			}
		}
		if err := s.RemoveAccount(ctx, "h", "account"); err != nil {
			t.Fatal(err)
		}
		if got, err := s.NameInUse(ctx, "h", "account"); err != nil || got {
			t.Errorf("after it was removed: %v, %v", got, err)
		}
	})
}
