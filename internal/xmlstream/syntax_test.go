package xmlstream

import (
	"encoding/xml"
	"strings"
	"testing"
)

// accepted are elements and how the serializer writes what is read from them; "" stands for the same.
var accepted = []struct{ name, in, want string }{
	// Character data (XML 1.0 sections 2.4, 2.11, 4.1, 4.6)
	{"predefined entities", "<a>&lt;&gt;&amp;&apos;&quot;</a>", `<a>&lt;&gt;&amp;'"</a>`},
	{"character references", "<a>&#65;&#x42;&#x10FFFF;&#9;&#00067;</a>", "<a>AB\U0010FFFF\tC</a>"},
	{"reference is not markup", "<a>&#60;b/&#62;&#38;lt;</a>", "<a>&lt;b/&gt;&amp;lt;</a>"},
	{"line ends", "<a>1\r\n2\r3\n4\r\r5\n\r6\r</a>", "<a>1\n2\n3\n4\n\n5\n\n6\n</a>"},
	{"carriage return by reference", "<a>1&#13;2&#xD;\n</a>", "<a>1&#13;2&#13;\n</a>"},
	{"brackets", "<a>]]x]>]]]&gt;]</a>", "<a>]]x]&gt;]]]&gt;]</a>"},
	{"bracket by reference", "<a>&#93;]>]&#93;>]]&gt;</a>", "<a>]]&gt;]]&gt;]]&gt;</a>"},
	{"line end before brackets", "<a>\r\nx]>\r\n]></a>", "<a>\nx]&gt;\n]&gt;</a>"},
	{"quotes and >", `<a>"'></a>`, `<a>"'&gt;</a>`},
	{"white space", "<a> \n\t <b/>\n</a>", ""},
	{"CDATA", "<a><![CDATA[<b>&amp;]]]]><![CDATA[>\r\n]]></a>", "<a>&lt;b&gt;&amp;amp;]]&gt;\n</a>"},
	{"empty CDATA", "<a><![CDATA[]]></a>", "<a/>"},
	{"CDATA amid text", "<a>1<![CDATA[2]]>3&lt;<![CDATA[4]]>&#53;</a>", "<a>123&lt;45</a>"},
	{"CDATA amid elements", "<a><b/><![CDATA[x]]><b/></a>", "<a><b/>x<b/></a>"},
	{"end of the stream in text", "<a>&lt;/root>&#60;/root&#62;<![CDATA[</root></stream:stream>]]></a>",
		"<a>&lt;/root&gt;&lt;/root&gt;&lt;/root&gt;&lt;/stream:stream&gt;</a>"},
	{"letters of two to four bytes", "<a>é€😀\u0085\u00A0\uFEFF\uFFFD\U0001FFFE</a>", ""},
	{"DEL and C1", "<a>\x7f\u0080\u009f</a>", ""},

	// Tags (sections 2.3, 3.1)
	{"white space in tags", "<a\n b = 'c'\td\r=\r\n\"e\" ><f \n/></a \t>", "<a b='c' d='e'><f/></a>"},
	{"names", "<_a-b.c1 x-._1=''/>", "<_a-b.c1 x-._1=''/>"},
	{"letters outside ASCII in names", "<éa·\u0300 ähm=''/>", ""},
	{"xml in names", "<xmlns xmlnsx=''><xml-a/><XML/></xmlns>", "<xmlns xmlnsx=''><xml-a/><XML/></xmlns>"},
	{"quotes in values", `<a b='"' c="'" d='>/>'/>`, "<a b='&quot;' c='&apos;' d='&gt;/&gt;'/>"},

	// Attribute values (section 3.3.3)
	{"white space in values", "<a b=' 1\t2\n3\r4\r\n5  6 '/>", "<a b=' 1 2 3 4 5  6 '/>"},
	{"white space in values by reference", "<a b='&#9;&#10;&#13;&#32;'/>", "<a b='&#9;&#10;&#13; '/>"},
	{"references in values", "<a b='&lt;&amp;&#x26;é&apos;&quot;'/>", "<a b='&lt;&amp;&amp;é&apos;&quot;'/>"},
	{"]]> in a value", "<a b=']]>'/>", "<a b=']]&gt;'/>"},

	// Namespaces in XML 1.0
	{"default", "<a xmlns='u'><b><c xmlns=''><d/></c><e/></b></a>", "<a xmlns='u'><b><c xmlns=''><d/></c><e/></b></a>"},
	{"prefixes", "<p:a xmlns:p='u' xmlns='v'><b/><p:c xmlns:p='w'><p:d/></p:c><p:e/></p:a>",
		"<a xmlns='u'><b xmlns='v'/><c xmlns='w'><d/></c><e/></a>"},
	{"attributes have no default namespace", "<a xmlns='u' b='1' p:b='2' xmlns:p='u'/>",
		"<a xmlns='u' b='1' xmlns:ns1='u' ns1:b='2'/>"},
	{"declared behind its use", "<p:a p:b='1' xmlns:p='u'/>", "<a xmlns='u' xmlns:ns0='u' ns0:b='1'/>"},
	{"the prefix xml", "<xml:a xml:lang='de' xmlns:xml='http://www.w3.org/XML/1998/namespace'><b/></xml:a>",
		"<xml:a xml:lang='de'><b/></xml:a>"},
	{"one name in two namespaces", "<a xmlns:p='u' xmlns:q='v' p:b='' q:b='' b=''/>",
		"<a xmlns:ns0='u' ns0:b='' xmlns:ns1='v' ns1:b='' b=''/>"},
	{"namespace name is a value", "<a xmlns=' u&amp;&#10;v '/>", "<a xmlns=' u&amp;&#10;v '/>"},
	{"prefix redeclared", "<p:a xmlns:p='u'><p:b xmlns:p='v' p:c=''/><p:d/></p:a>",
		"<a xmlns='u'><b xmlns='v' xmlns:ns0='v' ns0:c=''/><d/></a>"},
}

func TestAccepted(t *testing.T) {
	for _, tt := range accepted {
		t.Run(tt.name, func(t *testing.T) {
			res := read(t, "<root>"+tt.in+"</root>", Limits{})
			if !res.Closed || len(res.Events) != 2 {
				t.Fatalf("%s: %s", res.Condition, res.text)
			}
			want := tt.want
			if want == "" {
				want = tt.in
			}
			if got := res.Events[1].Element.String(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			alone, err := ParseElement([]byte(tt.in), Limits{})
			if d := diff(res.Events[1].Element, alone); err != nil || d != "" {
				t.Errorf("ParseElement: %v\n%s", err, d)
			}
		})
	}
}

// refused are streams behind the opening tag <root xmlns:r='root'>, and the condition of the error.
var refused = []struct{ name, in, cond string }{
	// RFC 6120 section 11.1
	{"comment", "<a><!-- x --></a>", RestrictedXML},
	{"comment between stanzas", "<!---->", RestrictedXML},
	{"processing instruction", "<a><?x y?></a>", RestrictedXML},
	{"processing instruction between stanzas", "<?x y?>", RestrictedXML},
	{"XML declaration between stanzas", "<?xml version='1.0'?>", RestrictedXML},
	{"document type", "<!DOCTYPE a>", RestrictedXML},
	{"document type in a stanza", "<a><!DOCTYPE a [<!ENTITY x 'y'>]></a>", RestrictedXML},
	{"other entity", "<a>&nbsp;</a>", RestrictedXML},
	{"other entity in a value", "<a b='&x;'/>", RestrictedXML},
	{"other entity in a namespace", "<a xmlns='&x;'/>", RestrictedXML},
	{"entity with a long name", "<a>&" + strings.Repeat("x", 100) + ";</a>", RestrictedXML},
	{"upper case is another entity", "<a>&LT;</a>", RestrictedXML},

	// RFC 6120 section 11.7 lets only white space stand between stanzas.
	{"text between stanzas", "x", BadFormat},
	{"text outside ASCII between stanzas", "é", BadFormat},
	{"reference between stanzas", "&#32;", BadFormat},
	{"CDATA between stanzas", "<![CDATA[]]>", BadFormat},
	{"byte order mark between stanzas", "\uFEFF", BadFormat},

	// Characters
	{"NUL", "<a>\x00</a>", NotWellFormed},
	{"control character", "<a>\x1b</a>", NotWellFormed},
	{"control character between stanzas", "\x01", NotWellFormed},
	{"control character in a value", "<a b='\x0b'/>", NotWellFormed},
	{"control character in a tag", "<a \x0c/>", NotWellFormed},
	{"control character in CDATA", "<a><![CDATA[\x08]]></a>", NotWellFormed},
	{"U+FFFE", "<a>\uFFFE</a>", NotWellFormed},
	{"U+FFFF in a value", "<a b='\uFFFF'/>", NotWellFormed},
	{"NUL by reference", "<a>&#0;</a>", NotWellFormed},
	{"control character by reference", "<a>&#x1f;</a>", NotWellFormed},
	{"U+FFFE by reference", "<a b='&#xfffe;'/>", NotWellFormed},
	{"surrogate by reference", "<a>&#xD800;</a>", NotWellFormed},
	{"above Unicode by reference", "<a>&#x110000;</a>", NotWellFormed},
	{"number that overflows", "<a>&#4294967361;</a>", NotWellFormed},
	{"upper case X", "<a>&#X41;</a>", NotWellFormed},
	{"reference without digits", "<a>&#;</a>", NotWellFormed},
	{"hexadecimal reference without digits", "<a>&#x;</a>", NotWellFormed},
	{"letter in a decimal reference", "<a>&#6a;</a>", NotWellFormed},
	{"reference without semicolon", "<a>&lt </a>", NotWellFormed},
	{"ampersand alone", "<a>& </a>", NotWellFormed},
	{"ampersand before markup", "<a>&</a>", NotWellFormed},
	{"ampersand at the end of a value", "<a b='&'/>", NotWellFormed},
	{"reference cut by a quote", "<a b='&lt' c=';'/>", NotWellFormed},
	{"]]> in text", "<a>]]></a>", NotWellFormed},
	{"]]]> in text", "<a>]]]></a>", NotWellFormed},

	// UTF-8 (RFC 3629)
	{"continuation byte", "<a>\x80</a>", NotWellFormed},
	{"truncated, two bytes", "<a>\xc3</a>", NotWellFormed},
	{"truncated, three bytes", "<a>\xe2\x82</a>", NotWellFormed},
	{"truncated, four bytes", "<a>\xf0\x9f\x98</a>", NotWellFormed},
	{"overlong, two bytes", "<a>\xc0\xbc</a>", NotWellFormed},
	{"overlong, three bytes", "<a>\xe0\x80\xbc</a>", NotWellFormed},
	{"overlong, four bytes", "<a>\xf0\x80\x80\xbc</a>", NotWellFormed},
	{"surrogates", "<a>\xed\xa0\x80\xed\xb0\x80</a>", NotWellFormed},
	{"above Unicode", "<a>\xf4\x90\x80\x80</a>", NotWellFormed},
	{"five bytes", "<a>\xf8\x88\x80\x80\x80</a>", NotWellFormed},
	{"latin-1 in a name", "<a\xe9/>", NotWellFormed},
	{"overlong in a name", "<a\xc1\x81/>", NotWellFormed},
	{"surrogate in a value", "<a b='\xed\xa0\x80'/>", NotWellFormed},
	{"truncated at the end of a value", "<a b='\xe2\x82'/>", NotWellFormed},
	{"truncated before a reference", "<a>\xe2\x82&#65;</a>", NotWellFormed},
	{"overlong between stanzas", "\xc0\xa0", NotWellFormed},

	// Tags
	{"wrong end tag", "<a></b>", NotWellFormed},
	{"end tag with a longer name", "<a></ab>", NotWellFormed},
	{"end tag with a shorter name", "<ab></a>", NotWellFormed},
	{"end tag with an attribute", "<a></a b='c'>", NotWellFormed},
	{"end tag with a slash", "<a></a/>", NotWellFormed},
	{"end tag with white space before its name", "<a></ a>", NotWellFormed},
	{"end tag of the stream within a stanza", "<a></root>", NotWellFormed},
	{"end tag of a stanza alone", "</a>", NotWellFormed},
	{"end tag with another prefix", "<p:a xmlns:p='u' xmlns:q='u'></q:a>", NotWellFormed},
	{"white space before a name", "< a/>", NotWellFormed},
	{"name that begins with a digit", "<1/>", NotWellFormed},
	{"name that begins with a dash", "<-a/>", NotWellFormed},
	{"name that begins with a combining character", "<\u0300/>", NotWellFormed},
	{"name of the fifth edition", "<\u2c00/>", NotWellFormed},
	{"name outside the BMP", "<\U00010000/>", NotWellFormed},
	{"name with a space of Unicode", "<a\u00a0b=''/>", NotWellFormed},
	{"empty tag", "<>", NotWellFormed},
	{"empty end tag", "<a></>", NotWellFormed},
	{"tag in a tag", "<a <b/>", NotWellFormed},
	{"slash in a tag", "<a / >", NotWellFormed},
	{"slash in a name", "<a/b>", NotWellFormed},
	{"other declaration", "<a><!ELEMENT a></a>", NotWellFormed},
	{"CDATA in lower case", "<a><![cdata[]]></a>", NotWellFormed},
	{"attribute without value", "<a b/>", NotWellFormed},
	{"attribute without quotes", "<a b=c/>", NotWellFormed},
	{"attributes without white space", "<a b='c'd='e'/>", NotWellFormed},
	{"attribute with < in its value", "<a b='<'/>", NotWellFormed},
	{"attribute twice", "<a b='1' b='1'/>", NotWellFormed},
	{"attribute twice by namespace", "<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>", NotWellFormed},
	{"attribute twice by namespace, one from outside", "<a r:b='' p:b='' xmlns:p='root'/>", NotWellFormed},
	{"attribute twice by namespace, decoded", "<a xmlns:p='&#117;' xmlns:q='u' p:b='' q:b=''/>", NotWellFormed},
	{"attribute with mixed quotes", `<a b='c"/>`, ""},

	// Namespaces in XML 1.0
	{"undeclared prefix", "<p:a/>", NotWellFormed},
	{"undeclared prefix of an attribute", "<a p:b=''/>", NotWellFormed},
	{"prefix out of scope", "<a><b xmlns:p='u'/><p:c/></a>", NotWellFormed},
	{"prefix out of scope, stanza before", "<b xmlns:p='u'/><p:c/>", NotWellFormed},
	{"prefix undeclared again", "<a xmlns:p=''/>", NotWellFormed},
	{"two colons", "<r:a:b/>", NotWellFormed},
	{"colon at the beginning", "<:a/>", NotWellFormed},
	{"colon at the end", "<r:/>", NotWellFormed},
	{"digit behind the colon", "<r:1/>", NotWellFormed},
	{"empty prefix declared", "<a xmlns:='u'/>", NotWellFormed},
	{"prefix with a colon declared", "<a xmlns:b:c='u'/>", NotWellFormed},
	{"default namespace twice", "<a xmlns='u' xmlns='v'/>", NotWellFormed},
	{"prefix twice", "<a xmlns:p='u' xmlns:p='u'/>", NotWellFormed},
	{"xml declared as another", "<a xmlns:xml='u'/>", NotWellFormed},
	{"another declared as that of xml", "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"that of xml as default", "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"that of xml, with a reference", "<a xmlns='http&#58;//www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"xmlns declared", "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"another declared as that of xmlns", "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"that of xmlns as default", "<a xmlns='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"xmlns as an element's prefix", "<xmlns:a/>", NotWellFormed},

	// What is only cut off is no error.
	{"tag cut off", "<a b='", ""},
	{"element cut off", "<a>x", ""},
	{"bracket cut off", "<a>]]", ""},
	{"character cut off", "<a>\xe2\x82", ""},
	{"CDATA cut off", "<a><![CDA", ""},
	{"tag cut off with an error before", "<a b=c ", NotWellFormed},
	{"end tag cut off with an error before", "<a></ab ", NotWellFormed},
}

func TestRefused(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			res := read(t, "<root xmlns:r='root'><ok/>"+tt.in, Limits{})
			if res.Condition != tt.cond {
				t.Errorf("%q gave %q: %s", tt.in, res.Condition, res.text)
			}
			// What came before the error is delivered, and nothing of what came with it.
			if len(res.Events) < 2 || res.Events[1].Element.Local != "ok" {
				t.Errorf("%q gave %v", tt.in, res.Events)
			}
		})
	}
}

// refusedStart are beginnings of streams.
var refusedStart = []struct{ name, in, cond string }{
	{"text", "x", NotWellFormed},
	{"byte order mark", "\uFEFF<a>", NotWellFormed}, // RFC 6120 section 11.6: not a byte order mark, but a character
	{"NUL", "\x00<a>", NotWellFormed},
	{"UTF-16", "<\x00a\x00>\x00", NotWellFormed},
	{"end tag", "</a>", NotWellFormed},
	{"CDATA", "<![CDATA[x]]><a>", NotWellFormed},
	{"comment", "<!-- --><a>", RestrictedXML},
	{"document type", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a>", RestrictedXML},
	{"document type behind the declaration", "<?xml version='1.0'?><!DOCTYPE a><a>", RestrictedXML},
	{"processing instruction", "<?xml-stylesheet href='a'?><a>", RestrictedXML},
	{"processing instruction behind the declaration", "<?xml version='1.0'?><?x?><a>", RestrictedXML},
	{"declaration twice", "<?xml version='1.0'?><?xml version='1.0'?><a>", RestrictedXML},
	{"declaration behind white space", " <?xml version='1.0'?><a>", RestrictedXML},
	{"other encoding", "<?xml version='1.0' encoding='ISO-8859-1'?><a>", UnsupportedEncoding},
	{"other encoding of Unicode", "<?xml version='1.0' encoding='UTF-16'?><a>", UnsupportedEncoding},
	{"other version", "<?xml version='1.1'?><a>", NotWellFormed},
	{"empty version", "<?xml version=''?><a>", NotWellFormed},
	{"no version", "<?xml encoding='utf-8'?><a>", NotWellFormed},
	{"empty declaration", "<?xml ?><a>", NotWellFormed},
	{"wrong order", "<?xml encoding='utf-8' version='1.0'?><a>", NotWellFormed},
	{"version twice", "<?xml version='1.0' version='1.0'?><a>", NotWellFormed},
	{"unknown", "<?xml version='1.0' x='y'?><a>", NotWellFormed},
	{"wrong standalone", "<?xml version='1.0' standalone='maybe'?><a>", NotWellFormed},
	{"no white space", "<?xml version='1.0'encoding='utf-8'?><a>", NotWellFormed},
	{"no quotes", "<?xml version=1.0?><a>", NotWellFormed},
	{"long declaration", "<?xml version='1.0'" + strings.Repeat(" ", 300) + "?><a>", PolicyViolation},
	{"undeclared prefix", "<stream:stream>", NotWellFormed},
	{"attribute twice", "<a b='' b=''>", NotWellFormed},
	{"declaration cut off", "<?xml version='1.0'", ""},
	{"nothing", "", ""},
	{"white space", "  ", ""},
}

func TestRefusedStart(t *testing.T) {
	for _, tt := range refusedStart {
		t.Run(tt.name, func(t *testing.T) {
			res := read(t, tt.in, Limits{})
			if res.Condition != tt.cond || len(res.Events) > 0 {
				t.Errorf("%q gave %q: %s, %d events", tt.in, res.Condition, res.text, len(res.Events))
			}
		})
	}
}

// TestNames compares the characters that names may have with those that encoding/xml lets them have, which are those
// of XML 1.0, fourth edition, appendix B, too, and has libexpat read all names that are accepted.
func TestNames(t *testing.T) {
	all := []byte("<root>")
	for r := rune(1); r <= 0x10FFFF; r++ {
		if r >= 0xD800 && r < 0xE000 || r > 0x10100 && r&0xFF != 0 {
			continue
		}
		if strings.ContainsRune(": \t\n\r/", r) { // not part of the name
			continue
		}
		for _, before := range []string{"", "a"} {
			name := before + string(r)
			_, err := ParseElement([]byte("<"+name+"/>"), Limits{})
			tok, xmlErr := xml.NewDecoder(strings.NewReader("<" + name + "/>")).Token()
			start, ok := tok.(xml.StartElement)
			if want := xmlErr == nil && ok && start.Name.Local == name; want != (err == nil) {
				t.Errorf("%+q as a name gave %v", name, err)
			}
			if err == nil {
				all = append(append(append(all, '<'), name...), "/>"...)
			}
		}
	}
	if res := expat(t, string(append(all, "</root>"...))); res.err != "" {
		t.Errorf("libexpat says %s", res.err)
	}
}
