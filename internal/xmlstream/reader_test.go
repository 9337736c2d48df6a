package xmlstream

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.com' version='1.0'>`

const typical = `<message from='juliet@example.com/balcony' to='romeo@example.net' type='chat' id='ktx72v49' xml:lang='en'>` +
	`<body>Art thou not Romeo, and a Montague? Neither, fair saint, if either thee dislike.</body>` +
	`<active xmlns='http://jabber.org/protocol/chatstates'/><thread>e0ffe42b</thread></message>`

// events reads a whole stream and writes down what it gives, one line each.
func events(src io.Reader, lim Limits) []string {
	var out []string
	r := NewReader(src, lim)
	for {
		ev, err := r.Next()
		switch {
		case err != nil:
			return append(out, "error "+err.Error())
		case ev.Kind == Open:
			out = append(out, "open "+ev.DefaultNS+" "+ev.Element.String())
		case ev.Kind == Close:
			out = append(out, "close")
		default:
			out = append(out, ev.Element.String())
		}
	}
}

func TestSmoke(t *testing.T) {
	in := header + typical + " \n" + typical + "</stream:stream>"
	for _, l := range events(strings.NewReader(in), Limits{}) {
		t.Log(l)
	}
	for _, l := range events(iotest.OneByteReader(strings.NewReader(in)), Limits{}) {
		t.Log(l)
	}
}

type loop struct {
	s   string
	off int
	n   int
}

func (l *loop) WaitReadable() error { return nil }
func (l *loop) Read(b []byte) (int, error) {
	if l.off == len(l.s) {
		l.off = len(header)
	}
	n := copy(b, l.s[l.off:])
	l.off += n
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	r := NewReader(&loop{s: header + typical}, Limits{})
	if _, err := r.Next(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
