package pep

import (
	"container/list"
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// What a client wants to hear of is among its features, as NODE+notify; which features it has is said once for all clients
// that send the same hash (XEP-0115). A client whose hash is not known is asked.

const (
	maxWants  = 100   // nodes that a client wants to hear of
	maxHashes = 2_000 // remembered
	notifies  = "+notify"
)

// clients is what is known of the clients of all hosts.
type clients struct {
	mu     sync.Mutex
	of     map[*session.Session]*client // those that have sent capabilities
	hashes map[capsKey]*list.Element    // of *known
	order  list.List                    // the least recently used first
}

// A capsKey is what clients say of their features.
type capsKey struct{ hash, ver string }

type known struct {
	key   capsKey
	wants map[string]struct{}
}

// A client is what is known of one.
type client struct {
	key     capsKey
	asked   string              // the id of the request that it has not answered; "" for none
	wants   map[string]struct{} // nil: not known
	greeted bool
}

// want tells whether a client wants to hear of a node.
func (c *clients) want(s *session.Session, node string) bool {
	_, ok := c.wants(s)[node]
	return ok
}

func (c *clients) wants(s *session.Session) map[string]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.of[s]; one != nil {
		return one.wants
	}
	return nil
}

// sent looks at the presence that clients send, and takes their answers.
func (p *PEP) sent(ctx context.Context, st *host.Passage) (done bool, err error) {
	switch {
	case st.Kind == stanza.Presence && st.To.IsZero():
		p.presence(st)
	case st.Kind == stanza.IQ && !st.IsRequest() && st.To == p.host:
		return p.answered(st), nil
	}
	return false, nil
}

// presence takes the capabilities of a broadcast presence.
func (p *PEP) presence(st *host.Passage) {
	c := &p.opts.Directory.clients
	caps := st.Element.Child(ns.Caps, "c")
	key := capsKey{}
	if caps != nil && st.Type == "" {
		key = capsKey{caps.Attr("hash"), caps.Attr("ver")}
	}
	c.mu.Lock()
	one := c.of[st.Session]
	switch {
	case st.Session.Context().Err() != nil: // it has ended; this was read before, and closed does not come again
		c.mu.Unlock()
		return
	case st.Type == stanza.TypeUnavailable:
		if one != nil {
			one.greeted = false
		}
		c.mu.Unlock()
		return
	case key.ver == "" || len(key.ver) > 128 || len(key.hash) > 32:
		delete(c.of, st.Session)
		c.mu.Unlock()
		return
	case one == nil:
		one = &client{}
		if c.of == nil {
			c.of = map[*session.Session]*client{}
		}
		c.of[st.Session] = one
	}
	ask := ""
	if one.key != key {
		one.key, one.wants, one.asked = key, c.lookup(key), ""
		if one.wants == nil {
			one.asked = strings.ToLower(rand.Text())
			ask = one.asked
		}
	}
	c.mu.Unlock()
	if ask != "" {
		q := xmlstream.New(ns.DiscoInfo, "query", "node", caps.Attr("node")+"#"+key.ver)
		st.Session.Send(stanza.NewWire(xmlstream.New(ns.Client, "iq", "type", stanza.TypeGet, "id", ask,
			"from", p.opts.Host, "to", st.From.String()).Append(q)))
	}
	p.Arrived(st.Session)
}

// lookup gives what clients with a hash want; nil when that is not known. mu is held.
func (c *clients) lookup(key capsKey) map[string]struct{} {
	e := c.hashes[key]
	if e == nil {
		return nil
	}
	c.order.MoveToBack(e)
	return e.Value.(*known).wants
}

// remember keeps what clients with a hash want. mu is held.
func (c *clients) remember(key capsKey, wants map[string]struct{}) {
	if c.hashes == nil {
		c.hashes = map[capsKey]*list.Element{}
	}
	if c.hashes[key] != nil {
		return
	}
	if c.order.Len() >= maxHashes {
		oldest := c.order.Front()
		delete(c.hashes, c.order.Remove(oldest).(*known).key)
	}
	c.hashes[key] = c.order.PushBack(&known{key, wants})
}

// answered takes the answer of a client that was asked for its features: by id and session, so that nobody answers for
// another. It tells whether it was one.
func (p *PEP) answered(st *host.Passage) bool {
	c := &p.opts.Directory.clients
	c.mu.Lock()
	one := c.of[st.Session]
	if one == nil || one.asked == "" || one.asked != st.ID {
		c.mu.Unlock()
		return false
	}
	one.asked, one.wants = "", map[string]struct{}{}
	if q := st.Element.Child(ns.DiscoInfo, "query"); q != nil && st.Type == stanza.TypeResult {
		one.wants = wantsOf(q)
		// "If the values of the received and reconstructed hashes do not match, the processing application MUST consider the
		// result to be invalid and MUST NOT globally cache the verification string": it counts for this client alone.
		if payload.Verification(q, one.key.hash) == one.key.ver {
			c.remember(one.key, one.wants)
		}
	}
	c.mu.Unlock()
	p.Arrived(st.Session)
	return true
}

func wantsOf(q *xmlstream.Element) map[string]struct{} {
	wants := map[string]struct{}{}
	for el := range q.Elements() {
		node, ok := strings.CutSuffix(el.Attr("var"), notifies)
		if ok && el.Is(ns.DiscoInfo, "feature") && len(wants) < maxWants && len(node) <= maxNodeName {
			wants[node] = struct{}{}
		}
	}
	return wants
}

// Arrived is told that a client may have become one that contacts see and of which it is known what it wants: then it is sent
// the last items, once.
func (p *PEP) Arrived(s *session.Session) {
	c := &p.opts.Directory.clients
	c.mu.Lock()
	one := c.of[s]
	if one == nil || one.greeted || len(one.wants) == 0 || !s.Announced() {
		c.mu.Unlock()
		return
	}
	one.greeted = true
	wants := one.wants
	c.mu.Unlock()
	// Without room in the queue the client hears of the next items.
	_ = p.do(s.JID().Local(), func(ctx context.Context) { p.greet(ctx, s.JID(), wants) })
}

func (p *PEP) closed(_ context.Context, s *session.Session) {
	p.forgetPhoto(s.JID().Local())
	c := &p.opts.Directory.clients
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, s)
}
