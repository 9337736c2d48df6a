package roster

import (
	"cmp"
	"context"
	"math"
	"slices"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/store"
)

// A Step is what became of one contact since a version, and the version that a client has with it and those before.
type Step struct {
	rosterdoc.Change
	Ver string
}

// Since tells what is different from a version that a client has (RFC 6121 section 2.6): done gets the roster that is
// known then and, when the version is known too, one step for each contact that is not as it was, in the order of their
// versions. It is called by the owner with a roster known; done is called by the owner, now or soon.
func (u *User) Since(have string, done func(k *Known, steps []Step, ok bool)) {
	k := u.Current()
	version, tag, ok := parseVer(have)
	switch {
	case !ok || version > k.Version:
		done(k, nil, false)
	case version == k.Version:
		done(k, nil, tag == k.Tag)
	default:
		u.lookBack(have, version, tag, lookBacks, done)
	}
}

// lookBacks is how often the journal is read for one question, should the roster change meanwhile.
const lookBacks = 5

func (u *User) lookBack(have string, version int64, tag string, tries int, done func(*Known, []Step, bool)) {
	read := func() {
		changes, err := u.engine.keep.history(u.engine.ctx, u.name, version)
		u.Do(func() {
			k := u.Current()
			switch steps, complete, known := k.stepsSince(version, tag, changes); {
			case err != nil:
				u.engine.opts.Log.Error("the journal of a roster cannot be read", "user", u.name, "error", err)
				done(k, nil, false)
			case !known:
				done(k, nil, false)
			case complete:
				done(k, steps, true)
			case tries > 1:
				u.lookBack(have, version, tag, tries-1, done)
			default:
				done(k, nil, false)
			}
		})
	}
	if !u.engine.spawn(read) {
		done(u.Current(), nil, false)
	}
}

// past is a contact as it was at a version.
type past struct {
	contact     jid.JID
	before      rosterdoc.Item
	had         bool  // it was there
	first, last int64 // versions of its changes since
	tag         string
	whole       bool // with this contact and those before, a client has all of the version last
}

// stepsSince compares with what a journal says that was at a version. known is false when the journal does not have the
// version, complete when it reaches to the roster's own.
func (k *Known) stepsSince(version int64, tag string, journal []change) (steps []Step, complete, known bool) {
	if len(journal) == 0 || journal[0].version != version || journal[0].tag != tag {
		return nil, false, false
	}
	place := make(map[jid.JID]int) // in then
	var then []past
	at := version
	for _, c := range journal[1:] {
		if c.version > k.Version {
			break // it is stored, and not applied yet
		}
		if c.version != at+1 {
			return nil, false, false // a gap
		}
		at = c.version
		contact := c.contact()
		i, seen := place[contact]
		if !seen {
			i = len(then)
			place[contact] = i
			then = append(then, past{contact: contact, before: c.Old, had: c.Kind != rosterdoc.Added, first: c.version})
		}
		then[i].last, then[i].tag = c.version, c.tag
	}
	if at < k.Version {
		return nil, false, true
	}
	markWhole(then)
	have := ver(version, tag)
	for i := range then {
		if then[i].whole {
			have = ver(then[i].last, then[i].tag)
		}
		if c, differs := then[i].compare(k.Roster); differs {
			steps = append(steps, Step{c, have})
		}
	}
	return steps, true, true
}

// markWhole puts contacts in the order of their last changes and finds out which versions a client has that was cut off
// on the way: it lacks what changed later, and so it has a version only if none of that had changed by then as well.
func markWhole(then []past) {
	slices.SortFunc(then, func(a, b past) int { return cmp.Compare(a.last, b.last) })
	next := int64(math.MaxInt64) // the first change of those that come later
	for i := len(then) - 1; i >= 0; i-- {
		then[i].whole = then[i].last < next
		next = min(next, then[i].first)
	}
}

func (p *past) compare(r *rosterdoc.Roster) (rosterdoc.Change, bool) {
	now, has := r.Get(p.contact)
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
