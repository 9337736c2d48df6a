package xmlstream

import (
	"bytes"
	"io"
)

// Kind tells what an Event is.
type Kind uint8

const (
	Open   Kind = iota + 1 // the opening tag of the stream
	Stanza                 // a whole element on the first level of the stream
	Close                  // the closing tag of the stream
)

// Event is what Reader.Next gives.
type Event struct {
	Kind Kind
	// Element is the stream root with its attributes (Open), the element with all that is in it (Stanza), or nil
	// (Close). It shares nothing with the reader and may be kept.
	Element *Element
	// DefaultNS is, for Open, the default namespace that the root declares: xmlns. The root itself is in the
	// namespace of its prefix.
	DefaultNS string
}

// Reader reads the elements of one XML stream after the other from one connection. It is used by one goroutine at a
// time. While nothing of an unfinished element is buffered it holds a small buffer at most; when the source has a
// method WaitReadable() error, that is called to wait for bytes, without any buffer held.
type Reader struct {
	p     parser
	src   io.Reader
	wait  waiter
	buf   *buffer // p.buf is the part of it that is pending
	end   int     // how much of it was read into
	err   error   // of the source, to be reported when all that came before it was read
	final error   // what Next will say from now on
}

type waiter interface{ WaitReadable() error }

// NewReader makes a reader of a new stream from src.
func NewReader(src io.Reader, lim Limits) *Reader {
	r := new(Reader)
	r.Init(src, lim)
	return r
}

// Init is NewReader for a zero Reader that is part of something larger.
func (r *Reader) Init(src io.Reader, lim Limits) {
	r.setSource(src)
	r.SetLimits(lim)
}

func (r *Reader) setSource(src io.Reader) {
	r.src = src
	r.wait, _ = src.(waiter)
}

// SetLimits sets the limits for the elements that follow.
func (r *Reader) SetLimits(lim Limits) { r.p.lim = lim.withDefaults() }

// Buffered gives the number of bytes that were read from the source and are not part of an event yet. After the event
// that asks for a change of the connection, as STARTTLS, a number other than zero means that the peer did not wait.
func (r *Reader) Buffered() int { return len(r.p.buf) }

// SkipSpace drops white space that is buffered behind the last event.
func (r *Reader) SkipSpace() {
	r.p.skipSpace()
	r.release()
}

// Restart makes the reader expect a new stream from the same source (RFC 6120 section 4.3.3). Bytes that are buffered
// are the beginning of it; white space among them that precedes it still belongs to the old stream.
func (r *Reader) Restart() {
	r.p.restart()
	r.SkipSpace()
}

// SwitchSource makes the reader expect a new stream from another source: the connection after STARTTLS. It drops the
// bytes that are buffered and gives their number. They came before the change, and whoever reads them as if they had
// come after it executes what an attacker put in clear text in front of the TLS handshake.
func (r *Reader) SwitchSource(src io.Reader) (dropped int) {
	dropped = r.Buffered()
	r.p.restart()
	r.drop()
	r.setSource(src)
	r.err, r.final = nil, nil
	return dropped
}

// Next gives the next event. The error is a *SyntaxError when the peer broke a rule or a limit, io.EOF when it ended
// the connection, with or without a closing tag, or the source's error as it is. After an error of the source other
// than io.EOF, such as a deadline, Next may be called again.
func (r *Reader) Next() (Event, error) {
	if r.final != nil {
		return Event{}, r.final
	}
	for {
		ev, err := r.p.next(r.err != nil)
		if err == nil {
			r.release()
			return ev, nil
		}
		if err == errMore {
			if r.err == nil {
				r.fill()
				continue
			}
			if err = r.err; err != io.EOF {
				r.err = nil
				return Event{}, err
			}
		}
		r.drop()
		r.final = err
		return Event{}, err
	}
}

// fill reads from the source once, after waiting for it.
func (r *Reader) fill() {
	r.release()
	switch {
	case r.buf == nil && r.wait == nil:
		r.buf = getBuffer(waitSize)
	case r.buf == nil:
		if r.err = r.wait.WaitReadable(); r.err != nil {
			return
		}
		r.buf = getBuffer(readSize)
	case r.end == len(r.buf.bytes):
		r.makeRoom()
	}
	start := r.end - len(r.p.buf)
	n := 0
	// An io.Reader may give nothing now and then; one that does so for ever is broken.
	for range 100 {
		if n, r.err = r.src.Read(r.buf.bytes[r.end:]); n > 0 || r.err != nil {
			r.end += n
			r.p.buf = r.buf.bytes[start:r.end]
			return
		}
	}
	r.err = io.ErrNoProgress
}

// makeRoom moves what is pending to the beginning of the buffer, or to a larger one.
func (r *Reader) makeRoom() {
	old := r.buf
	pending := r.p.buf
	if len(pending) == len(old.bytes) || len(old.bytes) < readSize {
		// The parser refuses an element of more than Bytes, so this is never asked for more.
		r.buf = getBuffer(min(len(old.bytes)*growth, max(r.p.lim.Bytes, len(pending))+readSize))
		defer putBuffer(old)
	}
	r.end = copy(r.buf.bytes, pending)
	r.p.buf = r.buf.bytes[:r.end]
}

// release gives back the buffers when nothing is pending in them.
func (r *Reader) release() {
	if len(r.p.buf) > 0 {
		return
	}
	if r.buf != nil {
		putBuffer(r.buf)
		r.buf, r.end, r.p.buf = nil, 0, nil
	}
	if r.p.w != nil {
		putWork(r.p.w)
		r.p.w = nil
	}
}

// drop forgets what is buffered.
func (r *Reader) drop() {
	r.p.buf = nil
	r.release()
}

// ParseElement reads the one element that b holds, as a WebSocket frame does (RFC 7395 section 3.3); there may be white
// space around it. The error is a *SyntaxError. The element shares nothing with b.
func ParseElement(b []byte, lim Limits) (*Element, error) {
	b = bytes.Trim(b, " \t\r\n")
	if len(b) == 0 || b[0] != '<' {
		return nil, malformed("not an XML element")
	}
	lim = lim.withDefaults()
	// The parser decodes in place. Of more than the limit it need not see more than that it is more.
	buf := getBuffer(min(len(b), lim.Bytes+1))
	defer putBuffer(buf)
	p := parser{lim: lim, phase: inStream}
	p.buf = buf.bytes[:copy(buf.bytes, b)]
	err := p.between()
	if p.w != nil {
		defer putWork(p.w)
	}
	if err == nil {
		if p.phase != inElement {
			return nil, malformed("an end tag without a start tag")
		}
		err = p.element(true)
	}
	switch {
	case err == errMore:
		return nil, malformed("the element is not complete")
	case err != nil:
		return nil, err
	case p.pos < len(p.buf):
		return nil, malformed("more than one element")
	}
	return p.build(), nil
}
