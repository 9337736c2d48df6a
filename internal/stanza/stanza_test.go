package stanza

import (
	"errors"
	"fmt"
	"testing"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

func parse(t *testing.T, xml string) *xmlstream.Element {
	t.Helper()
	doc, err := xmlstream.ParseElement([]byte("<s xmlns='jabber:client'>"+xml+"</s>"), xmlstream.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return doc.First()
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		xml       string
		condition Condition // "" when the stanza is fine
		typ       string
	}{
		{"<message to='a@b/c'><body>x</body></message>", "", TypeNormal},
		{"<message type='chat'/>", "", TypeChat},
		{"<message type='nonsense'/>", "", TypeNormal}, // RFC 6121 section 5.2.2
		{"<message to='a@b@c@/'/>", JIDMalformed, TypeNormal},
		{"<presence/>", "", ""},
		{"<presence type='available'/>", BadRequest, "available"},
		{"<presence type='probe'/>", "", TypeProbe},
		{"<iq type='get' id='1'><a xmlns='x'/></iq>", "", TypeGet},
		{"<iq type='get'><a xmlns='x'/></iq>", BadRequest, TypeGet},
		{"<iq type='get' id='1'/>", BadRequest, TypeGet},
		{"<iq type='set' id='1'><a xmlns='x'/><b xmlns='x'/></iq>", BadRequest, TypeSet},
		{"<iq type='fetch' id='1'><a xmlns='x'/></iq>", BadRequest, "fetch"},
		{"<iq id='1'><a xmlns='x'/></iq>", BadRequest, ""},
		{"<iq type='result' id='1'/>", "", TypeResult},
		{"<iq type='error' id='1'/>", "", TypeError},
	} {
		st, err := Parse(parse(t, test.xml))
		var serr *Error
		if errors.As(err, &serr) != (test.condition != "") || (serr != nil && serr.Condition != test.condition) {
			t.Errorf("%s: %v, expected %q", test.xml, err, test.condition)
		}
		if st == nil || st.Type != test.typ {
			t.Errorf("%s: read as %+v", test.xml, st)
		}
	}
}

func TestParseRefusesWhatIsNoStanza(t *testing.T) {
	for _, xml := range []string{
		"<message xmlns='jabber:server'/>", "<message xmlns=''/>", "<query/>", "<iq xmlns='urn:other' type='get' id='1'/>",
	} {
		_, err := Parse(parse(t, xml))
		var serr *StreamError
		if !errors.As(err, &serr) || serr.Condition != UnsupportedStanzaType {
			t.Errorf("%s: %v", xml, err)
		}
	}
}

func TestErrorReply(t *testing.T) {
	st, err := Parse(parse(t, "<message id='1' to='marie@b/&apos;' type='chat'><body>x</body></message>"))
	if err != nil {
		t.Fatal(err)
	}
	st.From = jid.MustParse("john@b/c")
	got := string(st.ErrorReply(NewError(ServiceUnavailable, "no & never")).AppendXML(nil, ns.Client))
	want := "<message type='error' id='1' from='marie@b/&apos;' to='john@b/c'><error type='cancel'>" +
		"<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" +
		"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no &amp; never</text></error></message>"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// RFC 6120 section 8.3.1: an error is never answered with an error; nor is a result.
func TestMayBeAnswered(t *testing.T) {
	for xml, want := range map[string]bool{
		"<message/>": true, "<message type='error'/>": false, "<presence/>": true, "<presence type='error'/>": false,
		"<iq type='get' id='1'><a xmlns='x'/></iq>": true, "<iq type='result' id='1'/>": false, "<iq type='error' id='1'/>": false,
	} {
		st, err := Parse(parse(t, xml))
		if err != nil {
			t.Fatal(err)
		}
		if st.MayBeAnswered() != want {
			t.Errorf("%s: %v", xml, !want)
		}
	}
}

func TestEveryConditionHasAType(t *testing.T) {
	for c := range defaultTypes {
		if e := NewError(c, ""); e.Type == "" || e.Error() != string(c) {
			t.Errorf("%s: %+v", c, e)
		}
	}
	if serr, ok := AsError(errors.New("secret")); ok || serr.Condition != InternalServerError || serr.Text != "" {
		t.Errorf("an inner error shows: %+v", serr)
	}
	wrapped := fmt.Errorf("outer: %w", NewError(Forbidden, ""))
	if serr, ok := AsError(wrapped); !ok || serr.Condition != Forbidden {
		t.Errorf("a wrapped error is lost: %+v", serr)
	}
}

func TestStreamError(t *testing.T) {
	e := &StreamError{Condition: SystemShutdown, Text: "back soon"}
	want := "<error xmlns='http://etherx.jabber.org/streams'><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" +
		"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>back soon</text></error>"
	if got := e.Element().String(); got != want {
		t.Errorf("got %s", got)
	}
}

// Attack case 9: what is spliced in cannot end an attribute.
func TestWire(t *testing.T) {
	w := NewWire(parse(t, "<presence from='a@b/c'><show>away</show></presence>"))
	if got, want := w.String(), "<presence from='a@b/c'><show>away</show></presence>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	to := w.To("x@y/'/><evil/>")
	want := "<presence to='x@y/&apos;/&gt;&lt;evil/&gt;' from='a@b/c'><show>away</show></presence>"
	if got := to.String(); got != want || to.Len() != len(want) {
		t.Errorf("got  %s (%d)\nwant %s (%d)", got, to.Len(), want, len(want))
	}
	want = "<presence xmlns='jabber:client' to='x@y/&apos;/&gt;&lt;evil/&gt;' from='a@b/c'><show>away</show></presence>"
	if got := string(to.AppendFramed(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w.Len() != len(w.String()) {
		t.Errorf("addressing one changed the other: %s", w)
	}
}

func BenchmarkWireTo(b *testing.B) {
	w := NewWire(xmlstream.New(ns.Client, "presence", "from", "marie@example.com/phone"))
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = w.To("john@example.com").AppendTo(buf[:0])
	}
}

func TestIsError(t *testing.T) {
	for _, tc := range []struct {
		el   *xmlstream.Element
		want bool
	}{
		{xmlstream.New(ns.Client, "message", "id", "1", "type", "error"), true},
		{xmlstream.New(ns.Client, "iq", "type", "error", "id", "> '"), true},
		{xmlstream.New(ns.Client, "message", "id", "> type='error'", "type", "chat"), false},
		{xmlstream.New(ns.Client, "message", "type", "chat").AppendText(" type='error'"), false},
		{xmlstream.New(ns.Client, "message").Append(xmlstream.New(ns.Client, "x", "type", "error")), false},
	} {
		if got := NewWire(tc.el).IsError(); got != tc.want {
			t.Errorf("%s: %v", tc.el, got)
		}
	}
}
