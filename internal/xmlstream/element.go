// Package xmlstream reads and writes the XML of XMPP streams (RFC 6120 sections 4 and 11): elements from a stream,
// within limits, and the serializer that makes every byte rollcall forwards.
package xmlstream

import "iter"

// Attr is an attribute. Space is empty for the usual, unqualified ones.
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

// Clone copies the element and all that is in it.
func (e *Element) Clone() *Element {
	c := &Element{Space: e.Space, Local: e.Local}
	c.Attrs = append(c.Attrs, e.Attrs...)
	if len(e.Nodes) > 0 {
		c.Nodes = make([]Node, len(e.Nodes))
		for i, n := range e.Nodes {
			if n.Elem != nil {
				n.Elem = n.Elem.Clone()
			}
			c.Nodes[i] = n
		}
	}
	return c
}

// String gives the element as it stands alone, for logs and tests.
func (e *Element) String() string { return string(e.AppendXML(nil, "")) }
