package c2s_test

import (
	"errors"
	"strings"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// failure is what a SASL failure looks like, without its text.
func failure(el *xmlstream.Element) string {
	if !el.Is(ns.SASL, "failure") {
		return el.String()
	}
	return el.First().Local
}

func TestSignIn(t *testing.T) {
	onEach(t, c2s.Options{Features: func(domain string) []*xmlstream.Element {
		return []*xmlstream.Element{xmlstream.New("urn:test", "extra", "of", domain)}
	}}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		f := p.Open(c2stest.Domain)
		want := "<features xmlns='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" +
			"<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>" +
			"<authentication xmlns='urn:xmpp:sasl:2'>" +
			"<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>" +
			"<inline><sm xmlns='urn:xmpp:sm:3'/><bind xmlns='urn:xmpp:bind:0'><inline>" +
			"<feature var='urn:xmpp:sm:3'/><feature var='urn:test:asked'/></inline></bind>" +
			"<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>" +
			"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits></features>"
		if got := f.String(); got != want {
			t.Errorf("features before authentication\n%s\nwant\n%s", got, want)
		}
		f = p.Authenticate()
		want = "<features xmlns='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" +
			"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session><sm xmlns='urn:xmpp:sm:3'/>" +
			"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes></limits>" +
			"<extra xmlns='urn:test' of='localhost'/></features>"
		if got := f.String(); got != want {
			t.Errorf("features after authentication\n%s\nwant\n%s", got, want)
		}
		p.Bind("balcony")
		info := hosts.Session("juliet@localhost/balcony").Info()
		if info.Secure || !strings.HasPrefix(info.RemoteAddr, "127.0.0.1:") {
			t.Errorf("connection described as %+v", info)
		}
		p.Echo("1")
		p.ExpectGone() // it closes its stream
		if reason := <-hosts.Closed; reason.Error() != "closed by the client" {
			t.Errorf("session ended with %v", reason)
		}
	})
}

func TestHeader(t *testing.T) {
	long := strings.Repeat("a", 1100)
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, tc := range []struct{ header, condition, from, to string }{
			{"to='localhost' version='1.0' from='juliet@localhost/x'", "", "localhost", "juliet@localhost"},
			{"to='LOCALHOST' version='1.1' from='@@'", "", "localhost", ""},
			{"to='other.example' version='2.0'", "", "other.example", ""},
			{"to='nowhere.example' version='1.0'", "host-unknown", "nowhere.example", ""},
			{"to='LocalHost.example' version='1.0'", "host-unknown", "localhost.example", ""},
			{"to='localhost' version='1.0' from='juliet@LocalHost'", "", "localhost", "juliet@localhost"},
			{"to='localhost' version='1.0' from='juliet@other.example'", "invalid-from", "localhost", "juliet@other.example"},
			{"version='1.0'", "improper-addressing", "localhost", ""},
			{"to='' version='1.0'", "improper-addressing", "localhost", ""},
			{"to='a b' version='1.0'", "improper-addressing", "localhost", ""},
			{"to='" + long + "' version='1.0'", "improper-addressing", "localhost", ""},
			{"to='&lt;&amp;&apos;' version='1.0'", "improper-addressing", "localhost", ""},
			{"to='localhost'", "unsupported-version", "localhost", ""},
			{"to='localhost' version='0.9'", "unsupported-version", "localhost", ""},
			{"to='localhost' version='1'", "unsupported-version", "localhost", ""},
			{"to='localhost' version='1.x'", "unsupported-version", "localhost", ""},
			{"to='localhost' version='-1.0'", "unsupported-version", "localhost", ""},
			{"to='localhost' version='99999999999999999999.0'", "unsupported-version", "localhost", ""},
		} {
			p := dial()
			if p.BOSH != nil {
				tc.to = "" // nowhere to say it
				if !strings.Contains(tc.header, "version") {
					continue // it may be left out
				}
			}
			p.Send(p.Header(tc.header))
			if h := p.ExpectHeader(); h.From != tc.from || h.To != tc.to {
				t.Errorf("%.60s: answered from %q to %q, want from %q to %q", tc.header, h.From, h.To, tc.from, tc.to)
			}
			if tc.condition != "" {
				p.ExpectError(tc.condition)
			} else if f := p.Receive(); !f.Is(ns.Stream, "features") {
				t.Errorf("%.60s: received %s, want features", tc.header, f)
			}
		}
	})
}

func TestStreamIDsDiffer(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		seen := map[string]bool{}
		for range 20 {
			p := dial()
			p.Send(p.Header("to='localhost' version='1.0'"))
			seen[p.ExpectHeader().ID] = true
		}
		if len(seen) != 20 {
			t.Errorf("20 streams have %d ids", len(seen))
		}
	})
}

// Attack case 17 (a).
func TestHostStaysTheSame(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Open(c2stest.Domain)
		p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
		p.Expect("<success xmlns='" + ns.SASL + "'/>")
		p.Restart()
		p.Send(p.Header("to='other.example' version='1.0'"))
		if h := p.ExpectHeader(); h.From != c2stest.Domain {
			t.Errorf("answered from %q", h.From)
		}
		p.ExpectError("not-authorized")
	})
}

func TestSASL(t *testing.T) {
	const auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='"
	const response = "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
	const abort = "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, tc := range []struct{ name, send, want string }{
			{"no mechanism", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "invalid-mechanism"},
			{"unknown mechanism", auth + "X'/>", "invalid-mechanism"},
			{"case matters", auth + "plain'>" + c2stest.Plain + "</auth>", "invalid-mechanism"},
			// Attack case 18.
			{"DIGEST-MD5", auth + "DIGEST-MD5'/>", "invalid-mechanism"},
			{"EXTERNAL", auth + "EXTERNAL'>=</auth>", "invalid-mechanism"},
			{"ANONYMOUS", auth + "ANONYMOUS'/>", "invalid-mechanism"},
			{"wrong password", auth + "PLAIN'>AGp1bGlldAB4</auth>", "not-authorized"},
			{"unknown user", auth + "PLAIN'>AHJvbWVvAHg=</auth>", "not-authorized"},
			{"empty initial response", auth + "PLAIN'>=</auth>", "malformed-request"},
			// Attack case 17 (b).
			{"another's authorization", auth + "PLAIN'>cm9tZW8AanVsaWV0AHdoZXJlZm9yZSBhcnQgdGhvdQ==</auth>", "invalid-authzid"},
			{"no base64", auth + "PLAIN'>?</auth>", "incorrect-encoding"},
			{"padding in the middle", auth + "PLAIN'>AA==AA==</auth>", "incorrect-encoding"},
			{"no padding", auth + "PLAIN'>AHJvbWVvAHg</auth>", "incorrect-encoding"},
			{"stray bits", auth + "PLAIN'>AHJvbWVvAHh=</auth>", "incorrect-encoding"},
			{"line break", auth + "PLAIN'>AHJv\nbWVvAHg=</auth>", "incorrect-encoding"},
			{"space around", auth + "PLAIN'> " + c2stest.Plain + "</auth>", "incorrect-encoding"},
			{"child", auth + "PLAIN'><x/></auth>", "malformed-request"},
			{"response to nothing", response + "/>", "malformed-request"},
			{"abort of nothing", abort, "aborted"},
		} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(tc.send)
			if got := failure(p.Receive()); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
			}
			p.Authenticate() // the stream is as good as before
		}

		t.Run("without initial response", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(auth + "PLAIN'/>")
			p.Expect("<challenge xmlns='" + ns.SASL + "'/>")
			p.Send(response + ">" + c2stest.Plain + "</response>")
			p.Expect("<success xmlns='" + ns.SASL + "'/>")
		})
		t.Run("empty response", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(auth + "PLAIN'/>")
			p.Expect("<challenge xmlns='" + ns.SASL + "'/>")
			p.Send(response + "/>")
			if got := failure(p.Receive()); got != "malformed-request" {
				t.Errorf("%s, want malformed-request", got)
			}
		})
		t.Run("abort", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(auth + "SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1hYmNkZWZnaA==</auth>")
			if el := p.Receive(); !el.Is(ns.SASL, "challenge") {
				t.Fatalf("received %s, want a challenge", el)
			}
			p.Send(abort)
			if got := failure(p.Receive()); got != "aborted" {
				t.Errorf("%s, want aborted", got)
			}
			p.Send(response + "/>")
			if got := failure(p.Receive()); got != "malformed-request" {
				t.Errorf("response after abort: %s, want malformed-request", got)
			}
		})
		t.Run("two exchanges at once", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(auth + "PLAIN'/>")
			p.Receive()
			p.Send(auth + "PLAIN'>" + c2stest.Plain + "</auth>")
			if got := failure(p.Receive()); got != "malformed-request" {
				t.Errorf("%s, want malformed-request", got)
			}
		})
		t.Run("three tries", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			for range 3 {
				p.Send(auth + "PLAIN'>AGp1bGlldAB4</auth>")
				if got := failure(p.Receive()); got != "not-authorized" {
					t.Errorf("%s, want not-authorized", got)
				}
			}
			p.ExpectError("policy-violation")
		})
	})
}

// Attack case 15, and everything else that is not allowed yet.
func TestBeforeAuthentication(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, xml := range []string{
			"<message xmlns='jabber:client' to='juliet@localhost'><body>x</body></message>",
			"<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
			"<presence xmlns='jabber:client'/>",
			"<message xmlns='jabber:server'/>",
			"<enable xmlns='urn:xmpp:sm:3'/>",
			"<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>",
			"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
			"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
			"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
			"<auth xmlns='urn:other' mechanism='PLAIN'>" + c2stest.Plain + "</auth>",
			"<auth xmlns='' mechanism='PLAIN'>" + c2stest.Plain + "</auth>",
		} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(xml)
			p.ExpectError("not-authorized")
		}
		p := dial()
		p.Open(c2stest.Domain)
		p.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") // not offered here
		p.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.ExpectError("")
	})
}

func TestBind(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		hosts.OnBind = func(resource string) error {
			switch resource {
			case "taken":
				return stanza.NewError(stanza.Conflict, "")
			case "broken":
				return errors.New("a secret of the database")
			}
			return nil
		}
		p := dial()
		p.SignIn()
		for _, tc := range []struct{ send, want string }{
			{"<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>taken</resource></bind></iq>",
				"<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"},
			{"<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>broken</resource></bind></iq>",
				"<error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"},
			{"<iq type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "<not-authorized"},
			{"<iq type='set' id='1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", "<not-authorized"},
			{"<iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", "<not-authorized"},
			{"<iq type='set' id='1'/>", "<bad-request"},
			{"<iq type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "<bad-request"},
			{"<iq type='set' id='1' to='@'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "<jid-malformed"},
			{"<iq type='x' id='1'/>", "<bad-request"},
		} {
			p.SendStanza(tc.send)
			if got := p.Receive().String(); !strings.Contains(got, tc.want) || !strings.Contains(got, "type='error'") {
				t.Errorf("%s: answered\n%s\nwant an error with\n%s", tc.send, got, tc.want)
			}
		}
		p.SendStanza("<iq type='result' id='1'/>") // dropped
		p.Bind("balcony")

		// Once bound: no other resource, and RFC 3921's session as a formality.
		p.SendStanza("<iq type='set' id='2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		if got := p.Receive().String(); !strings.Contains(got, "<not-allowed") {
			t.Errorf("second bind answered %s", got)
		}
		p.SendStanza("<iq type='set' id='3'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
		p.Expect("<iq xmlns='jabber:client' type='result' id='3'/>")

		p = dial()
		p.SignIn()
		p.SendStanza("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		if got := p.Receive().Child(ns.Bind, "bind").Child(ns.Bind, "jid").Text(); got != "juliet@localhost/generated" {
			t.Errorf("without a resource: bound as %q", got)
		}

		for _, xml := range []string{"<message to='a@localhost'/>", "<presence/>"} {
			p = dial()
			p.SignIn()
			p.SendStanza(xml)
			p.ExpectError("not-authorized")
		}
		p = dial()
		p.SignIn()
		p.Send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
		p.ExpectError("unsupported-stanza-type")
	})
}

func TestLanguageOfTheStream(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, tc := range []struct{ stream, stanza, want string }{
			{"de", "<message><body/></message>", "de"},
			{"de", "<message xml:lang='fr'><body/></message>", "fr"},
			{"", "<message><body/></message>", ""},
			{"de", "<message/>", ""},
			{strings.Repeat("x", 36), "<message><body/></message>", ""},
			{"&apos;", "<message><body/></message>", ""},
		} {
			p := dial()
			header := "to='localhost' version='1.0' xml:lang='" + tc.stream + "'"
			p.Send(p.Header(header))
			p.ExpectHeader()
			p.Receive()
			p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>")
			p.Receive()
			p.Restart()
			p.Send(p.Header(header))
			p.ExpectHeader()
			p.Receive()
			p.Bind("x")
			p.SendStanza(tc.stanza)
			if got := p.Receive().Lang(); got != tc.want {
				t.Errorf("stream %q, %s: language %q, want %q", tc.stream, tc.stanza, got, tc.want)
			}
		}
	})
}
