package contacts

import (
	"context"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/session"
)

// Who has blocked whom (XEP-0191) goes before what rosters say: between a user and somebody whom the user has blocked no
// presence passes, in either direction. This file is what follows when that changes.

// blocks tells whom the user has blocked; nil: nobody.
func (a *account) blocks() func(jid.JID) bool {
	if a.feature.opts.Blocks == nil {
		return nil
	}
	return a.feature.opts.Blocks(a.jid.Local())
}

// allowed is the opposite of blocked; nil: everybody is.
func allowed(blocked func(jid.JID) bool) func(jid.JID) bool {
	if blocked == nil {
		return nil
	}
	return func(j jid.JID) bool { return !blocked(j) }
}

// broadcastTo brings a presence to those of a contact's sessions that are to get it; nil: all. An item of a list may be
// about one resource alone, and then the others are addressed each by itself.
func (c *Contacts) broadcastTo(ctx context.Context, p *host.Passage, contact jid.JID, to func(session jid.JID) bool) {
	registry := c.opts.Registry
	if to == nil {
		registry.Broadcast(ctx, p, contact)
		return
	}
	sessions := registry.Sessions(contact)
	var some []*session.Session
	for _, s := range sessions {
		if to(s.JID()) {
			some = append(some, s)
		}
	}
	if len(some) == len(sessions) {
		registry.Broadcast(ctx, p, contact)
		return
	}
	for _, s := range some {
		if _, ok := s.Available(); ok && s.Announced() { // as host has it for a contact's presence
			registry.Broadcast(ctx, p, s.JID())
		}
	}
}

// BlocksChanged has presence follow a change of whom an account has blocked: those who are blocked see its end, and what
// the account sees of them ends; those who are not any more see it again, and are seen. It returns when those who see the
// account have been told. The change must be in force already: what is sent meanwhile goes by it. items are what has changed, as
// far as that is known; before and after are asked at any time until then, and must not wait.
func (d *Directory) BlocksChanged(account jid.JID, items []jid.JID, before, after func(other jid.JID) bool) {
	a := d.online(account)
	if a == nil {
		return
	}
	ctx := a.feature.opts.Engine.Context()
	a.user.Do(func() {
		for _, r := range a.resources {
			for j := range r.directed {
				if after(j) && !before(j) {
					a.undirect(ctx, r, a.unavailable(r), j)
					delete(r.directed, j)
				}
			}
		}
		k := a.user.Current()
		if k == nil {
			return // nothing else has been shown
		}
		for contact := range d.present.among(k.Roster, rosterdoc.From) {
			a.reshow(ctx, contact, before, after)
		}
		viewers := a.audience()
		for contact := range d.present.among(k.Roster, rosterdoc.To) {
			a.review(contact, viewers, before, after)
		}
		for contact := range unasked(items, k.Roster) {
			a.review(contact, viewers, before, after)
		}
	})
}

// unasked gives whose addresses are among items and are not asked for their presence by a roster. They show it all the same where
// their own rosters say so, and nobody would tell of its end once they are blocked.
func unasked(items []jid.JID, r *rosterdoc.Roster) map[jid.JID]struct{} {
	some := make(map[jid.JID]struct{})
	for _, j := range items {
		if item, _ := r.Get(j.Bare()); j.Local() != "" && !item.Subscription.Has(rosterdoc.To) {
			some[j.Bare()] = struct{}{}
		}
	}
	return some
}

// reshow shows a contact what has changed of who of its sessions may see us.
func (a *account) reshow(ctx context.Context, contact jid.JID, before, after func(jid.JID) bool) {
	for _, r := range a.resources {
		if !r.announced {
			continue
		}
		a.showTo(ctx, a.unavailable(r), contact, func(s jid.JID) bool { return after(s) && !before(s) })
		a.showTo(ctx, r.presence, contact, func(s jid.JID) bool { return before(s) && !after(s) })
	}
	if after(contact) {
		delete(a.shown, contact)
	}
}

// review shows our sessions what has changed of which of a contact's they may see.
func (a *account) review(contact jid.JID, viewers audience, before, after func(jid.JID) bool) {
	b := a.feature.opts.Directory.online(contact)
	if b == nil {
		return
	}
	b.user.Post(func() {
		for _, r := range b.resources {
			was, is := before(r.session.JID()), after(r.session.JID())
			switch {
			case was == is || !r.announced:
			case is && b.visibleTo(a.jid):
				viewers.get(b, b.unavailable(r).Wire())
			case !is && b.shows(a.jid):
				if b.feature.opts.Mutual {
					b.showed(a.jid)
				}
				viewers.see(b, r, r.presence.Wire())
			}
		}
		if after(contact) {
			delete(b.shown, a.jid)
		}
	})
}
