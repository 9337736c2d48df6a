package blocking

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// show answers a client that asks for the list (section 3.2), and tells it of changes from then on.
func (b *Blocking) show(ctx context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	a := b.lists.keep(iq.From.Bare())
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := a.take(ctx) // no change comes in between the answer and what is told of changes
	if err != nil {
		return nil, err
	}
	defer release()
	l := a.current.Load()
	if l == nil {
		if l, err = b.refresh(ctx, a); err != nil {
			return nil, err
		}
	}
	answer := iq.Defer()
	answer.Send(payload("blocklist", l.items), nil)
	b.lists.interest(a, iq.Session)
	return nil, host.ErrDeferred
}

// interest has a session told of changes.
func (ls *lists) interest(a *account, s *session.Session) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if a.sessions == 0 || s.Context().Err() != nil {
		return
	}
	if a.interested == nil {
		a.interested = make(map[*session.Session]struct{})
	}
	a.interested[s] = struct{}{}
}

// block adds to the list (section 3.3). It returns when that is stored and in force: "if the server's processing of a
// particular request could have an effect on its processing of subsequent data it might receive over that input stream
// (e.g., enforcement of communication policies), it MUST suspend processing of subsequent data until it has processed the
// request" (RFC 6120 section 10.1).
func (b *Blocking) block(ctx context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	items, err := itemsOf(iq.Payload())
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, stanza.NewError(stanza.BadRequest, "whom to block? There is no item")
	}
	return b.change(ctx, iq, func(l *blocklist) (*blocklist, []jid.JID) { return l.with(items) })
}

// unblock takes items off the list, or all when there are none in the request (sections 3.4 and 3.5).
func (b *Blocking) unblock(ctx context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	items, err := itemsOf(iq.Payload())
	if err != nil {
		return nil, err
	}
	return b.change(ctx, iq, func(l *blocklist) (*blocklist, []jid.JID) {
		if len(items) > 0 {
			return l.without(items)
		}
		return empty, l.items
	})
}

// itemsOf reads the items of a request. What is not understood is refused, never left out: an <unblock/> without items
// is another request.
func itemsOf(payload *xmlstream.Element) (items []jid.JID, err error) {
	for el := range payload.Elements() {
		if !el.Is(ns.Blocking, "item") {
			return nil, stanza.NewError(stanza.BadRequest, "<"+payload.Local+"/> has items only")
		}
		address := el.Attr("jid")
		if address == "" {
			return nil, stanza.NewError(stanza.BadRequest, "an item needs a jid")
		}
		j, err := jid.Parse(address)
		if err != nil {
			return nil, stanza.NewError(stanza.JIDMalformed, "the jid of an item is none: "+err.Error())
		}
		if len(items) >= maxItems {
			return nil, stanza.NewError(stanza.NotAcceptable, fmt.Sprintf("%d items at a time are the most", maxItems))
		}
		items = append(items, j)
	}
	return items, nil
}

// change changes a user's list and tells everybody who is to know. edit gives the list as it is to be and which items
// that changes.
func (b *Blocking) change(ctx context.Context, iq *host.IQ, edit func(*blocklist) (*blocklist, []jid.JID)) (*xmlstream.Element, error) {
	a := b.lists.keep(iq.From.Bare())
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := a.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	old := a.current.Load()
	if old == nil || b.lists.doubts(a) { // a write that failed may have been done after all
		if old, err = b.refresh(ctx, a); err == nil && b.lists.doubts(a) { // it could not be read
			err = errUnknown
		}
		if err != nil {
			return nil, err
		}
	}
	next, changed := edit(old)
	if len(changed) == 0 {
		return nil, nil
	}
	if err := b.write(ctx, a, old, next); err != nil {
		return nil, err
	}
	b.apply(a, old, next)
	iq.Defer().Send(nil, nil)
	if len(next.items) == 0 && iq.Payload().First() == nil {
		changed = nil // "containing notification of global unblocking"
	}
	b.push(a, payload(iq.Payload().Local, changed))
	return nil, host.ErrDeferred
}

// write stores a list.
func (b *Blocking) write(ctx context.Context, a *account, old, next *blocklist) error {
	if len(next.items) > len(old.items) && (len(next.items) > maxItems || next.bytes > maxBytes) {
		return stanza.NewError(stanza.ResourceConstraint, fmt.Sprintf("%d addresses, or %d bytes of them, are the most that can be blocked", maxItems, maxBytes))
	}
	if b.opts.Store == nil {
		return b.lists.last(b.opts.Forget, old, next)
	}
	var err error
	if len(next.items) == 0 {
		err = b.opts.Store.RemoveValue(ctx, b.key(a))
		if errors.Is(err, store.ErrNotFound) { // an earlier request did it after all
			err = nil
		}
	} else {
		err = b.opts.Store.SetValue(ctx, b.key(a), next.encode(), 0)
	}
	if err == nil {
		return nil
	}
	b.lists.doubt(a)
	b.opts.Log.Error("whom a user has blocked cannot be written", "user", a.jid.Local(), "error", err)
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "the list could not be stored; try again later"}
}

// last counts the lists that are in memory alone.
func (ls *lists) last(forget bool, old, next *blocklist) error {
	if forget {
		return nil
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	switch {
	case len(old.items) == 0 && ls.lasting >= inMemory:
		return stanza.NewError(stanza.ResourceConstraint, "the server keeps no more lists: it has no database")
	case len(old.items) == 0:
		ls.lasting++
	case len(next.items) == 0:
		ls.lasting--
	}
	return nil
}

// apply puts a list in force. The caller has the turn.
func (b *Blocking) apply(a *account, old, next *blocklist) {
	b.lists.set(a, next)
	if b.opts.Changed != nil && old != next {
		b.opts.Changed(a.jid, difference(old, next), b.blockedBy(a.jid, old), b.blockedBy(a.jid, next))
	}
}

// push tells those of a user's sessions that have asked for the list of a change. The caller has the turn, so that all are
// told in one order.
func (b *Blocking) push(a *account, what *xmlstream.Element) {
	w := stanza.NewRequest("push-"+rand.Text(), func(dst []byte) []byte { return what.AppendXML(dst, ns.Client) })
	for _, s := range b.lists.told(a) {
		s.Send(w.To(s.JID().String()))
	}
}

func (ls *lists) told(a *account) (all []*session.Session) {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	for s := range a.interested {
		all = append(all, s)
	}
	return all
}

func payload(name string, items []jid.JID) *xmlstream.Element {
	el := xmlstream.New(ns.Blocking, name)
	for _, j := range items {
		el.Append(xmlstream.New(ns.Blocking, "item", "jid", j.String()))
	}
	return el
}
