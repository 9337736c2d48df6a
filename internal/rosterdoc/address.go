package rosterdoc

import (
	"unique"

	"rollcall/internal/jid"
)

// Address gives the address of contact i, as the process's table has it, and the subscription: what is needed to look
// many contacts up in a map by address, where most are not found. Comparing and hashing a handle is that of a pointer.
func (r *Roster) Address(i int) (unique.Handle[jid.JID], Subscription) {
	e := &r.entries[i]
	return e.jid, e.sub
}

// At gives contact i in the order of addresses, 0 <= i < Len.
func (r *Roster) At(i int) Item { return r.item(i) }
