package xmlstream

import "unicode/utf8"

// XMLSize gives the number of bytes that AppendXML appends, without making them. An element may take more bytes than it
// came in: a namespace that was declared once, for a prefix, is written on each element that is in it.
func (e *Element) XMLSize(defaultNS string) int {
	n := len("</>") + len(e.Local)
	inside := e.Space
	prefix := 0
	if e.Space == nsXML {
		inside, prefix = defaultNS, len("xml:")
	}
	n += prefix
	if inside != defaultNS {
		n += len(" xmlns=''") + valueSize(inside)
	}
	for i := range e.Attrs {
		a := &e.Attrs[i]
		n += len(" =''") + attrPrefixSize(a.Space, i) + len(a.Local) + valueSize(a.Value)
	}
	if len(e.Nodes) == 0 {
		return n
	}
	n += len("<>") + prefix + len(e.Local)
	for i := range e.Nodes {
		if c := e.Nodes[i].Elem; c != nil {
			n += c.XMLSize(inside)
		} else {
			n += textSize(e.Nodes[i].Text)
		}
	}
	return n
}

func attrPrefixSize(space string, i int) int {
	switch space {
	case "":
		return 0
	case nsXML:
		return len("xml:")
	}
	digits := 1
	for ; i >= 10; i /= 10 {
		digits++
	}
	return len(" xmlns:ns='' ns:") - len(" ") + 2*digits + valueSize(space)
}

func valueSize(s string) int {
	n := len(s)
	for i := skipValue(s, 0); i < len(s); i = skipValue(s, i) {
		more, next := escapeSize(s, i, valueEscapes[s[i]])
		n, i = n+more, next
	}
	return n
}

func textSize(s string) int {
	n := len(s)
	for i := skipText(s, 0); i < len(s); i = skipText(s, i) {
		more, next := escapeSize(s, i, textEscapes[s[i]])
		n, i = n+more, next
	}
	return n
}

// escapeSize tells how many bytes more than now the byte or bytes at i will take, for which a table has esc, and gives the
// index behind them.
func escapeSize(s string, i int, esc uint8) (more, next int) {
	switch esc {
	case 0:
		return 0, i + 1
	case notASCII:
		if wide := skipWide(s, i); wide > i {
			return 0, wide
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if isWritable(r, n) {
			return 0, i + n
		}
		return len(escapes[forbidden]) - n, i + n
	}
	return len(escapes[esc]) - 1, i + 1
}
