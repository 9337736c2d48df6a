package host

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// Registry is the server's virtual hosts. Whatever goes to an address goes through its methods: sessions are asked for
// and delivered to here only, so that they need not all live in this process for ever.
type Registry struct {
	mu    sync.RWMutex
	hosts map[string]*Host

	copied atomic.Int64
}

// WantCopies counts one more session, or one less, for which messages are to be led through the stage Copied.
func (r *Registry) WantCopies(n int64) { r.copied.Add(n) }

// CopiesWanted tells whether there is any.
func (r *Registry) CopiesWanted() bool { return r.copied.Load() > 0 }

// NewRegistry makes a registry without hosts.
func NewRegistry() *Registry { return &Registry{hosts: make(map[string]*Host)} }

func (r *Registry) add(h *Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.hosts[h.Name()]; twice {
		return fmt.Errorf("host %q is configured twice", h.Name())
	}
	r.hosts[h.Name()] = h
	return nil
}

// Host gives the host of a domain, nil when it is not ours.
func (r *Registry) Host(domain string) *Host {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hosts[domain]
}

// Sessions gives the bound sessions of an account, in the order in which they were bound; the list is not to be
// changed.
func (r *Registry) Sessions(account jid.JID) []*session.Session {
	if h := r.Host(account.Domain()); h != nil {
		return h.online.of(account.Local())
	}
	return nil
}

// Session gives the bound session with a full JID, nil when there is none.
func (r *Registry) Session(full jid.JID) *session.Session { return find(r.Sessions(full), full) }

// Deliver brings a stanza to its address.
func (r *Registry) Deliver(ctx context.Context, p *Passage) {
	from := p.Host
	to := r.Host(p.To.Domain())
	if to == nil { // RFC 6120 section 10.4: there is no federation
		from.replyError(p, stanza.NewError(stanza.RemoteServerNotFound,
			"this server does not talk to other servers"))
		return
	}
	p.Host = to
	to.deliver(ctx, p)
}

// Broadcast brings a presence to one of its sender's contacts. p is the caller's to use again.
func (r *Registry) Broadcast(ctx context.Context, p *Passage, contact jid.JID) {
	h := r.Host(contact.Domain())
	if h == nil || len(h.online.of(contact.Local())) == 0 { // most contacts of most users, most of the time
		return
	}
	st := *p.Stanza
	st.To = contact
	q := Passage{Stanza: &st, Host: h, Broadcast: true, wire: p.Wire().To(contact.String()), isWire: true}
	h.deliverAccount(ctx, &q)
}
