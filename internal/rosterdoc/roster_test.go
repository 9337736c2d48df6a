package rosterdoc

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"rollcall/internal/jid"
)

func TestNilRoster(t *testing.T) {
	var r *Roster
	if r.Len() != 0 || !r.Equal(Build(nil)) || !Build(nil).Equal(r) || string(r.AppendJSON(nil)) != "{}" {
		t.Error("a nil roster is not an empty one")
	}
	if it, ok := r.Get(jid.MustParse("a@b")); ok {
		t.Errorf("it has %v", it)
	}
	for it := range r.All() {
		t.Errorf("it has %v", it)
	}
	if c := Diff(nil, nil); c != nil {
		t.Errorf("it differs from itself: %v", c)
	}
	one := Build([]Item{both("a@b", "A")})
	if c := Diff(nil, one); len(c) != 1 || c[0].Kind != Added {
		t.Errorf("from nothing to one: %v", c)
	}
	if c := Diff(one, nil); len(c) != 1 || c[0].Kind != Removed {
		t.Errorf("from one to nothing: %v", c)
	}
	if one.Equal(nil) || r.Equal(one) {
		t.Error("one contact equals none")
	}
}

func TestBuild(t *testing.T) {
	groups := []string{"Z", "A", "Z"}
	in := []Item{both("m@b/x", "first", groups...), both("b", "host"), both("m@b", "second"), both("a@b", "")}
	r := Build(in)
	want := []string{
		`a@b "" [] both ask=false`,
		`b "host" [] both ask=false`,
		`m@b "first" ["A" "Z"] both ask=false`,
	}
	if d := cmp.Diff(want, show(r)); d != "" {
		t.Error(d)
	}
	if !slices.Equal(groups, []string{"Z", "A", "Z"}) || in[0].JID.Resource() != "x" {
		t.Error("the argument was changed")
	}
	if it, ok := r.Get(jid.MustParse("m@b/other")); !ok || it.Name != "first" {
		t.Errorf("by full address: %v, %v", it, ok)
	}
	for _, absent := range []string{"a", "c@b", "z@z"} {
		if it, ok := r.Get(jid.MustParse(absent)); ok {
			t.Errorf("%s: %v", absent, it)
		}
	}
	for it := range r.All() {
		if it.JID != jid.MustParse("a@b") {
			t.Errorf("first is %s", it.JID)
		}
		break // All stops when it is told to
	}
}

func TestDiff(t *testing.T) {
	old := Build([]Item{both("a@b", "A"), both("b@b", "B", "G"), both("c@b", "C"), both("d@b", "D", "G"), both("e@b", "E"), both("f@b", "F")})
	renamed, regrouped, resubscribed, pending := both("b@b", "B2", "G"), both("d@b", "D", "G", "H"), both("e@b", "E"), both("f@b", "F")
	resubscribed.Subscription, pending.Ask = From, true
	added := both("aa@b", "new")
	want := []Change{
		{Old: both("a@b", "A"), Kind: Removed},
		{New: added, Kind: Added},
		{Old: both("b@b", "B", "G"), New: renamed, Kind: Changed},
		{Old: both("d@b", "D", "G"), New: regrouped, Kind: Changed},
		{Old: both("e@b", "E"), New: resubscribed, Kind: Changed},
		{Old: both("f@b", "F"), New: pending, Kind: Changed},
	}
	slices.SortFunc(want, func(a, b Change) int { return address(a).Compare(address(b)) })
	got := Diff(old, Build([]Item{pending, added, renamed, both("c@b", "C"), regrouped, resubscribed}))
	if d := cmp.Diff(want, got, cmp.Comparer(Item.Equal)); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
	var kinds []string
	for _, k := range []ChangeKind{Added, Removed, Changed, 0} {
		kinds = append(kinds, k.String())
	}
	if strings.Join(kinds, " ") != "added removed changed unknown" {
		t.Errorf("kinds: %v", kinds)
	}
}

func address(c Change) jid.JID {
	if c.Kind == Removed {
		return c.Old.JID
	}
	return c.New.JID
}

func TestAppendJSON(t *testing.T) {
	r := Build([]Item{
		both("marie@example.com", "Marie \"<&>\u2028", "Friends", "Work"),
		{JID: jid.MustParse("news.example.com"), Subscription: None, Ask: true},
		both("michael@example.com", ""),
	})
	want := `x{"marie@example.com":{"name":"Marie \"<&>` + "\u2028" + `","groups":["Friends","Work"]},` +
		`"michael@example.com":{},"news.example.com":{"subscription":"none","ask":"subscribe"}}`
	if d := cmp.Diff(want, string(r.AppendJSON([]byte("x")))); d != "" {
		t.Error(d)
	}
}

func TestSubscription(t *testing.T) {
	for _, s := range []Subscription{None, To, From, Both} {
		if got, err := ParseSubscription(s.String()); err != nil || got != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if To|From != Both || !Both.Has(To) || !Both.Has(From) || !To.Has(To) || To.Has(From) || From.Has(To) || None.Has(To) {
		t.Error("the directions are no set")
	}
	for _, s := range []string{"", "remove", "BOTH", " both"} {
		if got, err := ParseSubscription(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// Items of few addresses, names and groups, so that rosters meet.
func items(t *rapid.T, label string) []Item {
	item := rapid.Custom(func(t *rapid.T) Item {
		return Item{
			JID:          jid.MustParse(rapid.SampledFrom([]string{"a@b", "a.@b", "a-b", "b", "c@b", "\u00e9@b", "a@c", "z@a.b", "q@b"}).Draw(t, "jid")),
			Name:         rapid.OneOf(rapid.SampledFrom([]string{"", "A", "B"}), rapid.String().Filter(func(s string) bool { return badText(s) == "" })).Draw(t, "name"),
			Groups:       rapid.SliceOfN(rapid.SampledFrom([]string{"G", "H", "1:G", "\u00e9", "G\nH"}), 0, 3).Draw(t, "groups"),
			Subscription: Subscription(rapid.IntRange(0, 3).Draw(t, "subscription")),
			Ask:          rapid.Bool().Draw(t, "ask"),
		}
	})
	return rapid.SliceOfN(item, 0, 9).Draw(t, label)
}

func TestDiffAppliedToOldGivesNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new := Build(items(t, "old")), Build(items(t, "new"))
		state := make(map[jid.JID]Item)
		for it := range old.All() {
			state[it.JID] = it
		}
		changes := Diff(old, new)
		for i, c := range changes {
			j := address(c)
			have, known := state[j]
			if i > 0 && address(changes[i-1]).Compare(j) >= 0 {
				t.Fatalf("out of order at %s", j)
			}
			switch c.Kind {
			case Added:
				if known || c.Old.JID != (jid.JID{}) {
					t.Fatalf("%s is added and was there", j)
				}
				state[j] = c.New
			case Removed:
				if !known || !have.Equal(c.Old) || c.New.JID != (jid.JID{}) {
					t.Fatalf("%s is removed and was another", j)
				}
				delete(state, j)
			case Changed:
				if !known || !have.Equal(c.Old) || c.Old.Equal(c.New) || c.Old.JID != c.New.JID {
					t.Fatalf("%s is changed from %v to %v", j, c.Old, c.New)
				}
				state[j] = c.New
			}
		}
		var after []Item
		for _, it := range state {
			after = append(after, it)
		}
		if !Build(after).Equal(new) {
			t.Fatalf("got %v\nwant %v", show(Build(after)), show(new))
		}
		if old.Equal(new) != (len(changes) == 0) {
			t.Fatalf("equal: %v, with %d changes", old.Equal(new), len(changes))
		}
	})
}

func TestDecodeOfAppendJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Build(items(t, "items"))
		out := r.AppendJSON(nil)
		again, dropped, err := Decode(out, Options{})
		if err != nil || len(dropped) > 0 || !again.Equal(r) {
			t.Fatalf("%s: %v, %v, %v", out, show(again), dropped, err)
		}
	})
}

// document is a roster as a service sends it, with n contacts, not sorted.
func document(n int) []byte {
	dst := []byte{'{'}
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		k := (i * 7919) % n
		dst = fmt.Appendf(dst, `"contact%d@example.com": {"name": "Contact %d", "groups": ["Friends", "Team %d"]}`, k, k, k%5)
	}
	return append(dst, '}')
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{50, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			doc := document(n)
			kept, _, err := Decode(doc, Options{Owner: owner})
			if err != nil || kept.Len() != n {
				b.Fatalf("%d contacts, %v", kept.Len(), err)
			}
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decode(doc, Options{Owner: owner}); err != nil {
					b.Fatal(err)
				}
			}
			runtime.KeepAlive(kept) // as the copy before a refresh is: the strings are in the table
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{50, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			old, _, err := Decode(document(n), Options{})
			if err != nil {
				b.Fatal(err)
			}
			items := slices.Collect(old.All())
			items[n/2].Name = "renamed"
			new := Build(items[:n-1])
			b.ReportAllocs()
			for b.Loop() {
				if c := Diff(old, new); len(c) != 2 {
					b.Fatal(c)
				}
			}
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r, _, err := Decode(document(50), Options{})
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = r.AppendJSON(dst[:0])
	}
}
