package xmpptest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Link is a connection on a network as networks are: what is written arrives later, in pieces, and when it is cut some of what
// is on the way may arrive or not. It buffers as sockets do. What it does depends on its seed alone, and each piece arrives at a
// moment that is no other piece's, as long as links have different numbers: in a bubble of testing/synctest the whole program
// has then come to rest between any two. Its methods may be called by any goroutine.
type Link struct {
	up, down *flow // what the client writes, and what the server does
}

// NewLink makes a link. Pieces take delay at most each way, unless it is 0: then they arrive as they are written.
func NewLink(seed uint64, number int, delay time.Duration) *Link {
	l := &Link{up: newFlow(seed, 2*number, delay), down: newFlow(seed, 2*number+1, delay)}
	l.up.roomy = true
	return l
}

// connect connects to a listener, once.
func (l *Link) connect(ctx context.Context, listener *PipeListener) (net.Conn, error) {
	client := &end{in: l.down, out: l.up, addr: listener.addr}
	server := &end{in: l.up, out: l.down, addr: listener.addr}
	if err := listener.carry(ctx, server); err != nil {
		return nil, err
	}
	return client, nil
}

// Hold has nothing arrive any more at the client (down), as when it stops reading, or at the server, until it is undone. What is
// written fills the buffers.
func (l *Link) Hold(down, held bool) {
	f := l.up
	if down {
		f = l.down
	}
	f.change(func() { f.held = held })
}

// Hurry has everything that is on the way, or will be, arrive at once.
func (l *Link) Hurry() {
	for _, f := range []*flow{l.up, l.down} {
		f.change(func() { f.delay, f.held, f.last = 0, false, time.Time{} })
	}
}

// Slow gives pieces another delay, at most.
func (l *Link) Slow(delay time.Duration) {
	for _, f := range []*flow{l.up, l.down} {
		f.change(func() { f.delay = delay })
	}
}

// Cut breaks the connection for both. Of what is on the way each way so many bytes arrive before that is noticed.
func (l *Link) Cut(up, down int) {
	l.up.cut(up, syscall.ECONNRESET)
	l.down.cut(down, syscall.ECONNRESET)
}

// Lose has the client's end be gone without a word, as when a telephone is out of reach: nothing arrives any more, not even that
// it has closed. The server's system notices after a time, when its packets have not been answered; 0: never, as where there is
// a proxy.
func (l *Link) Lose(noticed time.Duration) {
	for _, f := range []*flow{l.up, l.down} {
		f.change(func() { f.lost = true })
	}
	if noticed > 0 {
		time.AfterFunc(noticed, func() { l.Cut(0, 0) })
	}
}

// Served gives all that the server has written, and what it is just trying to write, or has tried in vain.
func (l *Link) Served() (written, trying []byte) {
	l.down.mu.Lock()
	defer l.down.mu.Unlock()
	return l.down.written, l.down.trying
}

// Gone tells whether the server has closed the connection, or has been told that it is broken.
func (l *Link) Gone() bool {
	l.down.mu.Lock()
	defer l.down.mu.Unlock()
	return l.down.fin || l.down.err != nil || l.down.quit && !l.down.lost
}

// InFlight is how many bytes are on the way each way.
func (l *Link) InFlight() (up, down int) {
	for _, f := range []*flow{l.up, l.down} {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	return l.up.bytes, l.down.bytes
}

// windows are how much may be on the way, one of them: what does not fit waits in Write.
var windows = []int{512, 4 << 10, 16 << 10}

// flow is one direction of a link.
type flow struct {
	mu      sync.Mutex
	moved   sync.Cond
	rng     *rand.Rand
	residue time.Duration // of the moments at which pieces arrive
	delay   time.Duration
	pieces  []piece // on the way, in order
	bytes   int     // of the pieces
	last    time.Time
	window  int
	roomy   bool // the writer never waits: clients of tests do not
	held    bool
	lost    bool  // neither end hears of the other any more
	fin     bool  // the writer has closed
	quit    bool  // the reader has closed
	err     error // of a broken connection
	written []byte
	trying  []byte

	readBy, writeBy time.Time // deadlines
}

type piece struct {
	data []byte
	at   time.Time
}

func newFlow(seed uint64, number int, delay time.Duration) *flow {
	f := &flow{rng: rand.New(rand.NewPCG(seed, uint64(number))), residue: time.Duration(number % int(tick)), delay: delay}
	f.window = windows[f.rng.IntN(len(windows))]
	f.moved.L = &f.mu
	return f
}

func (f *flow) change(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	f.moved.Broadcast()
}

// wait waits until something has changed, or the first of these moments. The caller holds mu.
func (f *flow) wait(until ...time.Time) {
	var first time.Time
	for _, t := range until {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !first.IsZero() {
		defer time.AfterFunc(time.Until(first), func() { f.change(func() {}) }).Stop()
	}
	f.moved.Wait()
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

func (f *flow) write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		if f.trying = nil; err != nil {
			f.trying = append(f.trying, p...)
		}
	}()
	for {
		switch {
		case f.err != nil:
			return n, f.err
		case f.fin:
			return n, net.ErrClosed
		case f.quit && !f.lost:
			return n, syscall.EPIPE
		case len(p) == 0:
			return n, nil
		case passed(f.writeBy):
			return n, os.ErrDeadlineExceeded
		}
		room := min(f.window-f.bytes, len(p))
		if f.roomy {
			room = len(p)
		}
		if room <= 0 {
			// Who gives a write that waits another deadline is about to wait for it with a mutex (tcp.transport.End), and in a bubble
			// no time passes then: it is over.
			f.trying = p
			deadline := f.writeBy
			if f.wait(f.writeBy); !f.writeBy.Equal(deadline) {
				return n, os.ErrDeadlineExceeded
			}
			continue
		}
		f.send(p[:room])
		p, n = p[room:], n+room
	}
}

// send puts bytes on their way, in pieces. The caller holds mu.
func (f *flow) send(p []byte) {
	f.written = append(f.written, p...)
	f.bytes += len(p)
	for len(p) > 0 {
		n := len(p)
		if f.delay > 0 && f.rng.IntN(3) == 0 {
			n = 1 + f.rng.IntN(n)
		}
		f.pieces = append(f.pieces, piece{append([]byte(nil), p[:n]...), f.arrival()})
		p = p[n:]
	}
	f.moved.Broadcast()
}

// tick is between the moments at which pieces of one flow arrive.
const tick = 10 * time.Microsecond

func (f *flow) arrival() time.Time {
	if f.delay == 0 {
		return time.Time{}
	}
	at := time.Now().Add(time.Duration(f.rng.Int64N(int64(f.delay))))
	if at.Before(f.last) {
		at = f.last
	}
	f.last = at.Truncate(tick).Add(tick + f.residue)
	return f.last
}

func (f *flow) read(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		var next time.Time
		switch {
		case f.quit:
			return 0, net.ErrClosed
		case passed(f.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(f.pieces) > 0 && !f.held && !f.lost:
			first := &f.pieces[0]
			if f.delay > 0 && first.at.After(time.Now()) {
				next = first.at
				break
			}
			n = copy(p, first.data)
			f.bytes -= n
			if first.data = first.data[n:]; len(first.data) == 0 {
				f.pieces = f.pieces[1:]
			}
			f.moved.Broadcast()
			return n, nil
		case len(f.pieces) == 0 && f.err != nil:
			return 0, f.err
		case len(f.pieces) == 0 && f.fin && !f.lost:
			return 0, io.EOF
		}
		f.wait(next, f.readBy)
	}
}

func (f *flow) cut(arrive int, err error) {
	f.change(func() {
		if f.err != nil {
			return
		}
		f.err, f.held, f.lost, f.delay = err, false, false, 0
		lost := f.bytes - arrive
		for i := len(f.pieces) - 1; i >= 0 && lost > 0; i-- {
			n := min(lost, len(f.pieces[i].data))
			f.pieces[i].data = f.pieces[i].data[:len(f.pieces[i].data)-n]
			lost, f.bytes = lost-n, f.bytes-n
			if len(f.pieces[i].data) == 0 {
				f.pieces = f.pieces[:i]
			}
		}
	})
}

// end is one end of a link.
type end struct {
	in, out *flow
	addr    net.Addr
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

// CloseWrite says that nothing more comes.
func (e *end) CloseWrite() error {
	e.out.change(func() { e.out.fin = true })
	return nil
}

// Close implements net.Conn: what is on its way arrives.
func (e *end) Close() error {
	e.in.change(func() { e.in.quit = true })
	return e.CloseWrite()
}

func (e *end) LocalAddr() net.Addr { return e.addr }
func (e *end) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}
}

func (e *end) SetDeadline(t time.Time) error {
	e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.change(func() { e.in.readBy = t })
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.change(func() { e.out.writeBy = t })
	return nil
}
