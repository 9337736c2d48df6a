// Package client is the least XMPP client (RFC 6120, RFC 6121) that a load generator needs: it signs in, splits what arrives
// into stanzas by counting tags, and hands each to a function as bytes. One goroutine a client; nothing is parsed that
// nobody asks for.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// TLSMode says when a client encrypts.
type TLSMode string

// The modes: never, after STARTTLS (RFC 6120 section 5), from the first byte (XEP-0368).
const (
	Plain    TLSMode = "none"
	StartTLS TLSMode = "starttls"
	Direct   TLSMode = "direct"
)

// Config is what the clients of one run share.
type Config struct {
	Addr      string        // host:port of the server's listener for clients
	Domain    string        // the virtual host, as in the stream header's "to"
	Resource  string        // asked for when binding
	TLS       TLSMode       // how to encrypt
	TLSConfig *tls.Config   // used unless TLS is none
	Mechanism string        // SASL: PLAIN, SCRAM-SHA-1 or SCRAM-SHA-256
	Sources   []net.IP      // local addresses, taken in turn; none: the system's choice
	Timeout   time.Duration // for the whole sign-in
}

// A Handler is given each stanza that arrives, first by Login's caller and then by the client's own goroutine. The bytes are valid until it
// returns. What it wants to answer it appends to c.Reply.
type Handler func(c *Client, stanza []byte)

// Client is one connection of one user.
type Client struct {
	Index int
	User  string

	// Reply collects answers while the stanzas of one read are handled; they leave in one write, unless Flush is called before. Only a
	// Handler may touch it.
	Reply []byte

	cfg     *Config
	handler Handler
	conn    net.Conn
	buf     []byte
	r, w    int
	split   splitter
	closing atomic.Bool // Close was called
	lost    atomic.Bool // the server is about to go
	welcome bool        // the server has taken the password
	repeats int         // of the roster request
	done    chan struct{}
	err     error // why the reader ended; read after done
}

// New returns a client that is not connected yet.
func New(cfg *Config, index int, user string, h Handler) *Client {
	return &Client{Index: index, User: user, cfg: cfg, handler: h, done: make(chan struct{})}
}

const firstBuffer = 2 << 10

// ErrTurnedAway is why Login fails when the server ended the connection before it had taken the password: it has no room at
// the moment, and people's clients come again.
var ErrTurnedAway = errors.New("turned away")

func turnedAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}

// Login connects, signs in, binds, fetches the roster and sends the first presence. It returns the number of contacts
// in the roster. After success a goroutine reads until Close or the end of the stream.
func (c *Client) Login(ctx context.Context) (contacts int, err error) {
	defer func() {
		if err != nil {
			close(c.done)
			if c.conn != nil {
				err = errors.Join(err, c.conn.Close())
			}
			err = fmt.Errorf("%s: %w", c.User, err)
			if !c.welcome && turnedAway(err) {
				err = fmt.Errorf("%w: %w", ErrTurnedAway, err)
			}
		}
	}()
	if err := c.dial(ctx); err != nil {
		return 0, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.cfg.Timeout)); err != nil {
		return 0, err
	}
	if err := c.secure(ctx); err != nil {
		return 0, err
	}
	if err := c.authenticate(); err != nil {
		return 0, fmt.Errorf("signing in: %w", err)
	}
	c.welcome = true
	if err := c.bind(); err != nil {
		return 0, fmt.Errorf("binding: %w", err)
	}
	contacts, err = c.roster()
	if err != nil {
		return 0, fmt.Errorf("fetching the roster: %w", err)
	}
	if err := c.Send([]byte("<presence/>")); err != nil {
		return 0, err
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return 0, err
	}
	go c.run()
	return contacts, nil
}

func (c *Client) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: c.cfg.Timeout}
	if n := len(c.cfg.Sources); n > 0 {
		d.LocalAddr = &net.TCPAddr{IP: c.cfg.Sources[c.Index%n]}
	}
	conn, err := d.DialContext(ctx, "tcp", c.cfg.Addr)
	if err != nil {
		return err
	}
	c.conn, c.buf = conn, make([]byte, firstBuffer)
	if c.cfg.TLS == Direct {
		return c.handshake(ctx)
	}
	return nil
}

func (c *Client) handshake(ctx context.Context) error {
	secured := tls.Client(c.conn, c.cfg.TLSConfig)
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.conn = secured
	c.r, c.w, c.split = 0, 0, splitter{}
	return nil
}

// open sends a stream header and returns the server's features.
func (c *Client) open() ([]byte, error) {
	header := "<?xml version='1.0'?><stream:stream to='" + c.cfg.Domain +
		"' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	if err := c.Send([]byte(header)); err != nil {
		return nil, err
	}
	return c.expect("<stream:features", "")
}

func (c *Client) secure(ctx context.Context) error {
	if c.cfg.TLS != StartTLS {
		return nil
	}
	if _, err := c.open(); err != nil {
		return err
	}
	if err := c.Send([]byte("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")); err != nil {
		return err
	}
	if _, err := c.expect("<proceed", ""); err != nil {
		return err
	}
	return c.handshake(ctx)
}

func (c *Client) authenticate() error {
	features, err := c.open()
	if err != nil {
		return err
	}
	if !bytes.Contains(features, []byte(">"+c.cfg.Mechanism+"<")) {
		return fmt.Errorf("the server does not offer %s: %s", c.cfg.Mechanism, features)
	}
	if c.cfg.Mechanism != "PLAIN" {
		return c.scram()
	}
	token := base64.StdEncoding.EncodeToString([]byte("\x00" + c.User + "\x00" + Password))
	if err := c.Send([]byte("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + token + "</auth>")); err != nil {
		return err
	}
	_, err = c.expect("<success", "")
	return err
}

func (c *Client) bind() error {
	if _, err := c.open(); err != nil {
		return err
	}
	iq := "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + c.cfg.Resource + "</resource></bind></iq>"
	if err := c.Send([]byte(iq)); err != nil {
		return err
	}
	_, err := c.expect("<iq", "bind")
	return err
}

// repeatRoster is how long a client waits after the answer that there is no roster yet, before it asks again.
const repeatRoster = time.Second

// roster asks for the roster, and again as long as the server says that it is worth waiting (RFC 6120 section 8.3.2): that is what it
// answers while the roster service has too much to do.
func (c *Client) roster() (contacts int, err error) {
	for {
		if err := c.Send([]byte("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")); err != nil {
			return 0, err
		}
		result, err := c.expect("<iq", "roster")
		var told *answerError
		if !errors.As(err, &told) || !bytes.Contains(told.item, []byte("wait")) {
			return bytes.Count(result, []byte("<item")), err
		}
		c.repeats++
		// Not under a context: the connection's deadline ends it, and the next request finds that out.
		time.Sleep(repeatRoster)
	}
}

// Repeats returns how often the roster was asked for again, once Login has returned.
func (c *Client) Repeats() int { return c.repeats }

// answerError is an answer of type error.
type answerError struct{ item []byte }

func (e *answerError) Error() string { return "the server answered " + string(e.item) }

// expect reads until an item that begins with prefix and, where id is given, is the answer to that request. Stanzas on the way
// go to the handler; a SASL failure, a stream error or an answer of type error is an error.
func (c *Client) expect(prefix, id string) ([]byte, error) {
	for {
		item, err := c.read()
		if err != nil {
			return nil, err
		}
		switch {
		case len(item) == 0 || bytes.HasPrefix(item, openStream):
			continue
		case bytes.HasPrefix(item, []byte("<failure")), bytes.HasPrefix(item, []byte("<stream:error")), bytes.HasPrefix(item, closeStream):
			return nil, fmt.Errorf("the server answered %s", item)
		case bytes.HasPrefix(item, []byte(prefix)) && (id == "" || string(Attr(item, "id")) == id):
			if id != "" && string(Attr(item, "type")) != "result" {
				return nil, &answerError{bytes.Clone(item)}
			}
			return item, nil
		}
		c.handler(c, item)
		if err := c.Flush(); err != nil {
			return nil, err
		}
	}
}

// read returns the next item, reading from the connection as needed. The item is valid until the next call.
func (c *Client) read() ([]byte, error) {
	for {
		if item := c.buffered(); item != nil {
			return item, nil
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// buffered returns the next item of those already read, or nil.
func (c *Client) buffered() []byte {
	n := c.split.next(c.buf[c.r:c.w])
	if n == 0 {
		return nil
	}
	item := c.buf[c.r : c.r+n]
	c.r += n
	return trim(item)
}

func (c *Client) fill() error {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w == len(c.buf) && c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	case c.w == len(c.buf):
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// run handles what arrives, a read at a time, until the stream ends.
func (c *Client) run() {
	defer close(c.done)
	for {
		for item := c.buffered(); item != nil; item = c.buffered() {
			if bytes.HasPrefix(item, closeStream) || bytes.HasPrefix(item, []byte("<stream:error")) {
				c.fail(fmt.Errorf("the server ended the stream: %s", item))
				return
			}
			c.handler(c, item)
		}
		if err := c.Flush(); err != nil {
			c.fail(err)
			return
		}
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server closed the connection")
			}
			c.fail(err)
			return
		}
	}
}

// fail notes why the reader ended, unless it was asked to.
func (c *Client) fail(err error) {
	if !c.closing.Load() && !c.lost.Load() {
		c.err = fmt.Errorf("%s: %w", c.User, err)
	}
}

// Flush writes what Reply holds. Only a Handler may call it.
func (c *Client) Flush() error {
	if len(c.Reply) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.Reply)
	c.Reply = c.Reply[:0]
	return err
}

// Send writes to the server. Any goroutine may call it; each call's bytes stay together.
func (c *Client) Send(b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// Err says why the stream ended, or nil while it is open or when Close ended it.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Lose says that the server is about to end: the end of the stream is no error then.
func (c *Client) Lose() { c.lost.Store(true) }

// Close ends the stream and waits for the client's goroutine.
func (c *Client) Close() error {
	if c.conn == nil || c.closing.Swap(true) {
		return nil
	}
	// The closing tag is a courtesy: a server that is gone already is no failure of the one who leaves.
	sendErr := c.Send([]byte("</stream:stream>"))
	closeErr := c.conn.Close()
	<-c.done
	if errors.Is(closeErr, net.ErrClosed) || sendErr != nil || c.lost.Load() {
		return nil
	}
	return closeErr
}
