// Package tcp carries client streams over TCP (RFC 6120 sections 3 to 5), with STARTTLS or with TLS from the first
// byte (XEP-0368 v1.1).
package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"rollcall/internal/c2s"
)

// ALPN is the protocol name that clients offer with direct TLS (XEP-0368): for the TLS configuration of such a
// listener.
const ALPN = "xmpp-client"

// Options says how a listener treats connections.
type Options struct {
	// TLS is nil when there is no certificate.
	TLS *tls.Config
	// Direct: TLS from the first byte, instead of STARTTLS.
	Direct bool
	// WriteStall is how long a write may wait for the peer to read; 30 s.
	WriteStall time.Duration
	Log        *slog.Logger

	epoch time.Time // when Serve began; what times are counted from that have to fit into 8 bytes
}

// sinceEpoch is positive, and knows nothing of the clock on the wall: one that is set back must not make a deadline of before look
// as if it were to come.
func (o *Options) sinceEpoch(t time.Time) time.Duration { return t.Sub(o.epoch) }

// A peer that vanished is noticed in 90 seconds: silence is answered with probes from idleTime on, and what was sent
// must be acknowledged within userTimeout.
const (
	idleTime      = 40 * time.Second
	probeInterval = 15 * time.Second
	probes        = 3
	userTimeout   = 80 * time.Second
)

// Listen listens on a TCP address for Serve.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idleTime, Interval: probeInterval, Count: probes},
		Control:         setUserTimeout, // accepted connections inherit it
	}
	return lc.Listen(ctx, "tcp", address)
}

// Serve accepts connections and starts them on srv until ctx ends, and closes l. The connections are srv's to wait
// for.
func Serve(ctx context.Context, l net.Listener, srv *c2s.Server, o Options) error {
	o.epoch = time.Now()
	if o.WriteStall <= 0 {
		o.WriteStall = 30 * time.Second
	}
	if o.Direct && o.TLS == nil {
		return errors.New("direct TLS needs a certificate")
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		l.Close() // an error changes nothing: nobody accepts any more
	})
	defer func() {
		if !stop() {
			<-closed
		}
	}()
	for wait := time.Duration(0); ; {
		c, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			start(c, srv, &o)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %s: %w", l.Addr(), err)
		default: // such as too many open files: it may pass
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			o.Log.Error("connection not accepted", "listener", l.Addr().String(), "error", err, "next_try", wait)
			pause(ctx, wait)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func start(c net.Conn, srv *c2s.Server, o *Options) {
	tk, err := srv.Admit(address(c.RemoteAddr()))
	if err != nil {
		c.Close() // srv has said why; the peer learns that it is not served now
		return
	}
	srv.Start(tk, newTransport(c, o))
}

// address gives the IP address of a peer, the zero Addr when it has none.
func address(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
