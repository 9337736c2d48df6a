package host

import (
	"maps"
	"slices"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// A flush sends what waits for an account to its sessions, as long as there is one that takes it. While it lasts all that
// comes waits behind it.

const (
	// flightHigh is how many messages sessions may have in their hands while a flush sends them more, and flightLow when it goes
	// on: so a client gets no more than it takes, and its session does not end for having too much.
	flightHigh, flightLow = 24, 8
	flushPage             = 50
	flushAgain            = 5 * time.Second // after the store has failed
	// flushLate is how long a message may wait behind others that are just being sent before it is told that it has.
	flushLate = 10 * time.Second
)

// flush begins a flush, after those sessions have ended, if anything may wait and there is anybody to send it to.
func (h *Host) flush(b *box, after ...*session.Session) {
	if len(after) == 0 && topPriority(h.online.of(b.local), 127) < 0 {
		h.nobodyTakes(b)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.clear || b.frozen > 0:
		return
	case b.flushing && !b.paused:
		b.again = true
		return
	}
	b.flushing, b.paused = true, false
	h.boxes.keep(b)
	if !h.boxes.run(func() {
		defer h.boxes.put(b)
		defer h.guard("messages that wait")
		h.flushing(b, after)
	}) {
		b.flushing = false
		h.boxes.put(b)
	}
}

// flushing is a flush's goroutine.
func (h *Host) flushing(b *box, after []*session.Session) {
	var last store.ID
	for {
		for _, s := range after {
			select {
			case <-s.Ended():
			case <-h.ctx.Done():
			}
		}
		after = nil
		if b.begin() {
			last = 0
		}
		for _, id := range b.owed() {
			h.strike(b, id)
			h.boxes.put(b)
		}
		page, err := h.opts.Mail.Box.Waiting(h.ctx, h.Name(), b.local, last, flushPage)
		if err != nil {
			if h.ctx.Err() == nil {
				h.log.Error("messages that wait cannot be read", "user", b.local, "error", err)
			}
			select {
			case <-time.After(flushAgain):
				continue
			case <-h.ctx.Done():
				h.flushed(b, false)
				return
			}
		}
		for _, m := range page.Messages {
			turn, p := b.turn(m.ID, len(m.Stanza), h.opts.OutboxBytes/2)
			if turn == wait {
				return // landed goes on
			}
			if turn == stop {
				h.flushed(b, false)
				return
			}
			if turn == anew {
				break
			}
			last = m.ID
			if turn == skip {
				continue
			}
			var nobody bool
			if after, nobody = h.giveStored(b, m, p); nobody {
				h.flushed(b, false)
				return
			}
			if after != nil {
				break
			}
		}
		if after == nil && !page.More && h.flushed(b, true) {
			return
		}
	}
}

type turn uint8

const (
	send turn = iota
	skip      // somebody has it
	anew      // read again from the beginning
	wait      // enough is under way
	stop      // a session is ending: its end begins another flush
)

// begin begins a round, and tells whether it has to begin with the first message. What was delivered before it is not in what
// it reads.
func (b *box) begin() (anew bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	anew = b.again
	b.again, b.more = false, false
	for id, f := range b.flight {
		if f.done() {
			delete(b.flight, id)
		}
	}
	return anew
}

// turn tells what is to be done with a message that was read; p is not nil when it has come just now.
func (b *box) turn(id store.ID, size, room int) (t turn, p *Passage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, flying := b.flight[id]
	switch {
	case b.frozen > 0:
		return stop, nil
	case b.again:
		return anew, nil
	case flying:
		return skip, nil
	case b.weight >= flightHigh, b.weight > 0 && b.bytes+size > room:
		b.paused = true
		return wait, nil
	}
	b.take(id, size)
	p = b.fresh[id]
	delete(b.fresh, id)
	return send, p
}

// flushed ends a flush, which has come to the end of what waits or not; false when there is more to do.
func (h *Host) flushed(b *box, whole bool) bool {
	b.mu.Lock()
	if whole && b.frozen == 0 && (b.again || b.more) {
		b.mu.Unlock()
		return false
	}
	b.flushing = false
	gone, owed := whole && b.frozen == 0, false
	if gone {
		clear(b.fresh)
	}
	for id, f := range b.flight {
		owed = owed || f.owed
		if f.done() {
			delete(b.flight, id)
		}
	}
	b.clear = gone && !owed // the next flush tells the store what it could not be told
	b.mu.Unlock()
	if gone {
		h.boxes.loosen(b)
	} else {
		h.flush(b) // somebody may have come
	}
	h.advance(b)
	return true
}

// giveStored sends a message that has waited, as one that has just come if p is not nil. It gives the sessions whose end has to
// be waited for, or tells that there is nobody.
func (h *Host) giveStored(b *box, m store.Message, p *Passage) (after []*session.Session, nobody bool) {
	w := stanza.Stored(m.Stanza, stanza.Message)
	late := p == nil
	if late {
		var err error
		if p, err = h.readBack(b, w, m); err != nil {
			h.log.Error("a message that was stored cannot be read back", "id", m.ID.String(), "error", err)
			b.forget(m.ID)
			h.strike(b, m.ID)
			return nil, false
		}
	} else if time.Since(m.At) >= flushLate {
		p.since = m.At.UnixMicro()
	}
	if late || p.since != 0 {
		w = w.With(payload.Delay(h.Name(), m.At, "").AppendXML(nil, ns.Client))
	}
	if m.Archived && late {
		p.ids[Recipient-Sender] = m.ID
	}
	w = p.identified(w, Recipient)
	taken, ending := h.give(b, m.ID, p, w, h.online.of(b.local))
	if taken == nil {
		if late {
			p = nil
		}
		b.leave(m.ID, p)
		return ending, ending == nil
	}
	b.mu.Lock()
	b.reached = max(b.reached, m.ID)
	b.mu.Unlock()
	if !late {
		p.taken = taken
		h.copy(h.ctx, p, Sender|Recipient)
	}
	return nil, false
}

// nobodyTakes is for messages that came while others were sent before them, to a session that has gone since: they wait for another
// as those do that came while nobody was there.
func (h *Host) nobodyTakes(b *box) {
	b.mu.Lock()
	fresh := b.fresh
	if len(fresh) == 0 || b.frozen > 0 {
		b.mu.Unlock()
		return
	}
	b.fresh = make(map[store.ID]*Passage)
	b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(fresh)) {
		h.unclaimedStored(fresh[id])
	}
}

// unclaimedStored leads a message that is stored, and that nobody has taken, through the stage Unclaimed.
func (h *Host) unclaimedStored(p *Passage) {
	if _, err := h.walk(h.ctx, Unclaimed, p); err != nil {
		h.log.Error("feature failed", "stage", "Unclaimed", "error", err)
	}
	h.copy(h.ctx, p, Sender|Recipient)
}

// forget takes a message out of those in flight that can be sent to nobody.
func (b *box) forget(id store.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.land(id)
	b.flight[id] = flight{delivered: true}
}

// readBack reads whom a stored message is for.
func (h *Host) readBack(b *box, w stanza.Wire, m store.Message) (*Passage, error) {
	el, err := w.Element(xmlstream.Limits{Bytes: len(m.Stanza) + 4096, Children: len(m.Stanza)})
	if err != nil {
		return nil, err
	}
	st, err := stanza.Parse(el)
	if err != nil {
		return nil, err
	}
	if st.To.IsZero() {
		st.To, err = jid.New(b.local, h.Name(), "")
	}
	return &Passage{Stanza: st, Host: h}, err
}
