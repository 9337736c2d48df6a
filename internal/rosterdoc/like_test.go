package rosterdoc

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"rollcall/internal/jid"
)

// Reading a document beside an older roster changes nothing but where the strings live.
func TestDecodeLike(t *testing.T) {
	group := rapid.SampledFrom([]string{"Friends", "Work", "Family"})
	roster := rapid.Custom(func(t *rapid.T) *Roster {
		n := rapid.IntRange(0, 12).Draw(t, "contacts")
		var items []Item
		for range n {
			items = append(items, Item{
				JID:          jid.MustParse(fmt.Sprintf("c%d@example.com", rapid.IntRange(0, 15).Draw(t, "contact"))),
				Name:         rapid.SampledFrom([]string{"", "Ann", "Ben"}).Draw(t, "name"),
				Groups:       rapid.SliceOfN(group, 0, 3).Draw(t, "groups"),
				Subscription: Subscription(rapid.IntRange(0, 3).Draw(t, "subscription")),
			})
		}
		return Build(items)
	})
	rapid.Check(t, func(t *rapid.T) {
		old, want := roster.Draw(t, "old"), roster.Draw(t, "new")
		doc := want.AppendJSON(nil)
		got, dropped, err := Decode(doc, Options{Like: old})
		if err != nil || len(dropped) > 0 {
			t.Fatalf("%s: %v %v", doc, dropped, err)
		}
		if !got.Equal(want) || !slices.EqualFunc(slices.Collect(got.All()), slices.Collect(want.All()), Item.Equal) {
			t.Fatalf("beside %s\nit is  %s\nand was %s", old.AppendJSON(nil), got.AppendJSON(nil), doc)
		}
		if plain, _, err := Decode(doc, Options{}); err != nil || !plain.Equal(got) {
			t.Fatalf("alone it is %s", plain.AppendJSON(nil))
		}
	})
}

// BenchmarkDecodeLike is BenchmarkDecode as a refresh has it: beside the roster that is known, one contact of which has
// another name.
func BenchmarkDecodeLike(b *testing.B) {
	for _, n := range []int{50, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			doc := document(n)
			before := bytes.Replace(doc, []byte(`"Contact 7"`), []byte(`"Seven"`), 1)
			old, _, err := Decode(before, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decode(doc, Options{Like: old}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
