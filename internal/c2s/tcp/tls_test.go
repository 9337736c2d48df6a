package tcp_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	"go.uber.org/goleak"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/c2s/tcp"
	"rollcall/internal/certs"
	"rollcall/internal/certs/certtest"
	"rollcall/internal/ns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

// server is a listener on loopback with a certificate.
type server struct {
	t     *testing.T
	pair  certtest.Pair
	dir   string
	hosts *c2stest.Hosts
	addr  string
}

func newServer(t *testing.T, o c2s.Options, direct bool) *server {
	t.Helper()
	s := &server{t: t, pair: certtest.New(t, c2stest.Domain), dir: t.TempDir(), hosts: c2stest.NewHosts(t)}
	certFile, keyFile := s.pair.Write(t, s.dir)
	store, err := certs.New(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	o.Hosts = s.hosts
	srv, _ := c2stest.NewServer(t, o)
	opts := tcp.Options{TLS: store.TLSConfig(), Log: slog.New(slog.DiscardHandler)}
	if direct {
		opts.TLS, opts.Direct = store.TLSConfig(tcp.ALPN), true
	}
	s.addr = serve(t, srv, opts)
	return s
}

func serve(t *testing.T, srv *c2s.Server, o tcp.Options) (addr string) {
	t.Helper()
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- tcp.Serve(ctx, l, srv, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func (s *server) dial() *c2stest.Peer {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return c2stest.NewStream(s.t, c)
}

func (s *server) clientTLS() *tls.Config {
	return &tls.Config{RootCAs: s.pair.Pool(), ServerName: c2stest.Domain}
}

// secure does STARTTLS on an open stream.
func secure(p *c2stest.Peer, config *tls.Config) *tls.Conn {
	p.T.Helper()
	p.Send(starttls)
	p.Expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	c := tls.Client(p.Conn, config)
	if err := c.Handshake(); err != nil {
		p.T.Fatal(err)
	}
	p.Secure(c)
	return c
}

func TestStartTLS(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true}, false)
	p := s.dial()
	want := "<features xmlns='http://etherx.jabber.org/streams'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>" +
		"</starttls><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits></features>"
	if got := p.Open(c2stest.Domain).String(); got != want {
		t.Errorf("features\n%s\nwant\n%s", got, want)
	}
	secure(p, s.clientTLS())
	f := p.Open(c2stest.Domain)
	if f.Child(ns.TLS, "starttls") != nil {
		t.Error("TLS is offered inside TLS")
	}
	if got := f.Child(ns.SASL, "mechanisms").String(); !strings.Contains(got, "<mechanism>SCRAM-SHA-256-PLUS<") {
		t.Errorf("mechanisms: %s", got)
	}
	if got, want := f.Child(ns.SASLCB, "sasl-channel-binding").String(), "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"+
		"<channel-binding type='tls-exporter'/><channel-binding type='tls-server-end-point'/></sasl-channel-binding>"; got != want {
		t.Errorf("channel bindings\n%s\nwant\n%s", got, want)
	}
	p.Authenticate()
	p.Bind("x")
	info := s.hosts.Session("juliet@localhost/x").Info()
	if !info.Secure || info.TLSVersion != "TLS 1.3" || info.Cipher == "" || info.Transport != "tcp" {
		t.Errorf("connection described as %+v", info)
	}
	p.Echo("1")
	p.ExpectGone()
}

// Where TLS is only offered, the mechanisms are there as well.
func TestOptionalTLS(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	p := s.dial()
	f := p.Open(c2stest.Domain)
	if tls := f.Child(ns.TLS, "starttls"); tls == nil || tls.First() != nil {
		t.Errorf("features %s, want TLS that is not required", f)
	}
	p.Authenticate()
	p.Bind("x")
	p.Echo("1")
}

// Attack case 15: nothing is done before TLS where it is required; and without a certificate loopback may sign in.
func TestRequireTLS(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true}, false)
	p := s.dial()
	p.Open(c2stest.Domain)
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
	if el := p.Receive(); el.First() == nil || el.First().Local != "encryption-required" {
		t.Errorf("received %s, want encryption-required", el)
	}

	srv, _ := c2stest.NewServer(t, c2s.Options{RequireTLS: true})
	bare := &server{t: t, addr: serve(t, srv, tcp.Options{Log: slog.New(slog.DiscardHandler)})}
	p = bare.dial()
	p.SignIn()
}

// Attack case 14: what was sent behind the request in clear is not taken for what comes through TLS, and not before.
func TestInjection(t *testing.T) {
	for _, behind := range []string{
		"<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>",
		"\n<",
		"<",
		"\x16\x03\x01",
	} {
		s := newServer(t, c2s.Options{}, false)
		p := s.dial()
		p.Open(c2stest.Domain)
		p.Send(starttls + behind)
		p.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.ExpectError("")
	}
}

// White space behind the request is all that go-xmpp sends there, and is no harm.
func TestSpaceBehindStartTLS(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	p := s.dial()
	p.Open(c2stest.Domain)
	p.Send(starttls + "\n")
	p.Expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	conn := tls.Client(p.Conn, s.clientTLS())
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	p.Secure(conn)
	p.Open(c2stest.Domain)
}

// What comes in a later segment meets a TLS handshake, which it is not.
func TestClearTextInsteadOfHandshake(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	p := s.dial()
	p.Open(c2stest.Domain)
	p.Send(starttls)
	p.Expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
	for {
		if el, err := p.Next(); err != nil {
			break
		} else if el.Is(ns.SASL, "success") {
			t.Fatal("signed in in clear, behind the request for TLS")
		}
	}
}

func TestStartTLSIsRefused(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	p := s.dial()
	p.Open(c2stest.Domain)
	secure(p, s.clientTLS())
	p.Open(c2stest.Domain)
	p.Send(starttls)
	p.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.ExpectError("")

	p = s.dial()
	p.SignIn()
	p.Send(starttls)
	p.ExpectError("unsupported-stanza-type")

	p = s.dial()
	p.Open(c2stest.Domain)
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'/>")
	p.Receive()
	p.Send(starttls)
	p.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.ExpectError("")
}

// Attack case 17 (a), after TLS.
func TestHostStaysTheSameAfterTLS(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	p := s.dial()
	p.Open(c2stest.Domain)
	secure(p, s.clientTLS())
	p.Send(p.Header("to='other.example' version='1.0'"))
	p.ExpectHeader()
	p.ExpectError("not-authorized")
}

func TestDirectTLS(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true}, true)
	for _, protocols := range [][]string{nil, {tcp.ALPN}, {"h2", tcp.ALPN}} {
		config := s.clientTLS()
		config.NextProtos = protocols
		c, err := tls.Dial("tcp", s.addr, config)
		if err != nil {
			t.Fatalf("ALPN %q: %v", protocols, err)
		}
		p := c2stest.NewStream(t, c)
		if f := p.Open(c2stest.Domain); f.Child(ns.TLS, "starttls") != nil || f.Child(ns.SASL, "mechanisms") == nil {
			t.Errorf("features %s", f)
		}
		p.Authenticate()
		p.Bind("x")
		p.Echo("1")
		p.ExpectGone()
		<-s.hosts.Closed
	}
	config := s.clientTLS()
	config.NextProtos = []string{"h2"}
	if c, err := tls.Dial("tcp", s.addr, config); err == nil {
		c.Close()
		t.Error("a client of another protocol was served")
	}
	// Clear text on this port gets no XMPP answer.
	p := s.dial()
	p.Send(p.Header("to='localhost' version='1.0'"))
	if el, err := p.Next(); err == nil {
		t.Errorf("received %s in clear", el)
	}
}

func TestDirectTLSNeedsACertificate(t *testing.T) {
	srv, _ := c2stest.NewServer(t, c2s.Options{})
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := tcp.Serve(t.Context(), l, srv, tcp.Options{Direct: true}); err == nil {
		t.Error("Serve went on without a certificate")
	}
}

// scramPlus signs in with a foreign implementation of SCRAM, bound to the channel.
func scramPlus(p *c2stest.Peer, mechanism string, hash scram.HashGeneratorFcn, binding scram.ChannelBinding) error {
	p.T.Helper()
	client, err := hash.NewClient(c2stest.User, c2stest.Password, "")
	if err != nil {
		p.T.Fatal(err)
	}
	conv := client.NewConversationWithChannelBinding(binding)
	encode := func(in string) string {
		out, err := conv.Step(in)
		if err != nil {
			p.T.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString([]byte(out))
	}
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='" + mechanism + "'>" + encode("") + "</auth>")
	for {
		el := p.Receive()
		in, err := base64.StdEncoding.DecodeString(el.Text())
		switch {
		case err != nil:
			p.T.Fatal(err)
		case el.Is(ns.SASL, "failure"):
			return errors.New(el.First().Local)
		case el.Is(ns.SASL, "success"):
			encode(string(in)) // checks the server's signature
			if !conv.Valid() {
				p.T.Fatal("the server did not prove that it knows the password")
			}
			p.Restart()
			return nil
		}
		p.Send("<response xmlns='" + ns.SASL + "'>" + encode(string(in)) + "</response>")
	}
}

func TestChannelBinding(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true}, false)
	exporter := func(c *tls.Conn) scram.ChannelBinding {
		state := c.ConnectionState()
		key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			t.Fatal(err)
		}
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: key}
	}
	endPoint := func(c *tls.Conn) scram.ChannelBinding {
		state := c.ConnectionState()
		b, err := scram.NewTLSServerEndpointBinding(&state)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tc := range []struct {
		name, mechanism string
		hash            scram.HashGeneratorFcn
		version         uint16
		binding         func(*tls.Conn) scram.ChannelBinding
		want            string
	}{
		{"exporter", "SCRAM-SHA-256-PLUS", scram.SHA256, tls.VersionTLS13, exporter, ""},
		{"exporter, TLS 1.2", "SCRAM-SHA-256-PLUS", scram.SHA256, tls.VersionTLS12, exporter, ""},
		{"end point", "SCRAM-SHA-256-PLUS", scram.SHA256, tls.VersionTLS13, endPoint, ""},
		{"end point, TLS 1.2, SHA-1", "SCRAM-SHA-1-PLUS", scram.SHA1, tls.VersionTLS12, endPoint, ""},
		{"another connection's", "SCRAM-SHA-256-PLUS", scram.SHA256, tls.VersionTLS13, func(*tls.Conn) scram.ChannelBinding {
			return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: make([]byte, 32)}
		}, "not-authorized"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := s.dial()
			p.T = t
			p.Open(c2stest.Domain)
			config := s.clientTLS()
			config.MaxVersion = tc.version
			c := secure(p, config)
			p.Open(c2stest.Domain)
			got := ""
			if err := scramPlus(p, tc.mechanism, tc.hash, tc.binding(c)); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Fatalf("failure %q, want %q", got, tc.want)
			}
			if got == "" {
				p.Open(c2stest.Domain)
				p.Bind("x")
				p.Echo("1")
			}
		})
	}

	// The end point is that of the certificate in this handshake, though the server has a new one since.
	t.Run("after a reload", func(t *testing.T) {
		p := s.dial()
		p.T = t
		p.Open(c2stest.Domain)
		c := secure(p, s.clientTLS())
		certtest.New(t, c2stest.Domain).Write(t, s.dir)
		p.Open(c2stest.Domain)
		if err := scramPlus(p, "SCRAM-SHA-256-PLUS", scram.SHA256, endPoint(c)); err != nil {
			t.Error(err)
		}
	})
}

// A handshake has its own time (slow or silent clients before authentication are in package c2s).
func TestHandshakeTimeout(t *testing.T) {
	for name, direct := range map[string]bool{"STARTTLS": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c2s.Options{HandshakeTimeout: 10 * time.Millisecond}, direct)
			p := s.dial()
			if !direct {
				p.Open(c2stest.Domain)
				p.Send(starttls)
				p.Expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
			}
			if el, err := p.Next(); err == nil {
				t.Errorf("received %s, want the end of the connection", el)
			}
		})
	}
}

// Attack case 4: connections that are dropped at any point leave nothing behind (TestMain sees what is left).
func TestDroppedConnections(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // the beginning of a TLS handshake
	for range 25 {
		for _, say := range []func(*c2stest.Peer){
			func(*c2stest.Peer) {},
			func(p *c2stest.Peer) { p.Send("<stream:str") },
			func(p *c2stest.Peer) { p.Send(p.Header("to='localhost' version='1.0'")) },
			func(p *c2stest.Peer) { p.Open(c2stest.Domain); p.Send("<auth") },
			func(p *c2stest.Peer) { p.Open(c2stest.Domain); p.Send(starttls) },
			func(p *c2stest.Peer) { p.Open(c2stest.Domain); p.Send(starttls); p.Receive(); p.Send(hello) },
			func(p *c2stest.Peer) { p.Open(c2stest.Domain); secure(p, s.clientTLS()) },
		} {
			p := s.dial()
			say(p)
			p.Conn.Close()
		}
	}
	s.dial().SignIn() // and nobody is kept out
}
