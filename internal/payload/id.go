package payload

import (
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// StanzaID makes the id that somebody, an account or a room, gives a stanza.
func StanzaID(by, id string) *xmlstream.Element {
	return xmlstream.New(ns.SID, "stanza-id", "id", id, "by", by)
}

// OriginID gives the id that a stanza's sender has given it by XEP-0359, "" when there is none.
func OriginID(el *xmlstream.Element) string {
	if c := el.Child(ns.SID, "origin-id"); c != nil {
		return c.Attr("id")
	}
	return ""
}

// Claims tells whether a child of a stanza says something that only the address by may say, as a stanza-id or a delay does,
// and whose address that is; the zero address when it is none.
func Claims(child *xmlstream.Element) (by jid.JID, claims bool) {
	var address string
	switch {
	case child.Is(ns.SID, "stanza-id"):
		address = child.Attr("by")
	case child.Is(ns.Delay, "delay"):
		address = child.Attr("from")
	default:
		return jid.JID{}, false
	}
	by, err := jid.Parse(address)
	if err != nil {
		return jid.JID{}, true
	}
	return by, true
}
