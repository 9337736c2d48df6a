package websocket_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/c2s/websocket"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// watched is a listener in memory; each connection tells when the server has closed it.
type watched struct {
	conns chan net.Conn
	done  chan struct{}
}

type watchedConn struct {
	net.Conn
	closed func()
}

func (c watchedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

func (c watchedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}
}

func (l *watched) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *watched) Close() error   { close(l.done); return nil }
func (l *watched) Addr() net.Addr { return &net.TCPAddr{} }

// frames makes masked frames of what a fuzzer gives: the first byte of a frame, the length of its payload, the payload. raw
// bytes go as they are.
func frames(in []byte, raw bool) []byte {
	if raw {
		return in
	}
	var out []byte
	for len(in) > 2 {
		n := min(int(in[1]), len(in)-2)
		out = append(out, frame(in[0], string(in[2:2+n]), true, 0)...)
		in = in[2+n:]
	}
	return out
}

// Whatever a client sends behind the handshake, rightly framed or not: the connection ends when the client goes, nothing
// panics, and nobody who has not signed in has a session.
func FuzzStream(f *testing.F) {
	message := func(first byte, xml string) string { return string(rune(first)) + string([]byte{byte(len(xml))}) + xml }
	add := func(parts ...string) {
		var b []byte
		for _, p := range parts {
			b = append(b, fin|text, byte(len(p)))
			b = append(b, p...)
		}
		f.Add(b, false)
	}
	open := "<open xmlns='" + ns.Framing + "' to='localhost' version='1.0'/>"
	auth := "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>"
	bind := "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='" + ns.Bind + "'/></iq>"
	add(open, auth, open, bind, "<message xmlns='jabber:client'><body>x</body></message>", "<close xmlns='"+ns.Framing+"'/>")
	add(open, "<a><b>", "<stream:stream>")
	f.Add([]byte(message(ping, "x")+message(text, "<a")+message(fin, "/>")), false)
	f.Add(frame(fin|text, open, true, 0), true)
	f.Add([]byte{0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, true)

	hosts := c2stest.NewHosts(f)
	var mu sync.Mutex
	received := 0
	hosts.OnReceive = func(*session.Session, *xmlstream.Element) {
		mu.Lock()
		defer mu.Unlock()
		received++
	}
	srv, _ := c2stest.NewServer(f, c2s.Options{Hosts: hosts})
	l := &watched{make(chan net.Conn), make(chan struct{})}
	h := &http.Server{Handler: websocket.Handler(srv, websocket.Options{Log: quiet})}
	go h.Serve(l)
	f.Cleanup(func() { h.Close() })
	const upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
	f.Fuzz(func(t *testing.T, in []byte, raw bool) {
		mine, theirs := net.Pipe()
		closed := make(chan struct{})
		l.conns <- watchedConn{theirs, sync.OnceFunc(func() { close(closed) })}
		if _, err := io.WriteString(mine, upgrade); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(mine)
		if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", res, err)
		}
		read := make(chan struct{})
		go func() { // until the server closes the WebSocket
			defer close(read)
			b := make([]byte, 4096)
			for {
				n, err := r.Read(b)
				if err != nil || bytes.IndexByte(b[:n], 0x88) == 0 {
					mine.Close()
					return
				}
			}
		}()
		mine.Write(frames(in, raw)) // an error says that the server has had enough
		mine.Close()
		<-read
		<-closed
		mu.Lock()
		defer mu.Unlock()
		if received > 0 && !bytes.Contains(in, []byte(c2stest.Plain)) && !bytes.Contains(in, []byte("auth")) {
			t.Errorf("%d stanzas of somebody who has not signed in", received)
		}
		received = 0
		for len(hosts.Closed) > 0 {
			<-hosts.Closed
		}
	})
}
