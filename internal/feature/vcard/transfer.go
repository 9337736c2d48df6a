package vcard

import (
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Import makes what is stored of a vCard, as another server has written it (XEP-0227 v1.1 section 4.6); nil when it is too large.
func Import(card *xmlstream.Element) []store.NamedValue {
	value := card.AppendXML(nil, "")
	if _, err := Export(value); err != nil || len(value) > maxBytes {
		return nil
	}
	return []store.NamedValue{{Value: value}}
}

// Export reads what is stored.
func Export(value []byte) (*xmlstream.Element, error) { return xmlstream.ParseElement(value, limits) }
