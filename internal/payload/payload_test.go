package payload

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/jid"
	"rollcall/internal/xmlstream"
)

func parse(t *testing.T, xml string) *xmlstream.Element {
	t.Helper()
	el, err := xmlstream.ParseElement([]byte(xml), xmlstream.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return el
}

func TestTimes(t *testing.T) {
	want := time.Date(2026, 7, 4, 12, 0, 0, 250_000_000, time.UTC)
	if got := FormatTime(want.In(time.FixedZone("", 3600))); got != "2026-07-04T12:00:00.250Z" {
		t.Error(got)
	}
	for _, text := range []string{"2026-07-04T12:00:00.25Z", "2026-07-04T14:00:00.250000+02:00"} {
		if got, err := ParseTime(text); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yesterday", "2026-07-04", "2026-07-04T12:00:00", "20260704T12:00:00", "1969-12-31T23:59:59Z",
		"2026-07-04T12:00:00." + string(make([]byte, 100)) + "Z"} {
		if got, err := ParseTime(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestDelays(t *testing.T) {
	at := time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)
	el := xmlstream.New("jabber:client", "message").Append(
		Delay("else.where", at.Add(time.Hour), ""), Delay("localhost", at, "Offline Storage"))
	if got, ok := DelayOf(el, "localhost"); !ok || !got.Equal(at) {
		t.Error(got, ok)
	}
	if _, ok := DelayOf(el, "marie@localhost"); ok {
		t.Error("that one has said nothing")
	}
	want := `<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-07-04T12:00:00.000Z'/><message xmlns='jabber:client'/></forwarded>`
	if got := Forwarded(xmlstream.New("jabber:client", "message"), at).String(); got != want {
		t.Error(got)
	}
}

func TestHints(t *testing.T) {
	el := parse(t, `<message xmlns='jabber:client'><no-store xmlns='urn:xmpp:hints'/><store/><no-copy xmlns='urn:xmpp:hints'/><else xmlns='urn:xmpp:hints'/></message>`)
	if got := HintsOf(el); got != NoStore|NoCopy {
		t.Errorf("%b", got)
	}
	el = parse(t, `<message xmlns='jabber:client'><no-permanent-store xmlns='urn:xmpp:hints'/><store xmlns='urn:xmpp:hints'/></message>`)
	if got := HintsOf(el); got != NoPermanentStore|Store {
		t.Errorf("%b", got)
	}
}

func TestClaims(t *testing.T) {
	for xml, want := range map[string]string{
		`<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='MARIE@LocalHost'/>`: "marie@localhost",
		`<stanza-id xmlns='urn:xmpp:sid:0' id='1'/>`:                      "",
		`<stanza-id xmlns='urn:xmpp:sid:0' id='1' by=' @x'/>`:             "",
		`<delay xmlns='urn:xmpp:delay' from='localhost' stamp='x'/>`:      "localhost",
		`<origin-id xmlns='urn:xmpp:sid:0' id='1'/>`:                      "nothing",
		`<delay xmlns='jabber:client' from='localhost'/>`:                 "nothing",
	} {
		by, claims := Claims(parse(t, xml))
		if claims != (want != "nothing") || claims && by.String() != want {
			t.Errorf("%s: %s, %v", xml, by, claims)
		}
	}
	if by, ok := Claims(StanzaID("a@b", "7")); !ok || by != jid.MustParse("a@b") {
		t.Error(by, ok)
	}
	if got := OriginID(parse(t, `<message><origin-id xmlns='urn:xmpp:sid:0' id='7'/></message>`)); got != "7" {
		t.Error(got)
	}
}

func TestPages(t *testing.T) {
	for xml, want := range map[string]PageRequest{
		``:                                   {},
		`<max>10</max>`:                      {Max: 10, Sized: true},
		`<max> 0 </max>`:                     {Sized: true},
		`<max>99999999999999999999999</max>`: {Max: 1<<31 - 1, Sized: true},
		`<max>5</max><after>a</after>`:       {Max: 5, Sized: true, After: "a"},
		`<before/>`:                          {Backwards: true},
		`<before>z</before><max>1</max>`:     {Before: "z", Backwards: true, Max: 1, Sized: true},
		`<index>371</index><max>10</max>`:    {Index: 371, Indexed: true, Max: 10, Sized: true},
		`<else/><max xmlns='urn:x'>x</max>`:  {},
	} {
		got, ok := ParsePage(parse(t, `<q><set xmlns='http://jabber.org/protocol/rsm'>`+xml+`</set></q>`))
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%s: %v %s", xml, ok, diff)
		}
	}
	for _, xml := range []string{`<max/>`, `<max>-1</max>`, `<max>ten</max>`, `<after/>`, `<index>x</index>`, `<before>` + strings.Repeat("x", 2000) + `</before>`} {
		if got, ok := ParsePage(parse(t, `<q><set xmlns='http://jabber.org/protocol/rsm'>`+xml+`</set></q>`)); ok {
			t.Errorf("%s is %+v", xml, got)
		}
	}
	if _, ok := ParsePage(parse(t, `<q/>`)); !ok {
		t.Error("no page is asked for")
	}
	for want, a := range map[string]PageAnswer{
		`<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a</first><last>b</last><count>2</count></set>`: {First: "a", Last: "b", Count: 2},
		`<set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>a</last></set>`:                           {First: "a", Last: "a", Index: -1, Count: -1},
		`<set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set>`:                                         {},
	} {
		if got := a.Element().String(); got != want {
			t.Error(got)
		}
	}
}

func TestForms(t *testing.T) {
	f := &Form{Type: FormToFill, Kind: "urn:x", Title: "T", Instructions: []string{"one", "two"}, Fields: []Field{
		{Var: "a", Type: "boolean", Label: "A?", Values: []string{"1"}, Required: true},
		{Var: "b", Type: "list-multi", Values: []string{"x", "y"}, Options: []Option{{"X", "x"}, {"", "y"}}},
	}}
	again := ParseForm(parse(t, f.Element().String()))
	if diff := cmp.Diff(f, again); diff != "" {
		t.Error(diff)
	}
	if len(f.Fields) != 2 {
		t.Error("making the element has changed the form")
	}
	if a, ok := f.Field("a"); !ok {
		t.Error("a is not there")
	} else if yes, ok := a.Bool(); !yes || !ok {
		t.Error(yes, ok)
	}
	if _, ok := f.Field("c"); ok {
		t.Error("there is no c")
	}
	if no, ok := (Field{Values: []string{"maybe"}}).Bool(); no || ok {
		t.Error(no, ok)
	}
	parent := parse(t, `<query><x xmlns='jabber:x:data' type='submit'/>`+f.Element().String()+`</query>`)
	if got := FormOf(parent, "urn:x"); got == nil || got.Title != "T" {
		t.Errorf("%+v", got)
	}
	if got := FormOf(parent, "urn:y"); got != nil {
		t.Errorf("%+v", got)
	}
	if got := FormOf(parent, ""); got == nil || got.Type != FormSubmit {
		t.Errorf("%+v", got)
	}
}
