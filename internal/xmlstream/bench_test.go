package xmlstream

import (
	"encoding/xml"
	"strings"
	"testing"
)

// loop is a stream whose stanza comes again and again, one for each Read.
type loop struct {
	header, stanza string
	off            int
}

func (*loop) WaitReadable() error { return nil }

func (l *loop) Read(b []byte) (int, error) {
	s := l.header
	if l.header == "" {
		s = l.stanza[l.off:]
	}
	n := copy(b, s)
	if l.header != "" {
		l.header = l.header[n:]
	} else {
		l.off = (l.off + n) % len(l.stanza)
	}
	return n, nil
}

const (
	iq = `<iq type='result' id='a1b2c3' to='juliet@example.com/balcony'><query xmlns='jabber:iq:roster' ver='ver7'/></iq>`

	rosterItem = `<item jid='nurse@example.com' name='Nurse &amp; Co.' subscription='both'><group>Servants</group></item>`
)

var benchmarks = []struct{ name, stanza string }{
	{"message", typical},
	{"iq", iq},
	{"presence", "<presence/>"},
	{"roster", "<iq type='result' id='1'><query xmlns='jabber:iq:roster'>" + strings.Repeat(rosterItem, 50) + "</query></iq>"},
	{"text", "<message><body>" + strings.Repeat("Wherefore art thou Romeo? ", 400) + "</body></message>"},
	{"cyrillic", "<message><body>" + strings.Repeat("Ромео, как мне жаль, что ты Ромео! ", 200) + "</body></message>"},
}

func BenchmarkReader(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			r := NewReader(&loop{header: header, stanza: bm.stanza}, Limits{})
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(bm.stanza)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncodingXML makes the same elements with encoding/xml.
func BenchmarkEncodingXML(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			d := xml.NewDecoder(&loop{header: header, stanza: bm.stanza})
			for {
				tok, err := d.Token()
				if err != nil {
					b.Fatal(err)
				}
				if _, ok := tok.(xml.StartElement); ok {
					break
				}
			}
			b.SetBytes(int64(len(bm.stanza)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeElement(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// decodeElement reads one element with encoding/xml.
func decodeElement(d *xml.Decoder) (*Element, error) {
	var open []*Element
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &Element{Space: tok.Name.Space, Local: tok.Name.Local}
			for _, a := range tok.Attr {
				if a.Name.Local != "xmlns" {
					e.Attrs = append(e.Attrs, Attr{a.Name.Space, a.Name.Local, a.Value})
				}
			}
			if len(open) > 0 {
				open[len(open)-1].Append(e)
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 1 {
				return open[0], nil
			}
			open = open[:len(open)-1]
		case xml.CharData:
			open[len(open)-1].AppendText(string(tok))
		}
	}
}

func BenchmarkAppendXML(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			e, err := ParseElement([]byte(bm.stanza), Limits{})
			if err != nil {
				b.Fatal(err)
			}
			buf := e.AppendXML(nil, "")
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = e.AppendXML(buf[:0], "")
			}
		})
	}
}

// TestAllocations asserts what makes the reader fast: one allocation each for the bytes, the elements, the attributes
// and the nodes of a stanza, whatever their number.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("not with the race detector")
	}
	for _, bm := range benchmarks {
		r := NewReader(&loop{header: header, stanza: bm.stanza}, Limits{})
		next := func() {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		next()
		next()
		most := 4.0
		if bm.name == "presence" {
			most = 2
		}
		if got := testing.AllocsPerRun(1000, next); got > most {
			t.Errorf("%s: %g allocations", bm.name, got)
		}
	}
	e, err := ParseElement([]byte(typical), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	if got := testing.AllocsPerRun(100, func() { buf = e.AppendXML(buf[:0], "") }); got > 0 {
		t.Errorf("serializer: %g allocations", got)
	}
	in := []byte(typical)
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := ParseElement(in, Limits{}); err != nil {
			t.Fatal(err)
		}
	}); got > 4 {
		t.Errorf("ParseElement: %g allocations", got)
	}
}

func BenchmarkXMLSize(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			e, err := ParseElement([]byte(bm.stanza), Limits{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				e.XMLSize("")
			}
		})
	}
}
