package websocket_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/c2s"
)

// wire is a WebSocket client that can break the rules of RFC 6455.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *server) wire() *wire {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n")
	w := &wire{s.t, c, bufio.NewReader(c)}
	res, err := http.ReadResponse(w.r, nil)
	if err != nil || res.StatusCode != 101 {
		s.t.Fatalf("%v, %v", res, err)
	}
	return w
}

// frame makes a frame; length overrides that of the payload.
func frame(first byte, payload string, masked bool, length uint64) []byte {
	b := []byte{first, 127}
	if masked {
		b[1] |= 0x80
	}
	if length == 0 {
		length = uint64(len(payload))
	}
	b = binary.BigEndian.AppendUint64(b, length)
	if masked {
		b = append(b, 0, 0, 0, 0) // a mask that leaves the payload as it is
	}
	return append(b, payload...)
}

// closeStatus reads until a close frame and gives its status, 0 when the connection ends without one.
func (w *wire) closeStatus() int {
	for {
		var head [2]byte
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			return 0
		}
		n := int(head[1])
		if n == 126 {
			var ext [2]byte
			io.ReadFull(w.r, ext[:])
			n = int(binary.BigEndian.Uint16(ext[:]))
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(w.r, payload); err != nil {
			return 0
		}
		if head[0]&0x0f == 8 && n >= 2 {
			return int(binary.BigEndian.Uint16(payload))
		}
	}
}

const (
	fin  = 0x80
	more = 0
	text = 1
	ping = 9
)

// Attack case 41.
func TestBadWebSocketFrames(t *testing.T) {
	s := newServer(t, c2s.Options{})
	for _, tc := range []struct {
		name string
		send []byte
		want int // status, 0: the connection is cut (RFC 6455 section 5.1 allows that)
	}{
		{"unmasked", frame(fin|text, "<a/>", false, 0), 0},
		{"2^63 bytes", frame(fin|text, "<a>", true, 1<<63-1), 1009},
		{"negative length", frame(fin|text, "<a>", true, 1<<63), 0},
		{"unknown opcode", frame(fin|3, "<a/>", true, 0), 1002},
		{"reserved bit", frame(fin|0x40|text, "<a/>", true, 0), 1002},
		{"long ping", frame(fin|ping, strings.Repeat("x", 126), true, 0), 1002},
		{"fragmented ping", frame(ping, "x", true, 0), 1002},
		{"continuation of nothing", frame(fin|more, "<a/>", true, 0), 1002},
		{"message within a message", append(frame(text, "<a>", true, 0), frame(text, "<a>", true, 0)...), 1002},
	} {
		w := s.wire()
		if _, err := w.Write(tc.send); err != nil {
			t.Fatal(err)
		}
		if tc.want == 1009 {
			go w.Write(make([]byte, 64<<10)) // more of it than the limit
		}
		if got := w.closeStatus(); got != tc.want {
			t.Errorf("%s: closed with %d, want %d", tc.name, got, tc.want)
		}
	}
	s.dial().SignIn() // the server is none the worse
}

// Attack case 41: a message in very many fragments.
func TestFragments(t *testing.T) {
	s := newServer(t, c2s.Options{})
	fragmented := func(message string, size int) []byte {
		var b []byte
		op := byte(text)
		for len(message) > size {
			b = append(b, frame(op, message[:size], true, 0)...)
			message, op = message[size:], more
		}
		return append(b, frame(fin|op, message, true, 0)...)
	}
	open := "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
	w := s.wire()
	w.Write(fragmented(open, 16))
	if head, err := w.r.Peek(2); err != nil || head[0] != fin|text {
		t.Errorf("a fragmented message was not answered: % x, %v", head, err)
	}
	w = s.wire()
	go w.Write(fragmented(open+strings.Repeat(" ", 9000), 1))
	if got := w.closeStatus(); got != 1009 {
		t.Errorf("closed with %d, want 1009", got)
	}
	w = s.wire()
	go w.Write(append(frame(text, open[:9], true, 0), bytes.Repeat(frame(more, "", true, 0), 100_000)...))
	if got := w.closeStatus(); got != 1009 {
		t.Errorf("empty fragments: closed with %d, want 1009", got)
	}
	// A message that does not end.
	w = s.wire()
	if _, err := w.Write(frame(text, "<a b='", true, 0)); err != nil {
		t.Fatal(err)
	}
	chunk := frame(more, strings.Repeat("x", 16<<10), true, 0)
	for sent := 0; ; sent += len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("64 MiB of one message were taken")
		}
	}
}
