package websocket

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"rollcall/internal/c2s"
	"rollcall/internal/certs"
)

// conn is the connection under a WebSocket. Its deadlines are what bounds reads and writes.
type conn struct {
	net.Conn
	ending atomic.Bool
	left   atomic.Int64 // how much may still be read once ending is set
	most   atomic.Int64 // how much may still be read of a message; 0 when none has begun
	took   *c2s.Meter   // of what is read; may be nil
}

// drainBytes is how much of a peer's unread data is taken while it is waited for the end of its side.
const drainBytes = 256 << 10

var (
	errFlood  = errors.New("the peer goes on sending although its stream has ended")
	errPieces = errors.New("much was sent, and there is little in it")
)

// end begins to count what is read.
func (c *conn) end() {
	c.left.Store(drainBytes)
	c.ending.Store(true)
}

// within bounds what is read of a message, its frames counted: package websocket takes those that are empty by itself, and
// tells nobody.
func (c *conn) within(most int) { c.most.Store(int64(most)) }

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(c.took.Limit(b))
	if err == nil && c.most.Load() > 0 && c.most.Add(-int64(n)) <= 0 {
		return n, errPieces
	}
	if !c.ending.Load() {
		c.took.Took(n)
	}
	if err == nil && c.ending.Load() && c.left.Add(-int64(n)) < 0 {
		return n, errFlood
	}
	return n, err
}

// cut closes the connection without waiting for anything.
func (c *conn) cut() {
	under := c.Conn
	if t, ok := under.(*tls.Conn); ok {
		under = t.NetConn() // closing the TLS connection would wait for the peer to take an alert
	}
	if c, ok := under.(*certs.Conn); ok {
		under = c.Conn
	}
	if t, ok := under.(*net.TCPConn); ok {
		t.SetLinger(0) // nobody will read what the system still holds for this peer
	}
	under.Close() // closed already is as good
}
