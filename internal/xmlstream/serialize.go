package xmlstream

import (
	"strconv"
	"unicode/utf8"
)

// AppendXML appends the element as XML. defaultNS is the default namespace of the place where it will stand: what
// the stream root or the enclosing element declares as xmlns. Elements are written without prefixes; an attribute in
// a namespace of its own gets a prefix declared on its element, so the bytes mean the same wherever they are put.
//
// A parser reads from the bytes an element equal to e. Text and values may be any strings: what XML cannot express,
// even by a reference (control characters, U+FFFE, U+FFFF, bytes that are not UTF-8), is written as U+FFFD. Names are
// written as they are; they come from the reader, which checked them, or from the program.
func (e *Element) AppendXML(dst []byte, defaultNS string) []byte {
	dst = append(dst, '<')
	inside := e.Space
	if e.Space == nsXML {
		// The one namespace that may not be a default one, and the one prefix that needs no declaration.
		dst = append(dst, "xml:"...)
		inside = defaultNS
	}
	dst = append(dst, e.Local...)
	if inside != defaultNS {
		dst = append(dst, " xmlns='"...)
		dst = AppendEscaped(dst, inside)
		dst = append(dst, '\'')
	}
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Space == "" {
			dst = append(dst, ' ')
		} else {
			dst = appendAttrPrefix(dst, a.Space, i)
		}
		dst = append(dst, e.Attrs[i].Local...)
		dst = append(dst, "='"...)
		dst = AppendEscaped(dst, e.Attrs[i].Value)
		dst = append(dst, '\'')
	}
	if len(e.Nodes) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	for i := range e.Nodes {
		if c := e.Nodes[i].Elem; c != nil {
			dst = c.AppendXML(dst, inside)
		} else {
			dst = appendText(dst, e.Nodes[i].Text)
		}
	}
	dst = append(dst, "</"...)
	if e.Space == nsXML {
		dst = append(dst, "xml:"...)
	}
	dst = append(dst, e.Local...)
	return append(dst, '>')
}

// appendAttrPrefix writes the prefix of an attribute in a namespace, after its declaration where one is needed: one for
// each attribute, though two may share a namespace. Such attributes are rare, and numbering by position cannot collide.
func appendAttrPrefix(dst []byte, space string, i int) []byte {
	if space == nsXML {
		return append(dst, " xml:"...)
	}
	dst = append(dst, " xmlns:ns"...)
	dst = strconv.AppendInt(dst, int64(i), 10)
	dst = append(dst, "='"...)
	dst = AppendEscaped(dst, space)
	dst = append(dst, "' ns"...)
	dst = strconv.AppendInt(dst, int64(i), 10)
	return append(dst, ':')
}

// escapes are what is written in place of a byte; the tables below hold indexes of it.
var escapes = [...]string{
	1: "&lt;", "&gt;", "&amp;", "&apos;", "&quot;", "&#13;", "&#10;", "&#9;",
	forbidden: "\uFFFD",
}

const (
	forbidden = 9
	// notASCII marks bytes that are looked at together with those after them.
	notASCII = uint8(len(escapes))
)

// textEscapes is for character data: '>' only matters behind "]]", which may stand in another node, and CR would be
// read as LF (XML 1.0 section 2.11). valueEscapes is for attribute values in quotes of either kind, where any white
// space would be read as a space (section 3.3.3).
var textEscapes, valueEscapes = func() (text, value [256]uint8) {
	for c := range 256 {
		switch {
		case c >= utf8.RuneSelf:
			text[c], value[c] = notASCII, notASCII
		case !isChar(rune(c)):
			text[c], value[c] = forbidden, forbidden
		}
	}
	for i, c := range "<>&'\"\r\n\t" {
		value[c] = uint8(i + 1)
	}
	for _, c := range "<>&\r" {
		text[c] = value[c]
	}
	return
}()

// AppendEscaped appends an attribute value, or character data, so that a parser reads s again: the five predefined
// entities, references for white space other than spaces, and U+FFFD for what XML cannot express.
func AppendEscaped(dst []byte, s string) []byte {
	done := 0
	for i := skipValue(s, 0); i < len(s); i = skipValue(s, i) {
		if esc := valueEscapes[s[i]]; esc == 0 {
			i++
		} else {
			dst, i, done = appendEscape(dst, s, done, i, esc)
		}
	}
	return append(dst, s[done:]...)
}

// appendText is AppendEscaped for character data only, where less needs escaping.
func appendText(dst []byte, s string) []byte {
	done := 0
	for i := skipText(s, 0); i < len(s); i = skipText(s, i) {
		if esc := textEscapes[s[i]]; esc == 0 {
			i++
		} else {
			dst, i, done = appendEscape(dst, s, done, i, esc)
		}
	}
	return append(dst, s[done:]...)
}

// appendEscape appends s[done:i] and what stands for the next byte or bytes, for which a table has esc. If they stand
// for themselves, it leaves them to be appended later. It gives the index behind them and what is done then.
func appendEscape(dst []byte, s string, done, i int, esc uint8) (_ []byte, next, _ int) {
	next = i + 1
	if esc == notASCII {
		if wide := skipWide(s, i); wide > i {
			return dst, wide, done
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		next = i + n
		if isWritable(r, n) {
			return dst, next, done
		}
		esc = forbidden
	}
	dst = append(dst, s[done:i]...)
	return append(dst, escapes[esc]...), next, next
}

// isWritable tells whether XML can express a character outside ASCII that was decoded from n bytes.
func isWritable(r rune, n int) bool { return isChar(r) && (r != utf8.RuneError || n > 1) }
