package xmlstream

// span is a range of bytes of the element that is being read, counted from its first byte.
type span struct{ off, end uint32 }

func newSpan(off, end int) span      { return span{uint32(off), uint32(end)} }
func (s span) len() int              { return int(s.end - s.off) }
func (s span) of(text string) string { return text[s.off:s.end] }

// node is an element or a piece of text that was read, in the order of their beginning.
type node struct {
	span          // the local name, or the text
	parent uint32 // index of the element around it
	uri    int32  // textNode for text
	attrs  uint32 // elements: how many attributes were read when its start tag was
	nodes  uint32 // elements: number of its nodes
	free   uint32 // elements: where the next of its nodes goes, when they are made
}

// openElement is an element whose end tag was not read yet.
type openElement struct {
	name      span   // with its prefix
	node      uint32 // its index
	defaultNS int32
	bindings  int // how many were in scope around it
}

// work is what a parser needs while it reads an element.
type work struct {
	nodes    []node
	attrs    []attr
	bindings []binding
	uris     []span
	open     []openElement
	elements int // how many of nodes are elements
	declared int // how many attributes were declarations
	spread   int // see parser.spread
}

func (w *work) reset() {
	w.nodes, w.attrs, w.bindings, w.uris, w.open = w.nodes[:0], w.attrs[:0], w.bindings[:0], w.uris[:0], w.open[:0]
	w.elements, w.declared, w.spread = 0, 0, 0
}

// tag is a start tag that was read.
type tag struct {
	name, prefix, local span
	attrs, bindings     int // where its attributes and declarations begin
}

// open adds the element of a start tag.
func (p *parser) open(b []byte, t tag) error {
	w := p.w
	if err := p.endText(); err != nil {
		return err
	}
	if len(w.open) == p.lim.Depth {
		return excessive("elements are nested too deep")
	}
	var parent *openElement
	n := node{span: t.local}
	o := openElement{
		name: t.name, node: uint32(len(w.nodes)), defaultNS: p.rootDefault, bindings: t.bindings,
	}
	if len(w.open) > 0 {
		parent = &w.open[len(w.open)-1]
		n.parent = parent.node
		o.defaultNS = parent.defaultNS
	}
	var err error
	if len(w.bindings) > t.bindings {
		w.declared += len(w.bindings) - t.bindings
		if o.defaultNS, err = p.declare(t.bindings, o.defaultNS); err != nil {
			return err
		}
	}
	if n.uri = o.defaultNS; t.prefix.len() > 0 {
		if n.uri, err = p.lookUp(t.prefix); err != nil {
			return err
		}
	}
	if parent == nil || n.uri != w.nodes[parent.node].uri {
		p.spread(n.uri)
	}
	if err := p.resolveAttrs(t.attrs); err != nil {
		return err
	}
	if w.spread > p.lim.Bytes {
		return excessive("an element would be too long with its namespaces written out")
	}
	n.attrs = uint32(len(w.attrs))
	if err := p.addNode(n, parent); err != nil {
		return err
	}
	w.elements++
	w.open = append(w.open, o)
	return nil
}

// resolveAttrs decodes the attributes from first on, finds their namespaces, and refuses two of one name.
func (p *parser) resolveAttrs(first int) error {
	attrs := p.w.attrs[first:]
	if len(p.w.attrs)+p.w.declared > 2*p.lim.Children+p.lim.Attrs {
		return excessive("too many attributes")
	}
	var seen uint64 // a bit for each length and first letter of a name
	for i := range attrs {
		a := &attrs[i]
		if a.dirty {
			if err := p.clean(&a.value); err != nil {
				return err
			}
		}
		if a.prefix.len() > 0 {
			var err error
			if a.uri, err = p.lookUp(a.prefix); err != nil {
				return err
			}
			p.spread(a.uri)
		}
		name := p.at(a.local)
		bit := uint64(1) << ((uint(len(name))*8 + uint(name[0])) % 64)
		if seen&bit != 0 && p.hasAttr(attrs[:i], a.uri, name) {
			return malformed("two attributes of one name")
		}
		seen |= bit
	}
	return nil
}

func (p *parser) hasAttr(attrs []attr, uri int32, local []byte) bool {
	for i := range attrs {
		if a := &attrs[i]; a.uri == uri && string(p.at(a.local)) == string(local) {
			return true
		}
	}
	return false
}

// clean decodes an attribute value in place.
func (p *parser) clean(value *span) error {
	n, err := cleanValue(p.at(*value))
	value.end = value.off + uint32(n)
	return err
}

// spread counts the bytes of a namespace name that the serializer will write in this place. A name that is long and
// declared once, for a prefix, could otherwise make thousands of times as many bytes for the recipients.
func (p *parser) spread(uri int32) {
	if i := int(uri - firstURI); i < 0 {
		return
	} else if i < len(p.rootNS) {
		p.w.spread += len(p.rootNS[i].uri)
	} else {
		p.w.spread += p.w.uris[i-len(p.rootNS)].len()
	}
}

func (p *parser) addNode(n node, parent *openElement) error {
	w := p.w
	if len(w.nodes) > p.lim.Children {
		return excessive("too many elements and pieces of text")
	}
	if parent != nil {
		w.nodes[parent.node].nodes++
	}
	w.nodes = append(w.nodes, n)
	return nil
}

// close ends the innermost open element.
func (p *parser) close() {
	w := p.w
	last := len(w.open) - 1
	w.bindings = w.bindings[:w.open[last].bindings]
	w.open = w.open[:last]
}

// build makes the element that was read. All names and values are parts of one string, all elements, attributes and
// nodes parts of one slice each, of just the size that is needed.
func (p *parser) build() *Element {
	w := p.w
	s := string(p.buf[:p.pos])
	elements := make([]Element, w.elements)
	attrs, spare := p.buildAttrs(s)
	var nodes []Node
	if len(w.nodes) > 1 {
		nodes = make([]Node, len(w.nodes)-1)
	}
	// Elements come in the order of their start tags, and each one's nodes are side by side in nodes.
	elem, attr, free := 0, uint32(0), uint32(0)
	for i := range w.nodes {
		n := &w.nodes[i]
		var place *Node
		if i > 0 {
			parent := &w.nodes[n.parent]
			place = &nodes[parent.free]
			parent.free++
		}
		if n.uri == textNode {
			place.Text = n.of(s)
			continue
		}
		e := &elements[elem]
		elem++
		if place != nil {
			place.Elem = e
		}
		e.Space, e.Local = p.uriText(n.uri, s), n.of(s)
		if n.attrs > attr {
			if i == 0 {
				e.Attrs = attrs[: n.attrs : n.attrs+spare]
			} else {
				e.Attrs = attrs[attr+spare : n.attrs+spare : n.attrs+spare]
			}
			attr = n.attrs
		}
		if n.nodes > 0 {
			e.Nodes = nodes[free : free+n.nodes : free+n.nodes]
			n.free = free
			free += n.nodes
		}
	}
	return &elements[0]
}

// stampRoom is the room for more attributes of the top-level element, which the server stamps: from, and xml:lang.
const stampRoom = 2

// buildAttrs makes the attributes of all elements in one piece. Behind those of the first element, if it has any, there is
// spare room.
func (p *parser) buildAttrs(s string) (attrs []Attr, spare uint32) {
	read := p.w.attrs
	if len(read) == 0 {
		return nil, 0
	}
	first := p.w.nodes[0].attrs
	if first > 0 {
		spare = stampRoom
	}
	attrs = make([]Attr, len(read)+int(spare))
	for i := range read {
		a, made := &read[i], &attrs[i]
		if i >= int(first) {
			made = &attrs[i+int(spare)]
		}
		made.Local, made.Value = a.local.of(s), a.value.of(s)
		if a.uri != noNamespace {
			made.Space = p.uriText(a.uri, s)
		}
	}
	return attrs, spare
}

// setRoot makes the declarations of the element that was just read those of the stream. The strings are copied: they
// live as long as the stream, and the rest of its opening tag need not.
func (p *parser) setRoot(bindings []binding) {
	if p.isUsual(bindings) {
		p.rootNS, p.rootDefault = usualRoot, usualRoot[0].number
		return
	}
	roots := make([]rootBinding, 0, len(bindings))
	for _, d := range bindings {
		b := rootBinding{prefix: string(p.at(d.prefix)), uri: string(p.at(d.value)), number: firstURI + int32(len(roots))}
		if b.uri == "" || b.prefix == "xml" {
			continue
		}
		for _, o := range roots {
			if o.uri == b.uri {
				b.number = o.number
				break
			}
		}
		if b.prefix == "" {
			p.rootDefault = b.number
		}
		roots = append(roots, b)
	}
	p.rootNS = roots
}

// usualRoot is what nearly every client declares, in this order or the other. All their streams share it.
var usualRoot = []rootBinding{
	{prefix: "", uri: "jabber:client", number: firstURI},
	{prefix: "stream", uri: "http://etherx.jabber.org/streams", number: firstURI + 1},
}

func (p *parser) isUsual(bindings []binding) bool {
	if len(bindings) != len(usualRoot) {
		return false
	}
	is := func(d binding, u *rootBinding) bool {
		return string(p.at(d.prefix)) == u.prefix && string(p.at(d.value)) == u.uri
	}
	a, b := bindings[0], bindings[1]
	return is(a, &usualRoot[0]) && is(b, &usualRoot[1]) || is(b, &usualRoot[0]) && is(a, &usualRoot[1])
}
