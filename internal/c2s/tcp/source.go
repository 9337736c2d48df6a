package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"rollcall/internal/c2s"
)

// source reads from a plain TCP connection. While it waits for the peer no buffer is held: an idle connection costs
// none.
type source struct {
	net.Conn
	raw  syscall.RawConn
	try  func(fd uintptr) (done bool) // s.read, made once
	took *c2s.Meter                   // of what is read; may be nil
	held *[]byte                      // from buffers; holds what was read and not yet fetched, nil when that is nothing
	rest []byte
	err  error
}

const heldSize = 4 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, heldSize); return &b }}

// init gives c as it should be read: by s, waiting without a buffer, where the connection allows that.
func (s *source) init(c net.Conn) io.Reader {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return c // closed already; reading will say so
	}
	s.Conn, s.raw = c, raw
	s.try = s.read
	return s
}

// WaitReadable waits until Read has something to give. It reads with a buffer that is borrowed when the connection is
// ready, which saves the system call that only asks whether it is.
func (s *source) WaitReadable() error {
	if len(s.rest) > 0 || s.err != nil {
		return nil
	}
	return s.raw.Read(s.try)
}

// read tries to read from the non-blocking descriptor; false has the runtime wait until it is ready.
func (s *source) read(fd uintptr) (done bool) {
	b := buffers.Get().(*[]byte)
	var n int
	var err error
	for {
		if n, err = syscall.Read(int(fd), *b); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if n > 0 {
		s.held, s.rest = b, (*b)[:n]
		return true
	}
	buffers.Put(b)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return false
	case err != nil:
		s.err = os.NewSyscallError("read", err)
	default:
		s.err = io.EOF
	}
	return true
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if len(s.rest) > 0 {
		n := copy(p, s.rest)
		if s.rest = s.rest[n:]; len(s.rest) == 0 {
			buffers.Put(s.held)
			s.held, s.rest = nil, nil
		}
		s.took.Took(n)
		return n, nil
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.Conn.Read(s.took.Limit(p))
	s.took.Took(n)
	return n, err
}

// measured is any other connection whose bytes are counted.
type measured struct {
	io.Reader
	took *c2s.Meter
}

// Read implements io.Reader.
func (m *measured) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(m.took.Limit(p))
	m.took.Took(n)
	return n, err
}

// buffered tells whether bytes were read that nobody has fetched.
func (s *source) buffered() bool { return len(s.rest) > 0 }
