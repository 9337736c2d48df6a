// Package xmlstream reads and writes the XML of XMPP streams (RFC 6120 sections 4 and 11): elements from a stream,
// within limits, and the serializer that makes every byte rollcall forwards.
//
// The reader takes what RFC 6120 section 11.1 leaves of XML 1.0 and Namespaces in XML 1.0: no comments, processing
// instructions, document type declarations, nor entities other than the predefined ones. What sections it has in mind
// are those of XML 1.0 where no other document is named. It works on whole tags and runs of text in a buffer, decodes
// them there, and makes elements only when the end tag of a stanza is reached; what is cut off by the end of the buffer
// is not looked at again byte by byte when more arrives.
package xmlstream

import "iter"

// Attr is an attribute. Space is empty for the usual, unqualified ones. Its name is not xmlns: the namespace of an
// element is in its Space.
type Attr struct{ Space, Local, Value string }

// Node is one piece of an element's content: a child, or else character data.
type Node struct {
	Elem *Element
	Text string
}

// Element is an XML element with its namespaces resolved. Namespace declarations are not among Attrs: the serializer
// writes those that are needed. An element that was handed on (sent, parsed, shared) is never changed; Clone it first.
type Element struct {
	Space, Local string
	Attrs        []Attr
	Nodes        []Node
}

// New makes an element; attrs are names and values of unqualified attributes in turn, those with an empty value are
// left out.
func New(space, local string, attrs ...string) *Element {
	e := &Element{Space: space, Local: local}
	if len(attrs) > 0 {
		e.Attrs = make([]Attr, 0, len(attrs)/2)
	}
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			e.Attrs = append(e.Attrs, Attr{Local: attrs[i], Value: attrs[i+1]})
		}
	}
	return e
}

// Is tells whether the element has this name.
func (e *Element) Is(space, local string) bool { return e.Local == local && e.Space == space }

// Attr gives the value of an unqualified attribute, "" when it is absent.
func (e *Element) Attr(local string) string {
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Local == local && a.Space == "" {
			return a.Value
		}
	}
	return ""
}

// SetAttr sets an unqualified attribute; an empty value removes it. It returns the element.
func (e *Element) SetAttr(local, value string) *Element {
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Local == local && a.Space == "" {
			if value == "" {
				e.Attrs = append(e.Attrs[:i:i], e.Attrs[i+1:]...)
			} else {
				a.Value = value
			}
			return e
		}
	}
	if value != "" {
		e.Attrs = append(e.Attrs, Attr{Local: local, Value: value})
	}
	return e
}

// Lang gives xml:lang, "" when it is absent.
func (e *Element) Lang() string {
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Local == "lang" && a.Space == nsXML {
			return a.Value
		}
	}
	return ""
}

// Child gives the first child of that name, nil when there is none.
func (e *Element) Child(space, local string) *Element {
	for i := range e.Nodes {
		if c := e.Nodes[i].Elem; c != nil && c.Local == local && c.Space == space {
			return c
		}
	}
	return nil
}

// First gives the first child element, nil when there is none.
func (e *Element) First() *Element {
	for i := range e.Nodes {
		if c := e.Nodes[i].Elem; c != nil {
			return c
		}
	}
	return nil
}

// Elements yields the child elements in order.
func (e *Element) Elements() iter.Seq[*Element] {
	return func(yield func(*Element) bool) {
		for i := range e.Nodes {
			if c := e.Nodes[i].Elem; c != nil && !yield(c) {
				return
			}
		}
	}
}

// Text gives the character data directly inside the element, that of its children left out.
func (e *Element) Text() string {
	text := ""
	for i := range e.Nodes {
		if e.Nodes[i].Elem == nil {
			if text == "" {
				text = e.Nodes[i].Text
			} else {
				text += e.Nodes[i].Text
			}
		}
	}
	return text
}

// Append adds children and returns the element.
func (e *Element) Append(children ...*Element) *Element {
	for _, c := range children {
		if c != nil {
			e.Nodes = append(e.Nodes, Node{Elem: c})
		}
	}
	return e
}

// AppendText adds character data and returns the element.
func (e *Element) AppendText(s string) *Element {
	if s != "" {
		e.Nodes = append(e.Nodes, Node{Text: s})
	}
	return e
}

// Without gives the same element without its children of one name. e stays as it is; what is left is shared with it.
func (e *Element) Without(space, local string) *Element {
	rest := &Element{Space: e.Space, Local: e.Local, Attrs: e.Attrs}
	for _, n := range e.Nodes {
		if n.Elem == nil || !n.Elem.Is(space, local) {
			rest.Nodes = append(rest.Nodes, n)
		}
	}
	return rest
}

// Clone copies the element and all that is in it.
func (e *Element) Clone() *Element {
	var c cloner
	c.count(e)
	c.elements, c.attrs, c.nodes = make([]Element, 0, c.e), make([]Attr, 0, c.a), make([]Node, 0, c.n)
	return c.clone(e)
}

// cloner has room for all elements, attributes and nodes of a copy.
type cloner struct {
	e, a, n  int
	elements []Element
	attrs    []Attr
	nodes    []Node
}

func (c *cloner) count(e *Element) {
	c.e++
	c.a += len(e.Attrs)
	c.n += len(e.Nodes)
	for child := range e.Elements() {
		c.count(child)
	}
}

func (c *cloner) clone(e *Element) *Element {
	c.elements = append(c.elements, Element{Space: e.Space, Local: e.Local})
	to := &c.elements[len(c.elements)-1]
	if n := len(c.attrs); len(e.Attrs) > 0 {
		c.attrs = append(c.attrs, e.Attrs...)
		to.Attrs = c.attrs[n:len(c.attrs):len(c.attrs)]
	}
	if n := len(c.nodes); len(e.Nodes) > 0 {
		c.nodes = append(c.nodes, e.Nodes...)
		to.Nodes = c.nodes[n:len(c.nodes):len(c.nodes)]
	}
	for i := range to.Nodes {
		if child := to.Nodes[i].Elem; child != nil {
			to.Nodes[i].Elem = c.clone(child)
		}
	}
	return to
}

// String gives the element as it stands alone, for logs and tests.
func (e *Element) String() string { return string(e.AppendXML(nil, "")) }
