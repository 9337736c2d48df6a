package rosterdoc

import (
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scan reads JSON (RFC 8259) that is all there, strictly, and says no more than that something is not what was
// asked for. After that it is of no use.
type scan struct {
	doc string
	i   int
}

// next passes white space and gives the byte behind it, 0 at the end.
func (s *scan) next() byte {
	for ; s.i < len(s.doc); s.i++ {
		switch c := s.doc[s.i]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// take passes c, if that is next.
func (s *scan) take(c byte) bool {
	if s.next() != c || s.i == len(s.doc) {
		return false
	}
	s.i++
	return true
}

// text reads a string. It is a piece of the document unless it has escapes.
func (s *scan) text() (text string, ok bool) {
	if !s.take('"') {
		return "", false
	}
	start, all := s.i, byte(0)
	for i := s.i; i < len(s.doc); i++ {
		c := s.doc[i]
		switch {
		case c == '"':
			s.i = i + 1
			text = s.doc[start:i]
			return text, all < utf8.RuneSelf || utf8.ValidString(text)
		case c == '\\':
			return s.escaped(start - 1)
		case c < ' ':
			return "", false
		}
		all |= c
	}
	return "", false
}

// escaped reads a string that has escapes and begins at start.
func (s *scan) escaped(start int) (text string, ok bool) {
	for i := start + 1; i < len(s.doc); i++ {
		switch s.doc[i] {
		case '\\':
			i++
		case '"':
			s.i = i + 1
			unquoted, err := jsontext.AppendUnquote(nil, s.doc[start:i+1])
			return string(unquoted), err == nil
		}
	}
	return "", false
}

// scalar reads a string, a number, true, false or null.
func (s *scan) scalar() bool {
	switch c := s.next(); c {
	case '"':
		_, ok := s.text()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

// word reads what is next: true, false or null.
func (s *scan) word(w string) bool {
	end := s.i + len(w)
	if end > len(s.doc) || s.doc[s.i:end] != w {
		return false
	}
	s.i = end
	return true
}

// number reads what is next: "[ minus ] int [ frac ] [ exp ]" (RFC 8259 section 6).
func (s *scan) number() bool {
	s.accept('-', '-')
	if !s.accept('0', '0') && !s.digits() {
		return false
	}
	if s.accept('.', '.') && !s.digits() {
		return false
	}
	if s.accept('e', 'E') {
		s.accept('+', '-')
		return s.digits()
	}
	return true
}

func (s *scan) digits() bool {
	start := s.i
	for s.i < len(s.doc) && '0' <= s.doc[s.i] && s.doc[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// accept passes one of two bytes, if that is what is there.
func (s *scan) accept(a, b byte) bool {
	if s.i < len(s.doc) && (s.doc[s.i] == a || s.doc[s.i] == b) {
		s.i++
		return true
	}
	return false
}
