package proxied

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// headerTimeout bounds the wait for a header: proxies send it with the first packet.
const headerTimeout = 5 * time.Second

// maxWaiting bounds the connections whose header is awaited. Only trusted proxies have such.
const maxWaiting = 1024

// Listen gives a listener whose connections from trusted proxies begin with a PROXY protocol header, and show the address
// that is in it. Such a connection without a header is closed: the protocol's section 2 forbids to guess. Others are taken
// as they are.
func Listen(l net.Listener, trusted Trusted, log *slog.Logger) net.Listener {
	p := &listener{Listener: l, trusted: trusted, log: log, ready: make(chan accepted), closed: make(chan struct{}),
		slots: make(chan struct{}, maxWaiting)}
	p.work.Go(p.accept)
	return p
}

type accepted struct {
	net.Conn
	err error
}

type listener struct {
	net.Listener
	trusted Trusted
	log     *slog.Logger
	ready   chan accepted
	closed  chan struct{}
	slots   chan struct{}
	once    sync.Once
	work    sync.WaitGroup
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.Conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It waits for the connections whose header was awaited.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	l.work.Wait()
	return err
}

// accept takes connections until the listener is closed. Each header is awaited in a goroutine of its own: one that
// does not come must hold up nobody.
func (l *listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if err != nil || !l.trusted.Has(addressOf(c.RemoteAddr())) {
			if !l.give(accepted{c, err}) {
				return
			}
			continue
		}
		select {
		case l.slots <- struct{}{}:
		default:
			l.log.Warn("connection closed: too many from proxies have not sent their header", "peer", c.RemoteAddr().String())
			c.Close()
			continue
		}
		l.work.Go(func() {
			l.header(c)
			<-l.slots
		})
	}
}

// give hands a connection to Accept, or closes it when nobody accepts any more.
func (l *listener) give(a accepted) (ok bool) {
	select {
	case <-l.closed: // also when Accept waits, at the end
	default:
		select {
		case l.ready <- a:
			return true
		case <-l.closed:
		}
	}
	if a.Conn != nil {
		a.Close()
	}
	return false
}

// header reads the header of a connection.
func (l *listener) header(c net.Conn) {
	peer := c.RemoteAddr()
	err := c.SetReadDeadline(time.Now().Add(headerTimeout))
	done := make(chan struct{})
	defer close(done)
	l.work.Go(func() { // the listener's end ends the wait
		select {
		case <-l.closed:
			c.SetReadDeadline(time.Now()) // fails on a closed connection only
		case <-done:
		}
	})
	var client netip.AddrPort
	if err == nil {
		client, err = readHeader(c)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		l.log.Warn("connection from a proxy closed (listen.proxy_protocol)", "peer", peer.String(), "error", err)
		c.Close()
		return
	}
	l.give(accepted{Conn: wrap(c, addr(client, peer))})
}

// addr is the address to show. One that is not the client's, or that means the proxy's own machine, is shown but is no
// *net.TCPAddr: whoever looks for local clients, or counts by address, does not find it.
func addr(client netip.AddrPort, peer net.Addr) net.Addr {
	switch {
	case !client.IsValid():
		return shown(peer.String())
	case client.Addr().IsLoopback():
		return shown(client.String())
	}
	return net.TCPAddrFromAddrPort(client)
}

type shown string

// Network implements net.Addr.
func (shown) Network() string { return "tcp" }

// String implements net.Addr.
func (s shown) String() string { return string(s) }

func addressOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// wrap gives the connection another remote address. One of TCP keeps what else such a connection can do.
func wrap(c net.Conn, remote net.Addr) net.Conn {
	if t, ok := c.(*net.TCPConn); ok {
		return &tcpConn{t, remote}
	}
	return &conn{c, remote}
}

type tcpConn struct {
	*net.TCPConn
	remote net.Addr
}

// RemoteAddr implements net.Conn.
func (c *tcpConn) RemoteAddr() net.Addr { return c.remote }

type conn struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }
