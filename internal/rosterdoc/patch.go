package rosterdoc

import (
	"bytes"
	"errors"
	"fmt"
	"unique"

	"rollcall/internal/jid"
)

// Patch applies a merge patch (RFC 7396) to the contract's main form of a roster: a contact that is null is removed, an
// object changes the members that it has (null puts one back to its default) or adds the contact, and everything else
// stays. It gives a new roster; base is not changed, and a nil base is an empty one.
//
// A patch that is not strict JSON, not an object or over a limit is refused whole, as Decode refuses documents. Where
// one contact's change breaks a rule, that contact stays as it was, and the second result tells it: unlike in a
// document, what is left out of a patch is not gone. Of two changes of one contact the first stands.
func Patch(base *Roster, b []byte, o Options) (*Roster, []Dropped, error) {
	if o.MaxItems == 0 {
		o.MaxItems = DefaultMaxItems
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if len(b) > o.MaxBytes {
		return nil, nil, fmt.Errorf("rosterdoc: the patch has more than %d bytes: %w", o.MaxBytes, ErrTooLarge)
	}
	o.Owner = o.Owner.Bare()
	if r := quickPatch(base, b, &o); r != nil {
		return r, nil, nil
	}
	return patch(base, b, o)
}

// quickPatch is quickly for patches: few changes of a roster that is known, with nothing wrong and nothing to be told.
func quickPatch(base *Roster, b []byte, o *Options) *Roster {
	q := quicks.Get().(*quick)
	defer q.release()
	q.begin(b, base, o)
	if !q.document(o.MaxItems, q.change) || !worthEditing(base, len(q.found)) {
		return nil
	}
	e := newEdit(base, len(q.news))
	for i := range q.found {
		it := &q.found[i]
		if it.gone {
			e.remove(it.jid)
			continue
		}
		if it.groups != nil {
			it.set = e.set(it.groups)
		}
		e.put(it.entry)
	}
	if len(e.entries) > o.MaxItems {
		return nil
	}
	return e.roster()
}

// change reads what becomes of one contact.
func (q *quick) change() bool {
	const most = 16 // contacts that are new: looking through them is cheap
	it := q.key()
	if it == nil || len(q.news) > most {
		return false
	}
	if it.was > 0 {
		old := q.like.entries[it.was-1]
		it.name, it.set, it.sub, it.ask = old.name, old.set, old.sub, old.ask
	} else {
		for _, n := range q.news[:len(q.news)-1] {
			if q.found[n].jid == it.jid {
				return false
			}
		}
	}
	if q.next() == 'n' {
		it.gone = true
		return q.word("null")
	}
	return q.item(it)
}

// patch applies any patch. The limits are set, and it is within MaxBytes.
func patch(base *Roster, b []byte, o Options) (*Roster, []Dropped, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.doc, d.opt = string(b), o
	d.json.Reset(bytes.NewBuffer(b))
	p := patcher{decoder: d, base: base, changes: make(map[jid.JID]*Item)}
	if err := d.objectOf(p.member); err != nil {
		return nil, nil, refusal(b, err)
	}
	patched := p.patched()
	if patched.Len() > o.MaxItems {
		return nil, nil, fmt.Errorf("rosterdoc: the patch makes it more than %d contacts: %w", o.MaxItems, ErrTooLarge)
	}
	var dropped []Dropped
	for i := range d.dropped {
		dropped = append(dropped, d.dropped[i].Dropped)
	}
	return patched, dropped, nil
}

// patched makes the new roster.
func (p *patcher) patched() *Roster {
	if worthEditing(p.base, len(p.changes)) {
		e := newEdit(p.base, len(p.changes))
		for j, change := range p.changes {
			if change == nil {
				e.remove(unique.Make(j))
			} else {
				e.put(e.entry(change))
			}
		}
		return e.roster()
	}
	items := p.merged()
	return assemble(len(items), func(i int) *Item { return &items[i] }, p.base)
}

// patcher reads a patch.
type patcher struct {
	*decoder
	base    *Roster
	changes map[jid.JID]*Item // what becomes of a contact; nil: it is removed
}

// objectOf reads the whole input, one object, whose members f reads.
func (d *decoder) objectOf(f func(key string) error) error {
	if kind := d.json.PeekKind(); kind != '{' && kind != 0 {
		if err := d.skip(); err != nil {
			return err
		}
		return fmt.Errorf("the patch is %s, not an object of contacts", kindName(kind))
	}
	if err := d.members(f); err != nil {
		return err
	}
	return d.end()
}

// member reads one contact of the patch.
func (p *patcher) member(key string) error {
	if err := p.count(); err != nil {
		return err
	}
	kind := p.json.PeekKind()
	if kind == 0 {
		return p.skip() // which tells the syntax error
	}
	if kind != '{' && kind != 'n' {
		if kind == '[' && (key == "items" || key == "roster") {
			return errors.New(`a patch has contacts by address, not in a list "` + key + `"`)
		}
		p.drop(key, "is "+kindName(kind)+", neither an object nor null")
		return p.skip()
	}
	t := draft{address: key, hasJID: true, sub: Both}
	if j, err := jid.Parse(key); err == nil {
		if old, ok := p.base.Get(j); ok {
			t.name, t.groups, t.sub, t.ask = old.Name, old.Groups, old.Subscription, old.Ask
		}
	}
	read := func() error { return p.members(func(name string) error { return p.itemMember(&t, name) }) }
	if kind == 'n' {
		read = p.skip
	}
	if err := read(); err != nil {
		return err
	}
	before := len(p.found)
	p.take(key, &t)
	if len(p.found) == before {
		return nil // dropped, with the reason
	}
	it := p.found[before].Item
	p.found[before] = contact{}
	p.found = p.found[:before]
	if _, twice := p.changes[it.JID]; twice {
		p.drop(key, "is there already as "+cut(it.JID.String()))
		return nil
	}
	if kind == 'n' {
		p.changes[it.JID] = nil
		return nil
	}
	p.changes[it.JID] = &it
	return nil
}

// itemMember reads one member of a contact's change.
func (p *patcher) itemMember(t *draft, name string) error {
	if p.json.PeekKind() != 'n' {
		return p.decoder.member(t, name)
	}
	switch name {
	case "name":
		t.name = ""
	case "groups":
		t.groups = nil
	case "subscription":
		t.sub = Both
	case "ask":
		t.ask = false
	}
	return p.skip()
}

// merged gives the items of the new roster in the order of their addresses.
func (p *patcher) merged() []Item {
	items := make([]Item, 0, p.base.Len()+len(p.changes))
	for it := range p.base.All() {
		change, touched := p.changes[it.JID]
		switch {
		case !touched:
			items = append(items, it)
		case change != nil:
			items = append(items, *change)
		}
		delete(p.changes, it.JID)
	}
	added := false
	for _, change := range p.changes {
		if change != nil {
			items, added = append(items, *change), true
		}
	}
	if added {
		sortItems(items)
	}
	return items
}
