package xmlstream

// attr is an attribute of an element that is being read.
type attr struct {
	prefix, local, value span
	uri                  int32
	dirty                bool // the value is to be decoded
}

// binding is a namespace declaration on an element that is being read. The prefix is empty for the default namespace.
type binding struct {
	prefix, value span
	uri           int32
	dirty         bool
}

// markup reads the tag or the beginning of a CDATA section at pos. final: no more bytes will come, within the limit or
// at all.
func (p *parser) markup(b []byte, final bool) error {
	if len(b) < p.pos+2 || p.scanned > 0 && !final && !p.tagMayBeWhole(b) {
		return errMore
	}
	var err error
	switch b[p.pos+1] {
	case '/':
		err = p.endTag(b)
	case '!':
		return p.declarationOrCDATA(b)
	case '?':
		return restricted("a processing instruction")
	default:
		err = p.startTag(b)
	}
	switch {
	case err == nil:
		p.scanned = 0
	case err == errMore && p.scanned == 0:
		p.scanned, p.quote = p.pos+1, 0
	}
	return err
}

// tagMayBeWhole spares reading a tag again from its beginning for each few bytes of it that arrive. When it was found
// incomplete once, only the new bytes are looked at, for its end: a '>' outside quotes. A '<' is an error that the
// next reading will report.
func (p *parser) tagMayBeWhole(b []byte) bool {
	endTag := b[p.pos+1] == '/'
	i := p.scanned
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '<', c == '>' && p.quote == 0:
			p.scanned = i + 1
			return true
		case c == p.quote:
			p.quote = 0
		case (c == '"' || c == '\'') && p.quote == 0 && !endTag:
			p.quote = c
		}
	}
	p.scanned = i
	return false
}

func (p *parser) declarationOrCDATA(b []byte) error {
	const open = "<![CDATA["
	have := b[p.pos:min(len(b), p.pos+len(open))]
	switch {
	case len(have) > 2 && have[2] == '-':
		return restricted("a comment")
	case len(have) > 2 && have[2] == 'D':
		return restricted("a document type declaration")
	case string(have) != open[:len(have)]:
		return malformed("a wrong markup declaration")
	case len(have) < len(open):
		return errMore
	}
	if !p.inText {
		p.startText()
	}
	p.inCDATA = true
	p.pos += len(open)
	return nil
}

// startTag reads the start tag at pos and opens its element; when it is an empty-element tag, closes it too.
func (p *parser) startTag(b []byte) error {
	off := p.pos + 1
	i, colon, err := scanName(b, off)
	if err != nil {
		return err
	}
	t := tag{name: newSpan(off, i), local: newSpan(off, i), attrs: len(p.w.attrs), bindings: len(p.w.bindings)}
	if colon >= 0 {
		t.prefix, t.local = newSpan(off, colon), newSpan(colon+1, i)
	}
	i, empty, err := p.attributes(b, i)
	if err != nil {
		p.w.attrs, p.w.bindings = p.w.attrs[:t.attrs], p.w.bindings[:t.bindings]
		return err
	}
	if err := p.open(b, t); err != nil {
		return err
	}
	p.pos = i
	if empty {
		p.close()
	}
	return nil
}

// attributes reads what stands between the name of an element, which ends at i, and the end of the tag. It gives the
// index behind the tag, and whether it is an empty-element tag.
func (p *parser) attributes(b []byte, i int) (next int, empty bool, err error) {
	for count := 0; ; count++ {
		name := skipSpace(b, i)
		if name == len(b) {
			return 0, false, errMore
		}
		switch b[name] {
		case '>':
			return name + 1, false, nil
		case '/':
			if name+1 == len(b) {
				return 0, false, errMore
			}
			if b[name+1] != '>' {
				return 0, false, malformed("a '/' within a tag")
			}
			return name + 2, true, nil
		}
		switch {
		case name == i:
			return 0, false, malformed("no white space before an attribute")
		case count == p.lim.Attrs:
			return 0, false, excessive("too many attributes on one element")
		}
		if i, err = p.attribute(b, name); err != nil {
			return 0, false, err
		}
	}
}

// attribute reads one attribute or namespace declaration at off and gives the index behind it.
func (p *parser) attribute(b []byte, off int) (int, error) {
	nameEnd, colon, err := scanName(b, off)
	if err != nil {
		return 0, err
	}
	i, err := scanEqual(b, nameEnd)
	if err != nil {
		return 0, err
	}
	quote := b[i-1]
	valueOff := i
	dirty := false
scan:
	for ; ; i++ {
		if i = skipValue(b, i); i >= len(b) {
			return 0, errMore
		}
		switch valueClass[b[i]] {
		case plain:
		case stop:
			if b[i] == quote {
				break scan
			}
			if b[i] == '<' {
				return 0, malformed("'<' in an attribute value")
			}
		default:
			dirty = true
		}
	}
	value := newSpan(valueOff, i)
	switch {
	case colon < 0 && string(b[off:nameEnd]) == "xmlns":
		p.w.bindings = append(p.w.bindings, binding{value: value, dirty: dirty})
	case colon < 0:
		p.w.attrs = append(p.w.attrs, attr{local: newSpan(off, nameEnd), value: value, dirty: dirty})
	case string(b[off:colon]) == "xmlns":
		p.w.bindings = append(p.w.bindings, binding{prefix: newSpan(colon+1, nameEnd), value: value, dirty: dirty})
	default:
		p.w.attrs = append(p.w.attrs,
			attr{prefix: newSpan(off, colon), local: newSpan(colon+1, nameEnd), value: value, dirty: dirty})
	}
	return i + 1, nil
}

// scanEqual reads what stands between the name of an attribute, which ends at i, and its value, the opening quote
// included, and gives the index behind that.
func scanEqual(b []byte, i int) (int, error) {
	if i+1 < len(b) && b[i] == '=' && (b[i+1] == '\'' || b[i+1] == '"') {
		return i + 2, nil
	}
	i = skipSpace(b, i)
	if i == len(b) {
		return 0, errMore
	}
	if b[i] != '=' {
		return 0, malformed("an attribute without a value")
	}
	i = skipSpace(b, i+1)
	if i == len(b) {
		return 0, errMore
	}
	if b[i] != '\'' && b[i] != '"' {
		return 0, malformed("an attribute value without quotes")
	}
	return i + 1, nil
}

// endTag reads the end tag at pos, which must be that of the innermost open element.
func (p *parser) endTag(b []byte) error {
	name := p.at(p.w.open[len(p.w.open)-1].name)
	off := p.pos + 2
	next := off + len(name) + 1
	if next > len(b) || b[next-1] != '>' || string(b[off:next-1]) != string(name) {
		var err error
		if next, err = scanEndTag(b, off, string(name)); err != nil {
			return err
		}
	}
	if err := p.endText(); err != nil {
		return err
	}
	p.pos = next
	p.close()
	return nil
}

// scanEndTag reads the rest of an end tag, from its name at off on, and gives the index behind it.
func scanEndTag(b []byte, off int, name string) (int, error) {
	i, _, err := scanName(b, off)
	if err != nil {
		return 0, err
	}
	if string(b[off:i]) != name {
		return 0, malformed("an end tag that does not match its start tag")
	}
	i = skipSpace(b, i)
	if i == len(b) {
		return 0, errMore
	}
	if b[i] != '>' {
		return 0, malformed("an end tag with more than a name")
	}
	return i + 1, nil
}
