package c2s_test

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// badXML is what no XMPP entity may send (attack cases 1, 2, 6, 7, 8), each an element of its own or the beginning of
// one, with the stream errors that are right answers.
var badXML = []struct{ name, xml, want string }{
	{"DOCTYPE", "<!DOCTYPE x [<!ENTITY a 'b'>]><message>&a;</message>", "restricted-xml"},
	{"external entity", "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><message>&a;</message>", "restricted-xml"},
	{"undefined entity", "<message>&a;</message>", "restricted-xml not-well-formed"},
	{"comment", "<message><!-- x --></message>", "restricted-xml"},
	{"processing instruction", "<message><?x y?></message>", "restricted-xml"},
	{"control character", "<message>\x01</message>", "not-well-formed"},
	{"NUL by reference", "<message>&#0;</message>", "not-well-formed"},
	{"U+FFFE", "<message>\uFFFE</message>", "not-well-formed"},
	{"truncated UTF-8", "<message>\xc3</message>", "not-well-formed"},
	{"overlong UTF-8", "<message a='\xc0\xaf'></message>", "not-well-formed"},
	{"surrogate", "<message>\xed\xa0\x80</message>", "not-well-formed"},
	{"UTF-8 in a name", "<mess\xffage/>", "not-well-formed"},
	{"undeclared prefix", "<x:message/>", "not-well-formed bad-namespace-prefix"},
	{"xml declared", "<message xmlns:xml='urn:x'/>", "not-well-formed bad-namespace-prefix"},
	{"xmlns declared", "<message xmlns:xmlns='urn:x'/>", "not-well-formed bad-namespace-prefix"},
	{"attribute twice", "<message a='1' a='2'/>", "not-well-formed"},
	{"attribute twice by prefix", "<message xmlns:a='u' xmlns:b='u' a:x='1' b:x='2'/>", "not-well-formed"},
	{"nested tags", strings.Repeat("<a>", 2000), "policy-violation"},
	{"wrong end tag", "<message></presence>", "not-well-formed"},
	{"fake end of the stream", "<message></stream:stream>", "not-well-formed"},
	{"500 attributes", "<message" + manyAttributes(500) + "/>", "policy-violation"},
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a")
		b.WriteString(strings.Repeat("b", i/26))
		b.WriteByte(byte('a' + i%26))
		b.WriteString("=''")
	}
	return b.String()
}

// Attack cases 1-8 of each stage of a stream.
func TestBadXML(t *testing.T) {
	stages := []struct {
		name    string
		advance func(p *c2stest.Peer)
	}{
		{"before authentication", func(p *c2stest.Peer) { p.Open(c2stest.Domain) }},
		{"before binding", func(p *c2stest.Peer) { p.SignIn() }},
		{"bound", func(p *c2stest.Peer) { p.SignIn(); p.Bind("x") }},
	}
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		witness := dial()
		witness.SignIn()
		witness.Bind("witness")
		for _, stage := range stages {
			for _, tc := range badXML {
				t.Run(stage.name+"/"+tc.name, func(t *testing.T) {
					p := dial()
					p.T = t
					stage.advance(p)
					p.Send(tc.xml)
					expectOneOf(p, tc.want)
				})
			}
		}
		witness.Echo("still there")
	})
}

// expectOneOf is Peer.ExpectError with a choice. A truncated message over WebSocket is not well-formed whatever else it
// would have been.
func expectOneOf(p *c2stest.Peer, conditions string) {
	p.T.Helper()
	for {
		el, err := p.Next()
		if err != nil || el == nil {
			p.T.Fatalf("the stream ended with %v, %v and no error, want %s", el, err, conditions)
		}
		if el.Is(ns.Stream, "error") {
			if got := el.First().Local; !strings.Contains(" "+conditions+" ", " "+got+" ") {
				p.T.Fatalf("stream error %s, want %s", el, conditions)
			}
			p.ExpectError("")
			return
		}
	}
}

// Before the first header, a stream error comes in a stream of ours (RFC 6120 section 4.9.1.2).
func TestBadXMLFirst(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, tc := range badXML {
			p := dial()
			if p.BOSH != nil { // there is no session whose stream it could be
				status, got, err := p.BOSH.Post(t.Context(), tc.xml)
				if want := "<body xmlns='" + ns.BOSH + "' type='terminate' condition='bad-request'/>"; status != 200 || got != want || err != nil {
					t.Errorf("%s: answered %d %s, %v, want %s", tc.name, status, got, err, want)
				}
				continue
			}
			p.Send(tc.xml)
			if h := p.ExpectHeader(); h.From != c2stest.Domain {
				t.Errorf("%s: answered from %q", tc.name, h.From)
			}
			el := p.Receive()
			if !el.Is(ns.Stream, "error") {
				t.Errorf("%s: received %s, want a stream error", tc.name, el)
			}
			p.ExpectError("")
		}
	})
}

// So it does between two streams of a connection, in the name of the host that the client has chosen.
func TestBadXMLAfterRestart(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Open(c2stest.Other)
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
		p.Expect("<success xmlns='" + ns.SASL + "'/>")
		p.Restart()
		p.Send("<!-- -->")
		if h := p.ExpectHeader(); h.From != c2stest.Other {
			t.Errorf("answered from %q", h.From)
		}
		p.ExpectError("restricted-xml")
	})
}

// Attack cases 3 and 5: what an element may be before and after authentication.
func TestElementLimits(t *testing.T) {
	const head, tail = "<message xmlns='jabber:client'><body>", "</body></message>"
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Open(c2stest.Domain)
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + strings.Repeat("A", 9800) + "</auth>")
		if el := p.Receive(); !el.Is(ns.SASL, "failure") {
			t.Errorf("received %s, want a failure", el)
		}
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + strings.Repeat("A", 10000) + "</auth>")
		p.ExpectError("policy-violation")

		for _, xml := range []string{
			"<auth xmlns='" + ns.SASL + "'>" + strings.Repeat("<a/>", 2000) + "</auth>",
			"<" + strings.Repeat("a", 12000) + "/>",
			"<auth xmlns='" + ns.SASL + "' a='" + strings.Repeat("a", 12000) + "'/>",
		} {
			p = dial()
			p.Open(c2stest.Domain)
			p.Send(xml)
			p.ExpectError("policy-violation")
		}

		p = dial()
		p.SignIn()
		p.Bind("x")
		fits := head + strings.Repeat("x", 256<<10-len(head)-len(tail)) + tail
		p.Send(fits)
		if el := p.Receive(); el.First() == nil || len(el.First().Text()) != 256<<10-len(head)-len(tail) {
			t.Error("a message of 256 KiB did not come back")
		}
		p.Send(strings.Replace(fits, "x", "xx", 1))
		p.ExpectError("policy-violation")
	})
}

// Attack case 5: a client that goes on sending is cut off, and is not read to the end.
func TestEndlessElement(t *testing.T) {
	// Over TCP alone: a WebSocket message of unknown length is TestFragments of package websocket.
	srv, _ := c2stest.NewServer(t, c2s.Options{Hosts: c2stest.NewHosts(t)})
	p := listenTCP(t, srv)()
	p.SignIn()
	p.Bind("x")
	p.Send("<message><body>")
	chunk := strings.Repeat("x", 64<<10)
	sent := 0
	for p.TrySend(chunk) == nil {
		if sent += len(chunk); sent > 64<<20 {
			t.Fatal("64 MiB of one message were taken")
		}
	}
}

// Attack case 8: elements that only look like a client's stanzas are not delivered as such.
func TestForeignStanzas(t *testing.T) {
	var mu sync.Mutex
	var got []string
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		hosts.OnReceive = func(_ *session.Session, el *xmlstream.Element) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, el.Space)
		}
		for _, xml := range []string{
			"<message xmlns='jabber:server'/>",
			"<c:message xmlns:c='jabber:server' xmlns='jabber:client'/>",
			"<message xmlns='urn:x'/>",
			"<message xmlns=''/>",
		} {
			p := dial()
			p.SignIn()
			p.Bind("x")
			p.Send(xml)
			p.ExpectError("unsupported-stanza-type")
		}
	})
	mu.Lock()
	defer mu.Unlock()
	for _, space := range got {
		if space == ns.Client {
			t.Error("a foreign element became a stanza of the client")
		}
	}
}

// Elements that are no stanzas and that the host knows are dealt with, between the stanzas before and after, and are not
// counted (XEP-0198 section 4); before a resource is bound there are none.
func TestNonzas(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Bind("balcony")
		manage(p)
		echo(p, "1")
		p.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		p.Send("<known xmlns='urn:example'/>")
		p.Expect("<known xmlns='urn:example'/>")
		p.Send(nonza("r", ""))
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='1'/>")
		p.Send("<unknown xmlns='urn:example'/>")
		p.ExpectError("unsupported-stanza-type")

		p = dial()
		p.SignIn()
		p.Send("<known xmlns='urn:example'/>")
		p.ExpectGone()
	})
}

// Attack case 3: many unauthenticated connections cost at most 64 KiB each.
func TestMemoryBeforeAuthentication(t *testing.T) {
	const clients = 200
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		load := "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + strings.Repeat("A", 9000)
		before := heap()
		peers := make([]*c2stest.Peer, clients)
		for i := range peers {
			peers[i] = dial()
			peers[i].Open(c2stest.Domain)
			if peers[i].Conn != nil {
				peers[i].Send(load)
			}
		}
		// The clients' memory is in it as well.
		each := (heap() - before) / clients
		t.Logf("%d bytes for each connection, client included", each)
		if each > 64<<10 {
			t.Errorf("%d bytes for each connection that has not signed in", each)
		}
		runtime.KeepAlive(peers)
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// A fault of ours ends one connection, and is told apart in the log.
func TestPanic(t *testing.T) {
	var mu sync.Mutex
	var logs bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logs.Write(b)
	}), nil))
	onEach(t, c2s.Options{Log: log}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		hosts.OnReceive = func(*session.Session, *xmlstream.Element) { panic("oops while receiving") }
		hosts.OnBind = func(resource string) error {
			if resource == "bad" {
				panic("oops while binding")
			}
			return nil
		}
		p := dial()
		p.SignIn()
		p.Bind("x")
		p.SendStanza("<message/>")
		p.ExpectError("internal-server-error")
		p = dial()
		p.SignIn()
		p.SendStanza("<iq type='set' id='b'><bind xmlns='" + ns.Bind + "'><resource>bad</resource></bind></iq>")
		p.ExpectError("internal-server-error")
	})
	mu.Lock()
	defer mu.Unlock()
	if got := logs.String(); strings.Count(got, "panic while serving a client's connection") < 2 || !strings.Contains(got, "attack_test.go") || strings.Contains(got, "oops") {
		t.Errorf("the log does not say where it was, or quotes what was in work:\n%s", got)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// No secret gets into the log, at any level (attack case 60).
func TestNoSecretsInLogs(t *testing.T) {
	var mu sync.Mutex
	var logs bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logs.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	onEach(t, c2s.Options{Log: log}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Open(c2stest.Domain)
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>AGp1bGlldAB4</auth>")
		p.Receive()
		p.Authenticate()
		p.Bind("x")
		p.SendStanza("<message><body>for your eyes only</body></message>")
		p.Receive()
		p.ExpectGone()
	})
	mu.Lock()
	defer mu.Unlock()
	if logs.Len() == 0 {
		t.Fatal("nothing was logged")
	}
	for _, secret := range []string{c2stest.Password, c2stest.Plain, "AGp1bGlldAB4", "eyes"} {
		if strings.Contains(logs.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, &logs)
		}
	}
}
