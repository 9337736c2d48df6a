package bosh

import (
	"bytes"
	"strings"
	"testing"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// What can be read of a request is what its sender wrote: elements within the limits, none of them outside the <body/>.
func FuzzRequest(f *testing.F) {
	const open = "<body xmlns='" + ns.BOSH + "' xmlns:xmpp='" + ns.XBOSH + "' sid='x' rid='1' "
	for _, s := range []string{
		open + "/>", open + ">x</body>", open + "><message xmlns='jabber:client'/><iq/></body>", open + "></body><body/>",
		open + "key='a' newkey='b' pause='1' ack='1' type='terminate' xmpp:restart='true'/>", "<?xml version='1.0'?>" + open + "><a>",
		open + "><message><body>x</body></message></body> ", "<body/>", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := xmlstream.Limits{Bytes: 4096, Depth: 8, Children: 32, Attrs: 32}
		src := &source{r: bytes.NewReader(b), left: headLimits.Bytes}
		req, in, err := readHead(src)
		if err != nil {
			return
		}
		err = req.readPayloads(in, src, limits)
		switch {
		case err != nil || req.err != nil:
			if len(req.payloads) > 0 {
				t.Fatal("a part of what is wrong is done")
			}
			return
		case req.rid == 0:
			t.Fatal("a request without a number")
		case len(b) > limits.Bytes+wrapper:
			t.Fatalf("%d bytes were taken", len(b))
		}
		total := 0
		for _, el := range req.payloads {
			total += 1 + nodes(el)
			if el.Space == ns.BOSH || el.Space == ns.Stream {
				t.Fatalf("%s became a stanza", el)
			}
		}
		if total > limits.Children+1 {
			t.Fatalf("%d nodes were taken", total)
		}
		// It is one element and white space, as another parser sees it.
		text := strings.TrimSpace(string(b))
		if end := strings.Index(text, "?>"); strings.HasPrefix(text, "<?xml") && end > 0 {
			text = text[end+2:]
		}
		whole, err := xmlstream.ParseElement([]byte(text), xmlstream.Limits{Bytes: 1 << 20, Attrs: 64})
		if err != nil || !whole.Is(ns.BOSH, "body") {
			t.Fatalf("%q is a request: %v", b, err)
		}
	})
}
