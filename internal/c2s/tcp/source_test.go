package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// pair gives two ends of a TCP connection.
func pair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

func TestSource(t *testing.T) {
	server, client := pair(t)
	s := new(source).init(server).(*source)

	// Nothing is there: it waits, and no longer than the deadline.
	if err := server.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitReadable(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with nothing to read: %v, want the deadline's error", err)
	}
	if s.held != nil {
		t.Error("a buffer is held while nothing is there")
	}
	if err := server.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}

	// All that is sent arrives in order, in pieces of any size, whether it was waited for or not.
	text := strings.Repeat("0123456789", 3000)
	go func() {
		io.WriteString(client, text)
		client.Close()
	}()
	var got strings.Builder
	for size := 1; ; size = size*3%5000 + 1 {
		if size%2 == 0 {
			if err := s.WaitReadable(); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, size)
		n, err := s.Read(b)
		got.Write(b[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != text {
		t.Errorf("read %d bytes that differ from the %d sent", got.Len(), len(text))
	}
	if err := s.WaitReadable(); err != nil {
		t.Errorf("at the end: %v, want that Read tells", err)
	}
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestSourceOfAClosedConnection(t *testing.T) {
	server, client := pair(t)
	s := new(source).init(server).(*source)
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := s.WaitReadable(); err != nil {
		t.Errorf("reset by the peer: %v, want that Read tells", err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("reset by the peer: %v, want the network's error", err)
	}
	server.Close()
	s = new(source).init(server).(*source)
	if err := s.WaitReadable(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
