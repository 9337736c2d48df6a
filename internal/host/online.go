package host

import (
	"hash/maphash"
	"slices"
	"sync"

	"rollcall/internal/jid"
	"rollcall/internal/session"
)

// online is the table of a host's bound sessions, by account. It is split in parts with a lock each, and an
// account's list is replaced rather than changed, so that whoever reads one holds no lock while using it.
type online struct {
	seed  maphash.Seed
	once  sync.Once
	parts [64]part
}

type part struct {
	mu       sync.RWMutex
	accounts map[string][]*session.Session // by localpart
}

func (o *online) part(local string) *part {
	o.once.Do(func() { o.seed = maphash.MakeSeed() })
	return &o.parts[maphash.String(o.seed, local)%uint64(len(o.parts))]
}

// add adds a session, unless its resource is in use (old is the session that has it) or the account has max
// sessions already.
func (o *online) add(s *session.Session, max int) (old *session.Session, full bool) {
	p := o.part(s.JID().Local())
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.accounts[s.JID().Local()]
	for _, other := range list {
		if other.JID() == s.JID() {
			return other, false
		}
	}
	if len(list) >= max {
		return nil, true
	}
	if p.accounts == nil {
		p.accounts = make(map[string][]*session.Session)
	}
	p.accounts[s.JID().Local()] = append(slices.Clip(list), s)
	return nil, false
}

func (o *online) remove(s *session.Session) {
	p := o.part(s.JID().Local())
	p.mu.Lock()
	defer p.mu.Unlock()
	local := s.JID().Local()
	list := p.accounts[local]
	i := slices.Index(list, s)
	if i < 0 {
		return
	}
	if len(list) == 1 {
		delete(p.accounts, local)
		return
	}
	p.accounts[local] = slices.Concat(list[:i], list[i+1:])
}

// of gives an account's sessions, not to be changed.
func (o *online) of(local string) []*session.Session {
	p := o.part(local)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.accounts[local]
}

// Sessions gives the sessions that are bound at the host, in any order.
func (h *Host) Sessions() []*session.Session { return h.online.all() }

// SessionCount gives the number of sessions that are bound at the host.
func (h *Host) SessionCount() int { return len(h.online.all()) }

// SessionsByTransport counts them by their connections' transports.
func (h *Host) SessionsByTransport() map[string]int {
	n := make(map[string]int)
	for _, s := range h.online.all() {
		n[s.Info().Transport]++
	}
	return n
}

func (o *online) all() []*session.Session {
	var all []*session.Session
	for i := range o.parts {
		p := &o.parts[i]
		p.mu.RLock()
		for _, list := range p.accounts {
			all = append(all, list...)
		}
		p.mu.RUnlock()
	}
	return all
}

// find gives the session with a full JID, nil when there is none.
func find(list []*session.Session, full jid.JID) *session.Session {
	for _, s := range list {
		if s.JID() == full {
			return s
		}
	}
	return nil
}
