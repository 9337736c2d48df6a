package store

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	for _, id := range []ID{1, 35, 36, 1_790_000_000_000_000, 1<<63 - 1} {
		if got, err := ParseID(id.String()); got != id || err != nil {
			t.Errorf("%d: %s: %d, %v", id, id, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "+1", "01", "A", "x y", "zzzzzzzzzzzzzzzzzz", "1_0"} {
		if id, err := ParseID(text); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %d, %v; want ErrNotFound", text, id, err)
		}
	}
}

// An archive that was emptied, a clock that was set back a year, and a program that was started again: ids go on.
func TestIDsGrowWhateverHappens(t *testing.T) {
	dir := t.TempDir()
	var last ID
	for i, clock := range []time.Time{noon, noon, noon.Add(-365 * 24 * time.Hour), noon.Add(365 * 24 * time.Hour), noon} {
		s := open(t, dir)
		s.now = func() time.Time { return clock }
		got, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true}, Entry{Host: "h", Username: "v", Archived: true})
		if err != nil {
			t.Fatal(err)
		}
		if got[0] <= last || got[1] <= got[0] {
			t.Errorf("round %d: %v after %d", i, got, last)
		}
		last = got[1]
		if clock.After(noon) && int64(last) < clock.UnixMicro() {
			t.Errorf("round %d: %d is before %v", i, last, clock)
		}
		for _, user := range []string{"u", "v"} {
			if gone, err := s.TrimMessages(t.Context(), "h", user, time.Time{}, 0); gone != 1 || err != nil {
				t.Errorf("%d gone, %v", gone, err)
			}
		}
	}
}

// A message that is in the archive and in the mailbox is one row, and leaves when it is in neither.
func TestOneMessageIsOneRow(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		rows := func() (n int) {
			t.Helper()
			if err := s.writer.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM messages`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, deliveredFirst := range []bool{true, false} {
			ids, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true, Undelivered: true})
			if err != nil {
				t.Fatal(err)
			}
			if n := rows(); n != 1 {
				t.Errorf("%d rows", n)
			}
			deliver := func() { s.Delivered("h", "u", ids, nil) }
			trim := func() {
				if _, err := s.TrimMessages(t.Context(), "h", "u", time.Time{}, 0); err != nil {
					t.Fatal(err)
				}
			}
			if deliveredFirst {
				deliver()
			} else {
				trim()
			}
			if n := rows(); n != 1 {
				t.Errorf("%d rows after one of the two", n)
			}
			if deliveredFirst {
				trim()
			} else {
				deliver()
			}
			if n := rows(); n != 0 {
				t.Errorf("%d rows after both", n)
			}
		}
	})
}

// A refused entry takes those that were appended with it along, and nothing else.
func TestAppendIsAllOrNone(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		sender := Entry{Host: "h", Username: "sender", Archived: true}
		recipient := Entry{Host: "h", Username: "recipient", Archived: true, Undelivered: true, Limit: 2}
		for i := range 4 {
			_, err := appendWait(s, sender, recipient)
			if want := i >= 2; errors.Is(err, ErrLimit) != want {
				t.Errorf("%d: %v", i, err)
			}
		}
		for _, user := range []string{"sender", "recipient"} {
			if n, err := s.CountMessages(t.Context(), "h", user, Query{}); n != 2 || err != nil {
				t.Errorf("%s has %d, %v; want 2", user, n, err)
			}
		}
	})
}

// A page ends before it takes too much memory, and the next one goes on.
func TestPagesAreBoundedInBytes(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		stanza := bytes.Repeat([]byte("x"), pageBytes/4)
		const count = 9
		for range count {
			if _, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true, Undelivered: true, Stanza: stanza}); err != nil {
				t.Fatal(err)
			}
		}
		read := map[string]func(seen []Message) (Page, error){
			"Waiting": func(seen []Message) (Page, error) {
				var after ID
				if len(seen) > 0 {
					after = seen[len(seen)-1].ID
				}
				return s.Waiting(t.Context(), "h", "u", after, 100)
			},
			"Messages": func(seen []Message) (Page, error) {
				q := Query{}
				if len(seen) > 0 {
					q.After = seen[len(seen)-1].ID
				}
				return s.Messages(t.Context(), "h", "u", q)
			},
			"Messages, backwards": func(seen []Message) (Page, error) {
				q := Query{Last: true}
				if len(seen) > 0 {
					q.Before = seen[0].ID
				}
				return s.Messages(t.Context(), "h", "u", q)
			},
		}
		for what, next := range read {
			var seen []Message
			for more := true; more; {
				p, err := next(seen)
				if err != nil {
					t.Fatal(err)
				}
				if len(p.Messages) == 0 || len(p.Messages) > 4 {
					t.Fatalf("%s: a page of %d", what, len(p.Messages))
				}
				if len(seen) > 0 && p.Messages[0].ID < seen[0].ID {
					seen = append(p.Messages, seen...)
				} else {
					seen = append(seen, p.Messages...)
				}
				more = p.More
			}
			if len(seen) != count {
				t.Errorf("%s: %d messages, want %d", what, len(seen), count)
			}
		}
	})
}

// Nobody inherits the messages of an account that was removed.
func TestRemoveAccountTakesEverything(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		for _, name := range []string{"john", "marie"} {
			if err := s.AddAccount(ctx, "localhost", name, credentials(1)); err != nil {
				t.Fatal(err)
			}
			if _, err := appendWait(s, Entry{Host: "localhost", Username: name, Archived: true, Undelivered: true}); err != nil {
				t.Fatal(err)
			}
			if err := s.SetValue(ctx, Key{"localhost", name, "vcard", ""}, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.RemoveAccount(ctx, "localhost", "john"); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]int{"john": 0, "marie": 1} {
			waiting, err := s.CountWaiting(ctx, "localhost", name, 10)
			archived, err2 := s.CountMessages(ctx, "localhost", name, Query{})
			_, err3 := s.Value(ctx, Key{"localhost", name, "vcard", ""})
			if waiting != want || archived != want || err != nil || err2 != nil || errors.Is(err3, ErrNotFound) != (want == 0) {
				t.Errorf("%s: %d waiting, %d archived, %v %v %v", name, waiting, archived, err, err2, err3)
			}
		}
	})
}

// The indexes are there for these queries: none of them looks at every row.
func TestQueriesUseIndexes(t *testing.T) {
	s := open(t, "")
	q := Query{With: "a@b", Start: noon, End: noon, After: 1, Before: 9, Mask: 1}
	c, err := q.conditions("h", "u")
	if err != nil {
		t.Fatal(err)
	}
	all := Query{Start: noon}
	d, err := all.conditions("h", "u")
	if err != nil {
		t.Fatal(err)
	}
	for index, query := range map[string]struct {
		text string
		args []any
	}{
		"messages_peer (host=? AND username=? AND peer_key=? AND id>? AND id<?)": {`SELECT ` + messageColumns + c.from() + ` ORDER BY id LIMIT 10`, c.args},
		"messages_archive (host=? AND username=? AND id>?)":                      {`SELECT ` + messageColumns + d.from() + ` ORDER BY id DESC LIMIT 10`, d.args},
		"COVERING INDEX messages_archive (host=? AND username=? AND id>?)":       {`SELECT COUNT(*)` + d.from(), d.args},
		"COVERING INDEX messages_mailbox (host=? AND username=?)":                {`SELECT COUNT(*) FROM messages WHERE host = $1 AND username = $2 AND undelivered = 1`, []any{"h", "u"}},
		"COVERING INDEX messages_archive (host=? AND username>?)":                {`SELECT username FROM messages WHERE host = $1 AND username > $2 AND archived = 1 ORDER BY username LIMIT 1`, []any{"h", "u"}},
	} {
		plan, err := collect(context.Background(), s.db, func(row scanner) (string, error) {
			var a, b, c any
			var detail string
			err := row.Scan(&a, &b, &c, &detail)
			return detail, err
		}, `EXPLAIN QUERY PLAN `+query.text, query.args...)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan) != 1 || !bytes.Contains([]byte(plan[0]), []byte(index)) {
			t.Errorf("plan %q, want %s", plan, index)
		}
	}
}
