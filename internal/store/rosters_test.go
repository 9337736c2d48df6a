package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 123000, time.UTC)

func aRoster(user string, version int64) Roster {
	return Roster{Host: "h", Username: user, Version: version, Tag: "t", Document: []byte(`{"ann@h":{}}`), Source: "fetch", ETag: `"e"`,
		AsOf: noon, StaleIfError: -1, Dropped: []byte(`[]`)}
}

func aChange(version int64, at time.Time) RosterChange {
	return RosterChange{Version: version, Tag: "t", Contact: fmt.Sprintf("c%d@h", version), Before: []byte("{}"), At: at}
}

func TestRosterIsKept(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if _, err := s.Roster(ctx, "h", "john"); !errors.Is(err, ErrNotFound) {
			t.Errorf("before: %v", err)
		}
		first := aRoster("john", 1)
		full := aRoster("marie", 3)
		full.Held, full.HeldSince, full.StaleIfError = []byte(`{}`), noon.Add(time.Hour), time.Minute
		err := s.SaveRosters(ctx, []RosterSave{
			{Roster: first, Reset: true, Changes: []RosterChange{{Version: 1, Tag: "t", At: noon}}},
			{Roster: full, Reset: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []Roster{first, full} {
			got, err := s.Roster(ctx, "h", want.Username)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		}
		if _, err := s.Roster(ctx, "other", "john"); !errors.Is(err, ErrNotFound) {
			t.Errorf("at another host: %v", err)
		}
		// A later save writes over the row and adds to the journal.
		second := aRoster("john", 3)
		second.Document = []byte(`{}`)
		added := RosterChange{Version: 2, Tag: "u", Contact: "new@h", At: noon}
		if err := s.SaveRosters(ctx, []RosterSave{{Roster: second, Changes: []RosterChange{added, aChange(3, noon)}}}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Roster(ctx, "h", "john"); err != nil || string(got.Document) != "{}" {
			t.Errorf("%+v %v", got, err)
		}
		journal, err := s.RosterJournal(ctx, "h", "john", 2)
		if diff := cmp.Diff([]RosterChange{added, aChange(3, noon)}, journal); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		// A save that begins anew forgets the journal.
		if err := s.SaveRosters(ctx, []RosterSave{{Roster: second, Reset: true, Changes: []RosterChange{aChange(7, noon)}}}); err != nil {
			t.Fatal(err)
		}
		if journal, err := s.RosterJournal(ctx, "h", "john", 0); err != nil || len(journal) != 1 || journal[0].Version != 7 {
			t.Errorf("%v %v", journal, err)
		}
	})
}

// A save that was reported as failed may have been written all the same: the same version, saved again, stands.
func TestVersionIsSavedAgain(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		save := RosterSave{Roster: aRoster("john", 2), Changes: []RosterChange{aChange(1, noon), aChange(2, noon)}}
		if err := s.SaveRosters(t.Context(), []RosterSave{save}); err != nil {
			t.Fatal(err)
		}
		again := RosterChange{Version: 2, Tag: "u", Contact: "other@h", At: noon.Add(time.Hour)}
		save.Changes = []RosterChange{again}
		if err := s.SaveRosters(t.Context(), []RosterSave{save}); err != nil {
			t.Fatal(err)
		}
		journal, err := s.RosterJournal(t.Context(), "h", "john", 1)
		if diff := cmp.Diff([]RosterChange{aChange(1, noon), again}, journal); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

func TestRostersAreSavedTogetherOrNotAtAll(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		bad := RosterSave{Roster: aRoster("john", 1)}
		bad.Document = nil
		other := RosterSave{Roster: aRoster("marie", 1)}
		if err := s.SaveRosters(t.Context(), []RosterSave{other, bad}); err == nil {
			t.Fatal("a roster without a document was written")
		}
		if _, err := s.Roster(t.Context(), "h", "marie"); !errors.Is(err, ErrNotFound) {
			t.Errorf("half of it was written: %v", err)
		}
	})
}

func TestJournalsAreTrimmed(t *testing.T) {
	old, young := noon.Add(-time.Hour), noon.Add(time.Hour)
	for _, tc := range []struct {
		what       string
		at         []time.Time // of versions 1, 2, …
		keep, most int
		first      int64 // the first version that is left
	}{
		{"old ones beyond the newest", []time.Time{old, old, old, old}, 2, 10, 3},
		{"none of the newest", []time.Time{old, old, old, old}, 4, 10, 1},
		{"no young ones", []time.Time{old, young, young, young}, 1, 10, 2},
		{"young ones that are too many", []time.Time{young, young, young, young}, 1, 3, 2},
		{"no gap, whatever the clock said", []time.Time{old, young, old, old, young}, 1, 10, 2},
	} {
		everyKind(t, func(t *testing.T, s *Store) {
			save := RosterSave{Roster: aRoster("john", 9)}
			for i, at := range tc.at {
				save.Changes = append(save.Changes, aChange(int64(i+1), at))
			}
			elsewhere := save
			elsewhere.Host = "other"
			if err := s.SaveRosters(t.Context(), []RosterSave{save, elsewhere}); err != nil {
				t.Fatal(err)
			}
			left, err := s.TrimRosterJournals(t.Context(), "h", noon, tc.keep, tc.most)
			if err != nil {
				t.Fatal(err)
			}
			journal, err := s.RosterJournal(t.Context(), "h", "john", 0)
			if err != nil || len(journal) != left || journal[0].Version != tc.first {
				t.Errorf("%s: %d left, from version %d: %v", tc.what, left, journal[0].Version, err)
			}
			if journal, err := s.RosterJournal(t.Context(), "other", "john", 0); err != nil || len(journal) != len(tc.at) {
				t.Errorf("%s: the other host has %d: %v", tc.what, len(journal), err)
			}
		})
	}
}

func TestRostersAreTrimmed(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		var saves []RosterSave
		for i := range 5 {
			r := aRoster(fmt.Sprint("u", i), 1)
			r.AsOf = noon.Add(time.Duration(i%3) * time.Hour) // u0 and u3 are the oldest
			saves = append(saves, RosterSave{Roster: r, Changes: []RosterChange{aChange(1, noon)}})
		}
		if err := s.SaveRosters(t.Context(), saves); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct{ most, gone int }{{5, 0}, {3, 2}} {
			if gone, err := s.TrimRosters(t.Context(), "h", tc.most); err != nil || gone != tc.gone {
				t.Errorf("%d gone, want %d: %v", gone, tc.gone, err)
			}
		}
		for i := range 5 {
			user, want := fmt.Sprint("u", i), i%3 != 0
			_, err := s.Roster(t.Context(), "h", user)
			journal, jerr := s.RosterJournal(t.Context(), "h", user, 0)
			if (err == nil) != want || (len(journal) == 1) != want || jerr != nil {
				t.Errorf("%s: %v, %d changes", user, err, len(journal))
			}
		}
	})
}

func TestSaveEndsWithItsContext(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.SaveRosters(ctx, []RosterSave{{Roster: aRoster("john", 1)}}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if _, err := s.Roster(t.Context(), "h", "john"); !errors.Is(err, ErrNotFound) {
			t.Errorf("written all the same: %v", err)
		}
	})
}

// BenchmarkSaveRosters writes the rosters of 100 users with 50 contacts and one change, as the keeper does.
func BenchmarkSaveRosters(b *testing.B) {
	for _, kind := range []string{"file", "memory"} {
		b.Run(kind, func(b *testing.B) {
			dir := ""
			if kind == "file" {
				dir = b.TempDir()
			}
			s, err := Open(b.Context(), Options{DataDir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			saves := make([]RosterSave, 100)
			for i := range saves {
				saves[i] = RosterSave{Roster: aRoster(fmt.Sprint("u", i), 1), Changes: make([]RosterChange, 1)}
				saves[i].Document = make([]byte, 2500)
			}
			version := int64(0)
			for b.Loop() {
				version++
				for i := range saves {
					saves[i].Version, saves[i].Changes[0] = version, aChange(version, noon)
				}
				if err := s.SaveRosters(b.Context(), saves); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(version)/100, "µs/roster")
		})
	}
}
