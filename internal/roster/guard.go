package roster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/internal/rosterdoc"
)

// guardContacts is how many contacts a fetched roster may remove, however few there are (the contract's section 1).
const guardContacts = 20

// ErrHeld: the new roster would remove most of the contacts, and nobody has confirmed it yet.
var ErrHeld = errors.New("held")

// suspicious tells whether a fetched roster is to be believed only when a later fetch says the same: it "would remove
// more than half of a list and more than 20 contacts", or it has no contact at all because none of those in the document
// was good, which is what an error message in JSON looks like.
func suspicious(old *Known, next *Known, removed int) bool {
	if removed > guardContacts && removed*2 > old.Roster.Len() {
		return true
	}
	broken := slices.ContainsFunc(next.Dropped, func(d rosterdoc.Dropped) bool { return !d.Warning })
	return removed > 0 && next.Roster.Len() == 0 && broken
}

// guard keeps a fetched roster back that is suspicious, unless the fetch before has said the same. It is called by the
// owner and gives what is held, nil when the roster may be applied.
func (u *User) guard(old, next *Known, changes []rosterdoc.Change) *Held {
	before := u.held.Load()
	if !u.engine.tuning.Load().Guard || old == nil {
		u.held.Store(nil)
		return nil
	}
	h := &Held{Next: next, Since: time.Now()}
	h.Added, h.Removed, h.Changed = count(changes)
	if !suspicious(old, next, h.Removed) || before != nil && before.Next.Roster.Equal(next.Roster) {
		u.held.Store(nil)
		return nil
	}
	u.held.Store(h)
	u.engine.opts.Log.Warn("roster held: it would remove most of the contacts",
		"user", u.name, "contacts", old.Roster.Len(), "removed", h.Removed)
	return h
}

func (h *Held) err(known int) error {
	return fmt.Errorf("%w: the service's roster would remove %d of %d contacts; it is applied when a later fetch says the same, "+
		"or when it is confirmed", ErrHeld, h.Removed, known)
}

func count(changes []rosterdoc.Change) (added, removed, changed int) {
	for _, c := range changes {
		switch c.Kind {
		case rosterdoc.Added:
			added++
		case rosterdoc.Removed:
			removed++
		case rosterdoc.Changed:
			changed++
		}
	}
	return added, removed, changed
}
