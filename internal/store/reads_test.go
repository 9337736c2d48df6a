package store

import (
	"errors"
	"sync"
	"testing"
)

// What is prepared is found again, gives what is there now, and keeps no reader's place in the database: a checkpoint is not
// held up by it.
func TestPreparedReads(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		k := Key{Host: "localhost", Username: "john", Space: "x", Name: "y"}
		for _, want := range []string{"", "one", "two"} {
			if want != "" {
				if err := s.SetValue(t.Context(), k, []byte(want), 0); err != nil {
					t.Fatal(err)
				}
			}
			var all sync.WaitGroup
			for range 16 { // more than there are connections
				all.Go(func() {
					got, err := s.Value(t.Context(), k)
					if want == "" && !errors.Is(err, ErrNotFound) || want != "" && err != nil || string(got) != want {
						t.Errorf("%q, %v; want %q", got, err, want)
					}
				})
			}
			all.Wait()
		}
		if got := s.Stats().Reads; got != 48 {
			t.Errorf("%d reads were counted, want 48", got)
		}
		if n := len(s.reads.known); n != 1 && !s.remote {
			t.Errorf("%d statements were prepared, want 1", n)
		}
		if s.remote || s.writes == s.db {
			return
		}
		var busy, frames, done int
		if err := s.writes.QueryRowContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done); err != nil || busy != 0 || frames != 0 {
			t.Errorf("checkpoint: busy %d, %d frames left, %v", busy, frames, err)
		}
	})
}
