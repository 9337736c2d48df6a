package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/c2s/tcp"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// plain is a server without a certificate.
func plain(t *testing.T, o c2s.Options) *server {
	t.Helper()
	s := &server{t: t, hosts: c2stest.NewHosts(t)}
	o.Hosts = s.hosts
	srv, _ := c2stest.NewServer(t, o)
	s.addr = serve(t, srv, tcp.Options{Log: slog.New(slog.DiscardHandler)})
	return s
}

func TestRoot(t *testing.T) {
	s := plain(t, c2s.Options{})
	for _, tc := range []struct{ header, want string }{
		{"<stream:stream xmlns='jabber:client' xmlns:stream='http://example.com/' to='localhost' version='1.0'>", "invalid-namespace"},
		{"<stream to='localhost' version='1.0'>", "invalid-namespace"},
		{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>", "invalid-namespace"},
		{"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>", "invalid-namespace"},
		{"<stream:start xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>", "bad-format"},
		{"<?xml version='1.0' encoding='ISO-8859-1'?><stream:stream xmlns='jabber:client'>", "unsupported-encoding"},
		{"GET / HTTP/1.1\r\n", "not-well-formed"},
	} {
		p := s.dial()
		p.Send(tc.header)
		p.ExpectHeader()
		p.ExpectError(tc.want)
	}
	// Prefixes are the client's choice.
	p := s.dial()
	p.Send("<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:c='jabber:client' to='localhost' version='1.0'>")
	p.ExpectHeader()
	p.Receive()
	p.Authenticate()
	p.Send("<c:message xmlns:c='jabber:client' id='prefixed'/>")
	p.ExpectError("not-authorized") // before binding; a stanza all the same
}

// A client may say all at once what it knows beforehand.
func TestPipelining(t *testing.T) {
	s := plain(t, c2s.Options{})
	p := s.dial()
	header := p.Header("to='localhost' version='1.0'")
	p.Send(header + "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>" + header +
		"<iq type='set' id='b'><bind xmlns='" + ns.Bind + "'><resource>x</resource></bind></iq><message id='1'/>" +
		"</stream:stream>")
	p.ExpectHeader()
	p.Receive()
	p.Expect("<success xmlns='" + ns.SASL + "'/>")
	p.Restart()
	p.ExpectHeader()
	p.Receive()
	if el := p.Receive(); el.Attr("id") != "b" || el.Attr("type") != "result" {
		t.Errorf("received %s, want the answer to bind", el)
	}
	if el := p.Receive(); el.Attr("id") != "1" {
		t.Errorf("received %s, want the message", el)
	}
	p.ExpectError("")
}

// Features have the prefix that clients without namespaces look for.
func TestPrefixes(t *testing.T) {
	s := plain(t, c2s.Options{})
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'><x/>")
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	for _, want := range []string{"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='localhost' id='",
		"' version='1.0' xml:lang='en'><stream:features><mechanisms xmlns='", "</stream:features><stream:error><not-authorized xmlns='",
		"</stream:error></stream:stream>"} {
		if !strings.Contains(got, want) {
			t.Errorf("the stream lacks %q:\n%s", want, got)
		}
	}
}

// A client that is still sending when its stream ends is heard out, within bounds: to close the connection before would
// reset it, and the client might lose the error.
func TestErrorReachesASender(t *testing.T) {
	s := plain(t, c2s.Options{})
	p := s.dial()
	p.SignIn()
	p.Bind("x")
	p.Send("<oops/>" + strings.Repeat("<message/>", 10000))
	p.ExpectError("unsupported-stanza-type")

	synctest.Test(t, func(t *testing.T) {
		srv, _ := c2stest.NewServer(t, c2s.Options{})
		l := c2stest.NewPipes()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go tcp.Serve(ctx, l, srv, tcp.Options{Log: slog.New(slog.DiscardHandler)})
		p := c2stest.NewStream(t, l.Dial())
		p.Open(c2stest.Domain)
		sent := make(chan error)
		go func() { sent <- p.TrySend("<!-- -->" + strings.Repeat("<message/>", 10000)) }()
		p.ExpectError("restricted-xml")
		if err := <-sent; err != nil {
			t.Errorf("the connection was closed while the client was sending: %v", err)
		}
	})
}

// A stream that the network ends is not one that the client closed.
func TestLostConnection(t *testing.T) {
	s := plain(t, c2s.Options{})
	p := s.dial()
	p.SignIn()
	p.Bind("x")
	p.Conn.Close()
	if reason := <-s.hosts.Closed; !strings.Contains(reason.Error(), "connection lost") {
		t.Errorf("session ended with %v", reason)
	}
	p = s.dial()
	p.SignIn()
	p.Bind("x")
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Conn.Close()
	if reason := <-s.hosts.Closed; !strings.Contains(reason.Error(), "connection lost") {
		t.Errorf("session ended with %v", reason)
	}
}

// Attack case 13, the reader's side: a client that never reads is cut off when its outbox is full, whatever the system
// buffers for it, while another one is served.
func TestFullOutbox(t *testing.T) {
	s := plain(t, c2s.Options{})
	deaf, other := s.dial(), s.dial()
	deaf.SignIn()
	deaf.Bind("deaf")
	other.SignIn()
	other.Bind("other")
	sess := s.hosts.Session("juliet@localhost/deaf")
	big := stanza.NewWire(xmlstream.New(ns.Client, "message").Append(xmlstream.New(ns.Client, "body").
		AppendText(strings.Repeat("x", 100<<10))))
	sent := 0
	for sess.Send(big) {
		if sent++; sent > 1000 {
			t.Fatal("100 MiB were taken for a client that does not read")
		}
	}
	other.Echo("still served")
	if reason := <-s.hosts.Closed; !errors.Is(reason, session.ErrOverflow) {
		t.Errorf("session ended with %v", reason)
	}
}

// Many stanzas go out in few writes, in order, and a large one among them whole.
func TestSendOrder(t *testing.T) {
	s := plain(t, c2s.Options{})
	p := s.dial()
	p.SignIn()
	p.Bind("x")
	sess := s.hosts.Session("juliet@localhost/x")
	const n = 500
	for i := range n {
		el := xmlstream.New(ns.Client, "message", "id", fmt.Sprint(i))
		if i%100 == 50 {
			el.AppendText(strings.Repeat("x", 50<<10))
		}
		sess.Send(stanza.NewWire(el))
	}
	for i := range n {
		if el := p.Receive(); el.Attr("id") != fmt.Sprint(i) || i%100 == 50 && len(el.Text()) != 50<<10 {
			t.Fatalf("message %d is %.80s", i, el)
		}
	}
}

func TestKeepAliveOptions(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads Linux's socket options")
	}
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(name int) (v int) {
		if err := raw.Control(func(fd uintptr) { v, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, name) }); err != nil {
			t.Fatal(err)
		}
		return v
	}
	idle, interval, count := option(syscall.TCP_KEEPIDLE), option(syscall.TCP_KEEPINTVL), option(syscall.TCP_KEEPCNT)
	if silence := idle + interval*count; silence < 30 || silence > 90 {
		t.Errorf("a vanished peer is noticed after %d s, want at most 90", silence)
	}
	const tcpUserTimeout = 0x12
	if ms := option(tcpUserTimeout); ms < 30000 || ms > 90000 {
		t.Errorf("data may stay unacknowledged for %d ms, want at most 90 s", ms)
	}
}

// flaky is a listener whose Accept fails now and then, as with too many open files.
type flaky struct {
	errs chan error
	done chan struct{}
}

func (l flaky) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l flaky) Close() error   { close(l.done); return nil }
func (l flaky) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := c2stest.NewServer(t, c2s.Options{})
		l := flaky{make(chan error), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- tcp.Serve(ctx, l, srv, tcp.Options{Log: slog.New(slog.DiscardHandler)}) }()
		start := time.Now()
		for range 20 {
			l.errs <- syscall.EMFILE
		}
		if took := time.Since(start); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("20 failures took %v: the pauses should grow to a second", took)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}

		l = flaky{make(chan error), make(chan struct{})}
		go func() { served <- tcp.Serve(t.Context(), l, srv, tcp.Options{Log: slog.New(slog.DiscardHandler)}) }()
		l.errs <- net.ErrClosed
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve on a listener that somebody closed: %v", err)
		}
	})
}
