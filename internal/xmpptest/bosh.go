package xmpptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// boshStream is a stream in the bodies of requests (XEP-0124, XEP-0206). It has two connections, with one request under way on
// each, and sends what a broken connection has taken with it again on another: the server answers it from memory, or hears it
// for the first time. While it has nothing to say, one request is with the server.
type boshStream struct {
	dialer Dialer
	ctx    context.Context // of connections

	mu       sync.Mutex
	moved    sync.Cond // something came, or it is over
	host     string
	sid      string
	rid      uint64
	queue    []string       // what is to be sent
	restarts bool           // a new stream is to be asked for
	ending   bool           // the end is to be said
	sent     []*boshRequest // those whose answers have not been taken, in order
	conns    []*boshConn    // those that live
	came     []*xmlstream.Element
	err      error // why nothing more comes
	reads    sync.WaitGroup
}

// boshRequest is a request of a client.
type boshRequest struct {
	body    string
	on      *boshConn // nil: it must be sent, or was answered
	answer  *xmlstream.Element
	repeats int
}

// boshConn is one of a client's connections.
type boshConn struct {
	net.Conn
	request *boshRequest // nil: it is idle
}

const (
	boshConns = 2
	// boshText is how much a client puts into one request, unless an element is larger.
	boshText = 16 << 10
	// boshRepeats is how often it tries: the server would take more for an attack.
	boshRepeats = 8
)

func openBOSH(l Dialer) opener {
	return func(ctx context.Context) (stream, error) {
		s := &boshStream{dialer: l, ctx: ctx, rid: 1000}
		s.moved.L = &s.mu
		return s, nil
	}
}

func (s *boshStream) open(host string) (*xmlstream.Element, error) {
	s.mu.Lock()
	s.host, s.restarts = host, true
	s.pump()
	s.mu.Unlock()
	return featuresOf(s)
}

func (s *boshStream) send(xml string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, framed(xml))
	s.pump()
	return s.err
}

func (s *boshStream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	s.pump()
	return s.err
}

func (s *boshStream) next() (*xmlstream.Element, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.came) == 0 && s.err == nil {
		s.moved.Wait()
	}
	if len(s.came) == 0 {
		return nil, s.err
	}
	el := s.came[0]
	s.came = s.came[1:]
	return el, nil
}

func (s *boshStream) close() {
	s.mu.Lock()
	s.fail(net.ErrClosed)
	s.mu.Unlock()
	s.reads.Wait()
}

func (s *boshStream) redial() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close() // its reader does the rest
	}
}

// fail ends it all. The caller holds mu.
func (s *boshStream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	for _, c := range s.conns {
		c.Close()
	}
	s.moved.Broadcast()
}

// pump sends what is to be sent, as far as it may be now. The caller holds mu.
func (s *boshStream) pump() {
	for s.err == nil {
		r := s.due()
		if r == nil {
			return
		}
		c := s.idle()
		if c == nil {
			return
		}
		r.on, c.request = c, r
		fmt.Fprintf(c, "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(r.body), r.body) // its reader sees what is wrong
	}
}

// due gives the next request to send: one that a connection took with it, or a new one; nil when there is nothing to ask.
func (s *boshStream) due() *boshRequest {
	for _, r := range s.sent {
		if r.on == nil && r.answer == nil {
			return r
		}
	}
	if len(s.sent) == boshConns || s.sid == "" && len(s.sent) > 0 {
		return nil
	}
	if len(s.sent) > 0 && len(s.queue) == 0 && !s.restarts && !s.ending {
		return nil
	}
	r := &boshRequest{body: s.body()}
	s.sent = append(s.sent, r)
	return r
}

// body makes the next request.
func (s *boshStream) body() string {
	s.rid++
	attributes, text := "sid='"+s.sid+"'", ""
	switch {
	case s.sid == "":
		attributes = "to='" + s.host + "' wait='60' hold='1' ver='1.11' xmpp:version='1.0' xml:lang='en'"
	case s.restarts:
		attributes += " to='" + s.host + "' xmpp:restart='true'"
	default:
		n := 0
		for n < len(s.queue) && (n == 0 || len(text)+len(s.queue[n]) <= boshText) {
			text += s.queue[n]
			n++
		}
		s.queue = s.queue[n:]
		if s.ending && len(s.queue) == 0 {
			s.ending = false
			attributes += " type='terminate'"
		}
	}
	s.restarts = false
	return fmt.Sprintf("<body xmlns='%s' xmlns:xmpp='%s' rid='%d' %s>%s</body>", ns.BOSH, ns.XBOSH, s.rid, attributes, text)
}

// idle gives a connection with nothing under way, a new one if need be; nil when there is none.
func (s *boshStream) idle() *boshConn {
	for _, c := range s.conns {
		if c.request == nil {
			return c
		}
	}
	if len(s.conns) == boshConns {
		return nil
	}
	conn, err := s.dialer.Dial(s.ctx)
	if err != nil {
		s.fail(err)
		return nil
	}
	c := &boshConn{Conn: conn}
	s.conns = append(s.conns, c)
	s.reads.Go(func() { s.read(c) })
	return c
}

// read takes the answers that come on a connection.
func (s *boshStream) read(c *boshConn) {
	in := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(in, nil)
		var text []byte
		if err == nil {
			text, err = io.ReadAll(res.Body)
		}
		s.mu.Lock()
		if err == nil {
			s.answered(c, res.StatusCode, text)
		}
		if err != nil || res.Close {
			s.broken(c, err)
			s.pump()
			s.mu.Unlock()
			return
		}
		s.pump()
		s.mu.Unlock()
	}
}

// broken forgets a connection. The caller holds mu.
func (s *boshStream) broken(c *boshConn, err error) {
	c.Close()
	s.conns = slices.DeleteFunc(s.conns, func(other *boshConn) bool { return other == c })
	if r := c.request; r != nil {
		r.on = nil
		if r.repeats++; r.repeats > boshRepeats {
			s.fail(fmt.Errorf("a request is not answered: %w", err))
		}
	}
}

// answered takes an answer, and gives what has come in the order of the requests. The caller holds mu.
func (s *boshStream) answered(c *boshConn, status int, text []byte) {
	r := c.request
	if r == nil {
		s.fail(errors.New("an answer to nothing"))
		return
	}
	body, err := xmlstream.ParseElement(text, wide)
	if status != http.StatusOK || err != nil || !body.Is(ns.BOSH, "body") {
		s.fail(fmt.Errorf("BOSH: status %d, %w, %.200q", status, err, text))
		return
	}
	c.request, r.on = nil, nil
	if body.Attr("type") == "error" { // "recoverable": the request is to be sent again
		return
	}
	r.answer = body
	for len(s.sent) > 0 && s.sent[0].answer != nil {
		s.take(s.sent[0].answer)
		s.sent = s.sent[1:]
	}
}

// take makes of an answer what a stream would have had.
func (s *boshStream) take(body *xmlstream.Element) {
	if sid := body.Attr("sid"); sid != "" {
		s.sid = sid
		if n, err := strconv.Atoi(body.Attr("requests")); err != nil || n != boshConns {
			s.fail(fmt.Errorf("another number of requests than was asked for: %s", body))
		}
	}
	for el := range body.Elements() {
		s.came = append(s.came, el)
	}
	if body.Attr("type") == "terminate" {
		if condition := body.Attr("condition"); condition != "" && condition != "remote-stream-error" {
			s.came = append(s.came, xmlstream.New(ns.Stream, "error").Append(xmlstream.New(ns.Streams, condition)))
		}
		s.fail(errStreamClosed)
	}
	s.moved.Broadcast()
}
