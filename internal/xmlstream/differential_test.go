package xmlstream

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// fragments are what the fuzz tests put together: bytes at random hardly ever make a tag.
var fragments = []string{
	"<a", "<p:a", "<b", "<q:b", "<xml:c", "</a>", "</p:a>", "</b>", "</q:b>", "</xml:c>", "</root>", "<a>", "<b>", "<p:a>", "<a/>",
	">", "/>", "<", "</", "/", "=", "'", "\"", " ", "\t", "\n", "\r", "\r\n", "x", "é", "]", "]]>", "]]", "&", ";", "#", ":", "-", "1",
	" b='1'", " p:b='2'", " q:b='3'", " xml:b='4'", " é=''", " b=\"'\"", " b='\t\r\n '", " b='&#9;&#13;&#10;'", " b='&lt;>&quot;'", "b='",
	" xmlns='u'", " xmlns=''", " xmlns='v'", " xmlns:p='u'", " xmlns:p='v'", " xmlns:q='u'", " xmlns:q='&#117;'", " xmlns:p=''",
	" xmlns:xml='http://www.w3.org/XML/1998/namespace'", " xmlns:p='http://www.w3.org/XML/1998/namespace'",
	" xmlns='http://www.w3.org/2000/xmlns/'", " xmlns:xmlns='u'", " xmlns:b:c='u'", " xmlns", " xmlns:", " xmlnsx='u'",
	"&lt;", "&gt;", "&amp;", "&apos;", "&quot;", "&#65;", "&#x10ffff;", "&#0;", "&#xD800;", "&#xfffe;", "&nbsp;", "&#13;", "&#93;", "&#38;",
	"<![CDATA[", "<![CDATA[]]>", "<!--", "-->", "<?", "?>", "<?x y?>", "<!DOCTYPE a [<!ENTITY x 'y'>]>", "<?xml version='1.0'?>",
	"encoding='utf-8'", "\x00", "\x1b", "\x7f", "\u0085", "\u0300", "\u00b7", "\ufffd", "\ufffe", "\ufeff", "\u2028", "😀", "𝔸",
	"\xc3", "\xa9", "\xe2\x82", "\xac", "\xf0\x9f", "\x98\x80", "\xed\xa0\x80", "\xc0\xbc", "\xf4\x90\x80\x80", "text ", "]>",
}

// document makes a stream from what the fuzzer gives: with compose, each byte stands for a fragment in a root element.
func document(data string, compose bool) string {
	if !compose {
		return data
	}
	var b strings.Builder
	b.WriteString("<root xmlns:r='root'>")
	for _, c := range []byte(data) {
		b.WriteString(fragments[int(c)%len(fragments)])
	}
	b.WriteString("</root>")
	return b.String()
}

// addSeeds gives the tables of the unit tests to a fuzz test.
func addSeeds(f *testing.F) {
	for _, tt := range accepted {
		f.Add("<root>"+tt.in+"</root>", false)
	}
	for _, tt := range refused {
		f.Add("<root xmlns:r='root'><ok/>"+tt.in+"</root>", false)
	}
	for _, tt := range refusedStart {
		f.Add(tt.in+"</a>", false)
	}
	f.Add(header+typical+footer, false)
	for i := range fragments {
		f.Add(string([]byte{11, byte(i), 5}), true) // <a>…</a>
		f.Add(string([]byte{0, byte(i), 16}), true) // <a…/>
		f.Add(string([]byte{byte(i), byte(i + 1)}), true)
	}
}

// FuzzExpat compares the reader with libexpat: whatever the reader delivers, libexpat reads as the same tree; what
// libexpat reads and the reader refuses is among what RFC 6120 restricts.
func FuzzExpat(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data string, compose bool) {
		doc := document(data, compose)
		res := read(t, doc, Limits{})
		if res.Closed {
			doc = doc[:res.consumed]
		}
		other := expat(t, doc)
		if len(other.restricted) > 0 && res.Condition == "" {
			t.Errorf("%q has a %s and was not refused", doc, other.restricted[0])
		}
		compare(t, doc, res, other)
		if res.Condition != "" && other.err == "" && !mayRefuse(doc, res, other) {
			t.Errorf("%q: refused as %s (%s), but libexpat reads it", doc, res.Condition, res.text)
		}
	})
}

// mayRefuse tells whether what libexpat reads may be refused.
func mayRefuse(doc string, res result, other parsed) bool {
	switch res.Condition {
	case RestrictedXML:
		return len(other.restricted) > 0
	case BadFormat: // text between stanzas; also CDATA sections and references that stand for white space or nothing
		return true
	case UnsupportedEncoding:
		return !strings.EqualFold(other.encoding, "utf-8")
	case PolicyViolation:
		return true
	}
	switch res.text {
	case "an XML version other than 1.0":
		return other.version != "1.0"
	case "text before the stream's opening tag":
		return strings.HasPrefix(doc, "\uFEFF")
	}
	return false
}

// FuzzEncodingXML compares the reader with encoding/xml in the same way.
func FuzzEncodingXML(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data string, compose bool) {
		doc := document(data, compose)
		res := readAll(t, doc, Limits{}, whole)
		if res.Closed {
			doc = doc[:res.consumed]
		}
		other := encodingXML(doc)
		for _, e := range other.children {
			normalize(e)
		}
		for _, ev := range res.Events {
			normalize(ev.Element)
		}
		if other.root != nil {
			normalize(other.root)
		}
		if !slices.ContainsFunc(res.Events, func(ev Event) bool { return hasXMLNSAttr(ev.Element) }) {
			compare(t, doc, res, other)
		}
		if res.Condition == NotWellFormed && other.err == "" && len(other.restricted) == 0 && !slices.Contains(notChecked, res.text) {
			t.Errorf("%q: refused (%s), but encoding/xml reads it", doc, res.text)
		}
		if res.Condition == RestrictedXML && len(other.restricted) == 0 && other.err == "" {
			t.Errorf("%q: refused (%s), but encoding/xml sees nothing restricted", doc, res.text)
		}
	})
}

// notChecked are errors that encoding/xml does not report.
var notChecked = []string{
	// It knows no rules for namespaces, and has any colon in a name that is not between two other characters be
	// part of the local name.
	"a namespace prefix that is not declared", "a namespace prefix declared twice on one element",
	"a declaration of the prefix xmlns", "a declaration of the namespace of xmlns",
	"a wrong declaration of the prefix xml or of its namespace", "a namespace prefix declared as empty",
	"a name that begins with a wrong character", "a name with two colons",
	// It does not check these rules of XML.
	"two attributes of one name", "no white space before an attribute",
	// It takes a reference to a surrogate for one to U+FFFD.
	"a character reference that names no character",
	// It reads on behind the root, and text before it.
	"text before the stream's opening tag",
	// It takes most of the XML declaration as it is.
	"a wrong XML declaration", "an XML declaration without a version",
	// It takes an empty version for none.
	"an XML version other than 1.0",
}

// hasXMLNSAttr tells whether there is an attribute in a namespace of the name xmlns: encoding/xml gives it as if it were
// a declaration.
func hasXMLNSAttr(e *Element) bool {
	return slices.ContainsFunc(e.Attrs, func(a Attr) bool { return a.Space == "xmlns" }) ||
		slices.ContainsFunc(slices.Collect(e.Elements()), hasXMLNSAttr)
}

// normalize makes spaces of the white space in attribute values, which encoding/xml leaves as it is (XML 1.0 section
// 3.3.3). White space that came from references is lost with it; the comparison with libexpat looks at that.
func normalize(e *Element) {
	space := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	e.Space = space.Replace(e.Space)
	for i := range e.Attrs {
		a := &e.Attrs[i]
		a.Space, a.Value = space.Replace(a.Space), space.Replace(a.Value)
	}
	for c := range e.Elements() {
		normalize(c)
	}
}

// encodingXML parses a document with encoding/xml.
func encodingXML(doc string) parsed {
	var res parsed
	var tree treeBuilder
	d := xml.NewDecoder(strings.NewReader(doc))
	for first := true; ; first = false {
		tok, err := d.Token()
		if err != nil {
			if err != io.EOF {
				res.err = err.Error()
			} else if tree.root == nil {
				res.err = "no element"
			}
			break
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &Element{Space: tok.Name.Space, Local: tok.Name.Local}
			for _, a := range tok.Attr {
				if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
					e.Attrs = append(e.Attrs, Attr{a.Name.Space, a.Name.Local, a.Value})
				}
			}
			tree.start(e)
		case xml.EndElement:
			tree.end()
		case xml.CharData:
			tree.text(string(tok))
		case xml.ProcInst:
			// It ends the target at any character that is not for names.
			if tok.Target != "xml" || !first || !isSpace(doc[len("<?xml")]) {
				res.restricted = append(res.restricted, "processing instruction")
			}
		default:
			res.restricted = append(res.restricted, "comment or declaration")
		}
	}
	res.root, res.children = tree.root, tree.children
	return res
}

// compare checks that the other parser delivers what the reader delivered, and finds the document well-formed if
// the reader read it to its end.
func compare(t *testing.T, doc string, res result, other parsed) {
	t.Helper()
	if res.Closed && other.err != "" {
		t.Errorf("%q: read, but the other parser says %s", doc, other.err)
	}
	if len(res.Events) == 0 {
		return
	}
	if d := diff(other.root, res.Events[0].Element); d != "" {
		t.Errorf("%q: opening tag differs\n%s", doc, d)
	}
	stanzas := res.Events[1:]
	if len(other.children) < len(stanzas) {
		t.Fatalf("%q: %d elements read, %d by the other parser", doc, len(stanzas), len(other.children))
	}
	for i, ev := range stanzas {
		if d := diff(other.children[i], ev.Element); d != "" {
			t.Errorf("%q: element %d differs\n%s", doc, i, d)
		}
	}
	if res.Closed && len(stanzas) != len(other.children) {
		t.Errorf("%q: %d elements read, %d by the other parser", doc, len(stanzas), len(other.children))
	}
}

// FuzzRoundTrip has what the reader delivers written by the serializer, for places with several default namespaces,
// and read again by the reader and by libexpat: all see one tree. It is attack case 8: the bytes for a recipient mean
// what was authorised.
func FuzzRoundTrip(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data string, compose bool) {
		res := readAll(t, document(data, compose), Limits{}, whole)
		if len(res.Events) < 2 {
			return
		}
		for _, context := range []string{"", "jabber:client", "u", res.Events[1].Element.Space} {
			if context == nsXML {
				continue
			}
			doc := []byte("<root xmlns='" + string(AppendEscaped(nil, context)) + "' xmlns:ns0='other' xmlns:p='other'>")
			for _, ev := range res.Events[1:] {
				before := len(doc)
				doc = ev.Element.AppendXML(doc, context)
				if got, want := ev.Element.XMLSize(context), len(doc)-before; got != want {
					t.Errorf("%q: XMLSize gives %d for %d bytes", doc[before:], got, want)
				}
			}
			doc = append(doc, "</root>"...)
			again := readAll(t, string(doc), Limits{Bytes: len(doc)}, whole)
			if !again.Closed {
				t.Fatalf("%q: %s (%s)", doc, again.Condition, again.text)
			}
			if d := diff(res.Events[1:], again.Events[1:]); d != "" {
				t.Errorf("%q: reads back differently\n%s", doc, d)
			}
			other := expat(t, string(doc))
			if len(other.restricted) > 0 {
				t.Errorf("%q has a %s", doc, other.restricted[0])
			}
			compare(t, string(doc), again, other)
		}
	})
}

// FuzzSerialize writes elements with any strings in them: what is written is well-formed for the reader and for
// libexpat, and only what XML cannot express has changed.
func FuzzSerialize(f *testing.F) {
	for _, s := range []string{
		"", "plain", "<a>&\"'", "\r\n\t \r", "]]>", "\x00\x01\x1f\x7f", "\ufffe\uffff\ufffd", "\xff", "\xed\xa0\x80", "é€😀",
		"\xe2\x82", "a\xc0\xbcb", "<![CDATA[", "&lt;", "&#0;", "-->",
	} {
		f.Add(s, s, s)
		f.Add("x", "y", s)
	}
	f.Fuzz(func(t *testing.T, text, value, space string) {
		if space == nsXMLNS {
			return // not for anybody to use
		}
		build := func(fix func(string) string) *Element {
			e := &Element{Space: fix(space), Local: "a", Attrs: []Attr{
				{"", "b", fix(value)}, {fix(space), "c", fix(text)}, {nsXML, "lang", fix(space)},
			}}
			if space == "" {
				e.Attrs[1].Local = "d"
			}
			e.AppendText(fix(text)).Append(New("v", "w"), &Element{Space: nsXML, Local: "z"})
			return e.AppendText(fix(value))
		}
		// A namespace name may be that of xml only when it is so to begin with.
		want := build(expressible)
		doc := "<root xmlns='v'>" + string(build(func(s string) string { return s }).AppendXML(nil, "v")) + "</root>"
		res := readAll(t, doc, Limits{Bytes: len(doc)}, whole)
		if !res.Closed || len(res.Events) != 2 {
			t.Fatalf("%q: %s (%s)", doc, res.Condition, res.text)
		}
		if d := diff(want, res.Events[1].Element); d != "" {
			t.Errorf("%q: %s", doc, d)
		}
		compare(t, doc, res, expat(t, doc))
	})
}

// expressible replaces what XML cannot express, byte by byte where it is not UTF-8.
func expressible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != utf8.RuneError && !isChar(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}

// FuzzLimits reads with narrow limits: that changes nothing but that it ends with policy-violation somewhere, in the
// same place whatever pieces the bytes come in.
func FuzzLimits(f *testing.F) {
	for i, tt := range accepted {
		f.Add("<root>"+tt.in+"</root>", false, uint8(10+i), uint8(2), uint8(2), uint8(3))
	}
	for i := range fragments {
		f.Add(string([]byte{0, byte(i), 16, 6, byte(i), 5}), true, uint8(30), uint8(3), uint8(3), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data string, compose bool, bytes, depth, attrs, children uint8) {
		doc := document(data, compose)
		free := readAll(t, doc, Limits{Bytes: maxBytes, Depth: maxDepth, Attrs: maxAttrs, Children: maxBytes}, whole)
		tight := read(t, doc, Limits{Bytes: int(bytes), Depth: int(depth), Attrs: int(attrs), Children: int(children)})
		if tight.Condition != PolicyViolation {
			if d := diff(free, tight); d != "" {
				t.Errorf("%q: %s", doc, d)
			}
			return
		}
		if len(tight.Events) > len(free.Events) {
			t.Fatalf("%q: more with limits than without", doc)
		}
		if d := diff(free.Events[:len(tight.Events)], tight.Events); len(tight.Events) > 0 && d != "" {
			t.Errorf("%q: %s", doc, d)
		}
	})
}
