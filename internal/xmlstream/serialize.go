package xmlstream

import "strconv"

// AppendXML appends the element as XML. defaultNS is the default namespace of the place where it will stand: what
// the stream root or the enclosing element declares as xmlns. Elements are written without prefixes; an attribute in
// a namespace of its own gets a prefix declared on its element, so the bytes mean the same wherever they are put.
func (e *Element) AppendXML(dst []byte, defaultNS string) []byte {
	dst = append(dst, '<')
	dst = append(dst, e.Local...)
	if e.Space != defaultNS {
		dst = append(dst, ` xmlns='`...)
		dst = AppendEscaped(dst, e.Space)
		dst = append(dst, '\'')
	}
	for i := range e.Attrs {
		dst = e.appendAttr(dst, i)
	}
	if len(e.Nodes) == 0 {
		return append(dst, '/', '>')
	}
	dst = append(dst, '>')
	for i := range e.Nodes {
		if c := e.Nodes[i].Elem; c != nil {
			dst = c.AppendXML(dst, e.Space)
		} else {
			dst = AppendEscaped(dst, e.Nodes[i].Text)
		}
	}
	dst = append(dst, '<', '/')
	dst = append(dst, e.Local...)
	return append(dst, '>')
}

func (e *Element) appendAttr(dst []byte, i int) []byte {
	a := &e.Attrs[i]
	dst = append(dst, ' ')
	switch a.Space {
	case "":
	case nsXML:
		dst = append(dst, "xml:"...)
	default:
		// One declaration for each attribute, though two may share a namespace: such attributes are rare, and
		// numbering by position cannot collide.
		prefix := "ns" + strconv.Itoa(i)
		dst = append(dst, "xmlns:"...)
		dst = append(dst, prefix...)
		dst = append(dst, '=', '\'')
		dst = AppendEscaped(dst, a.Space)
		dst = append(dst, '\'', ' ')
		dst = append(dst, prefix...)
		dst = append(dst, ':')
	}
	dst = append(dst, a.Local...)
	dst = append(dst, '=', '\'')
	dst = AppendEscaped(dst, a.Value)
	return append(dst, '\'')
}

// AppendEscaped appends character data or an attribute value so that a parser reads s again: the five predefined
// entities, and references for the white space that a parser would otherwise normalise (XML 1.0 sections 2.11, 3.3.3).
// In character data a newline or tab may be written as it is, but a reference is never wrong.
func AppendEscaped(dst []byte, s string) []byte {
	last := 0
	for i := 0; i < len(s); i++ {
		var esc string
		switch s[i] {
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '&':
			esc = "&amp;"
		case '\'':
			esc = "&apos;"
		case '"':
			esc = "&quot;"
		case '\r':
			esc = "&#13;"
		case '\n':
			esc = "&#10;"
		case '\t':
			esc = "&#9;"
		default:
			continue
		}
		dst = append(dst, s[last:i]...)
		dst = append(dst, esc...)
		last = i + 1
	}
	return append(dst, s[last:]...)
}
