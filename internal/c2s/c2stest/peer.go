package c2stest

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/c2s"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// patience is how long a test waits for what must come before it fails; a client may have its own.
const patience = time.Minute

// clientLimits are wide: the tests are not about the client.
var clientLimits = xmlstream.Limits{Bytes: 8 << 20, Children: 1 << 20}

// Peer is a client. What it receives is compared as our serializer writes it.
type Peer struct {
	T testing.TB
	// Conn is the connection; it is nil when the stream is framed.
	Conn   net.Conn
	reader *xmlstream.Reader

	// WebSocket or BOSH is set when the stream is framed.
	WebSocket *websocket.Conn
	BOSH      *BOSH
	// Patience is how long to wait for a message.
	Patience time.Duration
}

// NewStream makes a client over a connection.
func NewStream(t testing.TB, c net.Conn) *Peer {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &Peer{T: t, Conn: c, reader: xmlstream.NewReader(c, clientLimits)}
}

// Secure goes on over another connection, such as TLS over the one before.
func (p *Peer) Secure(c net.Conn) {
	p.Conn = c
	p.reader.SwitchSource(c)
}

// NewWebSocket makes a client over WebSocket. The URL begins with http.
func NewWebSocket(t testing.TB, url string, client *http.Client, header http.Header) *Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"xmpp"}, HTTPClient: client,
		HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { ws.CloseNow() })
	return &Peer{T: t, WebSocket: ws, Patience: patience}
}

// TrySend sends bytes, or a text message, as they are. An error is for tests in which the server may be gone.
func (p *Peer) TrySend(xml string) error {
	if p.Conn != nil {
		_, err := io.WriteString(p.Conn, xml)
		return err
	}
	ctx, cancel := context.WithTimeout(p.T.Context(), p.Patience)
	defer cancel()
	if p.BOSH != nil {
		return p.BOSH.trySend(p.T.Context(), ctx, xml)
	}
	return p.WebSocket.Write(ctx, websocket.MessageText, []byte(xml))
}

// Send sends bytes, or a text message, as they are.
func (p *Peer) Send(xml string) {
	p.T.Helper()
	if err := p.TrySend(xml); err != nil {
		p.T.Fatalf("sending %.100q: %v", xml, err)
	}
}

// Framed gives a stanza as it is sent: alone in its message, it has to name its namespace.
func (p *Peer) Framed(xml string) string {
	if p.Conn != nil {
		return xml
	}
	name := strings.IndexAny(xml, " />")
	return xml[:name] + " xmlns='" + ns.Client + "'" + xml[name:]
}

// SendStanza sends a stanza, or what pretends to be one.
func (p *Peer) SendStanza(xml string) {
	p.T.Helper()
	p.Send(p.Framed(xml))
}

// Header gives a stream header with these attributes.
func (p *Peer) Header(attributes string) string {
	if p.BOSH != nil {
		return headerMark + attributes
	}
	if p.WebSocket != nil {
		return "<open xmlns='" + ns.Framing + "' " + attributes + "/>"
	}
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' " + attributes + ">"
}

// Next gives the next element: our <open/> or <stream:stream> too, and nil for the end of the stream.
func (p *Peer) Next() (*xmlstream.Element, error) {
	if p.Conn != nil {
		ev, err := p.reader.Next()
		return ev.Element, err
	}
	ctx, cancel := context.WithTimeout(p.T.Context(), p.Patience)
	defer cancel()
	if p.BOSH != nil {
		return p.BOSH.next(p.T.Context(), ctx)
	}
	_, b, err := p.WebSocket.Read(ctx)
	if err != nil {
		if websocket.CloseStatus(err) != -1 {
			err = io.EOF
		}
		return nil, err
	}
	if len(b) == 0 || b[0] != '<' {
		p.T.Errorf("a message does not begin with '<' (RFC 7395 section 3.3): %q", b)
	}
	el, err := xmlstream.ParseElement(b, clientLimits)
	if err == nil && el.Is(ns.Framing, "close") {
		return nil, nil
	}
	return el, err
}

// Restart makes the client expect a new stream.
func (p *Peer) Restart() {
	if p.reader != nil {
		p.reader.Restart()
	}
	if p.BOSH != nil {
		p.BOSH.fresh = true
	}
}

// Receive gives the next element and fails at the end of the stream.
func (p *Peer) Receive() *xmlstream.Element {
	p.T.Helper()
	el, err := p.Next()
	if err != nil {
		p.T.Fatalf("receiving: %v", err)
	}
	if el == nil {
		p.T.Fatal("the stream ended")
	}
	return el
}

// Expect receives an element and compares it.
func (p *Peer) Expect(want string) {
	p.T.Helper()
	if got := p.Receive().String(); got != want {
		p.T.Fatalf("received\n%s\nwant\n%s", got, want)
	}
}

// ExpectHeader receives a stream header and checks what each must have.
func (p *Peer) ExpectHeader() c2s.Header {
	p.T.Helper()
	el := p.Receive()
	if p.Conn != nil && !el.Is(ns.Stream, "stream") || p.Conn == nil && !el.Is(ns.Framing, "open") {
		p.T.Fatalf("received %s, want a stream header", el)
	}
	h := c2s.HeaderOf(el)
	if h.Version != "1.0" || h.Lang == "" {
		p.T.Errorf("header %s lacks its version or language", el)
	}
	if id, err := base64.RawURLEncoding.DecodeString(h.ID); err != nil || len(id) != 16 {
		p.T.Errorf("stream id %q does not hold 128 bits", h.ID)
	}
	return *h
}

// Open sends a header for a domain, and gives the features that the answer has.
func (p *Peer) Open(domain string) *xmlstream.Element {
	p.T.Helper()
	p.Send(p.Header("to='" + domain + "' version='1.0'"))
	if h := p.ExpectHeader(); h.From != domain {
		p.T.Errorf("the header is from %q, want %q", h.From, domain)
	}
	f := p.Receive()
	if !f.Is(ns.Stream, "features") {
		p.T.Fatalf("received %s, want stream features", f)
	}
	return f
}

// ExpectError receives what is left until a stream error, and then the end of the stream and of the connection. A
// condition of "" stands for an end without an error.
func (p *Peer) ExpectError(condition string) {
	p.T.Helper()
	for {
		el, err := p.Next()
		switch {
		case err != nil:
			p.T.Fatalf("the connection ended with %v before the stream did, want %q", err, condition)
		case el == nil && condition == "":
			p.ExpectGone()
			return
		case el == nil:
			p.T.Fatalf("the stream ended without an error, want %q", condition)
		case el.Is(ns.Stream, "error"):
			if got := el.First(); !got.Is(ns.Streams, condition) {
				p.T.Fatalf("stream error %s, want %q", el, condition)
			}
			condition = ""
		}
	}
}

// ExpectGone says that the stream is over and waits for the end of the connection.
func (p *Peer) ExpectGone() {
	p.T.Helper()
	end := "</stream:stream>"
	if p.WebSocket != nil {
		end = "<close xmlns='" + ns.Framing + "'/>"
	}
	if p.BOSH != nil {
		end = endMark
	}
	p.TrySend(end) // the server may be gone
	for {
		if _, err := p.Next(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
				p.T.Fatalf("the connection stays open: %v", err)
			}
			return
		}
	}
}

// Plain is the data of SASL PLAIN for the account.
var Plain = base64.StdEncoding.EncodeToString([]byte("\x00" + User + "\x00" + Password))

// SignIn opens a stream and authenticates.
func (p *Peer) SignIn() {
	p.T.Helper()
	p.Open(Domain)
	p.Authenticate()
}

// Authenticate signs in on an open stream, up to the features of the new one.
func (p *Peer) Authenticate() *xmlstream.Element {
	p.T.Helper()
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + Plain + "</auth>")
	p.Expect("<success xmlns='" + ns.SASL + "'/>")
	p.Restart()
	return p.Open(Domain)
}

// Bind binds a resource.
func (p *Peer) Bind(resource string) {
	p.T.Helper()
	p.SendStanza("<iq type='set' id='b'><bind xmlns='" + ns.Bind + "'><resource>" + resource + "</resource></bind></iq>")
	p.Expect("<iq xmlns='jabber:client' type='result' id='b'><bind xmlns='" + ns.Bind + "'><jid>" +
		User + "@" + Domain + "/" + resource + "</jid></bind></iq>")
}

// Echo sends a message and waits until it comes back: all that was sent before it has been dealt with.
func (p *Peer) Echo(id string) {
	p.T.Helper()
	p.SendStanza("<message id='" + id + "'/>")
	for {
		if el := p.Receive(); el.Local == "message" && el.Attr("id") == id {
			return
		}
	}
}
