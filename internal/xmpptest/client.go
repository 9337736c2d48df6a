package xmpptest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Client is one resource of a user in a dialogue: it signs in and then only sends what it is told, and keeps what it
// receives.
type Client struct {
	conn     net.Conn
	reader   *xmlstream.Reader
	JID      string             // full, once signed in
	Features *xmlstream.Element // of the stream, as they were announced last
	incoming chan *xmlstream.Element
	stopped  chan struct{} // closed by Close
	once     sync.Once
	read     sync.WaitGroup
	err      error // why reading ended; valid once incoming is closed
}

// backlog is how many stanzas a client holds that the dialogue has not looked at; the connection is read no further
// beyond it.
const backlog = 1024

// Connect opens a stream to a host, signs in with PLAIN, as user with any password, and binds a resource.
func Connect(ctx context.Context, l Dialer, user, host, resource string) (*Client, error) {
	return connect(ctx, l, user, func(c *Client) error {
		if err := c.signIn(user, host); err != nil {
			return err
		}
		return c.bind(resource)
	})
}

// SignIn does the same and binds no resource.
func SignIn(ctx context.Context, l Dialer, user, host string) (*Client, error) {
	return connect(ctx, l, user, func(c *Client) error { return c.signIn(user, host) })
}

// Open opens a stream to a host, and does not sign in.
func Open(ctx context.Context, l Dialer, host string) (*Client, error) {
	return connect(ctx, l, "nobody", func(c *Client) error { return c.open(host) })
}

func connect(ctx context.Context, l Dialer, user string, negotiate func(c *Client) error) (*Client, error) {
	conn, err := l.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, incoming: make(chan *xmlstream.Element, backlog), stopped: make(chan struct{})}
	c.reader = xmlstream.NewReader(conn, xmlstream.Limits{Bytes: 64 << 20, Children: 1 << 20, Attrs: 1 << 10})
	if err := negotiate(c); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s cannot sign in: %w", user, err)
	}
	c.read.Go(c.readAll)
	return c, nil
}

func (c *Client) signIn(user, host string) error {
	if err := c.open(host); err != nil {
		return err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00secret"))
	if _, err := c.ask(xmlstream.New(ns.SASL, "auth", "mechanism", "PLAIN").AppendText(plain), "success"); err != nil {
		return err
	}
	c.reader.Restart()
	return c.open(host)
}

func (c *Client) bind(resource string) error {
	bind := xmlstream.New(ns.Bind, "bind")
	if resource != "" {
		bind.Append(xmlstream.New(ns.Bind, "resource").AppendText(resource))
	}
	res, err := c.ask(xmlstream.New(ns.Client, "iq", "type", "set", "id", "bind").Append(bind), "iq")
	if err != nil {
		return err
	}
	if b := res.Child(ns.Bind, "bind"); b != nil {
		c.JID = b.Child(ns.Bind, "jid").Text()
		return nil
	}
	return fmt.Errorf("bind: %s", res)
}

// open sends a stream header and reads the server's, and its features.
func (c *Client) open(host string) error {
	if err := c.Send(fmt.Sprintf("<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='%s' xmlns:stream='%s'>",
		host, ns.Client, ns.Stream)); err != nil {
		return err
	}
	for _, want := range []xmlstream.Kind{xmlstream.Open, xmlstream.Stanza} {
		ev, err := c.reader.Next()
		if err != nil {
			return err
		}
		c.Features = ev.Element
		if ev.Kind != want || (want == xmlstream.Stanza && !ev.Element.Is(ns.Stream, "features")) {
			return fmt.Errorf("unexpected: %s", ev.Element)
		}
	}
	return nil
}

// ask sends an element and reads one with that name.
func (c *Client) ask(el *xmlstream.Element, want string) (*xmlstream.Element, error) {
	if err := c.Send(string(el.AppendXML(nil, ns.Client))); err != nil {
		return nil, err
	}
	ev, err := c.reader.Next()
	if err != nil {
		return nil, err
	}
	if ev.Element == nil || ev.Element.Local != want {
		return nil, fmt.Errorf("unexpected: %s", ev.Element)
	}
	return ev.Element, nil
}

// Send writes XML as it is.
func (c *Client) Send(xml string) error {
	_, err := io.WriteString(c.conn, xml)
	return err
}

// errStreamClosed: the server closed the stream in good order.
var errStreamClosed = errors.New("stream closed")

func (c *Client) readAll() {
	defer close(c.incoming)
	for {
		ev, err := c.reader.Next()
		if err != nil {
			c.err = err
			return
		}
		if ev.Kind != xmlstream.Stanza {
			c.err = errStreamClosed
			return
		}
		select {
		case c.incoming <- ev.Element:
		case <-c.stopped:
			return
		}
	}
}

// Receive gives the next stanza that the server sent. When the stream has ended the error says how.
func (c *Client) Receive(ctx context.Context) (*xmlstream.Element, error) {
	select {
	case el, ok := <-c.incoming:
		if !ok {
			return nil, fmt.Errorf("the stream has ended: %w", c.err)
		}
		return el, nil
	case <-ctx.Done():
		return nil, errors.New("nothing came")
	}
}

// Poll gives the next stanza that has come, nil when none has. When the stream has ended the error says how. What was
// on the way has come after synctest.Wait.
func (c *Client) Poll() (*xmlstream.Element, error) {
	select {
	case el, ok := <-c.incoming:
		if !ok {
			return nil, fmt.Errorf("the stream has ended: %w", c.err)
		}
		return el, nil
	default:
		return nil, nil
	}
}

// Close cuts the connection, without a word, and waits until the client has noticed.
func (c *Client) Close() {
	c.once.Do(func() { close(c.stopped) })
	c.conn.Close()
	c.read.Wait()
}
