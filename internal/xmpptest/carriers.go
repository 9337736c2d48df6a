package xmpptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// wide are a client's own limits: tests are not about it.
var wide = xmlstream.Limits{Bytes: 64 << 20, Children: 1 << 20, Attrs: 1 << 10}

// tcpStream is a stream as RFC 6120 has it.
type tcpStream struct {
	conn   net.Conn
	reader *xmlstream.Reader
	opened bool
}

func openTCP(l Dialer) opener {
	return func(ctx context.Context) (stream, error) {
		conn, err := l.Dial(ctx)
		if err != nil {
			return nil, err
		}
		return &tcpStream{conn: conn, reader: xmlstream.NewReader(conn, wide)}, nil
	}
}

func (s *tcpStream) open(host string) (features *xmlstream.Element, err error) {
	if s.opened {
		s.reader.Restart()
	}
	s.opened = true
	if err := s.send(fmt.Sprintf("<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='%s' xmlns:stream='%s'>",
		host, ns.Client, ns.Stream)); err != nil {
		return nil, err
	}
	if ev, err := s.reader.Next(); err != nil || ev.Kind != xmlstream.Open {
		return ev.Element, fmt.Errorf("no header: %s %w", ev.Element, err)
	}
	return featuresOf(s)
}

// featuresOf reads a server's features.
func featuresOf(s stream) (*xmlstream.Element, error) {
	el, err := s.next()
	if err == nil && !el.Is(ns.Stream, "features") {
		err = fmt.Errorf("unexpected: %s", el)
	}
	return el, err
}

func (s *tcpStream) send(xml string) error {
	_, err := io.WriteString(s.conn, xml)
	return err
}

func (s *tcpStream) end() error { return s.send("</stream:stream>") }

func (s *tcpStream) next() (*xmlstream.Element, error) {
	ev, err := s.reader.Next()
	if err == nil && ev.Kind != xmlstream.Stanza {
		err = errStreamClosed
	}
	return ev.Element, err
}

func (s *tcpStream) close() { s.conn.Close() }

// framed gives a stanza as it is sent alone: it has to name its namespace.
func framed(xml string) string {
	for _, name := range []string{"<message", "<presence", "<iq"} {
		if rest, ok := strings.CutPrefix(xml, name); ok && rest != "" && strings.ContainsAny(rest[:1], " />") {
			return name + " xmlns='" + ns.Client + "'" + rest
		}
	}
	return xml
}

// webSocketStream is a stream as RFC 7395 has it.
type webSocketStream struct {
	ctx context.Context // of the connection
	ws  *websocket.Conn
}

func openWebSocket(l Dialer) opener {
	return func(ctx context.Context) (stream, error) {
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) },
		}}
		ws, _, err := websocket.Dial(ctx, "ws://localhost/xmpp-websocket", &websocket.DialOptions{Subprotocols: []string{"xmpp"}, HTTPClient: client})
		if err != nil {
			return nil, err
		}
		ws.SetReadLimit(-1)
		return webSocketStream{ctx, ws}, nil
	}
}

func (s webSocketStream) open(host string) (*xmlstream.Element, error) {
	if err := s.send(fmt.Sprintf("<open xmlns='%s' to='%s' version='1.0'/>", ns.Framing, host)); err != nil {
		return nil, err
	}
	if header, err := s.next(); err != nil || !header.Is(ns.Framing, "open") {
		return nil, errors.Join(fmt.Errorf("no header: %s", header), err)
	}
	return featuresOf(s)
}

func (s webSocketStream) send(xml string) error {
	return s.ws.Write(s.ctx, websocket.MessageText, []byte(framed(xml)))
}

func (s webSocketStream) end() error { return s.send("<close xmlns='" + ns.Framing + "'/>") }

func (s webSocketStream) next() (*xmlstream.Element, error) {
	_, text, err := s.ws.Read(s.ctx)
	if err != nil {
		return nil, err
	}
	el, err := xmlstream.ParseElement(text, wide)
	if err == nil && el.Is(ns.Framing, "close") {
		err = errStreamClosed
	}
	return el, err
}

func (s webSocketStream) close() { s.ws.CloseNow() }
