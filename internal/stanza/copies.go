package stanza

import "sync/atomic"

// Copies is what the copies of one message know of each other. A message that several of an account's sessions took is
// not sent on by one that has lost it (XEP-0198) while another has it, or has delivered it.
type Copies struct {
	left      atomic.Int32
	delivered atomic.Bool
	done      func(delivered bool) // nil: nobody is told
}

// NewCopies makes one for a message of which one copy is known: that of the caller, who lets go of it by Lost when all
// others were made. done, if it is not nil, is called once: when the message has reached a client, or when all copies are
// lost. It may be called by any goroutine, and does not block; what is lost is then its to place elsewhere.
func NewCopies(done func(delivered bool)) *Copies {
	c := &Copies{done: done}
	c.left.Store(1)
	return c
}

// Copy gives one more copy.
func (w Wire) Copy(c *Copies) Wire {
	c.left.Add(1)
	w.copies = c
	return w
}

// Delivered says that the message has reached a client.
func (c *Copies) Delivered() {
	if !c.delivered.Swap(true) && c.done != nil {
		c.done(true)
	}
}

// Lost lets go of a copy, and tells whether it was the last one and nobody has got the message, and the caller is to place it
// elsewhere.
func (c *Copies) Lost() bool {
	if c.left.Add(-1) != 0 || c.delivered.Load() {
		return false
	}
	if c.done != nil {
		c.done(false)
		return false
	}
	return true
}

// Delivered says that the stanza has reached its client.
func (w Wire) Delivered() {
	if w.copies != nil {
		w.copies.Delivered()
	}
}

// Lost says that the stanza has not reached its client and will not, and tells whether the caller is to place it elsewhere.
func (w Wire) Lost() bool { return w.copies == nil || w.copies.Lost() }

// Followed tells whether somebody wants to know what becomes of the stanza.
func (w Wire) Followed() bool { return w.copies != nil && w.copies.done != nil }
