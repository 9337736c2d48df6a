package rosterdoc

import (
	"slices"
	"unique"

	"rollcall/internal/jid"
)

// edit is a roster with a few contacts changed, made of an older one without looking at the others.
type edit struct {
	entries []entry
	sets    [][]string
	names   []unique.Handle[string]
}

// worthEditing tells whether so many changes are few, and the older roster has no more group lists than it needs.
func worthEditing(base *Roster, changes int) bool {
	return base.Len() > 0 && changes*8 <= base.Len() && len(base.sets) <= base.Len()+8
}

func newEdit(base *Roster, more int) *edit {
	e := &edit{entries: make([]entry, base.Len(), base.Len()+more)}
	copy(e.entries, base.entries)
	// What is shared with base is never written to: appending to it makes a copy.
	e.sets, e.names = slices.Clip(base.sets), slices.Clip(base.names)
	return e
}

// put adds a contact, or replaces the one with its address.
func (e *edit) put(c entry) {
	i, found := e.find(c.jid)
	if !found {
		e.entries = slices.Insert(e.entries, i, c)
	}
	c.next = e.entries[i].next
	e.entries[i] = c
}

// remove takes a contact out, if it is there.
func (e *edit) remove(j unique.Handle[jid.JID]) {
	if i, found := e.find(j); found {
		e.entries = slices.Delete(e.entries, i, i+1)
	}
}

func (e *edit) find(j unique.Handle[jid.JID]) (int, bool) {
	return slices.BinarySearchFunc(e.entries, j.Value(), func(e entry, j jid.JID) int { return e.jid.Value().Compare(j) })
}

// entry makes one of an item.
func (e *edit) entry(it *Item) entry {
	c := entry{jid: unique.Make(it.JID), name: noName, sub: it.Subscription & Both, ask: it.Ask, set: e.set(it.Groups)}
	if it.Name != "" {
		c.name = unique.Make(it.Name)
	}
	return c
}

// set gives the number of a group list, which is added when it is new.
func (e *edit) set(groups []string) uint32 {
	if len(groups) == 0 {
		return 0
	}
	for i, s := range e.sets {
		if slices.Equal(s, groups) {
			return uint32(i)
		}
	}
	if e.sets == nil {
		e.sets = [][]string{nil}
	}
	own := make([]string, len(groups))
	for i, g := range groups {
		h := unique.Make(g)
		e.names = append(e.names, h)
		own[i] = h.Value()
	}
	e.sets = append(e.sets, own)
	return uint32(len(e.sets) - 1)
}

func (e *edit) roster() *Roster { return &Roster{entries: e.entries, sets: e.sets, names: e.names} }
