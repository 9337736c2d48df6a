package stanza

import (
	"bytes"
	"strings"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Wire is a serialized stanza as it stands in a stream whose default namespace is jabber:client. Its bytes are made
// once and shared by all its recipients; where only the address differs (a presence broadcast), the address is
// spliced in behind the element's name when the bytes are written. A Wire is immutable.
type Wire struct {
	xml  []byte
	name int    // length of "<message", where attributes begin
	to   string // escaped; spliced in when not empty

	copies *Copies // nil when it is the only one
}

// NewWire serializes a stanza.
func NewWire(el *xmlstream.Element) Wire {
	return Wire{xml: el.AppendXML(make([]byte, 0, 256), ns.Client), name: 1 + len(el.Local)}
}

// NewNonza serializes an element of the stream that is no stanza, such as a request for an acknowledgement (XEP-0198): it
// declares its own namespace, is not addressed, and is not counted.
func NewNonza(el *xmlstream.Element) Wire { return Wire{xml: el.AppendXML(nil, "")} }

// IsStanza tells whether w is a stanza: message, presence or iq.
func (w Wire) IsStanza() bool { return w.name > 0 }

// IsMessage tells whether w is a message.
func (w Wire) IsMessage() bool { return w.name == len("<message") }

// IsError tells whether w is a stanza of type error.
func (w Wire) IsError() bool {
	tag, _, _ := bytes.Cut(w.xml, []byte{'>'}) // which is escaped in attributes, as ' is
	return w.IsStanza() && bytes.Contains(tag, []byte(" type='error'"))
}

// IsPresence tells whether w is a presence.
func (w Wire) IsPresence() bool { return w.name == len("<presence") }

// Element parses the stanza back, as its recipient would. It is for the rare stanza that has to go elsewhere.
func (w Wire) Element(limits xmlstream.Limits) (*xmlstream.Element, error) {
	return xmlstream.ParseElement(w.AppendFramed(nil), limits)
}

// To gives the same stanza addressed to somebody. The stanza must have been serialized without a 'to'.
func (w Wire) To(address string) Wire {
	if strings.ContainsAny(address, "<>&'\"") { // a resource may have them; in most addresses there is nothing to do
		address = string(xmlstream.AppendEscaped(nil, address))
	}
	w.to = address
	return w
}

// NewResult makes the answer to an iq around what payload appends, one well-formed element. It is for payloads that are
// long and of one shape, like rosters: they are written straight into bytes.
func NewResult(iq *Stanza, payload func(dst []byte) []byte) Wire {
	return around(iq.Reply(TypeResult), payload)
}

// NewRequest makes an iq of type set without an address around what payload appends, likewise.
func NewRequest(id string, payload func(dst []byte) []byte) Wire {
	b := append(make([]byte, 0, 512), "<iq type='"+TypeSet+"' id='"...)
	return enclose(append(xmlstream.AppendEscaped(b, id), '\''), payload)
}

// NewMessage makes a message from somebody and without an address around what payload appends, likewise. typ may be "".
func NewMessage(from, typ string, payload func(dst []byte) []byte) Wire {
	b := xmlstream.AppendEscaped(append(make([]byte, 0, 1024), "<message from='"...), from)
	if typ != "" {
		b = xmlstream.AppendEscaped(append(b, "' type='"...), typ)
	}
	b = append(payload(append(b, "'>"...)), "</message>"...)
	return Wire{xml: b, name: len("<message")}
}

func around(iq *xmlstream.Element, payload func(dst []byte) []byte) Wire {
	b := iq.AppendXML(make([]byte, 0, 512), ns.Client)
	return enclose(b[:len(b)-len("/>")], payload)
}

// enclose closes the start tag of an iq, and puts the payload into it.
func enclose(iq []byte, payload func(dst []byte) []byte) Wire {
	return Wire{xml: append(payload(append(iq, '>')), "</iq>"...), name: len("<iq")}
}

// With gives the same stanza with another child at its end, which is serialized as it stands in jabber:client.
func (w Wire) With(child []byte) Wire {
	name := w.xml[1:w.name]
	inside, empty := bytes.CutSuffix(w.xml, []byte("/>"))
	if !empty {
		inside = w.xml[:len(w.xml)-len("</>")-len(name)]
	}
	xml := make([]byte, 0, len(w.xml)+len(child)+len("></>")+len(name))
	xml = append(xml, inside...)
	if empty {
		xml = append(xml, '>')
	}
	xml = append(xml, child...)
	xml = append(append(append(xml, "</"...), name...), '>')
	w.xml = xml
	return w
}

// Stored gives a stanza that was serialized by NewWire, kept as bytes, and not changed since.
func Stored(xml []byte, kind Kind) Wire { return Wire{xml: xml, name: 1 + len(kind.String())} }

// Clone gives the same stanza in bytes of its own, no more than it needs: for one that is kept.
func (w Wire) Clone() Wire {
	w.xml = bytes.Clone(w.xml)
	return w
}

const (
	toOpen   = ` to='`
	xmlnsDef = ` xmlns='` + ns.Client + `'`
)

// Len gives the number of bytes that AppendTo appends.
func (w Wire) Len() int {
	if w.to == "" {
		return len(w.xml)
	}
	return len(w.xml) + len(toOpen) + len(w.to) + 1
}

// AppendTo appends the stanza as it goes into a stream that declares jabber:client as its default namespace.
func (w Wire) AppendTo(dst []byte) []byte {
	if w.to == "" {
		return append(dst, w.xml...)
	}
	return append(w.appendTo(append(dst, w.xml[:w.name]...)), w.xml[w.name:]...)
}

// AppendFramed appends the stanza as it stands alone, its namespace declared: a WebSocket message (RFC 7395
// section 3.3) or a child of a BOSH body (XEP-0124).
func (w Wire) AppendFramed(dst []byte) []byte {
	if !w.IsStanza() {
		return append(dst, w.xml...)
	}
	dst = append(append(dst, w.xml[:w.name]...), xmlnsDef...)
	return append(w.appendTo(dst), w.xml[w.name:]...)
}

func (w Wire) appendTo(dst []byte) []byte {
	if w.to != "" {
		dst = append(dst, toOpen...)
		dst = append(dst, w.to...)
		dst = append(dst, '\'')
	}
	return dst
}

// String gives the stanza as it goes into a stream, for logs and tests.
func (w Wire) String() string { return string(w.AppendTo(nil)) }
