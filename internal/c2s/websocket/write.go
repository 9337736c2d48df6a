package websocket

import (
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/c2s"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Open implements c2s.Transport.
func (t *transport) Open(h c2s.Header, features *xmlstream.Element) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened = true
	if err := t.writeElement(openElement(h)); err != nil || features == nil {
		return err
	}
	return t.writeElement(features)
}

func openElement(h c2s.Header) *xmlstream.Element {
	el := xmlstream.New(ns.Framing, "open", "from", h.From, "to", h.To, "id", h.ID, "version", h.Version)
	if h.Lang != "" {
		el.Attrs = append(el.Attrs, xmlstream.Attr{Space: ns.XML, Local: "lang", Value: h.Lang})
	}
	return el
}

// Write implements c2s.Transport.
func (t *transport) Write(els ...*xmlstream.Element) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, el := range els {
		if err := t.writeElement(el); err != nil {
			return err
		}
	}
	return nil
}

// writeElement writes a message; mu is held.
func (t *transport) writeElement(el *xmlstream.Element) error {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	*buf = c2s.AppendElement(*buf, el, true)
	return t.write(*buf)
}

// Send implements c2s.Transport. Each stanza is a message of its own (RFC 7395 section 3.3.3).
func (t *transport) Send(ws []stanza.Wire) error {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range ws {
		*buf = ws[i].AppendFramed((*buf)[:0])
		if err := t.write(*buf); err != nil {
			return err
		}
	}
	return nil
}

// write writes a message; mu is held. After an error it was the last.
func (t *transport) write(b []byte) error {
	if t.done != nil {
		return t.done
	}
	t.conn.SetWriteDeadline(time.Now().Add(t.opts.WriteStall)) // fails on a closed connection only, as the write then
	if t.ending.Load() {
		t.conn.SetWriteDeadline(time.Now().Add(endTimeout)) // End has set its own, just before ours
	}
	if err := t.ws.Write(t.ctx, websocket.MessageText, b); err != nil {
		t.done = err
		return err
	}
	t.conn.SetWriteDeadline(time.Time{}) // not for pings and pongs, which have their own
	return nil
}

// End implements c2s.Transport (RFC 7395 section 3.6).
func (t *transport) End(h c2s.Header, serr *stanza.StreamError) {
	if t.ending.Swap(true) {
		return
	}
	t.conn.end()
	t.conn.SetWriteDeadline(time.Now().Add(endTimeout)) // ends a write that hangs, too
	t.mu.Lock()
	defer t.mu.Unlock()
	// What fails here fails because the connection is gone, which is where this leads anyway: write remembers.
	if !t.opened {
		t.writeElement(openElement(h))
	}
	if serr != nil {
		t.writeElement(serr.Element())
	}
	t.writeElement(xmlstream.New(ns.Framing, "close"))
	if t.done == nil {
		t.done = errEnded
	}
	t.conn.SetReadDeadline(time.Now().Add(endTimeout))
}

// Abort implements c2s.Transport.
func (t *transport) Abort() { t.conn.cut() }

// Close implements c2s.Transport.
func (t *transport) Close() {
	close(t.closed)
	if t.ending.Load() {
		t.conn.SetDeadline(time.Now().Add(endTimeout))
		t.ws.Close(t.code, "") // an error says that the peer did not wait for it
	}
	t.Abort()
	t.ws.CloseNow() // for what ws holds; the connection is closed
	t.pinger.Wait()
}
