package xmlstream

import (
	"slices"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	e := New("u", "a", "b", "1", "c", "", "d", "2").
		Append(New("u", "x"), nil, New("v", "x", "y", "z")).AppendText("").AppendText("1 < 2")
	if got, want := e.String(), "<a xmlns='u' b='1' d='2'><x/><x xmlns='v' y='z'/>1 &lt; 2</a>"; got != want {
		t.Errorf("got %s", got)
	}
	if e.Child("v", "x").Attr("y") != "z" || e.Child("w", "x") != nil || e.First() != e.Nodes[0].Elem || !e.Is("u", "a") || e.Is("u", "x") {
		t.Error("a child or a name was not found")
	}
	if New("", "a").First() != nil || New("", "a").AppendText("x").First() != nil {
		t.Error("a child was found where there is none")
	}
	names := []string{}
	for c := range e.Elements() {
		names = append(names, c.Space)
	}
	if !slices.Equal(names, []string{"u", "v"}) {
		t.Errorf("children are %q", names)
	}
}

func TestSetAttr(t *testing.T) {
	e := &Element{Local: "a", Attrs: []Attr{{"u", "b", "other"}, {"", "b", "1"}, {"", "c", "2"}, {nsXML, "lang", "de"}}}
	if e.Attr("b") != "1" || e.Attr("lang") != "" || e.Lang() != "de" || New("", "a").Lang() != "" {
		t.Errorf("attributes of %s are not found", e)
	}
	e.SetAttr("b", "3").SetAttr("c", "").SetAttr("d", "4").SetAttr("e", "")
	want := []Attr{{"u", "b", "other"}, {"", "b", "3"}, {nsXML, "lang", "de"}, {"", "d", "4"}}
	if d := diff(want, e.Attrs); d != "" {
		t.Error(d)
	}
}

func TestText(t *testing.T) {
	e, err := ParseElement([]byte("<a>one<b>no</b> two<c/></a>"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Text(); got != "one two" {
		t.Errorf("got %q", got)
	}
}

func TestClone(t *testing.T) {
	for _, tt := range accepted {
		e, err := ParseElement([]byte(tt.in), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		before := e.String()
		c := e.Clone()
		if d := diff(e, c); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
		c.SetAttr("b", "new").AppendText("new")
		for child := range c.Elements() {
			child.SetAttr("b", "new").Append(New("new", "new"))
			child.Space = "new"
		}
		if e.String() != before {
			t.Errorf("%s: a change of the copy changed %s to %s", tt.name, before, e)
		}
	}
}

// TestContext puts elements where other default namespaces hold.
func TestContext(t *testing.T) {
	tests := []struct{ in, context, want string }{
		{"<a xmlns='u'/>", "u", "<a/>"},
		{"<a xmlns='u'><b/></a>", "v", "<a xmlns='u'><b/></a>"},
		{"<a/>", "u", "<a xmlns=''/>"},
		{"<a><b xmlns='u'/></a>", "u", "<a xmlns=''><b xmlns='u'/></a>"},
		{"<xml:a><b/></xml:a>", "u", "<xml:a><b xmlns=''/></xml:a>"},
		{"<xml:a xmlns='u'><b/></xml:a>", "u", "<xml:a><b/></xml:a>"},
		{"<a xmlns='it&apos;s'/>", "", "<a xmlns='it&apos;s'/>"},
	}
	for _, tt := range tests {
		e, err := ParseElement([]byte(tt.in), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.AppendXML([]byte("before"), tt.context)); got != "before"+tt.want {
			t.Errorf("%s in %q: got %s, want %s", tt.in, tt.context, got, tt.want)
		}
	}
}

// TestInexpressible has the program put strings into elements that XML cannot hold.
func TestInexpressible(t *testing.T) {
	tests := []struct{ in, text, value string }{
		{"a\x00b", "a\uFFFDb", "a\uFFFDb"},
		{"\x01\x1f\x7f", "\uFFFD\uFFFD\x7f", "\uFFFD\uFFFD\x7f"},
		{"\ufffe\uffff\ufffd", "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD"},
		{"é\xffé", "é\uFFFDé", "é\uFFFDé"},
		{"\xe2\x82", "\uFFFD\uFFFD", "\uFFFD\uFFFD"},
		{"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD"},
		{"\t\n\r \u0085", "\t\n&#13; \u0085", "&#9;&#10;&#13; \u0085"},
		{"<&>'\"]]>", "&lt;&amp;&gt;'\"]]&gt;", "&lt;&amp;&gt;&apos;&quot;]]&gt;"},
		{strings.Repeat("x", 20) + "\x00" + strings.Repeat("ж", 20), strings.Repeat("x", 20) + "\uFFFD" + strings.Repeat("ж", 20),
			strings.Repeat("x", 20) + "\uFFFD" + strings.Repeat("ж", 20)},
	}
	for _, tt := range tests {
		if got := New("", "a").AppendText(tt.in).String(); got != "<a>"+tt.text+"</a>" {
			t.Errorf("%q as text: %s", tt.in, got)
		}
		if got := string(AppendEscaped(nil, tt.in)); got != tt.value {
			t.Errorf("%q as a value: %s", tt.in, got)
		}
		e := &Element{Space: "u" + tt.in, Local: "a", Attrs: []Attr{{"v" + tt.in, "b", tt.in}}}
		if _, err := ParseElement([]byte(e.String()), Limits{}); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// The attributes that the server stamps find room, and write over nothing of the elements within.
func TestRoomForStamps(t *testing.T) {
	for _, text := range []string{"<m a='1'><x b='2'/><y c='3' d='4'/></m>", "<m a='1'/>", "<m><x b='2'/></m>", "<m a='1'><x/><y c='3'/></m>"} {
		e, err := ParseElement([]byte(text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := e.Clone()
		for _, name := range []string{"from", "lang", "more"} {
			e.SetAttr(name, "stamped")
			want.Attrs = append(want.Attrs[:len(want.Attrs):len(want.Attrs)], Attr{Local: name, Value: "stamped"})
			if got, want := string(e.AppendXML(nil, "")), string(want.AppendXML(nil, "")); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
	}
	e, err := ParseElement([]byte(typical), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	n := len(e.Attrs)
	if got := testing.AllocsPerRun(10, func() {
		e.Attrs = e.Attrs[:n]
		e.SetAttr("from", "a").SetAttr("other", "b")
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestWithout(t *testing.T) {
	el := New("n", "a", "id", "1").AppendText("x").Append(New("n", "b"), New("m", "b"), New("n", "b", "k", "v")).AppendText("y")
	before := el.String()
	if got := el.Without("n", "b").String(); got != "<a xmlns='n' id='1'>x<b xmlns='m'/>y</a>" {
		t.Errorf("left is %s", got)
	}
	if el.String() != before {
		t.Errorf("the element itself became %s", el)
	}
}
