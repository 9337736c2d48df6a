package xmpptest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Client is one resource of a user in a dialogue: it signs in and then only sends what it is told, and keeps what it
// receives.
type Client struct {
	stream   stream
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

// stream is what carries a client's stream: TCP, WebSocket or BOSH. It is read by one goroutine at a time, and written by any.
type stream interface {
	// open begins a stream, or begins it anew, and gives the server's features.
	open(host string) (*xmlstream.Element, error)
	// send sends an element, or what pretends to be one. It does not wait for the server.
	send(xml string) error
	// end ends the client's side of the stream.
	end() error
	// next gives the next element, errStreamClosed when there is none any more.
	next() (*xmlstream.Element, error)
	// close cuts the connection, and waits for what it has running.
	close()
}

// Connect opens a stream to a host, signs in with PLAIN, as user with any password, and binds a resource.
func Connect(ctx context.Context, l Dialer, user, host, resource string) (*Client, error) {
	return connect(ctx, openTCP(l), user, signInAs(user, host, resource))
}

// SignIn does the same and binds no resource.
func SignIn(ctx context.Context, l Dialer, user, host string) (*Client, error) {
	return connect(ctx, openTCP(l), user, signInAs(user, host, ""))
}

// Open opens a stream to a host, and does not sign in.
func Open(ctx context.Context, l Dialer, host string) (*Client, error) {
	return connect(ctx, openTCP(l), "nobody", func(c *Client) error { return c.open(host) })
}

// Carrier is what carries a client's stream.
type Carrier string

// The carriers that there are.
const (
	TCP       Carrier = "TCP"
	WebSocket Carrier = "WebSocket"
	BOSH      Carrier = "BOSH"
)

// opener makes a stream.
type opener func(ctx context.Context) (stream, error)

func (c Carrier) to(l Dialer) opener {
	switch c {
	case WebSocket:
		return openWebSocket(l)
	case BOSH:
		return openBOSH(l)
	}
	return openTCP(l)
}

// signInAs signs a user in, and binds a resource unless it is "".
func signInAs(user, host, resource string) func(c *Client) error {
	return func(c *Client) error {
		err := c.signIn(user, host)
		if err == nil && resource != "" {
			err = c.bind(resource)
		}
		return err
	}
}

func connect(ctx context.Context, open opener, user string, negotiate func(c *Client) error) (*Client, error) {
	s, err := open(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{stream: s, incoming: make(chan *xmlstream.Element, backlog), stopped: make(chan struct{})}
	if err := negotiate(c); err != nil {
		s.close()
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
	return c.open(host)
}

func (c *Client) bind(resource string) error {
	bind := xmlstream.New(ns.Bind, "bind").Append(xmlstream.New(ns.Bind, "resource").AppendText(resource))
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

func (c *Client) open(host string) (err error) {
	c.Features, err = c.stream.open(host)
	return err
}

// ask sends an element and reads one with that name.
func (c *Client) ask(el *xmlstream.Element, want string) (*xmlstream.Element, error) {
	if err := c.Send(string(el.AppendXML(nil, ns.Client))); err != nil {
		return nil, err
	}
	got, err := c.stream.next()
	if err != nil {
		return nil, err
	}
	if got.Local != want {
		return nil, fmt.Errorf("unexpected: %s", got)
	}
	return got, nil
}

// Send sends XML as it is; over WebSocket and BOSH, where it must be one element, with its namespace.
func (c *Client) Send(xml string) error { return c.stream.send(xml) }

// End ends the client's side of the stream in good order.
func (c *Client) End() error { return c.stream.end() }

// Redial has a client over BOSH take its connections for broken, and go on with others.
func (c *Client) Redial() {
	if b, ok := c.stream.(*boshStream); ok {
		b.redial()
	}
}

// errStreamClosed: the server closed the stream in good order.
var errStreamClosed = errors.New("stream closed")

func (c *Client) readAll() {
	defer close(c.incoming)
	for {
		el, err := c.stream.next()
		if err != nil {
			c.err = err
			return
		}
		select {
		case c.incoming <- el:
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
	c.stream.close()
	c.read.Wait()
}
