package contacts

import (
	"iter"
	"sync"
	"unique"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
)

// present is the accounts of all hosts that are online, by address. Rosters have addresses as the process's table has
// them, so that looking up a contact who is offline, as most contacts of most users are, costs some nanoseconds.
type present struct {
	mu       sync.RWMutex // nothing else is locked, called or sent while it is held
	accounts map[unique.Handle[jid.JID]]struct{}
}

func (p *present) add(a unique.Handle[jid.JID]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accounts == nil {
		p.accounts = make(map[unique.Handle[jid.JID]]struct{})
	}
	p.accounts[a] = struct{}{}
}

func (p *present) remove(a unique.Handle[jid.JID]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.accounts, a)
}

// lookupBatch is how many contacts are looked up while the lock is held.
const lookupBatch = 256

// find appends to hits those contacts from number i to before n whose subscription includes a direction and who are
// online.
func (p *present) find(hits []int, r *rosterdoc.Roster, direction rosterdoc.Subscription, i, n int) []int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for ; i < n; i++ {
		address, sub := r.Address(i)
		if !sub.Has(direction) {
			continue
		}
		if _, ok := p.accounts[address]; ok {
			hits = append(hits, i)
		}
	}
	return hits
}

// among gives the contacts of a roster who are online and whose subscription includes a direction. Somebody who comes
// online meanwhile may be missed; he is going to ask for our presence, and we are asked after this, since the owner of
// the roster is who walks through it.
func (p *present) among(r *rosterdoc.Roster, direction rosterdoc.Subscription) iter.Seq[jid.JID] {
	return func(yield func(jid.JID) bool) {
		var room [lookupBatch]int
		for i := 0; i < r.Len(); i += lookupBatch {
			for _, hit := range p.find(room[:0], r, direction, i, min(i+lookupBatch, r.Len())) {
				address, _ := r.Address(hit)
				if !yield(address.Value()) {
					return
				}
			}
		}
	}
}
