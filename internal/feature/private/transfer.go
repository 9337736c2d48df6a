package private

import (
	"rollcall/internal/ns"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Import makes what is stored of the pieces in a query, as another server has written them (XEP-0227 v1.1 section 4.5). nil: of
// none. It tells how many it takes, and how many it does not: those without a namespace, and what is too much.
func Import(query *xmlstream.Element) (values []store.NamedValue, taken, left int) {
	all := xmlstream.New(ns.Private, "query")
	size := all.XMLSize("")
	for c := range query.Elements() {
		n := c.XMLSize("")
		if c.Space == "" || c.Space == ns.Private || taken == maxPieces || size+n > maxBytes || hasPiece(all, c) {
			left++
			continue
		}
		size += n
		taken++
		all.Append(c)
	}
	value := all.AppendXML(nil, "")
	if taken == 0 {
		return nil, 0, left
	}
	if _, err := parse(value); err != nil || len(value) > maxBytes {
		return nil, 0, left + taken
	}
	return []store.NamedValue{{Value: value}}, taken, left
}

func hasPiece(all, like *xmlstream.Element) bool {
	for c := range all.Elements() {
		if c.Is(like.Space, like.Local) {
			return true
		}
	}
	return false
}

// Export reads what is stored.
func Export(value []byte) (*xmlstream.Element, error) { return parse(value) }
