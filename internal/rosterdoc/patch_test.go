package rosterdoc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
)

func decoded(t *testing.T, doc string) *rosterdoc.Roster {
	t.Helper()
	r, dropped, err := rosterdoc.Decode([]byte(doc), rosterdoc.Options{})
	if err != nil || len(dropped) > 0 {
		t.Fatalf("%s: %v %v", doc, dropped, err)
	}
	return r
}

func TestPatch(t *testing.T) {
	const base = `{"ann@h":{"name":"Ann","groups":["A","B"],"subscription":"to","ask":"subscribe"},"ben@h":{}}`
	for _, tc := range []struct{ what, patch, want, dropped string }{
		{"nothing", `{}`, base, ""},
		{"remove one", `{"ben@h":null}`, `{"ann@h":{"name":"Ann","groups":["A","B"],"subscription":"to","ask":"subscribe"}}`, ""},
		{"remove one who is not there", `{"cid@h":null}`, base, ""},
		{"add one", `{"cid@h":{"name":"Cid"}}`, base[:len(base)-1] + `,"cid@h":{"name":"Cid"}}`, ""},
		{"change one member", `{"ann@h":{"name":"Anna"}}`, strings.Replace(base, `"Ann"`, `"Anna"`, 1), ""},
		{"null is the default", `{"ann@h":{"name":null,"groups":null,"subscription":null,"ask":null}}`, `{"ann@h":{},"ben@h":{}}`, ""},
		{"groups are replaced", `{"ann@h":{"groups":["C"]}}`, strings.Replace(base, `["A","B"]`, `["C"]`, 1), ""},
		{"groups as an object", `{"ann@h":{"groups":{"C":true,"A":false,"B":null}}}`, strings.Replace(base, `["A","B"]`, `["C"]`, 1), ""},
		{"the key is normalised", `{"BEN@h":{"name":"Ben"}}`, strings.Replace(base, `"ben@h":{}`, `"ben@h":{"name":"Ben"}`, 1), ""},
		{"the first of two stands", `{"ben@h":{"name":"1"},"BEN@h":null}`, strings.Replace(base, `"ben@h":{}`, `"ben@h":{"name":"1"}`, 1), "BEN@h is there already as ben@h"},
		{"what is wrong stays as it was", `{"ann@h":{"name":7},"ben@h":5,"@":{},"cid@h":{}}`, base[:len(base)-1] + `,"cid@h":{}}`,
			`ann@h has a "name" that is a number, not a string; ben@h is a number, neither an object nor null; ` +
				`@ has no valid address: the address "@" has nothing before the "@"`},
	} {
		r, dropped, err := rosterdoc.Patch(decoded(t, base), []byte(tc.patch), rosterdoc.Options{})
		if err != nil {
			t.Errorf("%s: %v", tc.what, err)
			continue
		}
		if got := string(r.AppendJSON(nil)); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.what, got, tc.want)
		}
		var all []string
		for _, d := range dropped {
			all = append(all, d.Key+" "+d.Reason)
		}
		if got := strings.Join(all, "; "); got != tc.dropped {
			t.Errorf("%s: dropped\n got %s\nwant %s", tc.what, got, tc.dropped)
		}
	}
}

func TestPatchIsRefused(t *testing.T) {
	large := rosterdoc.Options{MaxItems: 2}
	for _, tc := range []struct {
		patch, want string
		o           rosterdoc.Options
	}{
		{``, "empty", rosterdoc.Options{}},
		{`[]`, "the patch is an array", rosterdoc.Options{}},
		{`{"a@h":{}`, "cut off", rosterdoc.Options{}},
		{`{"a@h":{}} {}`, "goes on after its end", rosterdoc.Options{}},
		{`{"a@h":{},"a@h":null}`, "not strict JSON", rosterdoc.Options{}},
		{`{"a@h":{"name":"\ud800"}}`, "not strict JSON", rosterdoc.Options{}},
		{`{"items":[]}`, `not in a list "items"`, rosterdoc.Options{}},
		{`{"a@h":{"x":[[[[[[[[]]]]]]]]}}`, "nested deeper", rosterdoc.Options{}},
		{`{"c@h":{}}`, "more than 2 contacts", large},
		{`{"c@h":null,"d@h":null,"e@h":null}`, "more than 2 contacts", large},
		{`{"a@h":{}}`, "more than 5 bytes", rosterdoc.Options{MaxBytes: 5}},
	} {
		r, _, err := rosterdoc.Patch(decoded(t, `{"a@h":{},"b@h":{}}`), []byte(tc.patch), tc.o)
		if r != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.patch, err, tc.want)
		}
		if strings.Contains(tc.want, "more than") != errors.Is(err, rosterdoc.ErrTooLarge) {
			t.Errorf("%s: %v", tc.patch, err)
		}
	}
}

// merge is RFC 7396 section 2, word for word.
func merge(target, patch any) any {
	object, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result, ok := target.(map[string]any)
	if !ok {
		result = map[string]any{}
	}
	for name, value := range object {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = merge(result[name], value)
		}
	}
	return result
}

// FuzzPatch compares with the RFC's algorithm on JSON values, where everything in the patch is good: the document that
// it makes, decoded, is the roster that Patch makes.
func FuzzPatch(f *testing.F) {
	f.Add(`{"a@h":{"name":"A"},"b@h":{"groups":["x"]}}`, `{"a@h":null,"b@h":{"groups":null},"c@h":{"ask":"subscribe"}}`)
	f.Add(`{"a@h":{"groups":["x","y"]}}`, `{"a@h":{"groups":{"y":true,"z":null}},"A@h":{}}`)
	f.Add(`{}`, `{"a@h":{"subscription":"to","name":null}}`)
	f.Fuzz(func(t *testing.T, document, patch string) {
		base, _, err := rosterdoc.Decode([]byte(document), rosterdoc.Options{})
		if err != nil {
			return
		}
		got, dropped, err := rosterdoc.Patch(base, []byte(patch), rosterdoc.Options{})
		if err != nil {
			if got != nil {
				t.Fatal("a roster with an error")
			}
			return
		}
		if again, _, err := rosterdoc.Decode(got.AppendJSON(nil), rosterdoc.Options{}); err != nil || !again.Equal(got) {
			t.Fatalf("%s is not read back: %v", got.AppendJSON(nil), err)
		}
		if len(dropped) > 0 {
			return
		}
		var target, change any
		if json.Unmarshal(base.AppendJSON(nil), &target) != nil || json.Unmarshal([]byte(patch), &change) != nil {
			t.Fatal("what was taken is no JSON")
		}
		for name := range change.(map[string]any) { // keys that are spelled as they are written
			if j, err := jid.Parse(name); err != nil || j.String() != name {
				return
			}
		}
		b, err := json.Marshal(merge(target, change))
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := rosterdoc.Decode(b, rosterdoc.Options{})
		if err != nil || !want.Equal(got) {
			t.Fatalf("%s\n+ %s\n= %s\nwant %s (%v)", base.AppendJSON(nil), patch, got.AppendJSON(nil), b, err)
		}
	})
}

func TestOneItem(t *testing.T) {
	for item := range decoded(t, `{"ann@h":{"name":"<&\"","groups":["A","B"],"subscription":"to","ask":"subscribe"},"h":{}}`).All() {
		got, err := rosterdoc.DecodeItem(rosterdoc.AppendItem(nil, item))
		if err != nil || !reflect.DeepEqual(got, item) {
			t.Errorf("%v became %v: %v", item, got, err)
		}
	}
	for _, bad := range []string{``, `{}`, `{"a@h":{},"b@h":{}}`, `{"a@h":{"name":1}}`} {
		if item, err := rosterdoc.DecodeItem([]byte(bad)); err == nil {
			t.Errorf("%s is %v", bad, item)
		}
	}
}

func TestSizeGrowsWithTheRoster(t *testing.T) {
	var doc strings.Builder
	last := -1
	for n := range 4 {
		r := decoded(t, "{"+strings.TrimPrefix(doc.String(), ",")+"}")
		if r.Size() <= last {
			t.Errorf("%d contacts take %d bytes, one less %d", n, r.Size(), last)
		}
		last = r.Size()
		fmt.Fprintf(&doc, `,"u%d@h":{"groups":["g%d"]}`, n, n)
	}
}

// "A nil base is an empty one."
func TestPatchOfNothing(t *testing.T) {
	for patch, want := range map[string]string{`{}`: `{}`, `{"ann@h":null}`: `{}`, `{"ann@h":{}}`: `{"ann@h":{}}`} {
		r, dropped, err := rosterdoc.Patch(nil, []byte(patch), rosterdoc.Options{})
		if err != nil || len(dropped) > 0 || string(r.AppendJSON(nil)) != want {
			t.Errorf("%s: %s %v %v", patch, r.AppendJSON(nil), dropped, err)
		}
	}
}

// BenchmarkPatch has one contact of a roster renamed, "known" as services do it, "odd" with a member of which something is to
// be told.
func BenchmarkPatch(b *testing.B) {
	for _, n := range []int{50, 1000} {
		var items []rosterdoc.Item
		for i := range n {
			items = append(items, rosterdoc.Item{JID: jid.MustParse(fmt.Sprintf("u%d@h", i)), Name: "A", Groups: []string{"Friends"}})
		}
		base := rosterdoc.Build(items)
		for name, patch := range map[string]string{"known": `{"u7@h":{"name":"Seven"}}`, "odd": `{"u7@h":{"name":"Seven","groups":[""]}}`} {
			b.Run(fmt.Sprint(n, "/", name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if r, _, err := rosterdoc.Patch(base, []byte(patch), rosterdoc.Options{}); err != nil || r.Len() != n {
						b.Fatal(r.Len(), err)
					}
				}
			})
		}
	}
}
