package c2s

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"rollcall/internal/fault"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// conn is one client's connection, and the session.Conn of the session that is bound on it.
type conn struct {
	srv  *Server
	t    Transport
	lang string // the client's xml:lang

	credential uint64         // what the client signed in with, see auth.Exchange
	lease      *session.Lease // and what the session hangs on; nil: nothing

	meter Meter // of what the client sends; not in use while its server is nil

	gate session.Latch // the session may write: the answer to its bind request is out
	over session.Latch // End or Abort is through

	from  atomic.Pointer[string] // our name in headers, once the client has named one of our hosts
	ended atomic.Bool            // End or Abort was called
}

// Bounds on the wait for a session to let go of its connection: a write that stalls, and the good-bye.
const (
	gateTimeout    = time.Second
	releaseTimeout = time.Minute
)

var errLost = errors.New("connection lost")

// Send implements session.Conn.
func (c *conn) Send(ws []stanza.Wire) error {
	gate := c.gate.Done()
	select {
	case <-gate: // as it is, but for the first moment
		return c.t.Send(ws)
	default:
	}
	select {
	case <-gate:
		return c.t.Send(ws)
	case <-c.over.Done():
		return errLost
	}
}

// End implements session.Conn.
func (c *conn) End(serr *stanza.StreamError) {
	t := time.NewTimer(gateTimeout)
	defer t.Stop()
	select {
	case <-c.gate.Done():
	case <-c.over.Done():
	case <-t.C: // the answer to the bind request is not taken by the client; neither will this be
		c.Abort()
		return
	}
	c.end(serr)
}

// Abort implements session.Conn.
func (c *conn) Abort() {
	first := !c.ended.Swap(true)
	c.t.Abort()
	if first {
		c.over.Open()
	}
}

// Info implements session.Conn.
func (c *conn) Info() session.ConnInfo {
	info := c.t.Info()
	info.Lease = c.lease
	return info
}

// end closes our side of the stream, once.
func (c *conn) end(serr *stanza.StreamError) {
	if c.ended.Swap(true) {
		return
	}
	from := c.srv.opts.Domain
	if p := c.from.Load(); p != nil {
		from = *p
	}
	c.t.End(c.srv.header(from, ""), serr)
	c.over.Open()
}

// settle passes the client's stanzas to its session until the client has told of its presence, which ends what clients do when
// they sign in, and has another goroutine go on. That one's stack has not grown with any of it: it is what an idle client
// costs. What ends the connection before it deals with itself.
func (c *conn) settle(s Session) {
	if settled, err := c.receive(s, true); settled {
		go c.read(s)
	} else {
		c.leave(s, err)
	}
}

// read passes the client's stanzas to its session until either of them ends.
func (c *conn) read(s Session) {
	_, err := c.receive(s, false)
	c.leave(s, err)
}

// leave waits for the session to let go of the connection, which has ended.
func (c *conn) leave(s Session, err error) {
	defer c.srv.wg.Done()
	s.Leave(c, err)
	limit := time.AfterFunc(releaseTimeout, c.Abort)
	<-c.over.Done()
	limit.Stop()
	c.t.Close()
}

// receive gives nil when the client closed its stream, and is settled when it returns before that, because the client signs in
// and has told of its presence. An idle client waits in here: what handles an element has a frame of its own, so that the
// stack that waits fits into 2 KiB.
func (c *conn) receive(s Session, signsIn bool) (settled bool, err error) {
	defer c.recovered(&err)
	for {
		ev, err := c.t.Next()
		if err != nil {
			return false, reason(err)
		}
		// Looked at before it is given away. A header, which may still come of a stream that we have ended, has no element.
		settles := signsIn && ev.Kind == xmlstream.Stanza && toEverybody(ev.Element)
		if done, err := c.take(s, &ev); done || err != nil {
			return false, err
		}
		if settles {
			return true, nil
		}
	}
}

// take deals with one event; done means that the client closed its stream.
//
//go:noinline
func (c *conn) take(s Session, ev *Event) (done bool, err error) {
	switch {
	case ev.Kind == xmlstream.Close:
		return true, nil
	case c.ended.Load(): // what comes between our closing tag and the client's goes nowhere
	case ev.Kind == xmlstream.Open:
		return false, &stanza.StreamError{Condition: stanza.BadFormat, Text: "the stream is open already"}
	case ev.Element.Space == ns.SM:
		return false, c.manage(s, ev.Element)
	case ev.Element.Space != ns.Client && s.Nonza(ev.Element):
	default:
		if answer := negotiated(s, ev.Element); answer != nil {
			if s.Begin(c) { // it counts as handled, and is answered only then: otherwise it comes again by another connection
				s.Send(stanza.NewWire(answer))
				s.End()
			}
			return false, nil
		}
		c.setLang(ev.Element)
		all := toEverybody(ev.Element)
		s.Receive(ev.Element)
		c.pay(all)
	}
	return false, nil
}

// toEverybody tells whether an element is presence for all contacts.
func toEverybody(el *xmlstream.Element) bool { return el.Local == "presence" && el.Attr("to") == "" }

// negotiated answers what old clients still ask once they are bound: for a session, as RFC 3921 had it, which is a
// formality since RFC 6121; and, against RFC 6120 section 7.1, for one more resource. It gives nil for everything else.
func negotiated(s Session, el *xmlstream.Element) *xmlstream.Element {
	if el.Local != "iq" || el.Space != ns.Client || el.Attr("type") != stanza.TypeSet {
		return nil
	}
	payload := el.First()
	if payload == nil || payload.Space != ns.Session && payload.Space != ns.Bind {
		return nil
	}
	st, err := stanza.Parse(el)
	if err != nil || !st.To.IsZero() && st.To != s.JID().Host() && st.To != s.JID().Bare() {
		return nil
	}
	if payload.Is(ns.Session, "session") {
		return st.Result(nil)
	}
	return st.ErrorReply(stanza.NewError(stanza.NotAllowed, "this stream has its resource; another one needs another connection"))
}

// setLang gives what people read the language of the client's stream, as RFC 6120 section 8.1.5 asks of a server.
func (c *conn) setLang(el *xmlstream.Element) {
	declared := func(a xmlstream.Attr) bool { return a.Local == "lang" && a.Space == ns.XML } // empty is declared, too
	if c.lang != "" && el.Local != "iq" && len(el.Nodes) > 0 && !slices.ContainsFunc(el.Attrs, declared) {
		el.Attrs = append(el.Attrs, xmlstream.Attr{Space: ns.XML, Local: "lang", Value: c.lang})
	}
}

// recovered makes an error of a panic, so that a fault of ours ends one connection and not the server.
func (c *conn) recovered(err *error) {
	if p := recover(); p != nil {
		fault.Log(c.srv.opts.Log, "serving a client's connection", p, "remote", c.t.Info().RemoteAddr)
		*err = &stanza.StreamError{Condition: stanza.StreamInternalError}
	}
}

// reason turns an error of Transport.Next into what a session ends with.
func reason(err error) error {
	if serr := streamError(err); serr != nil {
		return serr
	}
	if errors.Is(err, io.EOF) {
		return errLost
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// streamError gives what the client is told about an error, nil when there is nobody to tell.
func streamError(err error) *stanza.StreamError {
	var serr *stanza.StreamError
	if errors.As(err, &serr) {
		return serr
	}
	var syntax *xmlstream.SyntaxError
	if errors.As(err, &syntax) {
		return &stanza.StreamError{Condition: stanza.StreamCondition(syntax.Condition), Text: syntax.Text}
	}
	return nil
}

// expired is what a client without a session is told when its time is over.
func expired(ctx context.Context) *stanza.StreamError {
	if errors.Is(context.Cause(ctx), errPreAuth) {
		return &stanza.StreamError{Condition: stanza.ConnectionTimeout, Text: errPreAuth.Error()}
	}
	return &stanza.StreamError{Condition: stanza.SystemShutdown}
}

// domain gives the canonical form of a domain, "" when it is none.
func domain(s string) string {
	d, err := jid.Domainpart(s)
	if err != nil {
		return ""
	}
	return d
}
