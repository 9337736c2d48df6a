package rosterdoc

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rollcall/internal/jid"
)

// Ordinary documents, as different services write them, are read quickly, beside an older roster and without one.
func TestQuickTakesOrdinaryDocuments(t *testing.T) {
	old, _, err := decode([]byte(`{"marie@example.com":{"name":"Marie","groups":["Friends"]},"zoe@example.com":{}}`), Options{MaxItems: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{
		`{}`, " { }\n", `{"marie@example.com":{}}`,
		`{"michael@example.com":{"name":"Michael"},"marie@example.com":{"name":"Marie","groups":["Friends","Work"]}}`,
		"{\r\n\t\"marie@example.com\" : { \"groups\" : [ \"Work\" , \"Friends\" , \"Work\" ] , \"subscription\" : \"to\" } }",
		`{"marie@example.com":{"name":null,"groups":null,"subscription":"none","ask":"subscribe"}}`,
		`{"Marie@Example.COM":{"name":"Marie","groups":{"Friends":true,"Foes":false,"Work":true}}}`,
		`{"marie@example.com":{"groups":"Friends","id":17,"vip":true,"score":-1.5e3,"note":"x","gone":null}}`,
		`{"fran\u00e7ois@example.com":{"name":"Fran\u00e7ois \ud83d\ude00","groups":["Am\u00edgos \/ amis"]}}`,
		`{"zoë@example.com":{"name":"Zoë"}}`,
	} {
		for _, like := range []*Roster{nil, old} {
			o := Options{Owner: owner, MaxItems: 10, Like: like}
			if quickly([]byte(doc), &o) == nil {
				t.Errorf("left to the decoder: %s", doc)
			}
			agree(t, []byte(doc), o)
		}
	}
}

// A document that says what is known already gives the roster that is known.
func TestQuickKnowsWhatIsTheSame(t *testing.T) {
	doc := []byte(`{"b@x":{"name":"B","groups":["1","2"]},"a@x":{"subscription":"from"}}`)
	old, _, err := Decode(doc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{string(doc), `{"a@x":{"subscription":"from"},"B@X":{"groups":["2","1","2"],"name":"\u0042"}}`} {
		if r, _, err := Decode([]byte(same), Options{Like: old}); err != nil || r != old {
			t.Errorf("%s: another roster, %v", same, err)
		}
	}
}

// What has to be told or refused, the decoder tells and refuses: all that is out of the ordinary, in every place.
func TestQuickAgrees(t *testing.T) {
	piece := func(all ...string) *rapid.Generator[string] { return rapid.SampledFrom(all) }
	space := piece("", "", "", " ", "\n\t", "\v", "\xa0")
	text := piece(`"Ann"`, `"Ann"`, `"Bén"`, `""`, `"\u0041nn"`, `"a\/b\n"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\x"`, "\"\xff\"", "\"a\nb\"", `"a\u0000"`,
		`"`+strings.Repeat("x", MaxText+1)+`"`, `"\ufffe"`, "\"\u007f\"", `"cut`, `"cut\`)
	scalar := piece("0", "-0", "10", "01", "-", "1.", "1.5", "1e", "1E+9", "+1", ".5", "true", "false", "null", "nul", "True", "NaN", "")
	nested := piece("[]", "{}", "[1,[2,{}]]", `{"a":1,"a":2}`, "[[[[[[[[[]]]]]]]]]", "[1,]", `{"a"}`)
	value := rapid.OneOf(text, text, scalar, nested)
	member := rapid.Custom(func(t *rapid.T) string {
		v := value
		name := piece(`"name"`, `"name"`, `"groups"`, `"groups"`, `"groups"`, `"subscription"`, `"ask"`, `"n\u0061me"`, `"id"`, `"x"`, `name`, `1`).Draw(t, "member")
		switch {
		case name == `"groups"` && rapid.Bool().Draw(t, "array"):
			v = rapid.Map(rapid.SliceOfN(rapid.OneOf(piece(`"Friends"`, `"Work"`), value), 0, 4), func(g []string) string { return "[" + strings.Join(g, " , ") + "]" })
		case name == `"groups"`:
			in := rapid.Map(rapid.OneOf(piece("true", "false"), value), func(v string) string { return ":" + v })
			key := rapid.OneOf(piece(`"Friends"`, `"Work"`), text)
			v = rapid.Map(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return key.Draw(t, "group") + in.Draw(t, "in") }), 0, 4),
				func(g []string) string { return "{" + strings.Join(g, ",") + "}" })
		case name == `"subscription"`:
			v = piece(`"both"`, `"to"`, `"from"`, `"none"`, `"Both"`, `"remove"`, "null", "1")
		case name == `"ask"`:
			v = piece(`"subscribe"`, `"none"`, "null", "true")
		}
		return name + space.Draw(t, "space") + ":" + space.Draw(t, "space") + v.Draw(t, "value")
	})
	contact := rapid.Custom(func(t *rapid.T) string {
		key := piece(`"ann@x"`, `"ben@x"`, `"cem@x"`, `"dan@x"`, `"Ann@X"`, `"\u0061nn@x"`, `"ann@x/r"`, `"a b@x"`, `"john@example.com"`, `"x"`, `"items"`, `""`, `1`).Draw(t, "contact")
		item := "{" + strings.Join(rapid.SliceOfN(member, 0, 3).Draw(t, "members"), space.Draw(t, "space")+",") + space.Draw(t, "space") + "}"
		if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
			item = value.Draw(t, "item")
		}
		return key + ":" + item
	})
	document := rapid.Custom(func(t *rapid.T) string {
		return space.Draw(t, "space") + "{" + strings.Join(rapid.SliceOfN(contact, 0, 5).Draw(t, "contacts"), piece(",", ",", ",", " , ", "", ",,").Draw(t, "comma")) +
			"}" + space.Draw(t, "space") + piece("", "", "", "", "x", "{}").Draw(t, "behind")
	})
	ordinary := rapid.Custom(func(t *rapid.T) string {
		var all []string
		for _, who := range rapid.SliceOfNDistinct(piece("ann@x", "ben@x", "cem@x", "dan@x", "Ann@Y"), 0, 5, rapid.ID).Draw(t, "contacts") {
			all = append(all, fmt.Sprintf(`"%s":{"name":%s,"groups":%s}`, who, piece(`"Ann"`, `"Bén"`, `""`).Draw(t, "name"),
				piece(`[]`, `["Friends"]`, `["Work","Friends"]`, `{"Work":true,"Friends":false}`, `"Work"`).Draw(t, "groups")))
		}
		return "{" + strings.Join(all, ",") + "}"
	})
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		var like *Roster
		for i, doc := range rapid.SliceOfN(rapid.OneOf(document, ordinary), 1, 4).Draw(t, "documents, one after the other") {
			o := Options{Owner: owner, MaxItems: 4, Like: like}
			if i > 0 && quickly([]byte(doc), &o) != nil {
				quick++
			}
			if r := agree(t, []byte(doc), o); r != nil {
				like = r
			}
		}
	})
	if quick == 0 {
		t.Error("nothing was read quickly")
	}
}

// FuzzQuick holds what is read quickly to the decoder: whatever the document and the roster before it.
func FuzzQuick(f *testing.F) {
	for _, doc := range []string{
		`{"a@b":{"name":"A","groups":["x","y"],"subscription":"to","ask":"subscribe"}}`, `{"a@b":{"groups":{"x":true,"y":false}}}`,
		`{"a@b":{"id":-1.5e+3,"x":null,"y":"\ud83d\ude00"}}`, `{"a@b":{"groups":"x"},"A@B":{}}`, `{"a@b/c":{}}`, `{"a@b":{"name":"\u0000"}}`, `{"items":[]}`, `{"a@b":{},}`,
	} {
		f.Add([]byte(doc), []byte(`{"c@d":{"groups":["x"]},"a@b":{"name":"A","groups":["x","y"]}}`))
	}
	f.Fuzz(func(t *testing.T, doc, before []byte) {
		o := Options{Owner: owner, MaxItems: 20}
		o.Like, _, _ = decode(before, o)
		if r := agree(t, doc, o); r != nil {
			o.Like = r // whose contacts have another order, and other places
			agree(t, before, o)
		}
	})
}

// FuzzQuickPatch holds patches that are read quickly to the decoder.
func FuzzQuickPatch(f *testing.F) {
	for _, patch := range []string{
		`{"a@b":null}`, `{"a@b":{"name":null,"groups":null,"subscription":null,"ask":null}}`, `{"z@b":{"name":"Z","groups":["x","n"]},"A@B":{"groups":"new"}}`,
		`{"a@b":{"groups":{"n":true,"y":false}},"c@d":{"name":"","groups":[]}}`, `{"z@b":{},"Z@b":null}`, `{"a@b":{"ask":"subscribe","subscription":"to","x":[]}}`,
		`{"z@b":null,"john@example.com":{}}`, `{"a@b":{"name":"Z","name":null}}`,
	} {
		f.Add([]byte(patch), []byte(`{"c@d":{"groups":["x"]},"a@b":{"name":"A","groups":["x","y"],"subscription":"none","ask":"subscribe"}}`))
	}
	f.Fuzz(func(t *testing.T, doc, before []byte) {
		o := Options{Owner: owner, MaxItems: 60, MaxBytes: 1 << 20}
		base, _, _ := decode(before, o)
		items := slices.Collect(base.All())
		for i := range 40 { // of which few are touched
			items = append(items, Item{JID: jid.MustParse(fmt.Sprintf("u%d@example.com", i)), Subscription: Both})
		}
		base = Build(items)
		was := show(base)
		own := bytes.Clone(doc)
		quick := quickPatch(base, own, &o)
		for i := range own {
			own[i] = '*' // the roster has nothing of the patch
		}
		if !reflect.DeepEqual(show(base), was) {
			t.Fatalf("%q has changed what was there before", doc)
		}
		if quick == nil {
			return
		}
		want, dropped, err := patch(base, doc, o)
		if err != nil || len(dropped) > 0 || !quick.Equal(want) || !reflect.DeepEqual(show(quick), show(want)) {
			t.Fatalf("%q: %v; the decoder alone has %v, %v, %v", doc, show(quick), show(want), dropped, err)
		}
	})
}

// Ordinary patches, as different services write them, are read quickly.
func TestQuickTakesOrdinaryPatches(t *testing.T) {
	base, _, err := decode(document(50), Options{MaxItems: 60})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{
		`{}`, `{"contact7@example.com":null}`, `{"new@example.com":{"name":"New","groups":["Friends"]}}`, `{"contact7@example.com":{"name":"Seven"},"contact8@example.com":null}`,
		`{"contact7@example.com":{"groups":["Foes"],"subscription":"none","ask":"subscribe"}}`, `{"contact7@example.com":{"groups":{"Foes":true}}}`,
	} {
		if quickPatch(base, []byte(doc), &Options{MaxItems: 60}) == nil {
			t.Errorf("left to the decoder: %s", doc)
		}
	}
}

// agree reads a document both ways and gives its roster, nil when it is refused.
func agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, doc []byte, o Options) *Roster {
	t.Helper()
	o.MaxBytes = 1 << 20
	own := bytes.Clone(doc)
	got, gotDropped, gotErr := Decode(own, o)
	for i := range own {
		own[i] = '*' // the roster has nothing of the document
	}
	like := o.Like
	o.Like = nil
	want, dropped, err := decode(doc, o)
	if fmt.Sprint(gotErr) != fmt.Sprint(err) || !reflect.DeepEqual(gotDropped, dropped) {
		t.Fatalf("%q: %v, %+v; the decoder alone has %v, %+v", doc, gotErr, gotDropped, err, dropped)
	}
	if (got == nil) != (want == nil) || !got.Equal(want) || !reflect.DeepEqual(show(got), show(want)) {
		t.Fatalf("%q beside %v:\n%v, the decoder alone has\n%v", doc, show(like), show(got), show(want))
	}
	return got
}
