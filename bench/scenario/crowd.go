// Package scenario drives the users of one server through what is measured: login, idle, refresh, latency, presence, chat, outage, storm.
package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/client"
	"rollcall/bench/service"
)

// crowd is the users of one server.
type crowd struct {
	graph   *service.Graph
	cfg     *client.Config
	patient bool // members who are turned away come again, and those whose roster has to wait take it as pushes
	members []*member
	base    time.Time // what times in messages count from
	mark    []byte    // what the ids of this crowd's messages begin with

	pushes    atomic.Pointer[expectation] // pushes that are waited for, if any
	presences atomic.Pointer[expectation] // presences that are waited for
	chat      atomic.Pointer[conversation]
	say       func(*member) // sends a message that stands in Reply

	mu       sync.Mutex
	strayed  int   // stanzas that nothing in the scenario explains
	straying error // the first of them
}

// member is one user. What is not atomic belongs to the client's own goroutine.
type member struct {
	*client.Client
	crowd *crowd

	seen    []uint64 // which contacts were seen available, a bit each
	unseen  int
	pushed  *expectation // the last one that this member met
	partner []byte       // start of a message to the one it chats with
	tries   int          // times that it was turned away

	sent      atomic.Uint64 // messages
	received  atomic.Uint64 // messages; added to after latencies, so that who has read it may read them
	latencies []uint32      // of the messages of one conversation, in microseconds
	again     atomic.Uint64 // messages that came from before the server was started again
}

// expectation is a number of arrivals that a scenario waits for.
type expectation struct {
	added bool // of pushes: whether the friend was added or removed
	left  atomic.Int64
	last  atomic.Int64 // when the last one arrived, in nanoseconds after crowd.base
	done  chan struct{}
}

func expect(n int, added bool) *expectation {
	e := &expectation{added: added, done: make(chan struct{})}
	e.left.Store(int64(n))
	if n == 0 {
		close(e.done)
	}
	return e
}

func (e *expectation) arrived(base time.Time) {
	if e.left.Add(-1) == 0 {
		e.last.Store(int64(time.Since(base)))
		close(e.done)
	}
}

// wait returns when everything has arrived, or an error that says how much is missing.
func (e *expectation) wait(ctx context.Context, what string, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("%d %s missing after %v", e.left.Load(), what, limit)
	}
}

func newCrowd(g *service.Graph, cfg *client.Config) *crowd {
	c := &crowd{graph: g, cfg: cfg, members: make([]*member, g.Online), base: time.Now(), say: (*member).say}
	c.mark = strconv.AppendInt(nil, c.base.UnixNano(), 36)
	c.mark = append(c.mark, '-')
	for i := range c.members {
		m := &member{crowd: c, seen: make([]uint64, (g.Contacts+63)/64), unseen: g.OnlineContacts(i)}
		m.partner = []byte("<message type='chat' to='" + g.JID(i^1) + "' id='")
		m.Client = client.New(cfg, i, service.User(i), m.handle)
		c.members[i] = m
	}
	return c
}

// login signs members in, parallel at a time, and returns how long each took.
func (c *crowd) login(ctx context.Context, members []*member, parallel int) ([]time.Duration, error) {
	took := make([]time.Duration, len(members))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, m := range members {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			start := time.Now()
			err := m.signIn(ctx)
			took[i] = time.Since(start)
			return err
		})
	}
	return took, group.Wait()
}

// comeAgain is how long a client waits, at least, when it was turned away; it waits up to twice as long.
const comeAgain = 500 * time.Millisecond

// signIn signs the member in, as often as it takes when members may be turned away, and checks that the roster is whole.
func (m *member) signIn(ctx context.Context) error {
	contacts, err := m.Login(ctx)
	for m.crowd.patient && errors.Is(err, client.ErrTurnedAway) {
		m.tries++
		if err := pause(ctx, comeAgain+rand.N(comeAgain)); err != nil {
			return err
		}
		m.Client = client.New(m.crowd.cfg, m.Index, m.User, m.handle)
		contacts, err = m.Login(ctx)
	}
	want := m.crowd.graph.RosterSize()
	if m.crowd.graph.HasExtra(m.Index) {
		want++
	}
	if err == nil && contacts != want {
		err = fmt.Errorf("%s: %d contacts in the roster instead of %d", m.User, contacts, want)
	}
	return err
}

// close ends every stream, and reports what went wrong with them.
func (c *crowd) close() error {
	err := c.trouble()
	group := errgroup.Group{}
	group.SetLimit(64)
	for _, m := range c.members {
		group.Go(m.Close)
	}
	return errors.Join(err, group.Wait())
}

// trouble reports streams that ended and stanzas that should not have come.
func (c *crowd) trouble() error {
	for _, m := range c.members {
		if err := m.Err(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.strayed > 0 {
		return fmt.Errorf("%d unexpected stanzas, the first: %w", c.strayed, c.straying)
	}
	return nil
}

func (c *crowd) stray(m *member, stanza []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strayed++
	if c.straying == nil {
		c.straying = fmt.Errorf("%s got %.300s", m.User, stanza)
	}
}

// handle takes one stanza.
func (m *member) handle(_ *client.Client, stanza []byte) {
	if len(stanza) < 2 {
		return
	}
	switch stanza[1] {
	case 'm':
		m.message(stanza)
	case 'p':
		m.presence(stanza)
	case 'i':
		m.iq(stanza)
	default:
		m.crowd.stray(m, stanza)
	}
}

func (m *member) presence(stanza []byte) {
	if kind := client.Attr(stanza, "type"); kind != nil {
		// Contacts that are not online yet, or no user of ours, may be reported as unavailable.
		if string(kind) != "unavailable" {
			m.crowd.stray(m, stanza)
		}
		return
	}
	from, ok := service.Index(client.Attr(stanza, "from"))
	if !ok {
		m.crowd.stray(m, stanza)
		return
	}
	k, ok := m.crowd.graph.Place(m.Index, from)
	if !ok {
		if from != m.Index { // a client hears its own presence too (RFC 6121 section 4.2.2)
			m.crowd.stray(m, stanza)
		}
		return
	}
	e := m.crowd.presences.Load()
	if m.unseen > 0 {
		if bit := uint64(1) << (k % 64); m.seen[k/64]&bit == 0 {
			m.seen[k/64] |= bit
			m.unseen--
			if e != nil {
				e.arrived(m.crowd.base)
			}
		}
		return
	}
	if e != nil && e.left.Load() > 0 {
		e.arrived(m.crowd.base)
	}
}

var rosterNS = []byte("jabber:iq:roster")

func (m *member) iq(stanza []byte) {
	switch kind := client.Attr(stanza, "type"); string(kind) {
	case "set":
		if bytes.Contains(stanza, rosterNS) {
			m.push(stanza)
		} else {
			m.crowd.stray(m, stanza)
		}
	case "get": // a ping or a question about features
		m.answer(stanza, "error", "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
	case "error":
		m.crowd.stray(m, stanza)
	}
}

// answer appends the reply to an iq.
func (m *member) answer(stanza []byte, kind, payload string) {
	out := append(m.Reply, "<iq type='"+kind+"' id='"...)
	out = append(out, client.Attr(stanza, "id")...)
	if from := client.Attr(stanza, "from"); from != nil {
		out = append(out, "' to='"...)
		out = append(out, from...)
	}
	if payload == "" {
		m.Reply = append(out, "'/>"...)
		return
	}
	out = append(out, "'>"...)
	out = append(out, payload...)
	m.Reply = append(out, "</iq>"...)
}

var removed = []byte("remove")

func (m *member) push(stanza []byte) {
	m.answer(stanza, "result", "")
	if m.crowd.patient && m.Repeats() > 0 {
		return
	}
	e := m.crowd.pushes.Load()
	about := bytes.Contains(stanza, []byte(m.crowd.graph.Extra(m.Index)))
	if e == nil || !about || e.added == bytes.Contains(stanza, removed) || m.pushed == e {
		m.crowd.stray(m, stanza)
		return
	}
	m.pushed = e
	e.arrived(m.crowd.base)
}

// conversation is a chat scenario while it runs.
type conversation struct {
	answering atomic.Bool // each message is answered with another one
	recording atomic.Bool // latencies are kept
}

const (
	// said is what people say: about the length of a line of chat.
	said = "<body>Shall we meet at the station at half past six, then?</body>"
	body = "'>" + said + "</message>"
)

// message takes a message. One of the crowd before may come again: a server that was killed need not have noted that it was taken.
func (m *member) message(stanza []byte) {
	talk := m.crowd.chat.Load()
	id, ours := bytes.CutPrefix(client.Attr(stanza, "id"), m.crowd.mark)
	sent, err := strconv.ParseInt(string(id), 10, 64)
	switch chat := string(client.Attr(stanza, "type")) == "chat"; {
	case chat && !ours && m.crowd.patient && bytes.Contains(stanza, []byte(said)):
		m.again.Add(1)
		return
	case !chat || err != nil || talk == nil:
		m.crowd.stray(m, stanza)
		return
	}
	now := int64(time.Since(m.crowd.base))
	if talk.recording.Load() {
		m.latencies = append(m.latencies, uint32(min((now-sent)/1000, 1<<32-1)))
	}
	if talk.answering.Load() {
		m.Reply = m.appendMessage(m.Reply, now)
		m.crowd.say(m)
	}
	m.received.Add(1)
}

// say sends what was written at once, and not together with the next answer: people's messages come one by one, each in a packet
// of its own, and a server must not look cheaper than they allow.
func (m *member) say() {
	if err := m.Flush(); err != nil {
		m.crowd.stray(m, fmt.Appendf(nil, "an error while answering: %v", err))
	}
}

func (m *member) appendMessage(dst []byte, now int64) []byte {
	m.sent.Add(1)
	dst = append(append(dst, m.partner...), m.crowd.mark...)
	dst = strconv.AppendInt(dst, now, 10)
	return append(dst, body...)
}
