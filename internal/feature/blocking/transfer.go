package blocking

import (
	"rollcall/internal/jid"
	"rollcall/internal/store"
)

// Import makes what is stored of a user's list. It tells how many addresses are too many.
func Import(items []jid.JID) (values []store.NamedValue, left int) {
	l, added := empty.with(items)
	for len(l.items) > maxItems || l.bytes > maxBytes {
		l, left = newList(l.items[:len(l.items)-1]), left+1
	}
	if len(added) == left {
		return nil, left
	}
	return []store.NamedValue{{Name: ListName, Value: l.encode()}}, left
}

// Export reads what is stored.
func Export(value []byte) []jid.JID {
	l, _ := parseList(value)
	return l.items
}

// Where it is stored.
const (
	Space    = "blocking"
	ListName = "list"
)
