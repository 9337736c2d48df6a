package tcp

import (
	"net"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Open implements c2s.Transport.
func (t *transport) Open(h c2s.Header, features *xmlstream.Element) error {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	*buf = appendHeader(*buf, h)
	if features != nil {
		*buf = c2s.AppendElement(*buf, features, false)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened = true
	return t.writeLocked(*buf)
}

// Write implements c2s.Transport.
func (t *transport) Write(els ...*xmlstream.Element) error {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	for _, el := range els {
		*buf = c2s.AppendElement(*buf, el, false)
	}
	return t.write(*buf)
}

// Send implements c2s.Transport. The goroutine that calls it begins with a small stack, in which all that is below it,
// down to the system call, fits (2 KiB, on amd64): growing it would cost a quarter of what the write does. See fill.
func (t *transport) Send(ws []stanza.Wire) error {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	for len(ws) > 0 {
		ws = fill(buf, ws)
		if err := t.write(*buf); err != nil {
			return err
		}
	}
	return nil
}

// fill puts the first stanzas into buf, as many as are written at once, and gives the rest.
//
//go:noinline
func fill(buf *[]byte, ws []stanza.Wire) (rest []stanza.Wire) {
	*buf = (*buf)[:0]
	for i := range ws {
		if n := len(*buf); n > 0 && n+ws[i].Len() > c2s.FlushSize {
			return ws[i:]
		}
		*buf = ws[i].AppendTo(*buf)
	}
	return nil
}

// write writes a part whole, or it is the last that was tried.
func (t *transport) write(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.writeLocked(b)
}

func (t *transport) writeLocked(b []byte) error {
	if t.done != nil {
		return t.done
	}
	t.armDeadline()
	if _, err := t.conn().Write(b); err != nil {
		t.done = err
		return err
	}
	if t.tls != nil {
		t.raw.SetWriteDeadline(time.Time{}) // TLS also writes on its own, to answer the peer's key updates
		t.deadline = 0
	}
	return nil
}

// armDeadline gives the write that follows its time: WriteStall, or up to a tenth less, so that of many writes in a row
// few have to tell the runtime. It fails on a closed connection only, as the write then does. mu is held.
func (t *transport) armDeadline() {
	now := time.Now()
	if until := now.Add(t.opts.WriteStall); t.deadline < t.opts.sinceEpoch(until)-t.opts.WriteStall/10 {
		t.deadline = t.opts.sinceEpoch(until)
		t.raw.SetWriteDeadline(until)
	}
	if t.ending.Load() {
		t.raw.SetWriteDeadline(now.Add(endTimeout)) // End has set its own, perhaps just before ours
	}
}

// conn is where to write to; mu is held.
func (t *transport) conn() net.Conn {
	if t.tls != nil {
		return t.tls
	}
	return &t.raw
}

// End implements c2s.Transport.
func (t *transport) End(h c2s.Header, serr *stanza.StreamError) {
	if t.ending.Swap(true) {
		return
	}
	t.raw.SetWriteDeadline(time.Now().Add(endTimeout)) // ends a write that hangs, too
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = errEnded
		t.goodBye(h, serr)
	}
	t.raw.SetReadDeadline(time.Now().Add(endTimeout))
}

// goodBye writes the end of the stream and closes our side of the connection. What fails here fails because the
// connection is gone, which is where this leads anyway.
func (t *transport) goodBye(h c2s.Header, serr *stanza.StreamError) {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	if !t.opened {
		*buf = appendHeader(*buf, h)
	}
	if serr != nil {
		*buf = c2s.AppendElement(*buf, serr.Element(), false)
	}
	*buf = append(*buf, "</stream:stream>"...)
	if _, err := t.conn().Write(*buf); err != nil {
		return
	}
	if t.tls != nil {
		if err := t.tls.CloseWrite(); err != nil {
			return
		}
	}
	if half, ok := t.raw.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() // the peer may have closed already
	}
}

// Abort implements c2s.Transport.
func (t *transport) Abort() {
	if tc, ok := t.raw.Conn.(interface{ SetLinger(int) error }); ok {
		tc.SetLinger(0) // nobody will read what the system still holds for this peer
	}
	t.raw.Close() // closed already is as good
}

// Close implements c2s.Transport.
func (t *transport) Close() {
	if t.ending.Load() && !t.peerDone {
		t.drain()
	}
	// Not t.tls.Close, which would wait for the peer to take a last alert. End has sent one.
	t.raw.Close()
}

// drain reads what the peer is still sending, until it closes its side or End's time is over.
func (t *transport) drain() {
	buf := c2s.GetBuffer()
	defer c2s.PutBuffer(buf)
	b := (*buf)[:cap(*buf)]
	for left := drainBytes; left > 0; {
		n, err := t.raw.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}

// appendHeader appends our stream header (RFC 6120 section 4.7).
func appendHeader(dst []byte, h c2s.Header) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream xmlns='"+ns.Client+"' xmlns:stream='"+ns.Stream+"'"...)
	for _, a := range [...]struct{ name, value string }{
		{"from", h.From}, {"to", h.To}, {"id", h.ID}, {"version", h.Version}, {"xml:lang", h.Lang},
	} {
		if a.value != "" {
			dst = append(dst, ' ')
			dst = append(dst, a.name...)
			dst = append(dst, '=', '\'')
			dst = xmlstream.AppendEscaped(dst, a.value)
			dst = append(dst, '\'')
		}
	}
	return append(dst, '>')
}
