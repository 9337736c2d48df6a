package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEventLife(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		at := time.Date(2026, 11, 26, 12, 0, 0, 1000, time.UTC)
		add := func(e Event, most int) (ID, error) {
			type result struct {
				id  ID
				err error
			}
			done := make(chan result, 1)
			s.AddEvent(e, most, func(id ID, err error) { done <- result{id, err} })
			r := <-done
			return r.id, r.err
		}
		var want []Event
		for i, user := range []string{"john", "marie", "john"} {
			e := Event{Host: "localhost", Username: user, Kind: "user.online", At: at.Add(time.Duration(i) * time.Second), Body: []byte{byte(i), 0xff}}
			id, err := add(e, 3)
			if err != nil {
				t.Fatal(err)
			}
			e.ID = id
			want = append(want, e)
		}
		if _, err := add(Event{Host: "localhost", Username: "john", At: at}, 3); !errors.Is(err, ErrLimit) {
			t.Errorf("one more than may be: %v", err)
		}
		if _, err := add(Event{Host: "other", Username: "john", At: at}, 3); err != nil {
			t.Errorf("of another host: %v", err)
		}
		if _, err := add(Event{Host: "localhost", Username: "john", At: at, Body: make([]byte, MaxValue+1)}, 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("one that is too large: %v", err)
		}
		if _, err := add(Event{Host: "localhost", Username: "john", At: at, Kind: strings.Repeat("k", MaxSpace+1)}, 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("a kind that is too long: %v", err)
		}
		list := func(after ID, limit int) []Event {
			t.Helper()
			got, err := s.Events(ctx, "localhost", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if diff := cmp.Diff(want, list(0, 10)); diff != "" {
			t.Errorf("events (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(want[1:2], list(want[0].ID, 1)); diff != "" {
			t.Errorf("a page (-want +got)\n%s", diff)
		}
		done := make(chan error, 1)
		s.RemoveEvents([]ID{want[0].ID, want[2].ID, 1}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[1:2], list(0, 10)); diff != "" {
			t.Errorf("after some were removed (-want +got)\n%s", diff)
		}
		if n, err := s.CountEvents(ctx, "localhost"); n != 1 || err != nil {
			t.Errorf("%d, %v; want one", n, err)
		}
	})
}
