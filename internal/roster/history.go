package roster

import (
	"cmp"
	"context"
	"slices"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/store"
)

// A Step is what becomes of one contact, and the version that a client has with it and the steps before.
type Step struct {
	rosterdoc.Change
	Ver string
}

// Since tells what is different from a version that a client has (RFC 6121 section 2.6): done gets the roster that is
// known then and, when the version is known too, one step for each contact that is not as it was, in the order of their
// last changes. It is called by the owner with a roster known; done is called by the owner, now or soon.
func (u *User) Since(have string, done func(k *Known, steps []Step, ok bool)) {
	k := u.Current()
	p, ok := parsePlace(have)
	switch {
	case !ok || p.to.version > k.Version:
		done(k, nil, false)
	case p.from.version == k.Version:
		done(k, nil, p.to == k.mark())
	default:
		u.lookBack(p, lookBacks, done)
	}
}

// lookBacks is how often the journal is read for one question, should the roster change meanwhile.
const lookBacks = 5

func (u *User) lookBack(p place, tries int, done func(*Known, []Step, bool)) {
	from := p.from
	if from.version == 0 { // there is no journal of how it came to be
		from = p.to
	}
	read := func() {
		changes, err := u.engine.keep.history(u.engine.ctx, u.name, from.version)
		u.Do(func() {
			k := u.Current()
			switch steps, complete, known := k.stepsSince(p, from, changes); {
			case err != nil:
				u.engine.opts.Log.Error("the journal of a roster cannot be read", "user", u.name, "error", err)
				done(k, nil, false)
			case !known:
				done(k, nil, false)
			case complete:
				done(k, steps, true)
			case tries > 1:
				u.lookBack(p, tries-1, done)
			default:
				done(k, nil, false)
			}
		})
	}
	if !u.engine.spawn(read) {
		done(u.Current(), nil, false)
	}
}

// stepsSince gives the steps from a place, as a journal from some version on tells. known is false when the journal does
// not have what the place names, complete when it reaches to the roster's own version.
func (k *Known) stepsSince(p place, from mark, journal []change) (steps []Step, complete, known bool) {
	if len(journal) == 0 || journal[0].mark() != from {
		return nil, false, false
	}
	before, after := newLeg(), newLeg() // the way to p.to that was begun, and the way from there
	reached := from
	arrived := from == p.to
	for _, c := range journal[1:] {
		if c.version > k.Version {
			break // it is stored, and not applied yet
		}
		if c.version != reached.version+1 {
			return nil, false, false // a gap
		}
		reached = c.mark()
		if c.version <= p.to.version {
			before.add(&c)
		} else {
			after.add(&c)
		}
		arrived = arrived || reached == p.to
	}
	if reached.version < k.Version {
		return nil, false, true
	}
	if !arrived {
		return nil, false, false
	}
	then := func(contact jid.JID) (rosterdoc.Item, bool) { // as it was in p.to
		if i, changed := after.index[contact]; changed {
			return after.changes[i].before, after.changes[i].had
		}
		return k.Roster.Get(contact)
	}
	if p.from.version == 0 {
		steps = p.theRest(k.asOf(after))
	} else {
		steps = before.steps(p, then)
	}
	return append(steps, after.steps(place{from: p.to, to: k.mark()}, k.Roster.Get)...), true, true
}

// asOf gives the roster as it was before the changes of a leg.
func (k *Known) asOf(l *leg) *rosterdoc.Roster {
	items := make([]rosterdoc.Item, 0, k.Roster.Len()+len(l.changes))
	for item := range k.Roster.All() {
		if _, changed := l.index[item.JID]; !changed {
			items = append(items, item)
		}
	}
	for i := range l.changes {
		if l.changes[i].had {
			items = append(items, l.changes[i].before)
		}
	}
	return rosterdoc.Build(items)
}

// theRest gives the steps to the roster of p.to for a client that has its first contacts.
func (p place) theRest(r *rosterdoc.Roster) (steps []Step) {
	n := int64(0)
	for item := range r.All() {
		if n++; n > p.via {
			steps = append(steps, Step{rosterdoc.Change{Kind: rosterdoc.Added, New: item}, place{p.from, p.to, n}.ver()})
		}
	}
	return arriving(steps, p.to)
}

// arriving gives steps the last of which leads to a version.
func arriving(steps []Step, to mark) []Step {
	if len(steps) > 0 {
		steps[len(steps)-1].Ver = to.ver()
	}
	return steps
}

// leg is the way from one version to another: what changed, contact by contact.
type leg struct {
	index   map[jid.JID]int // in changes
	changes []past
}

// past is a contact as it was before its changes.
type past struct {
	contact jid.JID
	before  rosterdoc.Item
	had     bool  // it was there
	last    int64 // the version of the last of its changes
}

func newLeg() *leg { return &leg{index: make(map[jid.JID]int)} }

func (l *leg) add(c *change) {
	contact := c.contact()
	i, seen := l.index[contact]
	if !seen {
		i = len(l.changes)
		l.index[contact] = i
		l.changes = append(l.changes, past{contact: contact, before: c.Old, had: c.Kind != rosterdoc.Added})
	}
	l.changes[i].last = c.version
}

// steps leads on from a place on a leg: now tells how contacts are at its end.
func (l *leg) steps(p place, now func(jid.JID) (rosterdoc.Item, bool)) (steps []Step) {
	inOrder := slices.SortedFunc(slices.Values(l.changes), func(a, b past) int { return cmp.Compare(a.last, b.last) })
	for i := range inOrder {
		c := &inOrder[i]
		if c.last <= p.via {
			continue // the client has it
		}
		item, has := now(c.contact)
		if change, differs := c.compare(item, has); differs {
			steps = append(steps, Step{change, place{p.from, p.to, c.last}.ver()})
		}
	}
	return arriving(steps, p.to)
}

func (p *past) compare(now rosterdoc.Item, has bool) (rosterdoc.Change, bool) {
	switch {
	case p.had && !has:
		return rosterdoc.Change{Kind: rosterdoc.Removed, Old: p.before}, true
	case !p.had && has:
		return rosterdoc.Change{Kind: rosterdoc.Added, New: now}, true
	case p.had && !p.before.Equal(now):
		return rosterdoc.Change{Kind: rosterdoc.Changed, Old: p.before, New: now}, true
	}
	return rosterdoc.Change{}, false
}

func (c *change) mark() mark { return mark{c.version, c.tag} }

func (c *change) contact() jid.JID {
	if c.Kind == rosterdoc.Added {
		return c.New.JID
	}
	return c.Old.JID
}

// history gives what a user's roster has changed from a version on, that one included, in order: from the store, and
// what is not written yet.
func (k *keeper) history(ctx context.Context, name string, from int64) ([]change, error) {
	recent, reset := k.unwritten(name)
	if reset || k.store == nil {
		i := slices.IndexFunc(recent, func(c change) bool { return c.version >= from })
		return recent[max(i, 0):], nil
	}
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	rows, err := k.store.RosterJournal(ctx, k.host, name, from)
	if err != nil {
		return nil, err
	}
	all := make([]change, 0, len(rows)+len(recent))
	for _, row := range rows {
		c, err := changeOf(row)
		if err != nil {
			return nil, errStored(name, err)
		}
		all = append(all, c)
	}
	for _, c := range recent { // some may have been written meanwhile
		if c.version >= from && (len(all) == 0 || c.version > all[len(all)-1].version) {
			all = append(all, c)
		}
	}
	return all, nil
}

// unwritten gives a user's changes that wait to be written. reset says that they are all there are.
func (k *keeper) unwritten(name string) (all []change, reset bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, where := range []map[string]*save{k.writing, k.pending} {
		if s := where[name]; s != nil {
			if s.reset {
				all, reset = nil, true
			}
			all = append(all, s.changes...)
		}
	}
	return all, reset
}

// changeOf reads a row of the journal. What the contact became is not in it.
func changeOf(row store.RosterChange) (change, error) {
	c := change{version: row.Version, tag: row.Tag, at: row.At}
	if row.Contact == "" {
		return c, nil
	}
	if row.Before == nil {
		j, err := jid.Parse(row.Contact)
		c.Kind, c.New.JID = rosterdoc.Added, j
		return c, err
	}
	old, err := rosterdoc.DecodeItem(row.Before)
	c.Kind, c.Old = rosterdoc.Changed, old
	return c, err
}
