package rosterdoc

import (
	"math"
	"slices"
	"sort"
	"sync"
	"unique"
	"unsafe"

	"rollcall/internal/jid"
)

// quickly reads a document in which nothing is out of the ordinary: the main form, strings where there should be, at
// most scalars where nobody knows the member, nothing wrong and nothing to be told. It gives nil for everything else,
// also for what is no JSON: the decoder then reads the document from its beginning, decides, and says why. So it must
// only be right in what it takes, to which FuzzQuick holds it. What an older roster has is compared with the bytes
// of the document and taken over, without a string being made.
//
// The strings that it works with are pieces of b itself, which is not copied: the roster has its own of what it keeps, as the
// table of unique values has. Nobody may change b meanwhile.
func quickly(b []byte, o *Options) *Roster {
	q := quicks.Get().(*quick)
	defer q.release()
	q.begin(b, o.Like, o)
	if !q.document(o.MaxItems, q.contact) {
		return nil
	}
	return q.roster()
}

// quick is one quick pass over one document, or patch.
type quick struct {
	scan
	like  *Roster
	owner jid.JID

	found   []quickItem
	slots   []int32  // for each contact of like, 1 + where it is in found
	news    []int32  // of found, those that like has not
	raw     []string // the groups of one contact
	kept    []string // the groups of all contacts: those that have groups of their own have a piece of it
	others  []string // the names of one contact's members that nobody knows
	hint    uint16   // where in like the next contact may be, as in entry.next
	lastSet uint32   // of like.sets, the one found last
	same    int      // contacts that are in like as they are
	own     bool     // there are groups that are not among like's lists
}

// quickItem is a contact as the document has it.
type quickItem struct {
	entry
	was    int32    // 1 + where like has it, 0 if nowhere
	groups []string // when set does not say it
	gone   bool     // a patch takes it out
}

var quicks = sync.Pool{New: func() any { return new(quick) }}

func (q *quick) begin(b []byte, like *Roster, o *Options) {
	q.scan, q.like, q.owner = scan{doc: unsafe.String(unsafe.SliceData(b), len(b))}, like, o.Owner
	q.makeRoom(o.MaxItems)
}

func (q *quick) makeRoom(most int) {
	const shortest = 32 // bytes of a contact with a short address and nothing else
	if n := min(q.like.Len()+1, len(q.doc)/shortest, most); n > cap(q.found) {
		q.found = make([]quickItem, 0, n)
	}
	q.slots = slices.Grow(q.slots, q.like.Len())[:q.like.Len()]
	clear(q.slots)
	if q.like != nil {
		q.hint = q.like.first
	}
}

func (q *quick) release() {
	if max(cap(q.found), cap(q.slots), cap(q.kept)) > 4*keepCapacity {
		return
	}
	clear(q.found) // nothing of a document or a roster is held
	clear(q.kept)
	clear(q.raw[:cap(q.raw)])
	clear(q.others[:cap(q.others)])
	*q = quick{found: q.found[:0], slots: q.slots[:0], news: q.news[:0], raw: q.raw[:0],
		kept: q.kept[:0], others: q.others[:0]}
	quicks.Put(q)
}

// document reads the whole input, one object, whose members contact reads.
func (q *quick) document(most int, contact func() bool) bool {
	if !q.take('{') {
		return false
	}
	for more := !q.take('}'); more; {
		if len(q.found) == most || !contact() {
			return false
		}
		switch {
		case q.take('}'):
			more = false
		case !q.take(','):
			return false
		}
	}
	q.next()
	return q.i == len(q.doc)
}

// contact reads an address and its item.
func (q *quick) contact() bool {
	it := q.key()
	if it == nil || !q.item(it) {
		return false
	}
	if it.was > 0 && it.groups == nil {
		old := &q.like.entries[it.was-1]
		if it.name == old.name && it.set == old.set && it.sub == old.sub && it.ask == old.ask {
			q.same++
		}
	}
	return true
}

// key reads the address of a contact that is not there yet; nil when there is something to be told of it.
func (q *quick) key() *quickItem {
	key, ok := q.text()
	if !ok || !q.take(':') {
		return nil
	}
	q.found = append(q.found, quickItem{})
	it := &q.found[len(q.found)-1]
	it.name, it.sub = noName, Both
	if !q.address(it, key) {
		return nil
	}
	return it
}

// item reads an object, the members of an item.
func (q *quick) item(it *quickItem) bool {
	if !q.take('{') {
		return false
	}
	var seen uint8
	q.others = q.others[:0]
	for more := !q.take('}'); more; {
		name, ok := q.text()
		if !ok || !q.take(':') || !q.member(it, name, &seen) {
			return false
		}
		switch {
		case q.take('}'):
			more = false
		case !q.take(','):
			return false
		}
	}
	return true
}

// address finds the contact in the older roster, or makes its address.
func (q *quick) address(it *quickItem, key string) bool {
	if it.was = q.find(key); it.was == 0 {
		j, err := jid.Parse(key)
		if err != nil || j.IsFull() || j == q.owner {
			return false
		}
		if it.was = q.find(j.String()); it.was == 0 { // another spelling
			q.news = append(q.news, int32(len(q.found)-1))
			it.jid = unique.Make(j)
			return true
		}
	}
	old := &q.like.entries[it.was-1]
	if q.slots[it.was-1] != 0 || old.jid.Value() == q.owner {
		return false
	}
	q.slots[it.was-1] = int32(len(q.found))
	it.jid, q.hint = old.jid, old.next
	return true
}

// find gives 1 + where the older roster has a contact, 0 if nowhere. It looks first where the contact was in the document
// that the roster was read from.
func (q *quick) find(address string) int32 {
	n := q.like.Len()
	is := func(i int) bool { return i < n && q.like.entries[i].jid.Value().String() == address }
	if h := int(q.hint); h > 0 && is(h-1) {
		return int32(h)
	}
	i := sort.Search(n, func(i int) bool { return q.like.entries[i].jid.Value().String() >= address })
	if !is(i) {
		return 0
	}
	return int32(i + 1)
}

// The members that are known, as bits: each may be there once.
const (
	seenName = 1 << iota
	seenGroups
	seenSubscription
	seenAsk
)

// member reads the value of one member of an item. Null is the default, which in a patch may not be what the item has.
func (q *quick) member(it *quickItem, name string, seen *uint8) bool {
	bit := uint8(0)
	switch name {
	case "name":
		bit = seenName
	case "groups":
		bit = seenGroups
	case "subscription":
		bit = seenSubscription
	case "ask":
		bit = seenAsk
	default:
		return q.other(name)
	}
	if *seen&bit != 0 {
		return false
	}
	*seen |= bit
	switch {
	case q.next() == 'n':
		it.reset(bit)
		return q.word("null")
	case bit == seenGroups:
		it.reset(bit)
		return q.groups(it)
	}
	value, ok := q.text()
	if !ok {
		return false
	}
	switch bit {
	case seenName:
		return q.name(it, value)
	case seenSubscription:
		sub, err := ParseSubscription(value)
		it.sub = sub
		return err == nil
	default:
		it.ask = true
		return value == "subscribe"
	}
}

// reset puts a member back to its default.
func (it *quickItem) reset(member uint8) {
	switch member {
	case seenName:
		it.name = noName
	case seenGroups:
		it.set, it.groups = 0, nil
	case seenSubscription:
		it.sub = Both
	case seenAsk:
		it.ask = false
	}
}

// other reads a member that nobody knows.
func (q *quick) other(name string) bool {
	const most = 16 // such members of one item: looking through them is cheap
	for _, o := range q.others {
		if o == name {
			return false
		}
	}
	q.others = append(q.others, name)
	return len(q.others) <= most && q.scalar()
}

func (q *quick) name(it *quickItem, value string) bool {
	if len(value) == 0 {
		it.name = noName
		return true
	}
	if it.was > 0 {
		if old := q.like.entries[it.was-1].name; old.Value() == value {
			it.name = old
			return true
		}
	}
	it.name = unique.Make(value)
	return badText(value) == ""
}

// groups reads groups in their three forms.
func (q *quick) groups(it *quickItem) bool {
	q.raw = q.raw[:0]
	ok := false
	switch q.next() {
	case '[':
		ok = q.groupList()
	case '{':
		ok = q.groupObject()
	default:
		ok = q.group()
	}
	if !ok || len(q.raw) == 0 {
		return ok
	}
	if !strictlySorted(q.raw) {
		slices.Sort(q.raw)
		q.raw = slices.Compact(q.raw)
	}
	if q.sameSet(it) {
		return true
	}
	start := len(q.kept)
	for _, g := range q.raw {
		if badText(g) != "" {
			return false
		}
		q.kept = append(q.kept, g)
	}
	it.groups = q.kept[start:len(q.kept):len(q.kept)]
	q.own = true
	return true
}

// sameSet looks for the groups just read where they are looked for first: with the same contact, or with the one before.
func (q *quick) sameSet(it *quickItem) bool {
	if q.like == nil || q.like.sets == nil {
		return false
	}
	if it.was > 0 {
		q.lastSet = q.like.entries[it.was-1].set
	}
	set := q.like.sets[q.lastSet]
	if len(set) != len(q.raw) {
		return false
	}
	for i, g := range q.raw {
		if set[i] != g {
			return false
		}
	}
	it.set = q.lastSet
	return true
}

func (q *quick) groupList() bool {
	q.take('[')
	if q.take(']') {
		return true
	}
	for {
		if !q.group() {
			return false
		}
		if q.take(']') {
			return true
		}
		if !q.take(',') {
			return false
		}
	}
}

// group reads one group.
func (q *quick) group() bool {
	g, ok := q.text()
	q.raw = append(q.raw, g)
	return ok && len(g) > 0 && len(q.raw) <= MaxGroups
}

// groupObject reads the form that the module has. The members that are false have to be told apart as well.
func (q *quick) groupObject() bool {
	q.take('{')
	if q.take('}') {
		return true
	}
	in := 0 // of raw, the first ones are groups of the contact
	for {
		if !q.group() || !q.take(':') {
			return false
		}
		last := len(q.raw) - 1
		for _, g := range q.raw[:last] {
			if g == q.raw[last] {
				return false
			}
		}
		switch q.next() {
		case 't':
			if !q.word("true") {
				return false
			}
			q.raw[in], q.raw[last] = q.raw[last], q.raw[in]
			in++
		case 'f':
			if !q.word("false") {
				return false
			}
		default:
			return false
		}
		if q.take('}') {
			q.raw = q.raw[:in]
			return true
		}
		if !q.take(',') {
			return false
		}
	}
}

// roster makes the roster of what was found; nil when an address is there twice.
func (q *quick) roster() *Roster {
	if q.like != nil && q.same == len(q.found) && q.same == q.like.Len() {
		return q.like
	}
	news := q.news
	byAddress := func(a, b int32) int { return q.found[a].jid.Value().Compare(q.found[b].jid.Value()) }
	slices.SortFunc(news, byAddress)
	for i := 1; i < len(news); i++ {
		if q.found[news[i-1]].jid == q.found[news[i]].jid {
			return nil
		}
	}
	r := &Roster{entries: make([]entry, 0, len(q.found))}
	for i, at := range q.slots {
		if at == 0 {
			continue
		}
		for len(news) > 0 && q.found[news[0]].jid.Value().Compare(q.like.entries[i].jid.Value()) < 0 {
			r.add(&q.found[news[0]])
			news = news[1:]
		}
		r.add(&q.found[at-1])
	}
	for _, at := range news {
		r.add(&q.found[at])
	}
	if q.own {
		q.makeSets(r)
	} else if q.like != nil {
		r.sets, r.names = q.like.sets, q.like.names
	}
	q.rememberOrder(r)
	return r
}

// add appends a contact, and notes in was where it is from now on.
func (r *Roster) add(it *quickItem) {
	r.entries = append(r.entries, it.entry)
	it.was = int32(len(r.entries))
}

// makeSets gives a roster group lists of its own.
func (q *quick) makeSets(r *Roster) {
	var table setTable
	for i := range q.found {
		it := &q.found[i]
		groups := it.groups
		if groups == nil && it.set != 0 {
			groups = q.like.sets[it.set]
		}
		if at := &r.entries[it.was-1]; len(groups) > 0 {
			at.set = table.index(groups)
		} else {
			at.set = 0
		}
	}
	r.sets, r.names = table.sets, table.handles
}

// rememberOrder notes for each contact which one follows it in the document, so that they are found at once in the next.
func (q *quick) rememberOrder(r *Roster) {
	last := &r.first
	for i := range q.found {
		at := q.found[i].was
		if *last = uint16(at); at > math.MaxUint16 {
			*last = 0
		}
		last = &r.entries[at-1].next
	}
	*last = 0
}
