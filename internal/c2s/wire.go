package c2s

import (
	"sync"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// AppendElement appends an element of the negotiation as it goes on the wire: alone, as in a WebSocket message or a
// BOSH body (framed), or within a <stream:stream> whose default namespace is jabber:client. Elements of the stream's
// own namespace get the prefix that many clients look for.
func AppendElement(dst []byte, el *xmlstream.Element, framed bool) []byte {
	inherited := ns.Client
	if framed {
		inherited = ""
	}
	if el.Space != ns.Stream {
		return el.AppendXML(dst, inherited)
	}
	dst = append(dst, "<stream:"...)
	dst = append(dst, el.Local...)
	if framed {
		dst = append(dst, " xmlns:stream='"+ns.Stream+"'"...)
	}
	dst = append(dst, '>')
	for child := range el.Elements() {
		dst = child.AppendXML(dst, inherited)
	}
	dst = append(dst, "</stream:"...)
	dst = append(dst, el.Local...)
	return append(dst, '>')
}

// FlushSize is how much a transport gathers before it writes.
const FlushSize = 32 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// GetBuffer lends an empty buffer to write from.
func GetBuffer() *[]byte { return buffers.Get().(*[]byte) }

// PutBuffer takes one back, unless something large was written.
func PutBuffer(b *[]byte) {
	if cap(*b) <= 2*FlushSize {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
