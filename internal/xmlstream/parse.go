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

// parser turns the bytes in buf into events. It knows no source: whoever drives it puts bytes into buf and calls next
// again after errMore.
type parser struct {
	lim   Limits
	phase phase

	rootName    string // with its prefix, as the end tag must have it
	rootNS      []rootBinding
	rootDefault int32

	buf  []byte
	base int // where the top-level element or the token being read begins
	pos  int // bytes before it are read
	w    *work

	inText, inCDATA  bool
	textOff, textEnd int // the text being read, decoded
	scanned          int // see tagMayBeWhole; counted from base, 0 when the tag was not tried yet
	quote            byte
}

func (p *parser) span(off, end int) span { return span{uint32(off - p.base), uint32(end - p.base)} }
func (p *parser) at(s span) []byte       { return p.buf[p.base+int(s.off) : p.base+int(s.end)] }

// next gives the next event. errMore asks for more bytes in buf; bytes from p.base on must stay in it. final says that
// there are none, so that a token that is cut off is looked at for errors. Behind the closing tag the
// error is io.EOF.
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
	b := p.buf[p.pos:]
	p.base = p.pos
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
		p.pos += len(open) + len(inside) + len("?>")
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
	p.pos = skipSpace(p.buf, p.pos)
	p.base = p.pos
	b := p.buf[p.pos:]
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

// root reads the stream's opening tag.
func (p *parser) root(final bool) (Event, error) {
	end, capped := p.window()
	err := p.markup(p.buf[:end], final || capped)
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
		p.rootName = string(p.at(p.w.open[0].name))
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
	p.pos = skipSpace(p.buf, p.pos)
	p.base = p.pos
	b := p.buf[p.pos:]
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
	end, capped := p.window()
	b := p.buf[:end]
	for {
		var err error
		if p.pos < end && b[p.pos] == '<' && !p.inCDATA {
			err = p.markup(b, final || capped)
		} else {
			err = p.chars(b)
		}
		switch {
		case err == errMore && capped:
			return excessive("an element is too long")
		case err != nil:
			return err
		case len(p.w.open) == 0:
			return nil
		}
	}
}

// closing reads the stream's closing tag.
func (p *parser) closing(final bool) (Event, error) {
	end, capped := p.window()
	b := p.buf[:end]
	final = final || capped
	err := errMore
	if final || p.tagMayBeWhole(b) {
		var next int
		if next, err = scanEndTag(b, p.pos+2, p.rootName); err == nil {
			p.pos, p.base = next, next
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

// window gives the end of the bytes that the token at base may have, and whether there can be no more.
func (p *parser) window() (end int, capped bool) {
	if most := p.base + p.lim.Bytes; most <= len(p.buf) {
		return most, true
	}
	return len(p.buf), false
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
	p.base = p.pos
	p.w.reset()
}

// moved tells the parser that the bytes from base on are now the beginning of b, and what of them is there.
func (p *parser) moved(b []byte) {
	p.pos -= p.base
	p.textOff -= p.base
	p.textEnd -= p.base
	p.base = 0
	p.buf = b
}

// restart makes the parser expect the beginning of a stream.
func (p *parser) restart() {
	p.phase = atStart
	p.rootName, p.rootNS, p.rootDefault = "", nil, noNamespace
}
