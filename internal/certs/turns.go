package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
)

// Turns lets a few TLS handshakes at a time do what costs: to sign, and to agree on keys, between a client's first message and the
// server's answer to it. The others wait for their turn, and networks that wait take turns, so that a flood of handshakes leaves
// cores to those who are connected already, and one from a single network delays no other by more than one handshake. Who is slow to
// send or to read takes nobody's turn.
type Turns struct {
	mu      sync.Mutex
	free    int
	waiting int
	from    map[netip.Prefix][]turn // those who wait, by network, in their order
	order   []netip.Prefix          // the networks among them, the next first
}

// turn is somebody's who waits; it is closed when it has come.
type turn chan struct{}

// Bounds of those who wait; more are refused. Loopback, where proxies sit, stands for many networks.
const (
	maxTurns        = 10_000
	maxTurnsFromOne = 1_000
)

var errTooManyHandshakes = errors.New("too many TLS handshakes wait")

// NewTurns gives half of the cores to handshakes.
func NewTurns() *Turns { return newTurns(max(1, runtime.GOMAXPROCS(0)/2)) }

func newTurns(n int) *Turns { return &Turns{free: n, from: map[netip.Prefix][]turn{}} }

// TakingTurns makes a server configuration of another whose handshakes take turns. Their connections must be of type *Conn.
func TakingTurns(t *tls.Config, turns *Turns) *tls.Config {
	pick := t.GetConfigForClient
	t = t.Clone()
	t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		picked, err := pick(hello)
		if c, ok := hello.Conn.(*Conn); ok && err == nil {
			c.gate.Store(&gate{turns: turns, ctx: hello.Context(), from: network(c.RemoteAddr())})
			err = c.gate.Load().enter()
		}
		if err != nil {
			return nil, err
		}
		return picked, nil
	}
	return t
}

// network is where an address counts; the zero Prefix is loopback's, and that of what is no address.
func network(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64 // what one customer has
	}
	if addr.IsLoopback() {
		return netip.Prefix{}
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // unreachable: the lengths are right
	}
	return p
}

// take waits for a turn, which must be given back.
func (t *Turns) take(ctx context.Context, from netip.Prefix) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	if t.waiting >= maxTurns || from.IsValid() && len(t.from[from]) >= maxTurnsFromOne {
		t.mu.Unlock()
		return errTooManyHandshakes
	}
	mine := make(turn)
	if len(t.from[from]) == 0 {
		t.order = append(t.order, from)
	}
	t.from[from] = append(t.from[from], mine)
	t.waiting++
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
		if !t.leave(from, mine) {
			t.give() // it has come all the same
		}
		return context.Cause(ctx)
	}
}

// leave takes somebody out who waits no longer; false: the turn has come.
func (t *Turns) leave(from netip.Prefix, mine turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.from[from]
	i := slices.Index(queue, mine)
	switch {
	case i < 0:
		return false
	case len(queue) == 1:
		delete(t.from, from)
		n := slices.Index(t.order, from)
		t.order = slices.Delete(t.order, n, n+1)
	default:
		t.from[from] = slices.Delete(queue, i, i+1)
	}
	t.waiting--
	return true
}

// give gives a turn back: it is that of the network which has waited longest for one.
func (t *Turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == 0 {
		t.free++
		return
	}
	from := t.order[0]
	t.order = t.order[1:]
	queue := t.from[from]
	close(queue[0])
	if len(queue) == 1 {
		delete(t.from, from)
	} else { // only the first goes, however many wait: nothing is copied
		t.from[from] = queue[1:]
		t.order = append(t.order, from)
	}
	t.waiting--
}

// gate is where a connection's handshake takes its turns. It belongs to the goroutine that does the handshake, but for Close.
type gate struct {
	turns *Turns
	ctx   context.Context // of the handshake
	from  netip.Prefix

	mu    sync.Mutex
	held  bool // it has a turn
	again bool // the client is to send its first message once more, and takes another turn then
}

func (g *gate) enter() error {
	if err := g.turns.take(g.ctx, g.from); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
	return nil
}

// leave gives the turn back, if there is one.
func (g *gate) leave() (had bool) {
	g.mu.Lock()
	had, g.held = g.held, false
	g.mu.Unlock()
	if had {
		g.turns.give()
	}
	return had
}

// wrote is called before something is written: what cost is done. It tells whether there will be no other turn.
func (g *gate) wrote(p []byte) (last bool) {
	if g.leave() {
		g.again = isRetry(p)
		return !g.again
	}
	return false
}

// isRetry tells whether a record is a HelloRetryRequest: a ServerHello with a certain random value (RFC 8446 section 4.1.3).
func isRetry(record []byte) bool {
	const at = 5 + 4 + 2 // behind the heads of the record and the message, and the version
	return len(record) >= at+sha256.Size && record[0] == 22 && record[5] == 2 && bytes.Equal(record[at:at+sha256.Size], retryRandom[:])
}

var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	g := c.gate.Load()
	if g == nil {
		return c.Conn.Read(p)
	}
	again := g.leave() || g.again // there is more of the message
	n, err := c.Conn.Read(p)
	if again && n > 0 {
		g.again = false
		if turnErr := g.enter(); turnErr != nil {
			return n, turnErr
		}
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if g := c.gate.Load(); g != nil && g.wrote(p) {
		c.gate.Store(nil)
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	if g := c.gate.Load(); g != nil {
		g.leave()
	}
	return c.Conn.Close()
}
