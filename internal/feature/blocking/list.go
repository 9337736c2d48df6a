package blocking

import (
	"slices"
	"strings"

	"rollcall/internal/jid"
)

// Bounds of one user's list.
const (
	maxItems = 1_000
	maxBytes = 128 << 10 // of all addresses, each with its line's end
)

// blocklist is whom a user has blocked. It is immutable; nil is a list that is not known.
type blocklist struct {
	items []jid.JID // in the order in which they were blocked
	set   map[jid.JID]struct{}
	bytes int
}

var empty = &blocklist{}

func newList(items []jid.JID) *blocklist {
	if len(items) == 0 {
		return empty
	}
	l := &blocklist{items: items, set: make(map[jid.JID]struct{}, len(items))}
	for _, j := range items {
		l.set[j] = struct{}{}
		l.bytes += len(j.String()) + 1
	}
	return l
}

// parseList reads what encode has written. What is no address any more, as addresses are understood now, is left out:
// nobody can have it. It tells how many these were.
func parseList(value []byte) (l *blocklist, wrong int) {
	var items []jid.JID
	for line := range strings.Lines(string(value)) {
		j, err := jid.Parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			wrong++
			continue
		}
		items = append(items, j)
	}
	return newList(items), wrong
}

// encode gives the list as it is stored: an address on each line, in canonical form, in which no address has a newline.
func (l *blocklist) encode() []byte {
	value := make([]byte, 0, l.bytes)
	for _, j := range l.items {
		value = append(append(value, j.String()...), '\n')
	}
	return value
}

// blocks tells whether an item covers an address (section 5): itself, its account, or its domain. Of an address without a
// resource an item with one covers nothing. A list that is not known covers everybody.
func (l *blocklist) blocks(other jid.JID) bool {
	switch {
	case l == nil:
		return true
	case len(l.set) == 0:
		return false
	}
	return l.has(other) || l.has(other.Bare()) || l.has(other.Host())
}

func (l *blocklist) has(item jid.JID) bool {
	_, ok := l.set[item]
	return ok
}

// difference gives the items that are in one of two lists alone; of a list that is not known nobody can tell.
func difference(a, b *blocklist) (items []jid.JID) {
	if a == nil || b == nil {
		return nil
	}
	for _, two := range [][2]*blocklist{{a, b}, {b, a}} {
		for _, j := range two[0].items {
			if !two[1].has(j) {
				items = append(items, j)
			}
		}
	}
	return items
}

// with gives the list with more items, and those of them that are new.
func (l *blocklist) with(items []jid.JID) (next *blocklist, added []jid.JID) {
	for _, j := range items {
		if !l.has(j) && !slices.Contains(added, j) {
			added = append(added, j.Clone())
		}
	}
	if len(added) == 0 {
		return l, nil
	}
	return newList(slices.Concat(l.items, added)), added
}

// without gives the list without some items, and those of them that were there.
func (l *blocklist) without(items []jid.JID) (next *blocklist, removed []jid.JID) {
	gone := make(map[jid.JID]struct{}, len(items))
	for _, j := range items {
		gone[j] = struct{}{}
	}
	var rest []jid.JID
	for _, j := range l.items {
		if _, ok := gone[j]; ok {
			removed = append(removed, j)
		} else {
			rest = append(rest, j)
		}
	}
	if len(removed) == 0 {
		return l, nil
	}
	return newList(rest), removed
}
