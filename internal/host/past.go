package host

import (
	"container/list"
	"slices"
	"sync"

	"rollcall/internal/session"
)

// past remembers sessions that have ended, for clients that come back too late and want to know which of their stanzas
// were handled (XEP-0198 section 5). It is in memory only.
type past struct {
	mu    sync.Mutex
	order list.List // of *memory, the oldest first
	users map[string][]*list.Element
}

type memory struct {
	local   string
	receipt session.Receipt
}

// Bounds on what is remembered; reliability asks for 10 sessions of a user.
const (
	pastPerUser = 10
	pastTotal   = 20_000
)

func (p *past) add(local string, r session.Receipt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == nil {
		p.users = make(map[string][]*list.Element)
	}
	if slices.ContainsFunc(p.users[local], func(e *list.Element) bool { return e.Value.(*memory).receipt == r }) {
		return
	}
	if of := p.users[local]; len(of) >= pastPerUser {
		p.forget(of[0])
	}
	for p.order.Len() >= pastTotal {
		p.forget(p.order.Front())
	}
	p.users[local] = append(p.users[local], p.order.PushBack(&memory{local, r}))
}

func (p *past) forget(e *list.Element) {
	local := p.order.Remove(e).(*memory).local
	of := slices.DeleteFunc(p.users[local], func(other *list.Element) bool { return other == e })
	if len(of) == 0 {
		delete(p.users, local)
		return
	}
	p.users[local] = of
}

func (p *past) find(local, id string, credential uint64) (session.Receipt, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.users[local] {
		if r := e.Value.(*memory).receipt; r.For(id, credential) {
			return r, true
		}
	}
	return session.Receipt{}, false
}
