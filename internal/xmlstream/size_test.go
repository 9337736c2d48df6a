package xmlstream

import "testing"

// XMLSize is never less than what is written, and not much more.
func TestXMLSize(t *testing.T) {
	for _, doc := range []string{
		"<a/>", "<a>text</a>", "<a xmlns='x'/>", "<a b='1' c='&quot;&lt;&#10;'/>",
		"<a xmlns='x' xmlns:p='yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'><p:b/><p:b/><p:b p:c='1'/></a>",
		"<message xmlns='jabber:client' xml:lang='en'><body>It's \"here\" &amp; there</body><x xmlns=''>\t</x></message>",
	} {
		el, err := ParseElement([]byte(doc), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, context := range []string{"", "jabber:client"} {
			size, written := el.XMLSize(context), len(el.AppendXML(nil, context))
			if size < written || size > written*2 {
				t.Errorf("%s: %d for %d bytes", doc, size, written)
			}
		}
	}
}
