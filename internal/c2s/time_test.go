package c2s_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/c2s/tcp"
	"rollcall/internal/c2s/websocket"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// inBubble runs a test over every transport, in fake time.
func inBubble(t *testing.T, test func(t *testing.T, hosts *c2stest.Hosts, stop func(), dial func() *c2stest.Peer)) {
	inBubbleWith(t, func(h *c2stest.Hosts) c2s.Options { return c2s.Options{Hosts: h} }, test)
}

// inBubbleWith has options of its own.
func inBubbleWith(t *testing.T, options func(*c2stest.Hosts) c2s.Options,
	test func(t *testing.T, hosts *c2stest.Hosts, stop func(), dial func() *c2stest.Peer)) {
	quiet := slog.New(slog.DiscardHandler)
	t.Run("tcp", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hosts := c2stest.NewHosts(t)
			srv, stop := c2stest.NewServer(t, options(hosts))
			l := c2stest.NewPipes()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go tcp.Serve(ctx, l, srv, tcp.Options{Log: quiet})
			test(t, hosts, stop, func() *c2stest.Peer {
				p := c2stest.NewStream(t, l.Dial())
				p.Conn.SetDeadline(time.Time{})
				return p
			})
		})
	})
	t.Run("websocket", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hosts := c2stest.NewHosts(t)
			srv, stop := c2stest.NewServer(t, options(hosts))
			l := c2stest.NewPipes()
			// Not the 30 s that sign-in may take: a pipe has no buffer, and while the client writes its pong into one, our
			// last frame would wait in the other.
			h := &http.Server{Handler: websocket.Handler(srv, websocket.Options{Log: quiet, Ping: 47 * time.Second})}
			defer h.Close()
			go h.Serve(l)
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return l.Dial(), nil }}}
			defer client.CloseIdleConnections()
			test(t, hosts, stop, func() *c2stest.Peer {
				p := c2stest.NewWebSocket(t, "http://localhost/", client, nil)
				p.Patience = time.Hour
				return p
			})
		})
	})
	t.Run("bosh", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hosts := c2stest.NewHosts(t)
			srv, stop := c2stest.NewServer(t, options(hosts))
			l := c2stest.NewPipes()
			h := &http.Server{Handler: bosh.Handler(srv, bosh.Options{Log: quiet})}
			defer h.Close()
			go h.Serve(l)
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return l.Dial(), nil }}}
			defer client.CloseIdleConnections()
			test(t, hosts, stop, func() *c2stest.Peer {
				p := c2stest.NewBOSH(t, "http://localhost/", client)
				p.Patience = time.Hour
				return p
			})
		})
	})
}

func TestTimeToSignIn(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		for name, advance := range map[string]func(*c2stest.Peer){
			"silent": func(*c2stest.Peer) {},
			"opened": func(p *c2stest.Peer) { p.Open(c2stest.Domain) },
			"authenticated, slowly": func(p *c2stest.Peer) {
				p.Open(c2stest.Domain)
				time.Sleep(20 * time.Second) // in fake time
				p.Authenticate()
			},
		} {
			start := time.Now()
			p := dial()
			if p.BOSH != nil && name == "silent" {
				continue // without a request there is no session
			}
			advance(p)
			p.ExpectError("connection-timeout")
			if took := time.Since(start); took != 30*time.Second {
				t.Errorf("%s: ended after %v", name, took)
			}
		}
		p := dial()
		p.SignIn()
		p.Bind("x")
		time.Sleep(31 * time.Second)
		p.Echo("bound in time")
	})
}

func TestShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *c2stest.Hosts, stop func(), dial func() *c2stest.Peer) {
		opened, authenticated, bound := dial(), dial(), dial()
		opened.Open(c2stest.Domain)
		authenticated.SignIn()
		bound.SignIn()
		bound.Bind("x")
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		for _, p := range []*c2stest.Peer{opened, authenticated, bound} {
			p.ExpectError("system-shutdown")
		}
		<-stopped
	})
}

// A client that does not take part in the end of its stream is left after two seconds.
func TestEndWithoutTheClient(t *testing.T) {
	inBubble(t, func(t *testing.T, hosts *c2stest.Hosts, stop func(), dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Bind("x")
		hosts.Session("juliet@localhost/x").Close(&stanza.StreamError{Condition: stanza.StreamConflict})
		start := time.Now()
		for {
			if el, err := p.Next(); err != nil || el == nil {
				break // our closing tag; the client says nothing
			}
		}
		stop()
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("the connection was held for %v", took)
		}
	})
}

// A client that does not read costs its own session only, and not for long.
func TestClientThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, hosts *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		deaf, other := dial(), dial()
		deaf.SignIn()
		deaf.Bind("deaf")
		other.SignIn()
		other.Bind("other")
		s := hosts.Session("juliet@localhost/deaf")
		start := time.Now()
		s.Send(stanza.NewWire(xmlstream.New("jabber:client", "message", "id", "1")))
		other.Echo("at once")
		if took := time.Since(start); took != 0 {
			t.Errorf("another client waited for %v", took)
		}
		<-hosts.Closed
		limit := 30 * time.Second
		if deaf.BOSH != nil { // it may be away for that long
			limit = time.Minute
		}
		if took := time.Since(start); took < limit-time.Second || took > limit+time.Second {
			t.Errorf("the session ended after %v", took)
		}
	})
}

// A host may write to a session as soon as it knows it; the client sees the answer to its bind request first.
func TestNothingPrecedesTheBoundResource(t *testing.T) {
	wrap := func(h *c2stest.Hosts) c2s.Options { return c2s.Options{Hosts: earlyHosts{h}} }
	inBubbleWith(t, wrap, func(t *testing.T, hosts *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Bind("balcony")
		p.Expect("<message xmlns='jabber:client' id='early'/>")
		hosts.Shutdown() // NewServer does not know these hosts
	})
}

// What a client sends between our closing tag and its own is dropped (RFC 6120 section 4.4).
func TestAfterTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, hosts *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		received := make(chan string, 10)
		hosts.OnReceive = func(_ *session.Session, el *xmlstream.Element) { received <- el.Attr("id") }
		p := dial()
		if p.BOSH != nil {
			return // the session whose end it has heard of does not exist
		}
		p.SignIn()
		p.Bind("x")
		p.Echo("early")
		hosts.Session("juliet@localhost/x").Close(&stanza.StreamError{Condition: stanza.StreamConflict})
		if el := p.Receive(); !el.Is(ns.Stream, "error") {
			t.Errorf("received %s, want a stream error", el)
		}
		if el, err := p.Next(); el != nil || err != nil {
			t.Errorf("received %v, %v, want the end of the stream", el, err)
		}
		p.SendStanza("<message id='late'/>")
		p.ExpectGone()
		close(received)
		for id := range received {
			if id != "early" {
				t.Errorf("message %q was received", id)
			}
		}
	})
}

// faults fails a test for what is logged.
type faults struct{ t *testing.T }

func (f faults) Write(line []byte) (int, error) {
	f.t.Errorf("logged: %s", line)
	return len(line), nil
}

// Nor is a header anything but dropped, which a WebSocket may carry at any time, of a client that is still signing in.
func TestHeaderAfterTheEnd(t *testing.T) {
	wrap := func(h *c2stest.Hosts) c2s.Options {
		return c2s.Options{Hosts: h, Log: slog.New(slog.NewTextHandler(faults{t}, &slog.HandlerOptions{Level: slog.LevelError}))}
	}
	inBubbleWith(t, wrap, func(t *testing.T, hosts *c2stest.Hosts, _ func(), dial func() *c2stest.Peer) {
		p := dial()
		if p.WebSocket == nil {
			return
		}
		p.SignIn()
		p.Bind("x")
		hosts.Session("juliet@localhost/x").Close(&stanza.StreamError{Condition: stanza.StreamConflict})
		if el := p.Receive(); !el.Is(ns.Stream, "error") {
			t.Errorf("received %s, want a stream error", el)
		}
		if el, err := p.Next(); el != nil || err != nil {
			t.Errorf("received %v, %v, want the end of the stream", el, err)
		}
		p.Send(p.Header("to='localhost' version='1.0'"))
		p.ExpectGone()
	})
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, stop := c2stest.NewServer(t, c2s.Options{PerAddress: 2, Total: 5})
		admit := func(addr string, want error) *c2s.Ticket {
			t.Helper()
			tk, err := srv.Admit(netip.MustParseAddr(addr))
			if err != want {
				t.Fatalf("Admit(%s): %v, want %v", addr, err, want)
			}
			return tk
		}
		a := admit("192.0.2.1", nil)
		b := admit("192.0.2.1", nil)
		admit("192.0.2.1", c2s.ErrCrowded)
		admit("::ffff:192.0.2.1", c2s.ErrCrowded)
		c := admit("2001:db8::1", nil)
		d := admit("2001:db8::2:1", nil)
		admit("2001:db8::3", c2s.ErrCrowded) // the same /64
		e := admit("127.0.0.1", nil)
		admit("127.0.0.1", c2s.ErrCrowded) // the total
		a.Release()
		f := admit("127.0.0.1", nil)
		e.Release()
		e = admit("192.0.2.1", nil)
		for _, tk := range []*c2s.Ticket{b, c, d, e, f} {
			tk.Release()
		}
		// Loopback, where proxies are, has no limit of its own.
		var tickets []*c2s.Ticket
		for range 5 {
			tickets = append(tickets, admit("127.0.0.1", nil))
		}
		for _, tk := range tickets {
			tk.Release()
		}
		stop()
		if _, err := srv.Admit(netip.MustParseAddr("127.0.0.1")); err == nil {
			t.Error("a connection was admitted after the end")
		}
	})
}

// A connection counts until it is bound, and no longer.
func TestBoundSessionsDoNotCount(t *testing.T) {
	onEach(t, c2s.Options{Total: 1}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, r := range []string{"a", "b", "c"} {
			p := dial()
			p.SignIn()
			p.Bind(r)
			p.Echo("1")
		}
	})
}
