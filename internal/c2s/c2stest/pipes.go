package c2stest

import "net"

// Pipes is a listener whose connections are in memory, so that its clients can live in a bubble of fake time. They come
// from this machine, as far as their address tells.
type Pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// NewPipes makes a listener.
func NewPipes() *Pipes { return &Pipes{make(chan net.Conn), make(chan struct{})} }

// Dial connects a client; to nobody once the listener is closed.
func (l *Pipes) Dial() net.Conn {
	client, server := net.Pipe()
	select {
	case l.conns <- local{server}:
	case <-l.closed:
		server.Close()
	}
	return client
}

// Accept implements net.Listener.
func (l *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It may be called once.
func (l *Pipes) Close() error {
	close(l.closed)
	return nil
}

// Addr implements net.Listener.
func (l *Pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5222} }

type local struct{ net.Conn }

// RemoteAddr implements net.Conn.
func (local) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
