package xmlstream

import (
	"strings"
	"testing"
)

func TestXMLSize(t *testing.T) {
	many := New("", "a")
	for range 120 {
		many.Attrs = append(many.Attrs, Attr{"u", "b", ""})
	}
	elements := []*Element{
		many,
		New("\x00\xff", "a", "b", "\x01\ufffe\xe2\x82é€😀\ufffd").AppendText("\x01\ufffe\xe2\x82é€😀\ufffd \r\n\t'\"<>&"),
		(&Element{Space: nsXML, Local: "a"}).Append(&Element{Space: nsXML, Local: "a"}, New("jabber:client", "b")).AppendText("x"),
		New("", "a").AppendText(strings.Repeat("long enough for words of eight bytes & more; ", 10)),
	}
	for _, tt := range accepted {
		e, err := ParseElement([]byte(tt.in), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		elements = append(elements, e)
	}
	for _, e := range elements {
		for _, context := range []string{"", "jabber:client", "u", e.Space} {
			if context == nsXML {
				continue
			}
			if got, want := e.XMLSize(context), len(e.AppendXML(nil, context)); got != want {
				t.Errorf("%s: %d for %d bytes", e, got, want)
			}
		}
	}
}
