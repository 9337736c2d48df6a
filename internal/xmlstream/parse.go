package xmlstream

import (
	"io"
	"strings"
)

// phase is where in a stream the parser stands.
type phase uint8

const (
	atStart    phase = iota // before the XML declaration
	inProlog                // before the opening tag
	inStream                // between stanzas
	inElement               // within a stanza
	atClose                 // behind an opening tag that is an empty-element tag: the close is yet to be reported
	afterClose              // behind the closing tag
)

// parser turns bytes into events. It knows no source: whoever drives it appends to buf and calls next again after
// errMore. buf begins with the top-level element or other token that is being read; what is behind the parser it cuts
// off, so the driver can move what is left.
type parser struct {
	lim   Limits
	phase phase

	rootName    string // with its prefix, as the end tag must have it
	rootNS      []rootBinding
	rootDefault int32

	buf []byte
	pos int // bytes before it are read
	w   *work

	inText, inCDATA  bool
	textOff, textEnd int // the text being read, decoded
	scanned          int // see tagMayBeWhole; 0 when the tag was not tried yet
	quote            byte
}

func (p *parser) at(s span) []byte { return p.buf[s.off:s.end] }

// advance cuts off what is read.
func (p *parser) advance() {
	p.buf = p.buf[p.pos:]
	p.pos = 0
}

// next gives the next event. errMore asks for more bytes in buf. final says that there are none, so that a token that is
// cut off is looked at for errors. Behind the closing tag the error is io.EOF.
func (p *parser) next(final bool) (Event, error) {
	for {
		var err error
		switch p.phase {
		case atStart:
			err = p.declaration()
		case inProlog:
			err = p.prolog()
			if err == nil {
				return p.root(final)
			}
		case inStream:
			err = p.between()
			if err == nil && p.phase == inStream {
				return p.closing(final)
			}
		case inElement:
			err = p.element(final)
			if err == nil {
				e := p.build()
				p.endElement(inStream)
				return Event{Kind: Stanza, Element: e}, nil
			}
		case atClose:
			p.phase = afterClose
			return Event{Kind: Close}, nil
		case afterClose:
			return Event{}, io.EOF
		}
		if err != nil {
			return Event{}, err
		}
	}
}

// declaration reads the XML declaration (section 2.8), if there is one.
func (p *parser) declaration() error {
	b := p.buf
	const open = "<?xml"
	if have := b[:min(len(b), len(open))]; string(have) != open[:len(have)] {
		p.phase = inProlog
		return nil
	}
	if len(b) <= len(open) {
		return errMore
	}
	if !isSpace(b[len(open)]) {
		return restricted("a processing instruction")
	}
	text := string(b[len(open):min(len(b), maxDeclaration)])
	inside, _, found := strings.Cut(text, "?>")
	switch {
	case found:
		if err := checkDeclaration(inside); err != nil {
			return err
		}
		p.pos = len(open) + len(inside) + len("?>")
		p.advance()
		p.phase = inProlog
		return nil
	case len(b) >= maxDeclaration:
		return excessive("the XML declaration is too long")
	}
	return errMore
}

// checkDeclaration checks what stands between "<?xml" and "?>" (production [23]).
func checkDeclaration(s string) error {
	last := -1
	for s != "" {
		rest := strings.TrimLeft(s, " \t\r\n")
		if rest == "" {
			break
		}
		name, value, tail, ok := cutPseudoAttribute(rest)
		var i int
		switch name {
		case "version":
			i = 0
		case "encoding":
			i = 1
		case "standalone":
			i = 2
		default:
			ok = false
		}
		if !ok || rest == s || i <= last || last < 0 && i != 0 {
			return malformed("a wrong XML declaration")
		}
		switch {
		case i == 0 && value != "1.0":
			return malformed("an XML version other than 1.0")
		case i == 1 && !strings.EqualFold(value, "utf-8"):
			return &SyntaxError{UnsupportedEncoding, "the encoding must be UTF-8"}
		case i == 2 && value != "yes" && value != "no":
			return malformed("a wrong XML declaration")
		}
		last, s = i, tail
	}
	if last < 0 {
		return malformed("an XML declaration without a version")
	}
	return nil
}

// cutPseudoAttribute splits name = 'value' from the beginning of s.
func cutPseudoAttribute(s string) (name, value, rest string, ok bool) {
	const space = " \t\r\n"
	name, rest, ok = strings.Cut(s, "=")
	name, rest = strings.TrimRight(name, space), strings.TrimLeft(rest, space)
	if !ok || rest == "" || rest[0] != '\'' && rest[0] != '"' {
		return name, "", "", false
	}
	value, rest, ok = strings.Cut(rest[1:], rest[:1])
	return name, value, rest, ok
}

// prolog skips white space before the opening tag.
func (p *parser) prolog() error {
	p.skipSpace()
	b := p.buf
	switch {
	case len(b) == 0:
		return errMore
	case b[0] != '<':
		return malformed("text before the stream's opening tag")
	case len(b) == 1:
		return errMore
	case b[1] == '?':
		return restricted("a processing instruction")
	case b[1] == '!':
		if err := p.declarationOrCDATA(p.buf); err != nil {
			return err
		}
		return malformed("text before the stream's opening tag")
	case b[1] == '/':
		return malformed("an end tag before any start tag")
	}
	p.begin()
	return nil
}

// usualName is what nearly every client calls the root, shared by all their streams.
const usualName = "stream:stream"

// root reads the stream's opening tag.
func (p *parser) root(final bool) (Event, error) {
	b, capped := p.window()
	err := p.markup(b, final || capped)
	if err == errMore && capped {
		err = excessive("the stream's opening tag is too long")
	}
	if err != nil {
		return Event{}, err
	}
	ev := Event{Kind: Open, Element: p.build()}
	phase := inStream
	if len(p.w.open) == 0 {
		phase = atClose
	} else {
		if p.rootName = usualName; string(p.at(p.w.open[0].name)) != usualName {
			p.rootName = string(p.at(p.w.open[0].name))
		}
	}
	// An empty-element tag has taken its declarations out of scope, but they are still there.
	p.setRoot(p.w.bindings[:p.w.declared])
	ev.DefaultNS = p.uriText(p.rootDefault, "")
	p.endElement(phase)
	return ev, nil
}

// between skips white space between stanzas and looks at what comes then: nil with phase inElement for a start tag,
// with phase inStream for an end tag.
func (p *parser) between() error {
	p.skipSpace()
	b := p.buf
	if len(b) == 0 {
		return errMore
	}
	if b[0] != '<' {
		switch textClass[b[0]] {
		case illegal:
			return malformed("a control character")
		case high:
			if _, err := charLen(b); err != nil {
				return err
			}
		}
		return &SyntaxError{BadFormat, "text between stanzas"}
	}
	if len(b) == 1 {
		return errMore
	}
	switch b[1] {
	case '/':
		return nil
	case '?':
		return restricted("a processing instruction")
	case '!':
		if err := p.declarationOrCDATA(p.buf); err != nil {
			return err
		}
		return &SyntaxError{BadFormat, "text between stanzas"}
	}
	p.begin()
	p.phase = inElement
	return nil
}

// element reads on in a stanza, to its end.
func (p *parser) element(final bool) error {
	b, capped := p.window()
	final = final || capped
	for {
		var err error
		if p.pos < len(b) && b[p.pos] == '<' && !p.inCDATA {
			err = p.markup(b, final)
		} else {
			err = p.chars(b)
		}
		switch {
		case err == nil:
			if len(p.w.open) == 0 {
				return nil
			}
		case err == errMore && capped:
			return excessive("an element is too long")
		default:
			return err
		}
	}
}

// closing reads the stream's closing tag.
func (p *parser) closing(final bool) (Event, error) {
	b, capped := p.window()
	final = final || capped
	err := errMore
	if p.scanned == 0 || final || p.tagMayBeWhole(b) {
		var next int
		if next, err = scanEndTag(b, 2, p.rootName); err == nil {
			p.pos = next
			p.advance()
			p.phase = afterClose
			return Event{Kind: Close}, nil
		}
	}
	switch {
	case err == errMore && capped:
		err = excessive("the stream's closing tag is too long")
	case err == errMore && p.scanned == 0:
		p.scanned = 1
	}
	return Event{}, err
}

// window gives the bytes that the top-level element may have, and whether there can be no more.
func (p *parser) window() (b []byte, capped bool) {
	if len(p.buf) >= p.lim.Bytes {
		return p.buf[:p.lim.Bytes], true
	}
	return p.buf, false
}

// skipSpace cuts off white space, which stands between stanzas and counts for nothing.
func (p *parser) skipSpace() {
	p.pos = skipSpace(p.buf, 0)
	p.advance()
}

// begin prepares for a top-level element at pos.
func (p *parser) begin() {
	if p.w == nil {
		p.w = workPool.Get().(*work)
	}
}

// endElement forgets the top-level element that was read.
func (p *parser) endElement(next phase) {
	p.phase = next
	p.advance()
	p.w.reset()
}

// restart makes the parser expect the beginning of a stream.
func (p *parser) restart() {
	*p = parser{lim: p.lim, buf: p.buf, w: p.w}
	if p.w != nil {
		p.w.reset()
	}
}
