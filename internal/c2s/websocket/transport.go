package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/certs"
	"rollcall/internal/ns"
	"rollcall/internal/proxied"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// endTimeout bounds the good-bye, each way.
const endTimeout = 2 * time.Second

// A message may come in many fragments, each of which costs more than the few bytes in it: when after this many
// reads there were less than so many bytes a read, the client means harm.
const (
	freeReads       = 64
	minBytesPerRead = 16
	// slack is for the frames of a small message, those that are about the connection, and what is read ahead. By the numbers
	// above those of a large one take less than there is in it.
	slack = 16 << 10
)

var errEnded = errors.New("the stream has ended")

// transport implements c2s.Transport.
type transport struct {
	opts *Options
	ws   *websocket.Conn
	conn *conn           // under ws
	ctx  context.Context // for ws; never done
	tls  *tls.ConnectionState

	remote  string // for Info
	channel auth.Channel
	limits  xmlstream.Limits

	code     websocket.StatusCode // what the WebSocket is closed with
	peerDone bool                 // nothing more will come
	ending   atomic.Bool          // End was called
	heard    atomic.Bool          // something was read since the last look

	mu     sync.Mutex // held while a message is written
	done   error      // why nothing more is written
	opened bool       // this stream has a header of ours

	closed chan struct{}
	pinger sync.WaitGroup
}

func newTransport(ws *websocket.Conn, c *conn, r *http.Request, client proxied.Client, o *Options) *transport {
	ws.SetReadLimit(-1) // Next has a limit, and says so to the client
	t := &transport{opts: o, ws: ws, conn: c, ctx: context.WithoutCancel(r.Context()), tls: r.TLS,
		remote: client.Name, channel: channel(c, r, client), code: websocket.StatusNormalClosure, closed: make(chan struct{})}
	t.pinger.Go(t.keepAlive)
	return t
}

// channel describes the connection. TLS that a proxy ends has nothing to bind to; and a proxy on this machine does not
// make its clients local.
func channel(c *conn, r *http.Request, client proxied.Client) auth.Channel {
	ch := auth.Channel{Secure: client.Secure, Loopback: client.Local}
	if r.TLS == nil {
		return ch
	}
	if key, err := r.TLS.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil { // RFC 9266
		ch.Exporter = key
	}
	if t, ok := c.Conn.(*tls.Conn); ok {
		if under, ok := t.NetConn().(*certs.Conn); ok {
			ch.EndPoint = under.EndPoint()
		}
	}
	return ch
}

// keepAlive asks a silent client for a sign of life, and ends the connection when there is none. TCP's own probes
// would reach no further than a proxy.
func (t *transport) keepAlive() {
	tick := time.NewTicker(t.opts.Ping)
	defer tick.Stop()
	for {
		select {
		case <-t.closed:
			return
		case <-tick.C:
		}
		if t.heard.Swap(false) {
			continue
		}
		ctx, cancel := context.WithTimeout(t.ctx, t.opts.Ping)
		err := t.ws.Ping(ctx)
		cancel()
		if err != nil {
			t.Abort()
			return
		}
	}
}

// Handshake implements c2s.Transport: the HTTP server did all there is.
func (t *transport) Handshake(context.Context) error { return nil }

// CanStartTLS implements c2s.Transport (RFC 7395 section 3.9: "STARTTLS is not used").
func (t *transport) CanStartTLS() bool { return false }

// StartTLS implements c2s.Transport.
func (t *transport) StartTLS(context.Context, *xmlstream.Element) error { return errors.ErrUnsupported }

// SetLimits implements c2s.Transport.
func (t *transport) SetLimits(l xmlstream.Limits) { t.limits = l }

// Measure implements c2s.Transport. Frames are counted with what is in them, and those that carry nothing too.
func (t *transport) Measure(m *c2s.Meter) { t.conn.took = m }

// Restart implements c2s.Transport: a new <open/> says it all.
func (t *transport) Restart() {
	t.mu.Lock()
	t.opened = false
	t.mu.Unlock()
}

// Channel implements c2s.Transport.
func (t *transport) Channel() auth.Channel { return t.channel }

// Info implements c2s.Transport.
func (t *transport) Info() session.ConnInfo {
	info := session.ConnInfo{Transport: "websocket", RemoteAddr: t.remote, Secure: t.channel.Secure}
	if t.tls != nil {
		info.TLSVersion = tls.VersionName(t.tls.Version)
		info.Cipher = tls.CipherSuiteName(t.tls.CipherSuite)
	}
	return info
}

// Next implements c2s.Transport.
func (t *transport) Next() (c2s.Event, error) {
	typ, r, err := t.ws.Reader(t.ctx)
	if err != nil {
		if websocket.CloseStatus(err) != -1 || errors.Is(err, io.EOF) { // closed without <close/>
			t.peerDone = true
			return c2s.Event{}, io.EOF
		}
		return c2s.Event{}, err
	}
	t.heard.Store(true)
	if typ != websocket.MessageText { // section 3.2
		t.code = websocket.StatusUnsupportedData
		return c2s.Event{}, &stanza.StreamError{Condition: stanza.BadFormat, Text: "XMPP goes in text messages"}
	}
	el, err := t.read(r)
	if err != nil {
		return c2s.Event{}, err
	}
	return t.event(el)
}

// read reads one message, which is one element (section 3.3.3).
func (t *transport) read(r io.Reader) (*xmlstream.Element, error) {
	limit := t.limits.Bytes
	if limit <= 0 {
		limit = xmlstream.DefaultBytes
	}
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	t.conn.within(2*limit + slack)
	defer t.conn.within(0)
	for reads := 1; ; reads++ {
		if len(*buf) == cap(*buf) {
			grown := make([]byte, len(*buf), min(4*cap(*buf), limit+c2s.FlushSize))
			copy(grown, *buf)
			*buf = grown
		}
		n, err := r.Read((*buf)[len(*buf):cap(*buf)])
		*buf = (*buf)[:len(*buf)+n]
		switch {
		case len(*buf) > limit:
			return nil, t.tooMuch(fmt.Sprintf("more than %d bytes in an element", limit))
		case err == io.EOF:
			return xmlstream.ParseElement(*buf, t.limits)
		case errors.Is(err, errPieces):
			return nil, t.tooMuch("a message in so many empty fragments")
		case err != nil:
			return nil, err
		case reads > freeReads && len(*buf) < reads*minBytesPerRead:
			return nil, t.tooMuch("a message in so many small fragments")
		}
	}
}

func (t *transport) tooMuch(text string) error {
	t.code = websocket.StatusMessageTooBig
	return &stanza.StreamError{Condition: stanza.StreamPolicyViolation, Text: text}
}

// event tells what an element is: framing (section 3.3), or a part of the stream.
func (t *transport) event(el *xmlstream.Element) (c2s.Event, error) {
	switch {
	case el.Is(ns.Framing, "open"):
		return c2s.Event{Kind: xmlstream.Open, Header: c2s.HeaderOf(el)}, nil
	case el.Is(ns.Framing, "close"):
		t.peerDone = true
		return c2s.Event{Kind: xmlstream.Close}, nil
	case el.Space == ns.Framing:
		return c2s.Event{}, &stanza.StreamError{Condition: stanza.BadFormat, Text: "framing is <open/> and <close/>"}
	case el.Space == ns.Stream: // section 3.3.1; a <stream:stream/> among them
		return c2s.Event{}, &stanza.StreamError{Condition: stanza.InvalidNamespace,
			Text: "over WebSocket a stream begins with <open xmlns='" + ns.Framing + "'/>"}
	}
	return c2s.Event{Kind: xmlstream.Stanza, Element: el}, nil
}
