package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/certs"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// endTimeout bounds the good-bye, each way.
const endTimeout = 2 * time.Second

// drainBytes is how much of a peer's unread data is taken before the connection is closed: closing with more unread
// would reset it, and the peer might lose the error that it was sent.
const drainBytes = 256 << 10

var errEnded = errors.New("the stream has ended")

// transport implements c2s.Transport.
type transport struct {
	opts *Options
	raw  certs.Conn // deadlines are set here: they hold for TLS as well
	tls  *tls.Conn  // nil without TLS; set before a session is bound and not changed after
	src  io.Reader  // what in reads
	in   xmlstream.Reader
	idle source // src of a plain connection

	peerDone bool        // nothing more will come; the owner's
	ending   atomic.Bool // End was called

	mu     sync.Mutex // held while a part is written
	done   error      // why nothing more is written
	opened bool       // this stream has a header of ours

	deadline time.Duration // of the write under way or the last one, after opts.epoch; 0 when none is set
}

func newTransport(c net.Conn, o *Options) *transport {
	t := &transport{opts: o} // all in one piece, for each connection has one
	t.raw.Conn = c
	t.src = t.idle.init(c)
	t.in.Init(t.src, xmlstream.Limits{})
	return t
}

// Handshake implements c2s.Transport.
func (t *transport) Handshake(ctx context.Context) error {
	if !t.opts.Direct {
		return nil
	}
	return t.startTLS(ctx)
}

func (t *transport) startTLS(ctx context.Context) error {
	conn := tls.Server(&t.raw, t.opts.TLS)
	t.mu.Lock()
	t.tls = conn // before the handshake: nothing more may be written in clear
	t.opened = false
	t.mu.Unlock()
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	t.src = conn
	if t.idle.took != nil {
		t.src = &measured{conn, t.idle.took}
	}
	t.in.SwitchSource(t.src)
	return nil
}

// Measure implements c2s.Transport.
func (t *transport) Measure(m *c2s.Meter) {
	t.idle.took = m
	if t.src != &t.idle {
		t.src = &measured{t.src, m}
		t.in.Init(t.src, xmlstream.Limits{})
	}
}

// CanStartTLS implements c2s.Transport.
func (t *transport) CanStartTLS() bool { return t.tls == nil && t.opts.TLS != nil }

// StartTLS implements c2s.Transport.
func (t *transport) StartTLS(ctx context.Context, proceed *xmlstream.Element) error {
	// COMPAT: go-xmpp (go-sendxmpp and many bots) ends the request with a line feed, though section 5.3.3 forbids white
	// space here. It goes where it came from, in clear: nothing of it reaches the new stream.
	t.in.SkipSpace()
	if s, ok := t.src.(*source); t.in.Buffered() > 0 || ok && s.buffered() {
		return c2s.ErrInjection
	}
	if err := t.Write(proceed); err != nil {
		return err
	}
	return t.startTLS(ctx)
}

// SetLimits implements c2s.Transport.
func (t *transport) SetLimits(l xmlstream.Limits) { t.in.SetLimits(l) }

// Restart implements c2s.Transport.
func (t *transport) Restart() {
	t.in.Restart()
	t.mu.Lock()
	t.opened = false
	t.mu.Unlock()
}

// Next implements c2s.Transport.
func (t *transport) Next() (c2s.Event, error) {
	ev, err := t.in.Next()
	if err != nil {
		t.peerDone = t.peerDone || errors.Is(err, io.EOF)
		return c2s.Event{}, err
	}
	switch ev.Kind {
	case xmlstream.Open:
		return opened(ev)
	case xmlstream.Close:
		t.peerDone = true
	}
	return c2s.Event{Kind: ev.Kind, Element: ev.Element}, nil
}

// opened is apart from Next because an idle client's stack waits there.
//
//go:noinline
func opened(ev xmlstream.Event) (c2s.Event, error) {
	if err := checkRoot(ev); err != nil {
		return c2s.Event{}, err
	}
	return c2s.Event{Kind: ev.Kind, Header: c2s.HeaderOf(ev.Element)}, nil
}

// checkRoot holds a stream header to RFC 6120 sections 4.8.1 and 4.8.2.
func checkRoot(ev xmlstream.Event) error {
	switch {
	case ev.Element.Space != ns.Stream:
		return &stanza.StreamError{Condition: stanza.InvalidNamespace,
			Text: "the stream's root element must be in the namespace " + ns.Stream}
	case ev.Element.Local != "stream":
		return &stanza.StreamError{Condition: stanza.BadFormat, Text: "the root element must be <stream:stream>"}
	case ev.DefaultNS != ns.Client && ev.DefaultNS != "" && ev.DefaultNS != ns.Stream:
		return &stanza.StreamError{Condition: stanza.InvalidNamespace,
			Text: "the stream's default namespace must be " + ns.Client}
	}
	return nil
}

// Channel implements c2s.Transport.
func (t *transport) Channel() auth.Channel {
	ch := auth.Channel{Loopback: address(t.raw.RemoteAddr()).IsLoopback()}
	if t.tls == nil {
		return ch
	}
	ch.Secure = true
	ch.EndPoint = t.raw.EndPoint()
	state := t.tls.ConnectionState()
	ch.Certificates = state.PeerCertificates
	// RFC 9266. TLS 1.2 without the extended master secret has no safe exporter: an error, and nil.
	if key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		ch.Exporter = key
	}
	return ch
}

// Info implements c2s.Transport.
func (t *transport) Info() session.ConnInfo {
	info := session.ConnInfo{Transport: "tcp", RemoteAddr: t.raw.RemoteAddr().String()}
	if t.tls != nil {
		state := t.tls.ConnectionState()
		info.Secure = true
		info.TLSVersion = tls.VersionName(state.Version)
		info.Cipher = tls.CipherSuiteName(state.CipherSuite)
	}
	return info
}
