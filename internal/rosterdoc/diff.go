package rosterdoc

// ChangeKind says what happened to a contact between two rosters.
type ChangeKind uint8

// Added, Removed and Changed are what may happen to a contact.
const (
	Added   ChangeKind = iota + 1 // only New is set
	Removed                       // only Old is set
	Changed                       // both are set, with one address, and they differ
)

// String is the kind as logs show it.
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Removed:
		return "removed"
	case Changed:
		return "changed"
	}
	return "unknown"
}

// A Change is what happened to one contact.
type Change struct {
	Old, New Item
	Kind     ChangeKind
}

// Diff is what turns old into new, in the order of the addresses, one change for a contact at most; nil
// when they are equal. It is one pass over both. A nil roster is an empty one.
func Diff(old, new *Roster) []Change {
	var changes []Change
	i, k := 0, 0
	for i < old.Len() && k < new.Len() {
		if old.entries[i].jid == new.entries[k].jid {
			if !sameEntry(old, i, new, k) {
				changes = append(changes, Change{Old: old.item(i), New: new.item(k), Kind: Changed})
			}
			i++
			k++
			continue
		}
		if old.entries[i].jid.Value().Compare(new.entries[k].jid.Value()) < 0 {
			changes = append(changes, Change{Old: old.item(i), Kind: Removed})
			i++
		} else {
			changes = append(changes, Change{New: new.item(k), Kind: Added})
			k++
		}
	}
	for ; i < old.Len(); i++ {
		changes = append(changes, Change{Old: old.item(i), Kind: Removed})
	}
	for ; k < new.Len(); k++ {
		changes = append(changes, Change{New: new.item(k), Kind: Added})
	}
	return changes
}
