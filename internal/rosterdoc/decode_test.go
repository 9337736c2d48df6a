package rosterdoc

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/jid"
)

var owner = jid.MustParse("john@example.com")

func both(address, name string, groups ...string) Item {
	return Item{JID: jid.MustParse(address), Name: name, Groups: groups, Subscription: Both}
}

// show writes items so that a difference can be read.
func show(r *Roster) []string {
	out := []string{}
	for it := range r.All() {
		out = append(out, fmt.Sprintf("%s %q %q %s ask=%v", it.JID, it.Name, it.Groups, it.Subscription, it.Ask))
	}
	return out
}

func TestDecodeForms(t *testing.T) {
	marie, michael := both("marie@example.com", "Marie", "Friends", "Work"), both("michael@example.com", "Michael")
	news := Item{JID: jid.MustParse("news.example.com"), Subscription: To}
	for _, tc := range []struct {
		name, doc string
		want      []Item
	}{
		{"the contract's example", `{"marie@example.com":   {"name": "Marie", "groups": ["Friends", "Work"]},
 "michael@example.com": {"name": "Michael"},
 "news.example.com":    {"subscription": "to"}}`, []Item{marie, michael, news}},
		{"empty", `{}`, nil},
		{"empty, with space", " \r\n\t{ } \n", nil},
		{"item without members", `{"marie@example.com":{}}`, []Item{both("marie@example.com", "")}},
		{"null members", `{"marie@example.com":{"name":null,"groups":null,"subscription":null,"ask":null}}`, []Item{both("marie@example.com", "")}},
		{"unknown members", `{"marie@example.com":{"id":7,"tags":[1,{"a":[null]}],"name":"Marie","groups":["Work","Friends"],"x":{}}}`, []Item{marie}},
		{"groups as object", `{"marie@example.com":{"name":"Marie","groups":{"Work":true,"Friends":true,"Foes":false,"Kin":null}}}`, []Item{marie}},
		{"groups as one string", `{"marie@example.com":{"groups":"Work"}}`, []Item{both("marie@example.com", "", "Work")}},
		{"no groups, three ways", `{"a@b":{"groups":[]},"c@b":{"groups":{}},"d@b":{"groups":{"X":false}}}`, []Item{both("a@b", ""), both("c@b", ""), both("d@b", "")}},
		{"groups repeated", `{"a@b":{"groups":["Z","A","Z"]}}`, []Item{both("a@b", "", "A", "Z")}},
		{"empty name", `{"a@b":{"name":""}}`, []Item{both("a@b", "")}},
		{"every subscription", `{"a@b":{"subscription":"both"},"c@b":{"subscription":"to"},"d@b":{"subscription":"from"},"e@b":{"subscription":"none"}}`, []Item{
			{JID: jid.MustParse("a@b"), Subscription: Both}, {JID: jid.MustParse("c@b"), Subscription: To},
			{JID: jid.MustParse("d@b"), Subscription: From}, {JID: jid.MustParse("e@b"), Subscription: None}}},
		{"pending", `{"a@b":{"subscription":"none","ask":"subscribe"}}`, []Item{{JID: jid.MustParse("a@b"), Ask: true}}},
		{"escapes", `{"\u006darie@example.com":{"n\u0061me":"Mar\u0069e \ud83d\ude00\n\"<&>","groups":["\u00e9"]}}`, []Item{both("marie@example.com", "Marie \U0001f600\n\"<&>", "\u00e9")}},
		{"right-to-left names", `{"a@b":{"name":"\u202eevil"}}`, []Item{both("a@b", "\u202eevil")}},
		{"normalised", `{"Marie@EXAMPLE.com.":{}}`, []Item{both("marie@example.com", "")}},
		{"own domain", `{"example.com":{}}`, []Item{both("example.com", "")}},

		{"MongooseIM", `{"ver":"3","items":[{"jid":"marie@example.com","name":"Marie","groups":["Friends","Work"],"ask":"none","approved":"true"},{"jid":"news.example.com","subscription":"to"}]}`, []Item{marie, news}},
		{"MongooseIM, ver last", `{"items":[{"jid":"marie@example.com","name":"Marie","groups":["Friends","Work"]}],"ver":null}`, []Item{marie}},
		{"MongooseIM, empty", `{"items":[]}`, nil},
		{"MongooseIM, other things before and behind", `{"meta":{"name":"x"},"count":2,"items":[{"jid":"michael@example.com","name":"Michael"}],"owner":{"a":1}}`, []Item{michael}},
		{"MongooseIM, pending", `{"items":[{"jid":"a@b","subscription":"none","ask":"subscribe"},{"jid":"c@b","ask":"unsubscribe"}]}`, []Item{{JID: jid.MustParse("a@b"), Ask: true}, both("c@b", "")}},
		{"ejabberd SaaS", `{"roster":[{"username":"michael@example.com","nick":"Michael","subscription":"both"}]}`, []Item{michael}},
		{"ejabberd SaaS, localpart", `{"roster":[{"username":"michael","nick":"Michael"},{"username":"Marie.Curie"}]}`, []Item{both("marie.curie@example.com", ""), michael}},
		{"ejabberd SaaS, jid and name", `{"roster":[{"jid":"news.example.com","subscription":"to"},{"jid":"michael@example.com","name":"Michael"}]}`, []Item{michael, news}},
		{"ejabberd SaaS, nick before name", `{"roster":[{"username":"michael","nick":"Michael","name":"x"},{"username":"m","name":"x","nick":"Michael"}]}`, []Item{both("m@example.com", "Michael"), michael}},
		{"ejabberd SaaS, empty", `{"roster":[]}`, nil},

		{"a contact called items", `{"items":{"name":"Shop"},"roster":{}}`, []Item{both("items", "Shop"), both("roster", "")}},
		{"depth 8", `{"a@b":{"x":[[[[[[]]]]]]}}`, []Item{both("a@b", "")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, dropped, err := Decode([]byte(tc.doc), Options{Owner: owner})
			if err != nil {
				t.Fatal(err)
			}
			if len(dropped) > 0 {
				t.Errorf("dropped: %+v", dropped)
			}
			if d := cmp.Diff(show(Build(tc.want)), show(r)); d != "" {
				t.Errorf("want - got +\n%s", d)
			}
			if r.Len() != len(tc.want) {
				t.Errorf("%d contacts", r.Len())
			}
		})
	}
}

func TestDecodeDrops(t *testing.T) {
	long := strings.Repeat("x", MaxText)
	for _, tc := range []struct {
		name, item string // a member of the document, beside a good contact
		key, says  string
		kept       bool
	}{
		{"item is a number", `"a":1`, "a", "is a number, not an object", false},
		{"item is null", `"a@b":null`, "a@b", "is null, not an object", false},
		{"item is a string", `"a@b":"both"`, "a@b", "is a string, not an object", false},
		{"item is an array", `"a@b":[]`, "a@b", "is an array, not an object", false},
		{"item is a boolean", `"a@b":true`, "a@b", "is a boolean, not an object", false},
		{"key is no address", `"a b@c":{}`, "a b@c", "has no valid address: the localpart", false},
		{"empty key", `"":{}`, "", "has no valid address: the domainpart is empty", false},
		{"key with NUL", `"a\u0000@b":{}`, "a\x00@b", "has no valid address", false},
		{"key with an empty resource", `"a@b/":{}`, "a@b/", `nothing after the "/"`, false},
		{"key with a resource", `"a@b/x":{}`, "a@b/x", "has a resource, which was cut off", true},
		{"oneself", `"john@example.com":{}`, "john@example.com", "is the user whose roster this is", false},
		{"oneself in another spelling", `"John@Example.com/x":{}`, "John@Example.com/x", "is the user whose roster this is", false},
		{"same as another", `"Good@B":{"name":"second"}`, "Good@B", "is there already as good@b", false},
		{"name is a number", `"a@b":{"name":1}`, "a@b", `has a "name" that is a number, not a string`, false},
		{"name is an object", `"a@b":{"name":{"first":"A"}}`, "a@b", `has a "name" that is an object`, false},
		{"name too long", `"a@b":{"name":"x` + long + `"}`, "a@b", `has a "name" that has more than 1023 bytes`, false},
		{"name longest", `"a@b":{"name":"` + long + `","groups":["` + long + `"]}`, "", "", true},
		{"name with NUL", `"a@b":{"name":"a\u0000"}`, "a@b", "a character that XML does not allow", false},
		{"name with U+FFFE", `"a@b":{"name":"a\ufffe"}`, "a@b", "a character that XML does not allow", false},
		{"name with a character near U+FFFE", `"a@b":{"name":"\uffee\ufffd\uf000\t\r\n"}`, "", "", true},
		{"group with U+FFFF", `"a@b":{"groups":["\uffff"]}`, "a@b", "has a group that has a character", false},
		{"group key with a control character", `"a@b":{"groups":{"\u001b[2J":true}}`, "a@b", "has a group that has a character", false},
		{"groups is a number", `"a@b":{"groups":1}`, "a@b", `has "groups" that are a number`, false},
		{"groups is false", `"a@b":{"groups":false}`, "a@b", `has "groups" that are a boolean`, false},
		{"group is null", `"a@b":{"groups":["x",null]}`, "a@b", "has a group that is null, not a string", false},
		{"group is an array", `"a@b":{"groups":[["x"]]}`, "a@b", "has a group that is an array", false},
		{"group's value is a string", `"a@b":{"groups":{"x":"true"}}`, "a@b", "has a group whose value is a string", false},
		{"group too long", `"a@b":{"groups":["x` + long + `"]}`, "a@b", "has a group that has more than 1023 bytes", false},
		{"group without name", `"a@b":{"groups":[""]}`, "a@b", "has a group without a name, which was left out", true},
		{"65 groups", `"a@b":{"groups":[` + numbers(65) + `]}`, "a@b", "has more than 64 groups", false},
		{"64 groups, each twice", `"a@b":{"groups":[` + numbers(64) + `,` + numbers(64) + `]}`, "", "", true},
		{"subscription unknown", `"a@b":{"subscription":"remove"}`, "a@b", `has the subscription "remove"`, false},
		{"subscription in capitals", `"a@b":{"subscription":"Both"}`, "a@b", `has the subscription "Both"`, false},
		{"subscription is true", `"a@b":{"subscription":true}`, "a@b", `has a "subscription" that is a boolean`, false},
		{"ask unknown", `"a@b":{"ask":"unsubscribe"}`, "a@b", `has an "ask" of "unsubscribe"`, false},
		{"ask is false", `"a@b":{"ask":false}`, "a@b", `has a "ask" that is a boolean`, false},
		{"first fault is told, the rest is read", `"a@b":{"name":1,"groups":2,"x":[{}]}`, "a@b", `has a "name"`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := `{"good@b":{"name":"first"},` + tc.item + `,"last@b":{}}`
			r, dropped, err := Decode([]byte(doc), Options{Owner: owner})
			if err != nil {
				t.Fatal(err)
			}
			good, ok := r.Get(jid.MustParse("good@b"))
			if _, last := r.Get(jid.MustParse("last@b")); !ok || !last || good.Name != "first" {
				t.Errorf("the rest does not stand: %v", show(r))
			}
			if want := 2; tc.kept && r.Len() != want+1 || !tc.kept && r.Len() != want {
				t.Errorf("contacts: %v", show(r))
			}
			if tc.says == "" {
				if len(dropped) > 0 {
					t.Errorf("dropped: %+v", dropped)
				}
				return
			}
			if len(dropped) != 1 || dropped[0].Key != tc.key || dropped[0].Warning != tc.kept || !strings.Contains(dropped[0].Reason, tc.says) {
				t.Errorf("dropped: %+v, want %q: %q", dropped, tc.key, tc.says)
			}
		})
	}
}

// Two resources of one contact: a warning for each, and the second is a repetition.
func TestDecodeDropsSecondResource(t *testing.T) {
	r, dropped, err := Decode([]byte(`{"a@b/x":{"name":"first"},"a@b/y":{}}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := r.Get(jid.MustParse("a@b")); r.Len() != 1 || got.Name != "first" {
		t.Errorf("contacts: %v", show(r))
	}
	if len(dropped) != 3 || !dropped[0].Warning || !dropped[1].Warning || dropped[2].Warning || dropped[2].Key != "a@b/y" {
		t.Errorf("dropped: %+v", dropped)
	}
}

func numbers(n int) string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf("%q", fmt.Sprint(i)))
	}
	return strings.Join(s, ",")
}

func TestDecodeListDrops(t *testing.T) {
	for _, tc := range []struct{ name, doc, key, says string }{
		{"not an object", `{"items":["a@b"]}`, "items[0]", "is a string, not an object"},
		{"no jid", `{"items":[{"jid":"c@d"},{"name":"x"}]}`, "items[1]", `has no "jid"`},
		{"jid is null", `{"items":[{"jid":null}]}`, "items[0]", `has no "jid"`},
		{"jid is a number", `{"items":[{"jid":5}]}`, "items[0]", `has a "jid" that is a number`},
		{"username does not count among items", `{"items":[{"username":"x"}]}`, "items[0]", `has no "jid"`},
		{"no username", `{"roster":[{}]}`, "roster[0]", `has no "username"`},
		{"bad localpart", `{"roster":[{"username":"a b"}]}`, "a b", "has no valid address"},
		{"bad localpart, as address", `{"roster":[{"username":"a b@c"}]}`, "a b@c", "has no valid address"},
		{"slash in localpart", `{"roster":[{"username":"a/b"}]}`, "a/b", "has no valid address"},
		{"nick is a number", `{"roster":[{"username":"a","nick":1}]}`, "a", `has a "nick" that is a number`},
		{"name is a number beside a nick", `{"roster":[{"username":"a","nick":"A","name":1}]}`, "a", `has a "name" that is a number`},
		{"oneself by localpart", `{"roster":[{"username":"John"}]}`, "John", "is the user whose roster this is"},
		{"twice", `{"roster":[{"username":"a"},{"username":"A@example.com"}]}`, "A@example.com", "is there already as a@example.com"},
		{"ask unknown", `{"items":[{"jid":"a@b","ask":"maybe"}]}`, "a@b", `has an "ask" of "maybe"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, dropped, err := Decode([]byte(tc.doc), Options{Owner: owner})
			if err != nil {
				t.Fatal(err)
			}
			if len(dropped) != 1 || dropped[0].Key != tc.key || dropped[0].Warning || !strings.Contains(dropped[0].Reason, tc.says) {
				t.Errorf("dropped: %+v, want %q: %q", dropped, tc.key, tc.says)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	many := []byte(`{"a@b":{}`)
	for i := range DefaultMaxItems {
		many = fmt.Appendf(many, `,"u%d@b":{}`, i)
	}
	for _, tc := range []struct{ name, doc, says string }{
		{"nothing", "", "is empty"},
		{"space", " \n", "is empty"},
		{"array", `[]`, "is an array, not an object of contacts"},
		{"array of addresses", `["a@b"]`, "is an array"},
		{"string", `"john"`, "is a string"},
		{"null", `null`, "is null"},
		{"true", `true`, "is a boolean"},
		{"number", `0`, "is a number"},
		{"HTML", `<!DOCTYPE html><html>`, "not strict JSON"},
		{"truncated", `{"a@b":{"name":"A"}`, "is cut off after 19 bytes"},
		{"truncated in a string", `{"a@b":{"name":"A`, "is cut off"},
		{"truncated at once", `{`, "is cut off"},
		{"truncated in a group", `{"a@b":{"groups":["G`, "is cut off"},
		{"bad UTF-8 in a group", "{\"a@b\":{\"groups\":[\"\xff\"]}}", "invalid UTF-8"},
		{"truncated in a list's element", `{"items":[{"jid":"a@b"`, "is cut off"},
		{"truncated array", `{"items":[{"jid":"a@b"}`, "is cut off"},
		{"broken array", `{"items":[{"jid":"a@b"}}`, "not strict JSON"},
		{"trailing data", `{} x`, "goes on after its end"},
		{"trailing object", `{}{}`, "goes on after its end"},
		{"trailing NUL", "{}\x00", "goes on after its end"},
		{"byte order mark", "\xef\xbb\xbf{}", "byte order mark"},
		{"UTF-16", "{\x00}\x00", "not strict JSON"},
		{"duplicate address", `{"a@b":{},"a@b":{}}`, "duplicate object member name"},
		{"duplicate address by escape", `{"a@b":{},"\u0061@b":{}}`, "duplicate object member name"},
		{"duplicate member", `{"a@b":{"name":"A","name":"B"}}`, "duplicate object member name"},
		{"duplicate group key", `{"a@b":{"groups":{"x":true,"x":true}}}`, "duplicate object member name"},
		{"duplicate in an ignored member", `{"a@b":{"x":[{"y":1,"y":2}]}}`, "duplicate object member name"},
		{"bad UTF-8", "{\"a@b\":{\"name\":\"\xff\"}}", "invalid UTF-8"},
		{"bad UTF-8 in an ignored member", "{\"a@b\":{\"x\":\"\xc3\"}}", "invalid UTF-8"},
		{"surrogates in UTF-8", "{\"a@b\":{\"name\":\"\xed\xa0\x80\"}}", "invalid UTF-8"},
		{"lone surrogate", `{"a@b":{"name":"\ud800"}}`, "surrogate"},
		{"lone surrogate in an ignored member", `{"a@b":{"x":"\udc00"}}`, "surrogate"},
		{"raw control character", "{\"a@b\":{\"name\":\"\x01\"}}", "not strict JSON"},
		{"trailing comma", `{"a@b":{},}`, "not strict JSON"},
		{"comment", `{/**/}`, "not strict JSON"},
		{"single quotes", `{'a@b':{}}`, "not strict JSON"},
		{"NaN", `{"a@b":{"x":NaN}}`, "not strict JSON"},
		{"number for a key", `{1:{}}`, "not strict JSON"},
		{"depth 9", `{"a@b":{"x":[[[[[[[]]]]]]]}}`, "nested deeper than 8"},
		{"depth 10,000", strings.Repeat(`{"a":`, 10000), "nested deeper than 8"},
		{"depth 9 in groups", `{"a@b":{"groups":[[[[[[[]]]]]]]}}`, "nested deeper than 8"},
		{"depth 9 in an array on top", strings.Repeat("[", 9) + strings.Repeat("]", 9), "nested deeper than 8"},
		{"depth 9 behind a list", `{"items":[],"x":[[[[[[[[]]]]]]]]}`, "nested deeper than 8"},
		{"two lists", `{"items":[],"roster":[]}`, "both a list"},
		{"too many contacts", string(many) + "}", "more than 10000 contacts"},
		{"too many bytes", `{"a@b":{"x":"` + strings.Repeat("x", DefaultMaxBytes) + `"}}`, "more than 4194304 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, dropped, err := Decode([]byte(tc.doc), Options{Owner: owner})
			if err == nil {
				t.Fatalf("taken: %v, %+v", show(r), dropped)
			}
			if r != nil || dropped != nil {
				t.Error("a roster beside the error")
			}
			if !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), "rosterdoc: ") {
				t.Errorf("the error is %q, want it to say %q", err, tc.says)
			}
			if large := strings.HasPrefix(tc.name, "too many"); errors.Is(err, ErrTooLarge) != large {
				t.Errorf("%q is ErrTooLarge: %v", err, !large)
			}
		})
	}
}

func TestDecodeLimits(t *testing.T) {
	doc := `{"a@b":{},"c@b":1,"d@b":{}}`
	if _, _, err := Decode([]byte(doc), Options{MaxItems: 3, MaxBytes: len(doc)}); err != nil {
		t.Errorf("at the limits: %v", err)
	}
	if _, _, err := Decode([]byte(doc), Options{MaxItems: 2}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one contact over: %v", err)
	}
	if _, _, err := Decode([]byte(doc), Options{MaxBytes: len(doc) - 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte over: %v", err)
	}
	list := `{"x":{},"y":{},"items":[{"jid":"a@b"},{"jid":"c@b"}],"z":{}}`
	if r, _, err := Decode([]byte(list), Options{MaxItems: 2}); err != nil || r.Len() != 2 {
		t.Errorf("a list at the limit: %v", err)
	}
	if _, _, err := Decode([]byte(list), Options{MaxItems: 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a list over the limit: %v", err)
	}
	list = `{"items":[{"jid":"a@b"},{"jid":"c@b"}],"y":{},"z":{}}`
	if r, _, err := Decode([]byte(list), Options{MaxItems: 2}); err != nil || r.Len() != 2 {
		t.Errorf("a list at the limit, with other members behind it: %v", err)
	}
	if _, _, err := Decode([]byte(list), Options{MaxItems: 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a list over the limit by itself: %v", err)
	}
}

// Without an owner nothing is oneself, and a bare localpart has no host.
func TestDecodeWithoutOwner(t *testing.T) {
	r, dropped, err := Decode([]byte(`{"roster":[{"username":"a"},{"username":"john@example.com"}]}`), Options{})
	if err != nil || r.Len() != 1 || len(dropped) != 1 {
		t.Errorf("%v, %+v, %v", show(r), dropped, err)
	}
}

// What is told about a document is in its order and no longer than a log line may be.
func TestDroppedInOrder(t *testing.T) {
	long := strings.Repeat("\u00e9", 5000)
	doc := `{"z@b":{},"1":2,"Z@b":{},"a@b/` + "x" + `":{},"3":4,"A@b":{},"` + long + ` ":{},"s@b":{"subscription":"` + long + `"}}`
	_, dropped, err := Decode([]byte(doc), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, d := range dropped {
		keys = append(keys, d.Key)
		if len(d.Key) > shown+3 || len(d.Reason) > 500 {
			t.Errorf("%d and %d bytes", len(d.Key), len(d.Reason))
		}
	}
	want := []string{"1", "Z@b", "a@b/x", "3", "A@b", strings.Repeat("\u00e9", shown/2) + "...", "s@b"}
	if d := cmp.Diff(want, keys); d != "" {
		t.Error(d)
	}
}

// A decoder that is used again has nothing left of the document before, refused or not.
func TestDecodersAreReused(t *testing.T) {
	for range 3 {
		for _, doc := range []string{`{"items":[{"jid":"a@b","groups":["x"]}]}`, `{"items":[`, `{"c@d":{"groups":"y"},"1":1}`, `{"roster":[{"username":"x"}],"items":[]}`} {
			_, _, _ = Decode([]byte(doc), Options{Owner: owner}) // the answers are tested above
			r, dropped, err := Decode([]byte(`{"e@f":{"name":"E"},"ver":{}}`), Options{Owner: owner})
			if err != nil || dropped != nil || r.Len() != 2 {
				t.Fatalf("after %s: %v, %v, %v", doc, show(r), dropped, err)
			}
		}
	}
}

// A roster holds on to no document: forty documents of 256 KiB with one contact each take next to nothing.
func TestRosterLetsGoOfItsDocument(t *testing.T) {
	filler := strings.Repeat("x", 256<<10)
	rosters := make([]*Roster, 40)
	before := heap()
	for i := range rosters {
		doc := fmt.Sprintf(`{"a%d@b":{"name":"A%d","groups":["G%d"],"x":"%s"}}`, i, i, i, filler)
		r, _, err := Decode([]byte(doc), Options{})
		if err != nil {
			t.Fatal(err)
		}
		rosters[i] = r
	}
	if after := heap(); after > before+4<<20 {
		t.Errorf("%d bytes are held", after-before)
	}
	runtime.KeepAlive(rosters)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first only empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Two rosters share what they have in common.
func TestRostersShare(t *testing.T) {
	var got [2]Item
	for i := range got {
		r, _, err := Decode([]byte(`{"marie@example.com":{"name":"Marie","groups":["Friends"]}}`), Options{})
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC() // what is shared must outlive a collection
		got[i], _ = r.Get(jid.MustParse("marie@example.com"))
		defer runtime.KeepAlive(r)
	}
	for name, s := range map[string][2]string{
		"address": {got[0].JID.String(), got[1].JID.String()},
		"name":    {got[0].Name, got[1].Name},
		"group":   {got[0].Groups[0], got[1].Groups[0]},
	} {
		if unsafe.StringData(s[0]) != unsafe.StringData(s[1]) {
			t.Errorf("the %s is there twice", name)
		}
	}
}

// Decode never panics, takes nothing that encoding/json refuses, and gives rosters that survive being
// written and read.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `"john"`, `{"a":1}`, `null`, `{"marie@example.com":{"name":"Marie","groups":["Friends","Work"]}}`,
		`{"a@b":{"groups":{"x":true,"y":false},"ask":"subscribe","subscription":"none"}}`, `{"a@b":{"groups":"x"}}`,
		`{"items":[{"jid":"a@b","name":"A"}],"ver":"1"}`, `{"roster":[{"username":"a","nick":"A"}]}`, `{"items":{},"roster":[]}`,
		`{"a@b/c":{},"A@b":{}}`, `{"john@example.com":{}}`, `{"a@b":{"x":[[[[[[[]]]]]]]}}`, "\xef\xbb\xbf{}", `{"\ud800":{}}`, `{"a@b":{"name":"\u0000"}}`,
		`{"a@b":{},"a@b":{}}`, `{"a@b":{"x":1e999}}`, `{} {}`, `{"items":[1,null,{}],"items":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, dropped, err := Decode(b, Options{Owner: owner})
		if err != nil {
			if r != nil || dropped != nil || len(err.Error()) > 400 {
				t.Fatalf("%v beside %v", r, err)
			}
			return
		}
		if !json.Valid(b) {
			t.Fatalf("taken, and encoding/json refuses it: %q", b)
		}
		out := r.AppendJSON(nil)
		again, dropped, err := Decode(out, Options{Owner: owner, MaxBytes: 1 << 30})
		if err != nil || len(dropped) > 0 || !again.Equal(r) {
			t.Fatalf("%q was written as %q: %v, %+v", b, out, err, dropped)
		}
	})
}
