package xmlstream

import (
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	attrs := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(" a" + strconv.Itoa(i) + "=''")
		}
		return b.String()
	}
	decls := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(" xmlns:p" + strconv.Itoa(i) + "='u'")
		}
		return b.String()
	}
	nested := func(n int, inner string) string {
		return strings.Repeat("<a>", n) + inner + strings.Repeat("</a>", n)
	}
	const policy = PolicyViolation
	tests := []struct {
		name, in string
		lim      Limits
		cond     string
	}{
		{"bytes, just", "<a>0123456789</a>", Limits{Bytes: 17}, ""},
		{"bytes, over by one", "<a>0123456789</a>", Limits{Bytes: 16}, policy},
		{"bytes, empty element", "<abcdefgh/>", Limits{Bytes: 11}, ""},
		{"bytes, empty element over by one", "<abcdefgh/>", Limits{Bytes: 10}, policy},
		{"bytes, in a name", "<" + strings.Repeat("a", 100), Limits{Bytes: 50}, policy},
		{"bytes, in a value", "<a b='" + strings.Repeat("a", 100), Limits{Bytes: 50}, policy},
		{"bytes, in CDATA", "<a><![CDATA[" + strings.Repeat("a", 100), Limits{Bytes: 50}, policy},
		{"bytes, of references", "<a>" + strings.Repeat("&amp;", 20) + "</a>", Limits{Bytes: 106}, policy},
		{"bytes, of references, just", "<a>" + strings.Repeat("&amp;", 20) + "</a>", Limits{Bytes: 107}, ""},
		{"bytes, in an end tag", "<a></a" + strings.Repeat(" ", 100), Limits{Bytes: 50}, policy},
		{"bytes, an error before", "<a b=c" + strings.Repeat(" ", 100), Limits{Bytes: 50}, NotWellFormed},
		{"bytes, an error behind", "<a b='" + strings.Repeat("a", 100) + "<'>", Limits{Bytes: 50}, policy},
		{"bytes, of a stanza each", strings.Repeat("<a>0123456789</a>", 50), Limits{Bytes: 32}, ""},
		{"white space between stanzas", strings.Repeat(" ", 1000) + "<a/>", Limits{Bytes: 32}, ""},
		{"depth, just", nested(10, ""), Limits{Depth: 10}, ""},
		{"depth, over by one", nested(10, "<b/>"), Limits{Depth: 10}, policy},
		{"depth, default", nested(DefaultDepth, ""), Limits{}, ""},
		{"depth, over the default", nested(DefaultDepth+1, ""), Limits{}, policy},
		{"attributes, just", "<x" + attrs(5) + "/>", Limits{Attrs: 5}, ""},
		{"attributes, over by one", "<x" + attrs(6) + "/>", Limits{Attrs: 5}, policy},
		{"attributes and declarations", "<x" + attrs(3) + decls(3) + "/>", Limits{Attrs: 5}, policy},
		{"attributes, of an element each", strings.Repeat("<x"+attrs(5)+"/>", 3), Limits{Attrs: 5}, ""},
		{"attributes, default", "<x" + attrs(DefaultAttrs+1) + "/>", Limits{}, policy},
		{"attributes, in all", "<x>" + strings.Repeat("<y"+attrs(5)+"/>", 5) + "</x>", Limits{Attrs: 5, Children: 10}, ""},
		{"attributes, in all, too many", "<x>" + strings.Repeat("<y"+attrs(5)+"/>", 6) + "</x>", Limits{Attrs: 5, Children: 10}, policy},
		{"children, just", "<x>1<a/>2<a/>3</x>", Limits{Children: 5}, ""},
		{"children, over by one", "<x>1<a/>2<a/>3<a/></x>", Limits{Children: 5}, policy},
		{"children, text over by one", "<x>1<a/>2<a/>3</x>", Limits{Children: 4}, policy},
		{"children, at all levels", "<x>" + nested(6, "") + "</x>", Limits{Children: 5}, policy},
		{"prefixes in scope", "<x>" + strings.Repeat("<a"+decls(60)+">", 3), Limits{}, policy},
		{"prefixes one behind the other", "<x>" + strings.Repeat("<a"+decls(60)+"/>", 5) + "</x>", Limits{}, ""},
		{"namespaces written out, just", "<x xmlns:p='" + strings.Repeat("u", 25) + "'><p:a/><p:a/><p:a/><p:a/></x>", Limits{Bytes: 100}, ""},
		{"namespaces written out", "<x xmlns:p='" + strings.Repeat("u", 25) + "'><p:a/><p:a/><p:a/><p:a/><p:a/></x>", Limits{Bytes: 100}, policy},
		{"namespaces of attributes written out", "<x xmlns:p='" + strings.Repeat("u", 35) + "' p:a='' p:b='' p:c=''/>", Limits{Bytes: 100}, policy},
		{"namespaces inherited", "<x xmlns='" + strings.Repeat("u", 35) + "'><a/><a/><a/><a/><a/></x>", Limits{Bytes: 100}, ""},
		{"long reference", "<a>&#" + strings.Repeat("0", 40) + "65;</a>", Limits{}, policy},
		{"long reference in a value", "<a b='&#x" + strings.Repeat("0", 40) + "65;'/>", Limits{}, policy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The opening tag must fit as well, so it is short.
			res := read(t, "<r>"+tt.in, tt.lim)
			if res.Condition != tt.cond {
				t.Errorf("got %q: %s", res.Condition, res.text)
			}
		})
	}
}

func TestLimitsOfOpeningTag(t *testing.T) {
	for in, cond := range map[string]string{
		"<a b='0123456789'>":                     "",
		"<a b='01234567890'>":                    PolicyViolation,
		"<a></a               >":                 "",
		"<a></a" + strings.Repeat(" ", 15) + ">": PolicyViolation,
	} {
		if res := read(t, in, Limits{Bytes: 18}); res.Condition != cond {
			t.Errorf("%s gave %q", in, res.Condition)
		}
	}
}

func TestSetLimits(t *testing.T) {
	r := NewReader(strings.NewReader("<r>"+strings.Repeat("<a>0123456789</a>", 3)), Limits{Bytes: 3})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(Limits{Bytes: 17})
	if _, err := r.Next(); err != nil {
		t.Error(err)
	}
	r.SetLimits(Limits{Bytes: 16})
	if _, err := r.Next(); condition(err) != PolicyViolation {
		t.Errorf("got %v", err)
	}
}

// repeat is an endless source.
type repeat struct {
	first, rest string
	given       int
	perRead     int
}

func (s *repeat) Read(b []byte) (int, error) {
	b = b[:min(len(b), s.perRead)]
	n := copy(b, s.first)
	s.first = s.first[n:]
	for n < len(b) {
		n += copy(b[n:], s.rest[(s.given+n)%len(s.rest):])
	}
	s.given += n
	return n, nil
}

// TestEndless has peers that never come to an end: attack cases 3, 5 and 6. The reader gives up at the limit, having
// read hardly more, and with a buffer hardly larger. That holds for bytes that come one by one, a million of them: if
// the time grew with the square of their number, the test would end by its timeout.
func TestEndless(t *testing.T) {
	tests := []struct{ name, first, rest string }{
		{"body", "<message><body>", "x"},
		{"body outside ASCII", "<message><body>", "é"},
		{"references", "<message><body>", "&amp;"},
		{"lines", "<message><body>", "\r\n"},
		{"brackets", "<message><body>", "]"},
		{"CDATA", "<message><body><![CDATA[", "x]]"},
		{"CDATA sections", "<message><body>", "<![CDATA[]]>"},
		{"name", "<", "x"},
		{"name outside ASCII", "<", "é"},
		{"prefix", "<x:", "x"},
		{"attributes", "<message", " x='y'"},
		{"attribute name", "<message ", "x"},
		{"attribute value", "<message x='", ">"},
		{"attribute value with references", "<message x='", "&lt;"},
		{"white space in a tag", "<message ", " "},
		{"white space in an end tag", "<message></message", " "},
		{"end tag", "<message></", "x"},
		{"end tag of the stream", "</", "x"},
		{"namespaces", "<message", " xmlns:x='y'"},
		{"nested tags", "", "<a>"},
		{"children", "<message>", "<a/>"},
		{"children with text", "<message>", "<a/>b"},
		{"stream header", "", "x"},
	}
	for _, perRead := range []int{1, 7, 1 << 20} {
		size := 40_000
		if perRead == 1 && !raceDetector {
			size = 1 << 20
		}
		for _, tt := range tests {
			t.Run(tt.name+" "+strconv.Itoa(perRead), func(t *testing.T) {
				src := &repeat{first: "<s>" + tt.first, rest: tt.rest, perRead: perRead}
				if tt.name == "stream header" {
					src.first = "<s"
				}
				r := NewReader(src, Limits{Bytes: size})
				var err error
				largest := 0
				for err == nil {
					_, err = r.Next()
					if r.buf != nil {
						largest = max(largest, len(r.buf.bytes))
					}
				}
				if cond := condition(err); cond != PolicyViolation && cond != NotWellFormed {
					t.Errorf("got %v", err)
				}
				if src.given > size+2*readSize {
					t.Errorf("read %d bytes", src.given)
				}
				if largest > size+2*readSize {
					t.Errorf("held a buffer of %d bytes", largest)
				}
			})
		}
	}
}

// TestPreAuthMemory is attack case 3: many connections that each have sent as much as they may before they sign in.
func TestPreAuthMemory(t *testing.T) {
	const connections, most = 200, 64 << 10
	limits := Limits{Bytes: 10_000, Children: 32}
	attrs := strings.Repeat(" a=''", 500)
	for name, in := range map[string]string{
		"2,000 children": "<x>" + strings.Repeat("<a/>", 2000),
		"500 attributes": "<x" + attrs + ">",
		"name of 1 MB":   "<" + strings.Repeat("a", 1<<20),
		"body of 1 MB":   "<x>" + strings.Repeat("a", 1<<20),
		"just within":    "<x>" + strings.Repeat("a", 9_900),
		"children, just": "<x>" + strings.Repeat("<a b='c' d='e'>f", 16),
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			readers := make([]*Reader, connections)
			in := "<s xmlns='jabber:client'>" + in
			for i := range readers {
				readers[i] = NewReader(&stalls{Reader: strings.NewReader(in)}, limits)
				var err error
				for err == nil {
					_, err = readers[i].Next()
				}
				if cond := condition(err); cond != PolicyViolation && err != errStall {
					t.Fatalf("got %v", err)
				}
			}
			if each := (heap() - before) / connections; each > most {
				t.Errorf("%d bytes for each connection", each)
			}
			runtime.KeepAlive(readers)
		})
	}
}

// TestWrittenSize has elements made to be long when they are written, the names of their namespaces above all.
func TestWrittenSize(t *testing.T) {
	long := strings.Repeat("'", 15_000)
	for name, tt := range map[string]struct{ header, in string }{
		"namespace of the element":    {"<s>", `<x xmlns:p="` + long + `">` + strings.Repeat("<p:a/>", 1000) + "</x>"},
		"namespace of the stream":     {`<s xmlns:p="` + long + `">`, "<x>" + strings.Repeat("<p:a/>", 1000) + "</x>"},
		"namespace of attributes":     {`<s xmlns:p="` + long + `">`, "<x>" + strings.Repeat("<a p:b=''/>", 1000) + "</x>"},
		"namespace alternating":       {"<s xmlns='u' xmlns:p='v'>", strings.Repeat("<p:a><b>", 30) + strings.Repeat("</b></p:a>", 30)},
		"no namespace within another": {"<s xmlns:p='v'>", "<p:x>" + strings.Repeat("<a/>", 4000) + "</p:x>"},
		"short namespace":             {"<s xmlns:p='v'>", "<x>" + strings.Repeat("<p:a/>", 3000) + "</x>"},
		"attributes":                  {"<s xmlns:p='v'>", "<x>" + strings.Repeat("<a p:b='' p:c=''/>", 1000) + "</x>"},
		"quotes":                      {"<s>", `<x a="` + long + `"/>`},
		"markup in CDATA":             {"<s>", "<x><![CDATA[" + strings.Repeat("&", 19_000) + "]]></x>"},
	} {
		t.Run(name, func(t *testing.T) {
			lim := Limits{Bytes: 20_000}
			r := NewReader(strings.NewReader(tt.header+tt.in), lim)
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			ev, err := r.Next()
			switch {
			case condition(err) == PolicyViolation:
			case err != nil:
				t.Error(err)
			default:
				if got := len(ev.Element.AppendXML(nil, "jabber:client")); got > 12*lim.Bytes {
					t.Errorf("%d bytes became %d", len(tt.in), got)
				} else {
					t.Logf("%d bytes became %d", len(tt.in), got)
				}
			}
		})
	}
}

// stalls is a source that stops without ending.
type stalls struct{ io.Reader }

var errStall = &SyntaxError{"", "nothing more comes"}

func (s *stalls) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err == io.EOF {
		err = errStall
	}
	return n, err
}

func heap() int {
	runtime.GC()
	runtime.GC() // what pools held goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestElementMemory asserts the factor that the documentation of Limits promises, for elements made to be dear.
func TestElementMemory(t *testing.T) {
	for name, in := range map[string]string{
		"children":   "<x>" + strings.Repeat("<a/>", DefaultChildren) + "</x>",
		"attributes": "<x>" + strings.Repeat("<a b='' c='' d='' e=''/>", DefaultChildren/2) + "</x>",
		"both":       "<x>" + strings.Repeat("<a b='' c=''/>d", DefaultChildren/2) + "</x>",
		"namespaces": "<x>" + strings.Repeat("<a xmlns='b' xmlns:c='d'/>", DefaultChildren) + "</x>",
		"text":       "<x>" + strings.Repeat("é", DefaultBytes/2-10) + "</x>",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			src := strings.NewReader("<s>" + in)
			runtime.GC()
			runtime.ReadMemStats(&before)
			r := NewReader(src, Limits{})
			for range 2 {
				if _, err := r.Next(); err != nil {
					t.Fatal(err)
				}
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 20*DefaultBytes {
				t.Errorf("%d bytes were allocated, %.1f times the limit", used, float64(used)/DefaultBytes)
			} else {
				t.Logf("%.1f times the limit", float64(used)/DefaultBytes)
			}
		})
	}
}
