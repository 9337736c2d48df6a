package xmlstream

import (
	"unicode"
	"unicode/utf8"
)

// What a byte means where it stands; zero is a byte that needs no thought. The scanning loops look nothing up but
// these tables.
const (
	plain   = iota
	stop    // ends the run: '<' in text, a quote in an attribute value
	ampsand // '&'
	control // allowed, but normalised in attribute values: tab, newline
	cr      // normalised everywhere
	bracket // ']', which may begin "]]>"
	high    // part of a character outside ASCII
	illegal // never allowed
)

// textClass is for character data, cdataClass for CDATA sections, valueClass for attribute values.
var textClass, cdataClass, valueClass = func() (text, cdata, value [256]uint8) {
	for c := range 256 {
		class := uint8(plain)
		switch {
		case c == '\t' || c == '\n':
		case c == '\r':
			class = cr
		case c < 0x20:
			class = illegal
		case c >= 0x80:
			class = high
		}
		text[c], cdata[c], value[c] = class, class, class
	}
	text['<'], text['&'], text[']'] = stop, ampsand, bracket
	cdata[']'] = bracket
	value['<'], value['&'], value['"'], value['\''] = stop, ampsand, stop, stop
	value['\t'], value['\n'] = control, control
	return
}()

// isChar is production [2] of XML 1.0.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// charLen gives the length of the character outside ASCII that b begins with. It refuses what is not UTF-8 (RFC 3629:
// overlong forms, surrogates, values above U+10FFFF) and U+FFFE and U+FFFF. The error is errMore when b ends within
// the character.
func charLen(b []byte) (int, error) {
	r, n := utf8.DecodeRune(b)
	switch {
	case r == utf8.RuneError && n <= 1:
		if !utf8.FullRune(b) {
			return 0, errMore
		}
		return 0, malformed("bytes that are not UTF-8")
	case r == 0xFFFE || r == 0xFFFF:
		return 0, malformed("a character that XML does not allow")
	}
	return n, nil
}

func isSpace(c byte) bool { return nameClass[c] == white }

// skipSpace gives the index of the first byte from i on that is not white space, len(b) if there is none.
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

const (
	nameStart = 1 << iota // may begin a name
	namePart              // may stand in a name
	white                 // white space, which may stand between names
)

var nameClass = func() (t [256]uint8) {
	for c := range 128 {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			t[c] = nameStart | namePart
		case c >= '0' && c <= '9', c == '-', c == '.':
			t[c] = namePart
		case c == ' ', c == '\t', c == '\n', c == '\r':
			t[c] = white
		}
	}
	return
}()

// scanName reads a QName (Namespaces in XML 1.0, production [7]) at i. It gives the index behind it and that of its
// colon, -1 when there is none. The byte behind the name must be there, otherwise the error is errMore.
func scanName(b []byte, i int) (next, colon int, err error) {
	if i < len(b) && nameClass[b[i]]&nameStart != 0 {
		for n, c := range b[i:] {
			if nameClass[c]&namePart == 0 {
				if c == ':' || c >= utf8.RuneSelf {
					break
				}
				return i + n, -1, nil
			}
		}
	}
	return scanAnyName(b, i)
}

// scanAnyName is scanName for names that are not plain.
func scanAnyName(b []byte, i int) (next, colon int, err error) {
	colon = -1
	want := uint8(nameStart)
	for ; i < len(b); i++ {
		c := b[i]
		if nameClass[c]&want != 0 {
			want = namePart
			continue
		}
		switch {
		case c >= utf8.RuneSelf:
			n, err := nameRune(b[i:], want)
			if err != nil {
				return 0, 0, err
			}
			i += n - 1
			want = namePart
		case want == nameStart:
			return 0, 0, malformed("a name that begins with a wrong character")
		case c != ':':
			return i, colon, nil
		case colon >= 0:
			return 0, 0, malformed("a name with two colons")
		default:
			colon = i
			want = nameStart
		}
	}
	return 0, 0, errMore
}

// nameRune gives the length of the character outside ASCII that b begins with, if it may stand in a name.
func nameRune(b []byte, want uint8) (int, error) {
	n, err := charLen(b)
	if err != nil {
		return 0, err
	}
	r, _ := utf8.DecodeRune(b)
	switch {
	case unicode.Is(nameStartRunes, r):
		return n, nil
	case !unicode.Is(nameOtherRunes, r):
		return 0, malformed("a character that may not stand in a name")
	case want == nameStart:
		return 0, malformed("a name that begins with a wrong character")
	}
	return n, nil
}
