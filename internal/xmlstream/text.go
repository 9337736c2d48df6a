package xmlstream

import "unicode/utf8"

// chars reads character data at pos, up to the next markup or the end of the window b. What it decodes it writes back
// into the buffer, where it is never longer than what was read, so that pieces of text, references and CDATA sections
// that stand side by side become one run of bytes. It returns nil at markup and errMore at the end of the window;
// either way what was read stays read.
func (p *parser) chars(b []byte) error {
	class := &textClass
	if p.inCDATA {
		class = &cdataClass
	}
	if !p.inText {
		p.startText()
	}
	for i, run := p.pos, p.pos; ; {
		if i = skipText(b, i); i >= len(b) {
			p.take(b, run, i)
			return errMore
		}
		c := class[b[i]]
		if c == plain {
			i++
			continue
		}
		if c == stop {
			p.take(b, run, i)
			return nil
		}
		n, r, err := p.special(b[i:], c)
		if err == nil && r == itself {
			i += n
			continue
		}
		p.take(b, run, i)
		if err != nil {
			return err
		}
		i += n
		p.pos, run = i, i
		if r != nothing {
			p.textEnd += utf8.EncodeRune(b[p.textEnd:], r)
		}
		if c == bracket {
			return nil
		}
	}
}

// take makes b[run:i] part of the text, moved to the end of what was decoded before.
func (p *parser) take(b []byte, run, i int) {
	if p.textEnd != run {
		copy(b[p.textEnd:], b[run:i])
	}
	p.textEnd += i - run
	p.pos = i
}

const (
	itself  = -1 // bytes stand for themselves
	nothing = -2 // bytes stand for nothing
)

// special looks at the byte that b begins with, of class c, and those that belong to it. It gives their number and what
// they stand for.
func (p *parser) special(b []byte, c uint8) (n int, r rune, err error) {
	switch c {
	case high:
		if n = skipWide(b, 0); n == 0 {
			n, err = charLen(b)
		}
		return n, itself, err
	case bracket:
		n, err = p.brackets(b)
		if n == 0 {
			return 1, itself, err
		}
		p.inCDATA = false
		return n, nothing, nil
	case ampsand:
		r, n, err = reference(b)
		return n, r, err
	case cr:
		// Section 2.11: CR LF and CR alone are read as LF.
		switch {
		case len(b) == 1:
			return 0, 0, errMore
		case b[1] == '\n':
			return 1, nothing, nil
		}
		return 1, '\n', nil
	}
	return 0, 0, malformed("a control character")
}

// brackets looks at the ']' that b begins with. It gives the length of "]]>" when that ends a CDATA section, else 0.
func (p *parser) brackets(b []byte) (int, error) {
	switch {
	case len(b) > 1 && b[1] != ']':
		return 0, nil
	case len(b) < 3:
		return 0, errMore
	case b[2] != '>':
		return 0, nil
	case p.inCDATA:
		return 3, nil
	}
	return 0, malformed("]]> outside a CDATA section")
}

func (p *parser) startText() {
	p.inText = true
	p.textOff, p.textEnd = p.pos, p.pos
}

// endText makes a node of the text before markup, if there is any.
func (p *parser) endText() error {
	if !p.inText {
		return nil
	}
	p.inText = false
	if p.textEnd == p.textOff {
		return nil
	}
	parent := &p.w.open[len(p.w.open)-1]
	return p.addNode(node{span: newSpan(p.textOff, p.textEnd), parent: parent.node, uri: textNode}, parent)
}

// reference reads the reference that b begins with: one to a predefined entity, or to a character (sections 4.1, 4.6).
// It gives the character and the length of the reference.
func reference(b []byte) (rune, int, error) {
	switch {
	case hasPrefix(b, "&lt;"):
		return '<', 4, nil
	case hasPrefix(b, "&gt;"):
		return '>', 4, nil
	case hasPrefix(b, "&amp;"):
		return '&', 5, nil
	case hasPrefix(b, "&apos;"):
		return '\'', 6, nil
	case hasPrefix(b, "&quot;"):
		return '"', 6, nil
	case len(b) < 2:
		return 0, 0, errMore
	case b[1] == '#':
		return charReference(b)
	}
	// Never decided on more bytes than the limit, so that it does not matter in what pieces they come.
	next, _, err := scanName(b[:min(len(b), maxReference)], 1)
	switch {
	case err == errMore && len(b) >= maxReference:
		return 0, 0, restricted("a reference to an entity that is not predefined")
	case err != nil:
		return 0, 0, err
	case b[next] != ';':
		return 0, 0, malformed("an entity reference without a semicolon")
	}
	return 0, 0, restricted("a reference to an entity that is not predefined")
}

func charReference(b []byte) (rune, int, error) {
	i, base := 2, rune(10)
	if len(b) > 2 && b[2] == 'x' {
		i, base = 3, 16
	}
	digits := i
	for r := rune(0); i < len(b) && i < maxReference; i++ {
		c := rune(b[i])
		switch {
		case c >= '0' && c <= '9':
			r = r*base + c - '0'
		case base == 16 && (c|0x20) >= 'a' && (c|0x20) <= 'f':
			r = r*base + (c | 0x20) - 'a' + 10
		case c == ';' && i > digits && isChar(r):
			return r, i + 1, nil
		default:
			return 0, 0, malformed("a character reference that names no character")
		}
		if r > 0x10FFFF {
			return 0, 0, malformed("a character reference that names no character")
		}
	}
	if len(b) >= maxReference {
		return 0, 0, excessive("a character reference is too long")
	}
	return 0, 0, errMore
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// cleanValue decodes b, the inside of an attribute value, in place, and gives its new length: references are replaced,
// and every white space character becomes a space unless it came from a reference (section 3.3.3).
func cleanValue(b []byte) (int, error) {
	w := 0
	for i := 0; i < len(b); {
		switch valueClass[b[i]] {
		case plain, stop: // stop can only be the quote that does not end this value
			b[w] = b[i]
			i++
			w++
		case control:
			b[w] = ' '
			i++
			w++
		case cr:
			i++
			if i == len(b) || b[i] != '\n' {
				b[w] = ' '
				w++
			}
		case ampsand:
			r, n, err := reference(b[i:])
			if err != nil {
				return 0, cutShort(err)
			}
			w += utf8.EncodeRune(b[w:], r)
			i += n
		case high:
			n, err := charLen(b[i:])
			if err != nil {
				return 0, cutShort(err)
			}
			w += copy(b[w:], b[i:i+n])
			i += n
		default:
			return 0, malformed("a control character")
		}
	}
	return w, nil
}

// cutShort is for where no more bytes can come.
func cutShort(err error) error {
	if err == errMore {
		return malformed("a reference or a character that is cut short")
	}
	return err
}
