package host

import (
	"sync/atomic"
	"time"

	"rollcall/internal/stanza"
)

// holdTimeout bounds the time in which what holds a stanza lets go of it, whatever happens.
// It is longer than the store waits for a database that is away, so that what is told is what became of the message.
const holdTimeout = time.Minute

// Hold keeps the stanza from being acknowledged to the client that sent it (XEP-0198) until release is called, as by
// storage that has it on disk: a message is acknowledged only when it is stored or handed on. It is called by a
// StanzaHandler while it handles the stanza; several may hold one. release may be called by any goroutine; only its first
// call counts. With an error the stanza's sender is sent that, as by a StanzaHandler's, and the stanza is handled. So it is
// after a minute without a release, with resource-constraint.
//
// A session has 128 holds at most: its connection is read no further until there are fewer.
func (p *Passage) Hold() (release func(err error)) {
	// The passage goes on meanwhile, and changes.
	h := &hold{stanza: *p.Stanza, letGo: func() {}}
	h.stanza.Element = nil
	h.passage = Passage{Stanza: &h.stanza, Host: p.Host, Session: p.Session}
	if p.Session != nil { // otherwise it was not sent just now: nobody waits for its acknowledgement
		h.letGo = p.Session.Hold()
	}
	h.timer = time.AfterFunc(holdTimeout, h.late)
	return h.release
}

// hold is a stanza that is held: in one piece, for each message that is stored has one.
type hold struct {
	passage  Passage
	stanza   stanza.Stanza
	letGo    func()
	timer    *time.Timer
	released atomic.Bool
}

func (h *hold) release(err error) {
	h.timer.Stop()
	h.end(err)
}

func (h *hold) late() {
	h.end(stanza.NewError(stanza.ResourceConstraint, "the server could not take this in time; try again later"))
}

func (h *hold) end(err error) {
	if h.released.Swap(true) {
		return
	}
	if err != nil {
		h.passage.Host.replyError(&h.passage, err)
	}
	h.letGo()
}
