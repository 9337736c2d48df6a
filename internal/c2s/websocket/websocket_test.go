package websocket_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coder "github.com/coder/websocket"
	"go.uber.org/goleak"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/c2s/websocket"
	"rollcall/internal/certs"
	"rollcall/internal/certs/certtest"
	"rollcall/internal/ns"
	"rollcall/internal/proxied"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

type server struct {
	*httptest.Server
	t     *testing.T
	hosts *c2stest.Hosts
}

func newServer(t *testing.T, o c2s.Options, origins ...string) *server {
	t.Helper()
	s := &server{t: t, hosts: c2stest.NewHosts(t)}
	o.Hosts = s.hosts
	srv, _ := c2stest.NewServer(t, o)
	s.Server = httptest.NewServer(websocket.Handler(srv, websocket.Options{Origins: origins, Log: quiet}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) dial() *c2stest.Peer {
	s.t.Helper()
	return c2stest.NewWebSocket(s.t, s.URL, s.Client(), nil)
}

// get makes a request as a browser opens a WebSocket, but for some headers, and gives the status.
func (s *server) get(headers map[string]string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.URL, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "xmpp"} {
		req.Header.Set(name, value)
	}
	for name, value := range headers {
		if req.Header.Del(name); value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		if got := res.Header.Get("Sec-WebSocket-Protocol"); got != "xmpp" {
			s.t.Errorf("subprotocol %q", got)
		}
		if got := res.Header.Get("Sec-WebSocket-Extensions"); got != "" {
			s.t.Errorf("extensions %q: compression is to be off", got)
		}
	}
	return res.StatusCode
}

// Attack case 40, and what else is checked before there is a WebSocket.
func TestHandshake(t *testing.T) {
	s := newServer(t, c2s.Options{}, "https://chat.example.com", "http://localhost:3000/")
	host := strings.TrimPrefix(s.URL, "http://")
	for _, tc := range []struct {
		name    string
		headers map[string]string
		want    int
	}{
		{"not a page", nil, 101},
		{"same origin", map[string]string{"Origin": "http://" + host}, 101},
		{"same origin, TLS ended before us", map[string]string{"Origin": "https://" + host}, 101},
		{"allowed", map[string]string{"Origin": "https://chat.example.com"}, 101},
		{"allowed, in another case", map[string]string{"Origin": "HTTPS://Chat.Example.com"}, 101},
		{"allowed, configured with a slash", map[string]string{"Origin": "http://localhost:3000"}, 101},
		{"compression offered", map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"}, 101},
		{"several subprotocols", map[string]string{"Sec-WebSocket-Protocol": "mqtt, xmpp"}, 101},
		{"foreign", map[string]string{"Origin": "https://evil.example"}, 403},
		{"other scheme", map[string]string{"Origin": "http://chat.example.com"}, 403},
		{"other port", map[string]string{"Origin": "https://chat.example.com:444"}, 403},
		{"longer name", map[string]string{"Origin": "https://chat.example.com.evil.example"}, 403},
		{"no origin of its own", map[string]string{"Origin": "null"}, 403},
		{"no URL", map[string]string{"Origin": "::"}, 403},
		{"no subprotocol", map[string]string{"Sec-WebSocket-Protocol": ""}, 400},
		{"subprotocol in another case", map[string]string{"Sec-WebSocket-Protocol": "XMPP"}, 400},
		{"other subprotocol", map[string]string{"Sec-WebSocket-Protocol": "xmpp2"}, 400},
		{"no upgrade", map[string]string{"Upgrade": ""}, 426},
		{"old version", map[string]string{"Sec-WebSocket-Version": "8"}, 400},
		{"no key", map[string]string{"Sec-WebSocket-Key": ""}, 400},
	} {
		if got := s.get(tc.headers); got != tc.want {
			t.Errorf("%s: status %d, want %d", tc.name, got, tc.want)
		}
	}
	open := newServer(t, c2s.Options{}, "*")
	if got := open.get(map[string]string{"Origin": "https://evil.example"}); got != 101 {
		t.Errorf("all origins allowed: status %d", got)
	}
}

func TestCrowded(t *testing.T) {
	s := newServer(t, c2s.Options{Total: 1})
	p := s.dial()
	if got := s.get(nil); got != 503 {
		t.Errorf("status %d, want 503", got)
	}
	p.SignIn()
	p.Bind("x")
	p.Echo("1")
	// A handshake that fails gives its place back.
	for range 3 {
		if got := s.get(map[string]string{"Sec-WebSocket-Key": ""}); got != 400 {
			t.Errorf("status %d, want 400", got)
		}
	}
	s.dial().Open(c2stest.Domain)
}

// raw gives the messages that the server sends, as they are.
func raw(p *c2stest.Peer) string {
	p.T.Helper()
	typ, b, err := p.WebSocket.Read(p.T.Context())
	if err != nil {
		p.T.Fatal(err)
	}
	if typ != coder.MessageText {
		p.T.Error("not a text message")
	}
	return string(b)
}

// Each message stands alone, with its namespaces (RFC 7395 section 3.3.3).
func TestFrames(t *testing.T) {
	s := newServer(t, c2s.Options{})
	p := s.dial()
	p.Send(p.Header("to='localhost' version='1.0'"))
	if got := raw(p); !strings.HasPrefix(got, "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' id='") ||
		!strings.HasSuffix(got, " version='1.0' xml:lang='en'/>") {
		t.Errorf("header %s", got)
	}
	if got := raw(p); !strings.HasPrefix(got, "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms xmlns='") {
		t.Errorf("features %s", got)
	}
	p.Authenticate()
	p.SendStanza("<iq type='set' id='b'><bind xmlns='" + ns.Bind + "'><resource>x</resource></bind></iq>")
	if got := raw(p); !strings.HasPrefix(got, "<iq xmlns='jabber:client' type='result' id='b'>") {
		t.Errorf("answer to bind %s", got)
	}
	p.SendStanza("<message id='1'/>")
	if got := raw(p); got != "<message xmlns='jabber:client' id='1' from='juliet@localhost/x'/>" {
		t.Errorf("message %s", got)
	}
	p.Send("<message xmlns='jabber:server'/>")
	if got := raw(p); !strings.HasPrefix(got, "<stream:error xmlns:stream='http://etherx.jabber.org/streams'>"+
		"<unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>") {
		t.Errorf("error %s", got)
	}
	if got := raw(p); got != "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>" {
		t.Errorf("end %s", got)
	}
}

// Attack case 11, and framing elements out of place.
func TestBadFrames(t *testing.T) {
	s := newServer(t, c2s.Options{})
	for _, tc := range []struct{ message, want string }{
		{"<a/><b/>", "not-well-formed"},
		{"<message xmlns='jabber:client'>", "not-well-formed"},
		{"", "not-well-formed"},
		{" ", "not-well-formed"},
		{"x", "not-well-formed"},
		{"</message>", "not-well-formed"},
		{"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>", "not-well-formed"},
		{"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'/>", "invalid-namespace"},
		{"<error xmlns='http://etherx.jabber.org/streams'/>", "invalid-namespace"},
		{"<ping xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", "bad-format"},
	} {
		for stage, advance := range map[string]func(*c2stest.Peer){
			"first":  func(*c2stest.Peer) {},
			"opened": func(p *c2stest.Peer) { p.Open(c2stest.Domain) },
			"bound":  func(p *c2stest.Peer) { p.SignIn(); p.Bind("x") },
		} {
			p := s.dial()
			advance(p)
			p.Send(tc.message)
			t.Log(stage, tc.message)
			p.ExpectError(tc.want)
		}
	}
	// A stream begins with its header, and has one.
	p := s.dial()
	p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
	p.ExpectError("bad-format")
	p = s.dial()
	p.Open(c2stest.Domain)
	p.Send(p.Header("to='localhost' version='1.0'"))
	p.ExpectError("bad-format")
	p = s.dial()
	p.SignIn()
	p.Bind("x")
	p.Send(p.Header("to='other.example' version='1.0'")) // attack case 39
	p.ExpectError("bad-format")
}

func TestBinary(t *testing.T) {
	s := newServer(t, c2s.Options{})
	p := s.dial()
	p.Open(c2stest.Domain)
	if err := p.WebSocket.Write(t.Context(), coder.MessageBinary, []byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	if el := p.Receive(); !el.Is(ns.Stream, "error") || el.First().Local != "bad-format" {
		t.Errorf("received %s, want bad-format", el)
	}
	if el, err := p.Next(); el != nil || err != nil {
		t.Errorf("received %v, %v, want the end of the stream", el, err)
	}
	p.TrySend("<close xmlns='" + ns.Framing + "'/>")
	if _, _, err := p.WebSocket.Read(t.Context()); coder.CloseStatus(err) != coder.StatusUnsupportedData {
		t.Errorf("closed with %v, want status 1003", err)
	}
}

// A client that closes the WebSocket without closing its stream has lost it.
func TestClosedWithoutClose(t *testing.T) {
	s := newServer(t, c2s.Options{})
	for name, closeIt := range map[string]func(*coder.Conn) error{
		"in good order": func(ws *coder.Conn) error { return ws.Close(coder.StatusGoingAway, "") },
		"cut":           func(ws *coder.Conn) error { return ws.CloseNow() },
	} {
		p := s.dial()
		p.SignIn()
		p.Bind("x")
		if err := closeIt(p.WebSocket); err != nil {
			t.Logf("%s: %v", name, err)
		}
		if reason := <-s.hosts.Closed; !strings.Contains(reason.Error(), "connection lost") {
			t.Errorf("%s: session ended with %v", name, reason)
		}
	}
}

// A silent client is asked whether it is there, and cut off when it does not answer.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := c2stest.NewHosts(t)
		srv, _ := c2stest.NewServer(t, c2s.Options{Hosts: hosts})
		l := c2stest.NewPipes()
		h := &http.Server{Handler: websocket.Handler(srv, websocket.Options{Log: quiet})}
		defer h.Close()
		go h.Serve(l)
		var mine net.Conn
		client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			mine = l.Dial()
			return mine, nil
		}}}
		p := c2stest.NewWebSocket(t, "http://localhost/", client, nil)
		p.Patience = time.Hour
		p.SignIn()
		p.Bind("x")

		// A client that reads answers pings without knowing.
		read := make(chan error)
		go func() {
			_, err := p.Next()
			read <- err
		}()
		time.Sleep(10 * time.Minute)
		select {
		case err := <-read:
			t.Fatalf("a live client was cut off: %v", err)
		case reason := <-hosts.Closed:
			t.Fatalf("a live client's session ended: %v", reason)
		default:
		}

		// The network goes away: nothing of the client's arrives any more.
		start := time.Now()
		mine.SetDeadline(time.Now())
		<-read
		if reason := <-hosts.Closed; !strings.Contains(reason.Error(), "connection lost") {
			t.Errorf("session ended with %v", reason)
		}
		if took := time.Since(start); took > 90*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}

// TLS by the HTTP server makes the connection secure, and gives its channel bindings.
func TestTLS(t *testing.T) {
	hosts := c2stest.NewHosts(t)
	srv, _ := c2stest.NewServer(t, c2s.Options{Hosts: hosts, RequireTLS: true})
	pair := certtest.New(t, c2stest.Domain)
	certFile, keyFile := pair.Write(t, t.TempDir())
	store, err := certs.New(certFile, keyFile, quiet)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: websocket.Handler(srv, websocket.Options{Log: quiet}), TLSConfig: store.TLSConfig("http/1.1")}
	go h.ServeTLS(certs.Listen(l), "", "")
	t.Cleanup(func() { h.Close() })
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pair.Pool(), ServerName: c2stest.Domain}}}
	p := c2stest.NewWebSocket(t, "https://"+l.Addr().String(), client, nil)
	f := p.Open(c2stest.Domain)
	if got, want := f.Child(ns.SASLCB, "sasl-channel-binding").String(), "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"+
		"<channel-binding type='tls-exporter'/><channel-binding type='tls-server-end-point'/></sasl-channel-binding>"; got != want {
		t.Errorf("channel bindings\n%s\nwant\n%s", got, want)
	}
	p.Authenticate()
	p.Bind("x")
	if info := hosts.Session("juliet@localhost/x").Info(); !info.Secure || info.TLSVersion != "TLS 1.3" || info.Transport != "websocket" {
		t.Errorf("connection described as %+v", info)
	}
	p.ExpectGone()
}

// On this machine one may sign in without TLS, but a proxy on this machine does not make its clients local.
func TestLoopback(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true})
	s.dial().SignIn()
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via"} {
		p := c2stest.NewWebSocket(t, s.URL, s.Client(), http.Header{name: {"x"}})
		if f := p.Open(c2stest.Domain); f.Child(ns.SASL, "mechanisms") != nil {
			t.Errorf("with %s: %s", name, f)
		}
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
		if el := p.Receive(); el.First().Local != "encryption-required" {
			t.Errorf("with %s: received %s, want encryption-required", name, el)
		}
	}
}

// A trusted proxy tells who the client is, and that it has TLS; it has nothing to bind to. It makes nobody local.
func TestTrustedProxy(t *testing.T) {
	hosts := c2stest.NewHosts(t)
	srv, _ := c2stest.NewServer(t, c2s.Options{Hosts: hosts, RequireTLS: true})
	h := httptest.NewServer(websocket.Handler(srv, websocket.Options{Log: quiet,
		Proxies: proxied.Trusted{netip.MustParsePrefix("127.0.0.0/8")}}))
	defer h.Close()
	for _, header := range []http.Header{{"X-Forwarded-For": {"127.0.0.1"}}, {"X-Forwarded-Proto": {"http"}}, {"Forwarded": {"for=192.0.2.1"}}} {
		p := c2stest.NewWebSocket(t, h.URL, h.Client(), header)
		if f := p.Open(c2stest.Domain); f.Child(ns.SASL, "mechanisms") != nil {
			t.Errorf("with %v: %s", header, f)
		}
	}
	p := c2stest.NewWebSocket(t, h.URL, h.Client(), http.Header{"X-Forwarded-For": {"203.0.113.9, 192.0.2.1"}, "X-Forwarded-Proto": {"https"}})
	if f := p.Open(c2stest.Domain).String(); !strings.Contains(f, ">PLAIN<") || strings.Contains(f, "-PLUS") || strings.Contains(f, ns.SASLCB) {
		t.Errorf("features %s", f)
	}
	p.Authenticate()
	p.Bind("x")
	if info := hosts.Session("juliet@localhost/x").Info(); info.RemoteAddr != "192.0.2.1" || !info.Secure || info.TLSVersion != "" {
		t.Errorf("connection described as %+v", info)
	}
	p.ExpectGone()
}
