package xmlstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' ` +
	`xmlns:stream='http://etherx.jabber.org/streams' to='example.com' version='1.0'>`

const footer = `</stream:stream>`

// typical is a message as chat clients send it.
const typical = `<message to='romeo@example.net/orchard' type='chat' id='ktx72v49' xml:lang='en'>` +
	`<body>Art thou not Romeo, and a Montague?</body>` +
	`<active xmlns='http://jabber.org/protocol/chatstates'/><thread>e0ffe42b28561960c6b12b944a092794</thread></message>`

// result is all that a reader gives for a stream.
type result struct {
	Events []Event
	// Condition is that of the SyntaxError at the end, "" when the stream ended without one.
	Condition string
	Closed    bool // by its closing tag
	text      string
	consumed  int // bytes up to the end of the last event
}

// readAll reads a stream to its end. It fails the test when the reader breaks off with another error.
func readAll(t testing.TB, in string, lim Limits, wrap func(io.Reader) io.Reader) result {
	t.Helper()
	var res result
	src := strings.NewReader(in)
	r := NewReader(wrap(src), lim)
	for {
		ev, err := r.Next()
		var serr *SyntaxError
		switch {
		case errors.As(err, &serr):
			res.Condition, res.text = serr.Condition, serr.Text
			return res
		case err == io.EOF:
			return res
		case err != nil:
			t.Fatalf("reader gave %v", err)
		}
		res.consumed = len(in) - src.Len() - r.Buffered()
		if ev.Kind == Close {
			res.Closed = true
		} else {
			res.Events = append(res.Events, ev)
		}
	}
}

func whole(r io.Reader) io.Reader { return r }

// pieces cuts what is read at places that a seed decides.
func pieces(seed uint64) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader {
		return &cutter{r, rand.New(rand.NewPCG(seed, 1))}
	}
}

type cutter struct {
	r   io.Reader
	rnd *rand.Rand
}

func (c *cutter) Read(b []byte) (int, error) {
	return c.r.Read(b[:min(len(b), 1+c.rnd.IntN(12))])
}

// read reads a stream whole, byte by byte and in pieces, and fails the test when the results differ.
func read(t testing.TB, in string, lim Limits) result {
	t.Helper()
	res := readAll(t, in, lim, whole)
	ways := map[string]func(io.Reader) io.Reader{
		"byte by byte": iotest.OneByteReader, "data with EOF": iotest.DataErrReader,
		"pieces": pieces(1), "other pieces": pieces(uint64(len(in))),
	}
	for name, wrap := range ways {
		other := readAll(t, in, lim, wrap)
		other.consumed = res.consumed // not known when bytes are held between the reader and its source
		if d := diff(res, other); d != "" {
			t.Errorf("%q read %s differs:\n%s", in, name, d)
		}
	}
	return res
}

// diff says how two values differ, "" when they are equal. (The time cmp.Diff takes doubles with each level of elements.)
func diff(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	w, _ := json.Marshal(want) // for people to read; whether it is complete does not matter
	g, _ := json.Marshal(got)
	return fmt.Sprintf("want %s\ngot  %s", w, g)
}

func TestOpen(t *testing.T) {
	tests := []struct {
		name, in  string
		want      *Element
		defaultNS string
	}{
		{"as usual", header, &Element{
			Space: "http://etherx.jabber.org/streams", Local: "stream",
			Attrs: []Attr{{Local: "to", Value: "example.com"}, {Local: "version", Value: "1.0"}},
		}, "jabber:client"},
		{"default namespace for the stream", `<stream xmlns="http://etherx.jabber.org/streams">`,
			&Element{Space: "http://etherx.jabber.org/streams", Local: "stream"}, "http://etherx.jabber.org/streams"},
		{"no namespaces", " \r\n<a b='c'>", New("", "a", "b", "c"), ""},
		{"empty default namespace", "<a xmlns=''>", New("", "a"), ""},
		{"xml:lang", "<a xml:lang='de'>", &Element{Local: "a", Attrs: []Attr{{nsXML, "lang", "de"}}}, ""},
		{"declaration in full", `<?xml version = "1.0"` + "\n" + `encoding='utf-8' standalone='yes' ?><a>`, New("", "a"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := result{Events: []Event{{Kind: Open, Element: tt.want, DefaultNS: tt.defaultNS}}, consumed: len(tt.in)}
			if d := diff(want, read(t, tt.in, Limits{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestStream(t *testing.T) {
	in := header + "\n" + typical + " \t\r\n" + "<presence/><stream:features/>" + " </stream:stream\n>ignored <"
	res := read(t, in, Limits{})
	if !res.Closed || res.consumed != len(in)-len("ignored <") {
		t.Errorf("closed %v after %d bytes, %s", res.Closed, res.consumed, res.text)
	}
	want := []*Element{
		{Space: "jabber:client", Local: "message", Attrs: []Attr{
			{"", "to", "romeo@example.net/orchard"}, {"", "type", "chat"}, {"", "id", "ktx72v49"}, {nsXML, "lang", "en"},
		}, Nodes: []Node{
			{Elem: New("jabber:client", "body").AppendText("Art thou not Romeo, and a Montague?")},
			{Elem: New("http://jabber.org/protocol/chatstates", "active")},
			{Elem: New("jabber:client", "thread").AppendText("e0ffe42b28561960c6b12b944a092794")},
		}},
		New("jabber:client", "presence"),
		New("http://etherx.jabber.org/streams", "features"),
	}
	var got []*Element
	for _, ev := range res.Events[1:] {
		got = append(got, ev.Element)
	}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEmptyRoot(t *testing.T) {
	res := read(t, "<a xmlns='b' xmlns:c='d'/>rest", Limits{})
	if !res.Closed || len(res.Events) != 1 || res.Events[0].DefaultNS != "b" {
		t.Errorf("got %+v", res)
	}
}

// TestElementIsKept reads on and looks at an element that was read before.
func TestElementIsKept(t *testing.T) {
	r := NewReader(strings.NewReader(header+typical+strings.Repeat("<x>0123456789&amp;</x>", 1000)), Limits{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	ev, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	before := ev.Element.String()
	for err == nil {
		_, err = r.Next()
	}
	if after := ev.Element.String(); after != before {
		t.Errorf("became %s", after)
	}
	// Appending to one element must not reach into its neighbour, whose parts lie behind it.
	ev.Element.Child("jabber:client", "body").AppendText("more").SetAttr("a", "b")
	if after := ev.Element.Child("jabber:client", "thread").String(); after != "<thread xmlns='jabber:client'>e0ffe42b28561960c6b12b944a092794</thread>" {
		t.Errorf("became %s", after)
	}
}

func TestRestart(t *testing.T) {
	first := strings.Replace(header, "jabber:client' ", "jabber:client' xmlns:old='gone' ", 1)
	r := NewReader(strings.NewReader(first+"<auth/>\n"+header+"<iq/>"+header+"<old:x/>"), Limits{})
	wantKinds := func(kinds ...Kind) {
		t.Helper()
		for _, k := range kinds {
			ev, err := r.Next()
			if err != nil || ev.Kind != k {
				t.Fatalf("got %v, %v", ev, err)
			}
		}
	}
	wantKinds(Open, Stanza)
	r.Restart()
	if got := r.Buffered(); got == 0 {
		t.Error("nothing is buffered")
	}
	wantKinds(Open, Stanza)
	r.Restart()
	wantKinds(Open)
	if _, err := r.Next(); condition(err) != NotWellFormed {
		t.Errorf("a prefix of the first stream gave %v", err)
	}
}

func TestSkipSpace(t *testing.T) {
	r := NewReader(strings.NewReader("<r><a/> \r\n<b/> \n"), Limits{})
	for _, buffered := range []int{len("<a/> \r\n<b/> \n"), len("<b/> \n"), 0} {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		r.SkipSpace()
		if got := r.Buffered(); got != buffered {
			t.Errorf("%d bytes are buffered, not %d", got, buffered)
		}
	}
	if r.buf != nil {
		t.Error("a buffer is held though nothing is buffered")
	}
}

func condition(err error) string {
	var serr *SyntaxError
	if errors.As(err, &serr) {
		return serr.Condition
	}
	return ""
}

// TestSwitchSource is attack case 14: what came in clear text behind <starttls/> is told and lost.
func TestSwitchSource(t *testing.T) {
	const injected = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	r := NewReader(strings.NewReader(header+"<starttls/>"+injected), Limits{})
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Buffered(); got != len(injected) {
		t.Errorf("%d bytes are buffered", got)
	}
	if got := r.SwitchSource(strings.NewReader(header + "<presence/>")); got != len(injected) {
		t.Errorf("%d bytes were dropped", got)
	}
	if got := r.Buffered(); got != 0 {
		t.Errorf("%d bytes are buffered after the switch", got)
	}
	if ev, err := r.Next(); err != nil || ev.Kind != Open {
		t.Fatalf("got %v, %v", ev, err)
	}
	if ev, err := r.Next(); err != nil || ev.Element.Local != "presence" {
		t.Errorf("got %v, %v", ev, err)
	}
}

// TestSourceError has a deadline pass in the middle of a stanza.
func TestSourceError(t *testing.T) {
	r := NewReader(iotest.TimeoutReader(iotest.HalfReader(strings.NewReader(header+typical+typical))), Limits{})
	timeouts, stanzas := 0, 0
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		switch {
		case err == iotest.ErrTimeout:
			timeouts++
		case err != nil:
			t.Fatal(err)
		case ev.Kind == Stanza:
			stanzas++
		}
	}
	if timeouts != 1 || stanzas != 2 {
		t.Errorf("%d timeouts, %d stanzas", timeouts, stanzas)
	}
}

func TestErrorsLast(t *testing.T) {
	r := NewReader(strings.NewReader("<a><!-- --><b/></a>"), Limits{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.Next(); condition(err) != RestrictedXML {
			t.Errorf("got %v", err)
		}
	}
	r = NewReader(strings.NewReader("<a></a>x"), Limits{})
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("got %v", err)
		}
	}
	r = NewReader(stuck{}, Limits{})
	if _, err := r.Next(); err != io.ErrNoProgress {
		t.Errorf("got %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// waits is a source that can wait without a buffer. It gives one chunk for each Read.
type waits struct {
	t       *testing.T
	r       *Reader
	chunks  []string
	waited  int
	largest int
}

func (w *waits) WaitReadable() error {
	w.waited++
	if w.r.buf != nil || w.r.p.w != nil {
		w.t.Error("a buffer is held while the source waits")
	}
	return nil
}

func (w *waits) Read(b []byte) (int, error) {
	if len(w.chunks) == 0 {
		return 0, io.EOF
	}
	w.largest = max(w.largest, len(w.r.buf.bytes))
	n := copy(b, w.chunks[0])
	if w.chunks[0] = w.chunks[0][n:]; w.chunks[0] == "" {
		w.chunks = w.chunks[1:]
	}
	return n, nil
}

func TestIdleHoldsNothing(t *testing.T) {
	src := &waits{t: t, chunks: []string{header, " ", typical, " ", typical + typical[:5], typical[5:]}}
	src.r = NewReader(src, Limits{})
	for range 4 {
		if _, err := src.r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if src.r.buf != nil || src.r.p.w != nil || src.r.p.buf != nil {
		t.Error("a buffer is held after the last stanza")
	}
	// Once for each chunk, but not in the middle of a stanza.
	if src.waited != 5 {
		t.Errorf("waited %d times", src.waited)
	}
}

func TestWaitError(t *testing.T) {
	want := errors.New("closed")
	r := NewReader(waitFails{want}, Limits{})
	if _, err := r.Next(); err != want {
		t.Errorf("got %v", err)
	}
}

type waitFails struct{ err error }

func (w waitFails) WaitReadable() error        { return w.err }
func (w waitFails) Read(b []byte) (int, error) { panic("read though waiting failed") }

// TestIdleHoldsLittle is for sources that cannot wait, as TLS connections.
func TestIdleHoldsLittle(t *testing.T) {
	held := 0
	var r *Reader
	chunks := []string{header, typical, strings.Repeat(typical, 100), " "}
	r = NewReader(readFunc(func(b []byte) (int, error) {
		if r.Buffered() == 0 {
			held = max(held, len(r.buf.bytes))
		}
		if len(chunks) == 0 {
			return 0, io.EOF
		}
		n := copy(b, chunks[0])
		if chunks[0] = chunks[0][n:]; chunks[0] == "" {
			chunks = chunks[1:]
		}
		return n, nil
	}), Limits{})
	for {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if held != waitSize {
		t.Errorf("held %d bytes while nothing was pending", held)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

func TestParseElement(t *testing.T) {
	tests := []struct{ in, want, cond string }{
		{"<a/>", "<a/>", ""},
		{" \r\n\t<a xmlns='b'>c</a>\n", "<a xmlns='b'>c</a>", ""},
		{typical, typical, ""},
		{"", "", NotWellFormed},
		{"  ", "", NotWellFormed},
		{"x", "", NotWellFormed},
		{"<a/><b/>", "", NotWellFormed},
		{"<a/>x", "", NotWellFormed},
		{"<a>", "", NotWellFormed},
		{"<a", "", NotWellFormed},
		{"<", "", NotWellFormed},
		{"</a>", "", NotWellFormed},
		{"<a>&lt</a>", "", NotWellFormed},
		{"<?xml version='1.0'?><a/>", "", RestrictedXML},
		{"<!DOCTYPE a><a/>", "", RestrictedXML},
		{"<!-- --><a/>", "", RestrictedXML},
		{"<![CDATA[x]]>", "", BadFormat},
		{"<s:a/>", "", NotWellFormed},
		{header, "", RestrictedXML},
		{"<stream:stream xmlns:stream='x'>", "", NotWellFormed},
	}
	for _, tt := range tests {
		in := []byte(tt.in)
		e, err := ParseElement(in, Limits{})
		if string(in) != tt.in {
			t.Errorf("%q was changed", tt.in)
		}
		switch {
		case condition(err) != tt.cond || err != nil && tt.cond == "":
			t.Errorf("%q gave %v", tt.in, err)
		case err == nil && e.String() != tt.want:
			t.Errorf("%q gave %s", tt.in, e)
		}
	}
	if _, err := ParseElement([]byte("<a>0123456789</a>"), Limits{Bytes: 16}); condition(err) != PolicyViolation {
		t.Errorf("a long element gave %v", err)
	}
	if _, err := ParseElement([]byte("<a>0123456789</a>"), Limits{Bytes: 17}); err != nil {
		t.Error(err)
	}
}
