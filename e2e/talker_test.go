package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A talker is a client that comes back for as long as it may: it connects anew whenever its connection is lost, resumes its
// session where the server still knows it (XEP-0198), and sends again what was not acknowledged. It keeps which numbered
// messages have come, in order. Without management it trusts in whatever it has been written.
type talker struct {
	user    string
	dial    func(user string) (*wire, error)
	managed bool
	pad     int // bytes that each message has beside its number
	stop    context.CancelFunc
	done    chan struct{}

	mu       sync.Mutex // held while something is written, so that what is counted goes out in the order of the count
	changed  chan struct{}
	wire     *wire  // nil while there is none
	id       string // to resume with
	handled  uint32 // stanzas that have come in this session
	count    uint32 // stanzas sent in this session
	unacked  []outgoing
	refused  map[numbered]string // conditions of errors
	arrived  map[string][]int    // by sender, each number once, in the order in which they came first
	seen     map[numbered]bool
	again    map[numbered]int  // messages that came once more
	repeated map[numbered]bool // messages that were sent once more
	resumed  int               // connections that went on with a session
	began    int               // sessions
}

// A numbered message, of a pair: who is the other one.
type numbered struct {
	who string
	n   int
}

// An outgoing stanza and its place in the count; who is "" for one that is no numbered message.
type outgoing struct {
	numbered
	at uint32
}

// newTalker starts one, which is not connected yet; dial connects and signs in.
func newTalker(user string, dial func(user string) (*wire, error), managed bool) *talker {
	ctx, cancel := context.WithCancel(context.Background())
	t := &talker{user: user, dial: dial, managed: managed, stop: cancel, done: make(chan struct{}),
		changed: make(chan struct{}), refused: map[numbered]string{}, arrived: map[string][]int{}, seen: map[numbered]bool{},
		again: map[numbered]int{}, repeated: map[numbered]bool{}}
	go t.run(ctx)
	return t
}

// close ends it without a word, and waits.
func (t *talker) close() {
	t.stop()
	t.update(func() {
		if t.wire != nil {
			t.wire.conn.Close()
		}
	})
	<-t.done
}

// update changes what mu guards and wakes who waits for it.
func (t *talker) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.changed)
	t.changed = make(chan struct{})
}

// until waits until something is so, which is asked with the mutex held; false when ctx ends before.
func (t *talker) until(ctx context.Context, so func() bool) bool {
	for {
		t.mu.Lock()
		ok, changed := so(), t.changed
		t.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// pause is how long a client waits before it connects again, as clients do.
const pause = 20 * time.Millisecond

func (t *talker) run(ctx context.Context) {
	defer close(t.done)
	for ctx.Err() == nil {
		w, err := t.dial(t.user)
		if err == nil {
			err = t.begin(ctx, w)
		}
		for err == nil {
			var n *element
			if n, err = w.next(); err == nil {
				t.take(n)
			}
		}
		t.update(func() { t.wire = nil })
		if w != nil {
			w.conn.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// begin goes on with the session, or begins another, and sends again what is not acknowledged.
func (t *talker) begin(ctx context.Context, w *wire) error {
	t.mu.Lock()
	id, handled := t.id, t.handled
	t.mu.Unlock()
	resumed := false
	if id != "" {
		ok, h, err := w.resume(id, handled)
		if err != nil {
			return err
		}
		if h >= 0 {
			t.update(func() { t.acknowledged(uint32(h)) })
		}
		resumed = ok
	}
	if !resumed {
		if err := w.bind("r"); err != nil {
			return err
		}
		if t.managed {
			if err := w.write("<enable xmlns='" + nsSM + "' resume='true'/>"); err != nil {
				return err
			}
			n, err := w.next()
			if err != nil {
				return err
			}
			id = n.attr("id")
		}
	}
	t.update(func() {
		t.wire, t.id = w, id
		if ctx.Err() != nil {
			w.conn.Close()
		}
		waiting := t.unacked
		t.unacked = nil
		if resumed {
			t.resumed++
			t.count -= uint32(len(waiting))
		} else {
			t.began++
			t.handled, t.count = 0, 0
			t.post(numbered{})
		}
		for _, o := range waiting {
			if resumed || o.who != "" {
				t.post(o.numbered)
				t.repeated[o.numbered] = true
			}
		}
		t.ask()
	})
	return nil
}

// post writes a stanza; the zero message is a presence. The caller holds the mutex. An error shows where it is read.
func (t *talker) post(m numbered) {
	t.count++
	if t.managed {
		t.unacked = append(t.unacked, outgoing{m, t.count})
	}
	text := "<presence/>"
	if m.who != "" {
		text = fmt.Sprintf("<message to='%s@localhost' type='chat' id='%s:%d'><body>%d %s</body></message>", m.who, m.who, m.n, m.n,
			strings.Repeat("x", t.pad))
	}
	_ = t.wire.write(text)
}

// ask asks the server which stanzas it has. The caller holds the mutex.
func (t *talker) ask() {
	if t.managed && t.wire != nil {
		_ = t.wire.write("<r xmlns='" + nsSM + "'/>")
	}
}

// acknowledged lets go of what the server has. The caller holds the mutex.
func (t *talker) acknowledged(h uint32) {
	for len(t.unacked) > 0 && t.unacked[0].at <= h {
		t.unacked = t.unacked[1:]
	}
}

// window is how many messages a talker has under way.
const window = 50

// say sends a numbered message when it is connected and not too many are under way; false when ctx ends before.
func (t *talker) say(ctx context.Context, to string, n int) bool {
	for {
		if !t.until(ctx, func() bool { return t.wire != nil && len(t.unacked) < window }) {
			return false
		}
		sent := false
		t.update(func() {
			if sent = t.wire != nil; sent {
				t.post(numbered{to, n})
				if n%5 == 0 || len(t.unacked) >= window {
					t.ask()
				}
			}
		})
		if sent {
			return true
		}
	}
}

// flush waits until the server has acknowledged all.
func (t *talker) flush(ctx context.Context) bool {
	for {
		t.update(t.ask)
		soon, cancel := context.WithTimeout(ctx, time.Second)
		ok := t.until(soon, func() bool { return len(t.unacked) == 0 })
		cancel()
		if ok || ctx.Err() != nil {
			return ok
		}
	}
}

// take takes an element of the stream.
func (t *talker) take(n *element) {
	t.update(func() {
		switch n.XMLName.Local {
		case "r":
			_ = t.wire.write(fmt.Sprintf("<a xmlns='%s' h='%d'/>", nsSM, t.handled))
			return
		case "a":
			if h, err := strconv.ParseUint(n.attr("h"), 10, 32); err == nil {
				t.acknowledged(uint32(h))
			}
			return
		case "message", "presence", "iq":
			t.handled++
		}
		if n.XMLName.Local == "message" {
			t.message(n)
		}
	})
}

func (t *talker) message(n *element) {
	_, number, ok := strings.Cut(n.attr("id"), ":")
	i, err := strconv.Atoi(number)
	from, _, _ := strings.Cut(n.attr("from"), "@")
	m := numbered{from, i}
	switch {
	case !ok || err != nil:
	case n.attr("type") == "error":
		condition := "none"
		if e := n.child("error"); e != nil && len(e.Nodes) > 0 {
			condition = e.Nodes[0].XMLName.Local
		}
		t.refused[m] = condition
	case t.seen[m]:
		t.again[m]++
	default:
		t.seen[m] = true
		t.arrived[from] = append(t.arrived[from], i)
	}
}
