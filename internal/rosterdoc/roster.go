// Package rosterdoc is the document of the roster contract (docs/roster-http.md, section 1): reading it,
// comparing two of them, and writing it. What a roster item is comes from RFC 6121 section 2.1.2.
//
// A Roster is immutable and small. Addresses and names that many rosters share are kept once for the
// process (package unique, which drops what nobody uses any more), group lists once for a roster. So a
// contact costs 24 bytes in each roster that has it, and comparing two rosters compares pointers.
package rosterdoc

import (
	"fmt"
	"iter"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unique"

	"rollcall/internal/jid"
)

// Subscription says who sees whose presence, as a set of two directions (RFC 6121 section 2.1.2.5).
type Subscription uint8

// None, To, From and Both are the four states. To: the user sees the contact's presence. From: the contact
// sees the user's.
const (
	None Subscription = 0
	To   Subscription = 1
	From Subscription = 2
	Both Subscription = To | From
)

var subscriptions = [...]string{None: "none", To: "to", From: "from", Both: "both"}

// String is the value as it stands in a roster item.
func (s Subscription) String() string { return subscriptions[s&Both] }

// Has tells whether s includes a direction: To or From.
func (s Subscription) Has(direction Subscription) bool { return s&direction != 0 }

// ParseSubscription reads the value of a roster item's subscription: both, to, from or none.
func ParseSubscription(s string) (Subscription, error) {
	for i, name := range subscriptions {
		if s == name {
			return Subscription(i), nil
		}
	}
	return None, fmt.Errorf("rosterdoc: the subscription %q is none of both, to, from, none", cut(s))
}

// An Item is one contact of a roster.
type Item struct {
	JID          jid.JID  // bare
	Name         string   // "" for none
	Groups       []string // sorted, each once; shared, not to be changed
	Subscription Subscription
	Ask          bool // a request for the contact's presence is pending
}

// Equal says that two items are the same in every member.
func (i Item) Equal(o Item) bool {
	return i.JID == o.JID && i.Name == o.Name && i.Subscription == o.Subscription && i.Ask == o.Ask &&
		slices.Equal(i.Groups, o.Groups)
}

// A Roster is a user's contacts, sorted by address. It does not change and may be shared between goroutines.
// A nil *Roster is empty. Whether a roster is empty or not known is for the user of this package to tell
// apart: this type is for rosters that are known.
type Roster struct {
	entries []entry
	sets    [][]string // the group lists; the first is the empty one
	// names keeps the group names of sets alive in the process's table: a string alone does not.
	names []unique.Handle[string]
	first uint16 // which contact was first in the document; see entry.next
}

// entry is an Item in 24 bytes.
type entry struct {
	jid  unique.Handle[jid.JID]
	name unique.Handle[string]
	set  uint32
	sub  Subscription
	ask  bool
	// next is 1 + the place of the contact that followed in the document that this was read from. It is a guess: 0 when
	// it is not known, and wrong when the roster was edited since.
	next uint16
}

var noName = unique.Make("")

// Build makes a roster of items in any order. Addresses are made bare, groups sorted. Of two items with one
// address the first stands. Items come from this program's own memory: they are not checked for the limits
// of documents.
func Build(items []Item) *Roster {
	items = slices.Clone(items)
	for i := range items {
		items[i].JID = items[i].JID.Bare()
		items[i].Groups = normalGroups(items[i].Groups)
	}
	slices.SortStableFunc(items, func(a, b Item) int { return a.JID.Compare(b.JID) })
	items = slices.CompactFunc(items, func(a, b Item) bool { return a.JID == b.JID })
	return assemble(len(items), func(i int) *Item { return &items[i] }, nil)
}

// normalGroups sorts groups and leaves each once. The argument is not changed: it may be shared.
func normalGroups(g []string) []string {
	if len(g) < 2 || strictlySorted(g) {
		return g
	}
	g = slices.Clone(g)
	slices.Sort(g)
	return slices.Compact(g)
}

func strictlySorted(g []string) bool {
	for i := 1; i < len(g); i++ {
		if g[i-1] >= g[i] {
			return false
		}
	}
	return true
}

// assemble makes a roster of n sorted items with normal groups. Their strings may point into a document
// that is about to be dropped: unique.Make copies what it keeps. What an older roster has of the same user,
// most of it as a rule, is taken from there, which saves looking it up in the process's table.
func assemble(n int, at func(i int) *Item, like *Roster) *Roster {
	r := &Roster{entries: make([]entry, n)}
	old := like.entriesOrNone()
	same := make([]int32, n) // 1 + where the contact is in like, 0 if nowhere
	for i := range r.entries {
		it, e := at(i), &r.entries[i]
		for len(old) > 0 && old[0].jid.Value().Compare(it.JID) < 0 {
			old = old[1:]
		}
		var was *entry
		if len(old) > 0 && old[0].jid.Value() == it.JID {
			was = &old[0]
			same[i] = int32(like.Len()-len(old)) + 1
			e.jid = was.jid
		} else {
			e.jid = unique.Make(it.JID)
		}
		switch {
		case it.Name == "":
			e.name = noName
		case was != nil && was.name.Value() == it.Name:
			e.name = was.name
		default:
			e.name = unique.Make(it.Name)
		}
		e.sub, e.ask = it.Subscription&Both, it.Ask
	}
	if !r.shareSets(at, like, same) {
		var table setTable
		for i := range r.entries {
			if g := at(i).Groups; len(g) > 0 {
				r.entries[i].set = table.index(g)
			} else {
				r.entries[i].set = 0
			}
		}
		r.sets, r.names = table.sets, table.handles
	}
	return r
}

func (r *Roster) entriesOrNone() []entry {
	if r == nil {
		return nil
	}
	return r.entries
}

// shareSets gives the items the group lists of an older roster, as long as each is where it is looked for first:
// with the same contact, or with the one before. It tells whether it was so for all.
func (r *Roster) shareSets(at func(i int) *Item, like *Roster, same []int32) bool {
	if like == nil || like.sets == nil {
		return false
	}
	last := uint32(0)
	for i := range r.entries {
		g := at(i).Groups
		if len(g) == 0 {
			continue
		}
		if same[i] > 0 {
			last = like.entries[same[i]-1].set
		}
		if !slices.Equal(like.sets[last], g) {
			return false
		}
		r.entries[i].set = last
	}
	r.sets, r.names = like.sets, like.names
	return true
}

// setTable gives each different list of groups a number. Number 0 is the empty list, which has no entry of
// its own in the table until there is another one.
type setTable struct {
	sets    [][]string
	handles []unique.Handle[string]
	byKey   map[string]uint32
	shared  map[string]string // a group's name in the process's table
	last    uint32
}

func (t *setTable) index(groups []string) uint32 {
	if t.sets == nil {
		t.sets = [][]string{nil}
	}
	// Contacts of one group often follow each other, and most rosters have one list or two.
	if slices.Equal(t.sets[t.last], groups) {
		return t.last
	}
	if t.byKey == nil {
		t.byKey = make(map[string]uint32)
		t.shared = make(map[string]string)
	}
	// Lengths make the key unambiguous whatever the names contain.
	var scratch [128]byte
	key := scratch[:0]
	for _, g := range groups {
		key = append(strconv.AppendInt(key, int64(len(g)), 10), ':')
		key = append(key, g...)
	}
	n, ok := t.byKey[string(key)]
	if !ok {
		n = uint32(len(t.sets))
		t.sets = append(t.sets, t.share(groups))
		t.byKey[string(key)] = n
	}
	t.last = n
	return n
}

// share is the list with its strings replaced by those of the process's table.
func (t *setTable) share(groups []string) []string {
	out := make([]string, len(groups))
	for i, g := range groups {
		s, ok := t.shared[g]
		if !ok {
			h := unique.Make(g)
			t.handles = append(t.handles, h)
			s = h.Value()
			t.shared[s] = s
		}
		out[i] = s
	}
	return out
}

// Len is the number of contacts.
func (r *Roster) Len() int {
	if r == nil {
		return 0
	}
	return len(r.entries)
}

func (r *Roster) item(i int) Item {
	e := &r.entries[i]
	it := Item{JID: e.jid.Value(), Name: e.name.Value(), Subscription: e.sub, Ask: e.ask}
	if e.set != 0 {
		it.Groups = r.sets[e.set]
	}
	return it
}

// Get is the item of a contact; the address is taken bare.
func (r *Roster) Get(j jid.JID) (Item, bool) {
	j = j.Bare()
	n := r.Len()
	i := sort.Search(n, func(i int) bool { return r.entries[i].jid.Value().Compare(j) >= 0 })
	if i == n || r.entries[i].jid.Value() != j {
		return Item{}, false
	}
	return r.item(i), true
}

// All gives the items in the order of their addresses.
func (r *Roster) All() iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for i := range r.Len() {
			if !yield(r.item(i)) {
				return
			}
		}
	}
}

// Equal says that two rosters have the same items.
func (r *Roster) Equal(o *Roster) bool {
	if r == o || r.Len() != o.Len() {
		return r.Len() == o.Len()
	}
	for i := range r.Len() {
		if r.entries[i].jid != o.entries[i].jid || !sameEntry(r, i, o, i) {
			return false
		}
	}
	return true
}

// sameEntry compares two items that have one address.
func sameEntry(r *Roster, i int, o *Roster, k int) bool {
	a, b := &r.entries[i], &o.entries[k]
	if a.name != b.name || a.sub != b.sub || a.ask != b.ask {
		return false
	}
	if a.set == 0 || b.set == 0 {
		return a.set == b.set
	}
	return slices.Equal(r.sets[a.set], o.sets[b.set])
}

// shown is how much of a key, a value or an error is repeated in messages: the service decides how long
// they are, and the messages are logged.
const shown = 120

// cut is the beginning of s when s is long.
func cut(s string) string {
	if len(s) <= shown {
		return s
	}
	return strings.ToValidUTF8(s[:shown], "") + "..."
}
