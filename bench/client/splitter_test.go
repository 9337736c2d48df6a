package client

import (
	"bytes"
	"slices"
	"testing"
)

// split feeds b in pieces of the given size and returns the items.
func split(b []byte, piece int) []string {
	var items []string
	var s splitter
	var held []byte
	for chunk := range slices.Chunk(b, piece) {
		held = append(held, chunk...)
		for n := s.next(held); n > 0; n = s.next(held) {
			items = append(items, string(trim(held[:n])))
			held = held[n:]
		}
	}
	return items
}

func TestSplitter(t *testing.T) {
	want := []string{
		"<stream:stream id='1' xmlns='jabber:client'>",
		"<stream:features><bind xmlns='b'/><mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
		"<presence from='a@b/c'/>",
		`<message id="x>y" a='"'><body>1 &lt; 2</body></message>`,
		"<iq type='result'><query><item/><item><group>G</group></item></query></iq>",
		"<iq type='result' id='1'></iq>",
		"</stream:stream>",
	}
	stream := []byte("<?xml version='1.0'?>\n" + want[0])
	for _, item := range want[1:] {
		stream = append(stream, " \n"+item...)
	}
	for piece := 1; piece <= len(stream); piece++ {
		if got := split(stream, piece); !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: got %q, want %q", piece, got, want)
		}
	}
}

// FuzzSplitter checks that where an item ends does not depend on how its bytes arrive.
func FuzzSplitter(f *testing.F) {
	f.Add([]byte("<a><b c='>'/></a><d/>"), 3)
	f.Add([]byte("<?xml?><stream:stream><a></a></stream:stream>"), 1)
	f.Add([]byte("</><><!"), 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if piece < 1 || piece > 1<<10 {
			t.Skip()
		}
		whole := split(b, len(b)+1)
		if parts := split(b, piece); !slices.Equal(whole, parts) {
			t.Errorf("whole: %q, in pieces of %d: %q", whole, piece, parts)
		}
	})
}

func TestAttr(t *testing.T) {
	item := []byte(`<iq xml:id='no' tid='no' id="a'b" to='u1@h/r' empty=''><query id='inner' only='here'/></iq>`)
	for name, want := range map[string]string{"id": "a'b", "to": "u1@h/r", "empty": ""} {
		if got := Attr(item, name); got == nil || string(got) != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"from", "only", "i", "iq"} {
		if got := Attr(item, name); got != nil {
			t.Errorf("%s: got %q, want none", name, got)
		}
	}
	for _, broken := range []string{"", "text", "<iq id='1'", "<iq id=>", "<iq id='1>"} {
		if got := Attr([]byte(broken), "id"); got != nil {
			t.Errorf("%s: got %q, want none", broken, got)
		}
	}
}

func TestText(t *testing.T) {
	for item, want := range map[string]string{"<c x='1'>abc=</c>": "abc=", "<c/>": "", "<c></c>": "", "<c": ""} {
		if got := text([]byte(item)); !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s: got %q, want %q", item, got, want)
		}
	}
}
