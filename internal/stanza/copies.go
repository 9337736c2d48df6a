package stanza

import "sync/atomic"

// Copies is what the copies of one message know of each other. A message that several of an account's sessions took is
// not sent on by one that has lost it (XEP-0198) while another has it, or has delivered it.
type Copies struct {
	left      atomic.Int32
	delivered atomic.Bool
}

// NewCopies makes one for a message of which one copy is known: that of the caller, who lets go of it by Lost when all
// others were made.
func NewCopies() *Copies {
	c := &Copies{}
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
func (c *Copies) Delivered() { c.delivered.Store(true) }

// Lost lets go of a copy, and tells whether it was the last one and nobody has got the message.
func (c *Copies) Lost() bool { return c.left.Add(-1) == 0 && !c.delivered.Load() }

// Delivered says that the stanza has reached its client.
func (w Wire) Delivered() {
	if w.copies != nil {
		w.copies.Delivered()
	}
}

// Lost says that the stanza has not reached its client and will not, and tells whether anybody else is to get it for that.
func (w Wire) Lost() bool { return w.copies == nil || w.copies.Lost() }
