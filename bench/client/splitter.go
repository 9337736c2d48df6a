package client

import "bytes"

// splitter finds where the items of a stream end: whole stanzas, the stream's opening and closing tags. It counts tags
// and looks at nothing else, so that a client costs little beside the server that is being measured. It trusts the server to send
// well-formed XML without CDATA sections or comments.
type splitter struct {
	pos   int // how far the current item was scanned
	depth int // elements open at pos
}

var (
	openStream  = []byte("<stream:stream")
	closeStream = []byte("</stream:stream")
)

// next returns the length of the first item in b, which begins with the item, or 0 when the item is not complete yet. After
// a 0 it is called again with the same bytes and more behind them; after any other number, with what follows the item.
// White space and an XML declaration before an item count as part of it.
func (s *splitter) next(b []byte) int {
	for {
		i := bytes.IndexByte(b[s.pos:], '<')
		if i < 0 {
			s.pos = len(b)
			return 0
		}
		start := s.pos + i
		end := tagEnd(b, start)
		if end < 0 {
			s.pos = start
			return 0
		}
		s.pos = end
		tag := b[start:end]
		switch {
		case tag[1] == '?':
			continue
		case tag[1] == '/':
			s.depth--
		case tag[len(tag)-2] == '/':
			// Empty element: opened and closed at once.
		case s.depth == 0 && bytes.HasPrefix(tag, openStream):
			// The stream's root stays open for as long as the connection lasts.
		default:
			s.depth++
		}
		if s.depth <= 0 {
			*s = splitter{}
			return end
		}
	}
}

// tagEnd returns the index after the '>' that ends the tag at start, or -1. A '>' within an attribute's value ends nothing.
func tagEnd(b []byte, start int) int {
	quote := byte(0)
	for i := start + 1; i < len(b); i++ {
		c := b[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return i + 1
		case c == '\'' || c == '"':
			quote = c
		}
	}
	return -1
}

// Attr returns the value of an attribute in the first tag of an item, as it was written (entities are not resolved), or
// nil.
func Attr(item []byte, name string) []byte {
	end := tagEnd(item, bytes.IndexByte(item, '<'))
	if end < 0 {
		return nil
	}
	tag := item[:end]
	for from := 0; ; {
		i := bytes.Index(tag[from:], []byte(name))
		if i < 0 {
			return nil
		}
		at := from + i
		from = at + len(name)
		if at == 0 || tag[at-1] != ' ' || from+1 >= len(tag) || tag[from] != '=' {
			continue
		}
		value := tag[from+2:]
		if n := bytes.IndexByte(value, tag[from+1]); n >= 0 {
			return value[:n]
		}
		return nil
	}
}

// trim drops white space and an XML declaration from the start of an item.
func trim(item []byte) []byte {
	item = bytes.TrimLeft(item, " \t\r\n")
	if bytes.HasPrefix(item, []byte("<?")) {
		if end := bytes.Index(item, []byte("?>")); end >= 0 {
			item = bytes.TrimLeft(item[end+2:], " \t\r\n")
		}
	}
	return item
}
