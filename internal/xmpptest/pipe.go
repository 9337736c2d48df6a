package xmpptest

import (
	"context"
	"net"
	"sync"
)

// PipeListener is a network in memory: what is dialed is accepted as the other end of a net.Pipe. Servers and clients
// on it run in a testing/synctest bubble, where real sockets cannot.
type PipeListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipeListener makes a listener that says it is on a port of 127.0.0.1.
func NewPipeListener(port int) *PipeListener {
	return &PipeListener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dialer is where clients connect: a PipeListener, or one that is reached by a Link.
type Dialer interface {
	Dial(ctx context.Context) (net.Conn, error)
}

// Dial connects to the listener.
func (l *PipeListener) Dial(ctx context.Context) (net.Conn, error) {
	return l.DialFrom(ctx, net.IPv4(127, 0, 0, 1))
}

// DialFrom connects from an address.
func (l *PipeListener) DialFrom(ctx context.Context, from net.IP) (net.Conn, error) {
	client, server := net.Pipe()
	return client, l.carry(ctx, addressed{server, l.addr, from})
}

// carry has a connection accepted.
func (l *PipeListener) carry(ctx context.Context, server net.Conn) error {
	select {
	case l.conns <- server:
		return nil
	case <-l.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *PipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *PipeListener) Addr() net.Addr { return l.addr }

// addressed is a pipe's end that says whose it is, like the sockets it stands for.
type addressed struct {
	net.Conn
	addr net.Addr
	from net.IP
}

func (c addressed) LocalAddr() net.Addr  { return c.addr }
func (c addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: c.from, Port: 50000} }
