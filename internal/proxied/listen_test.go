package proxied_test

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/proxied"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func v2(command, family byte, addresses string) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)))
	return string(b) + addresses
}

var (
	v4Addresses = "\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x34\x14\x66"
	v6Addresses = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 15) + "\x01" + "\x12\x34\x14\x66"
)

// headers with the address that is to be seen; "" closes the connection, "peer" is the proxy's own.
var headers = []struct{ name, header, want string }{
	{"version 1", "PROXY TCP4 192.0.2.1 10.0.0.1 4660 5222\r\n", "192.0.2.1:4660"},
	{"version 1, IPv6", "PROXY TCP6 2001:db8::1 ::1 4660 5222\r\n", "[2001:db8::1]:4660"},
	{"version 1, unknown", "PROXY UNKNOWN\r\n", "peer"},
	{"version 1, unknown with more", "PROXY UNKNOWN ffff:: ffff:: 1 1\r\n", "peer"},
	{"version 2", v2(0x21, 0x11, v4Addresses), "192.0.2.1:4660"},
	{"version 2, IPv6", v2(0x21, 0x21, v6Addresses), "[2001:db8::1]:4660"},
	{"version 2, extensions", v2(0x21, 0x11, v4Addresses+strings.Repeat("x", 1000)), "192.0.2.1:4660"},
	{"version 2, local", v2(0x20, 0x00, ""), "peer"},
	{"version 2, local with addresses", v2(0x20, 0x11, v4Addresses), "peer"},
	{"version 2, another family", v2(0x21, 0x31, strings.Repeat("x", 216)), "peer"},
	{"claims this machine", "PROXY TCP4 127.0.0.1 10.0.0.1 4660 5222\r\n", "127.0.0.1:4660"},
	{"no header", "<?xml version='1.0'?><stream:stream>", ""},
	{"another protocol", "GET / HTTP/1.1\r\n\r\n", ""},
	{"version 1, too long", "PROXY UNKNOWN " + strings.Repeat("x", 107) + "\r\n", ""},
	{"version 1, no port", "PROXY TCP4 192.0.2.1 10.0.0.1 x 5222\r\n", ""},
	{"version 1, large port", "PROXY TCP4 192.0.2.1 10.0.0.1 65536 5222\r\n", ""},
	{"version 1, no address", "PROXY TCP4 192.0.2 10.0.0.1 1 5222\r\n", ""},
	{"version 1, other family", "PROXY TCP4 ::1 ::1 1 5222\r\n", ""},
	{"version 1, short", "PROXY TCP4 192.0.2.1\r\n", ""},
	{"version 1, other protocol", "PROXY UDP4 192.0.2.1 10.0.0.1 4660 5222\r\n", ""},
	{"version 2, other version", v2(0x31, 0x11, v4Addresses), ""},
	{"version 2, other command", v2(0x22, 0x11, v4Addresses), ""},
	{"version 2, short", v2(0x21, 0x11, v4Addresses[:11]), ""},
	{"version 2, long", v2(0x21, 0x11, strings.Repeat("x", 5000)), ""},
	{"cut off", "PROXY TCP4 1", ""},
}

func TestListen(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := proxied.Listen(inner, trusted("127.0.0.0/8"), slog.New(slog.DiscardHandler))
	defer l.Close()
	for _, tc := range headers {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		// What is refused may be closed before all of it was sent.
		if _, err := io.WriteString(c, tc.header+"hello"); err != nil && tc.want != "" {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil && tc.want != "" {
			t.Fatal(err)
		}
		if tc.want == "" {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: not closed", tc.name)
			}
			c.Close()
			continue
		}
		got, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		want := tc.want
		if want == "peer" {
			want = c.LocalAddr().String()
		}
		addr := got.RemoteAddr()
		if addr.String() != want {
			t.Errorf("%s: from %s, want %s", tc.name, addr, want)
		}
		if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
			t.Errorf("%s: counts as local", tc.name)
		}
		if b, err := io.ReadAll(got); string(b) != "hello" {
			t.Errorf("%s: behind the header came %q, %v", tc.name, b, err)
		}
		if _, ok := got.(interface{ CloseWrite() error }); !ok {
			t.Errorf("%s: %T has lost what a TCP connection can do", tc.name, got)
		}
		got.Close()
		c.Close()
	}
}

// A peer that is not trusted speaks for itself: a header of its is data.
func TestListenUntrusted(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := proxied.Listen(inner, trusted("192.0.2.0/24"), slog.New(slog.DiscardHandler))
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	io.WriteString(c, "PROXY TCP4 192.0.2.1 10.0.0.1 4660 5222\r\n")
	b := make([]byte, 5)
	if _, err := io.ReadFull(got, b); err != nil || string(b) != "PROXY" || got.RemoteAddr().String() != c.LocalAddr().String() {
		t.Errorf("%q from %s, %v", b, got.RemoteAddr(), err)
	}
}

// A header that does not come holds up nobody, and not for long; the end of the listener is not held up either.
func TestListenSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := &pipes{make(chan net.Conn), make(chan struct{})}
		l := proxied.Listen(pipes, trusted("127.0.0.0/8"), slog.New(slog.DiscardHandler))
		silent := pipes.dial()
		start := time.Now()
		c := pipes.dial()
		go io.WriteString(c, headers[0].header)
		got, err := l.Accept()
		if err != nil || time.Since(start) != 0 || got.RemoteAddr().String() != headers[0].want {
			t.Fatalf("%v, %v, after %v", got, err, time.Since(start))
		}
		got.Close()
		if _, err := silent.Read(make([]byte, 1)); err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("a silent connection ended with %v after %v", err, time.Since(start))
		}
		pipes.dial()
		synctest.Wait()
		start = time.Now()
		l.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("closed after %v", took)
		}
		if _, err := l.Accept(); err != net.ErrClosed {
			t.Errorf("Accept: %v", err)
		}
	})
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipes) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- local{server}
	return client
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	close(l.closed)
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5222} }

type local struct{ net.Conn }

func (local) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
