package c2s_test

import (
	"fmt"
	"strings"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// An installation of a client, by the example of XEP-0388.
const agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software>" +
	"<device>Kiva's Phone</device></user-agent>"

// authenticate is a request by PLAIN, with what is to follow.
func authenticate(wishes ...string) string {
	return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + c2stest.Plain + "</initial-response>" +
		strings.Join(wishes, "") + "</authenticate>"
}

func bind2(asked ...string) string {
	return "<bind xmlns='urn:xmpp:bind:0'>" + strings.Join(asked, "") + "</bind>"
}

// failure2 is what a failure of SASL2 looks like, without its text.
func failure2(el *xmlstream.Element) string {
	if !el.Is(ns.SASL2, "failure") || el.First().Space != ns.SASL {
		return el.String()
	}
	return el.First().Local
}

const (
	featuresToBind = "<features xmlns='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" +
		"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session><sm xmlns='urn:xmpp:sm:3'/>" +
		"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes></limits></features>"
	featuresBound = "<features xmlns='http://etherx.jabber.org/streams'><sm xmlns='urn:xmpp:sm:3'/>" +
		"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes></limits></features>"
	featuresManaged = "<features xmlns='http://etherx.jabber.org/streams'>" +
		"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes></limits></features>"
)

func success(identifier string, answers ...string) string {
	return "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>" + identifier + "</authorization-identifier>" +
		strings.Join(answers, "") + "</success>"
}

// XEP-0388 section 5.1: what follows the success are the features, in the same stream.
func TestSASL2(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.Send(p.Header("from='juliet@localhost' to='localhost' version='1.0'"))
		p.ExpectHeader()
		p.Receive()
		p.Send(authenticate(agent))
		p.Expect(success("juliet@localhost"))
		p.Expect(featuresToBind)
		p.Bind("balcony")
		p.Echo("1")
		p.Send(authenticate()) // "any further <authenticate/> element MUST result in a stream error"
		p.ExpectError("unsupported-stanza-type")

		p = dial()
		p.Open(c2stest.Domain)
		p.Send(authenticate())
		p.Expect(success("juliet@localhost"))
		p.Expect(featuresToBind)
		p.Send(authenticate())
		p.ExpectError("unsupported-stanza-type")

		t.Run("no stream is begun anew", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(authenticate())
			p.Expect(success("juliet@localhost"))
			p.Expect(featuresToBind)
			if p.Conn != nil { // it has an element within its stream
				p.Send("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'/>")
				p.ExpectError("unsupported-stanza-type")
			} else {
				p.Send(p.Header("to='localhost' version='1.0'"))
				p.ExpectError("bad-format")
			}
		})
		t.Run("without initial response", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>" + bind2() + "</authenticate>")
			p.Expect("<challenge xmlns='urn:xmpp:sasl:2'/>")
			p.Send("<response xmlns='urn:xmpp:sasl:2'>\n  " + c2stest.Plain + "\n</response>") // as the examples are written
			p.Expect(success("juliet@localhost/generated", "<bound xmlns='urn:xmpp:bind:0'/>"))
			p.Expect(featuresBound)
			p.Echo("1")
		})
	})
}

func TestSASL2Failures(t *testing.T) {
	const begin = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='"
	plain := func(data string) string {
		return begin + "PLAIN'><initial-response>" + data + "</initial-response></authenticate>"
	}
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, tc := range []struct{ name, send, want string }{
			{"no mechanism", "<authenticate xmlns='urn:xmpp:sasl:2'/>", "invalid-mechanism"},
			// Attack case 18.
			{"EXTERNAL", begin + "EXTERNAL'/>", "invalid-mechanism"},
			{"ANONYMOUS", begin + "ANONYMOUS'/>", "invalid-mechanism"},
			{"a token", begin + "HT-SHA-256-NONE'><initial-response>AA==</initial-response></authenticate>", "invalid-mechanism"},
			{"case matters", begin + "plain'/>", "invalid-mechanism"},
			// Inline features are not for those who fail.
			{"wrong password", begin + "PLAIN'><initial-response>AGp1bGlldAB4</initial-response>" + bind2() + "</authenticate>", "not-authorized"},
			{"unknown user", plain("AHJvbWVvAHg="), "not-authorized"},
			{"empty initial response", begin + "PLAIN'><initial-response/></authenticate>", "malformed-request"},
			{"the old sign of emptiness", plain("="), "incorrect-encoding"},
			// Attack case 17 (b).
			{"another's authorization", plain("cm9tZW8AanVsaWV0AHdoZXJlZm9yZSBhcnQgdGhvdQ=="), "invalid-authzid"},
			{"no base64", plain("?"), "incorrect-encoding"},
			{"no padding", plain("AHJvbWVvAHg"), "incorrect-encoding"},
			{"stray bits", plain("AHJvbWVvAHh="), "incorrect-encoding"},
			{"line break", plain("AHJv\nbWVvAHg="), "incorrect-encoding"},
			{"child", plain("<x/>"), "malformed-request"},
			{"response to nothing", "<response xmlns='urn:xmpp:sasl:2'/>", "malformed-request"},
			{"abort of nothing", "<abort xmlns='urn:xmpp:sasl:2'><text>no</text></abort>", "aborted"},
		} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(tc.send)
			if got := failure2(p.Receive()); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
			}
			// "the stream and session state remain entirely unchanged": by either profile one may still sign in.
			if len(tc.name)%2 == 0 {
				p.Authenticate()
			} else {
				p.Send(authenticate())
				p.Expect(success("juliet@localhost"))
				p.Expect(featuresToBind)
			}
		}
		t.Run("abort", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(begin + "SCRAM-SHA-1'><initial-response>biwsbj1qdWxpZXQscj1hYmNkZWZnaA==</initial-response></authenticate>")
			if el := p.Receive(); !el.Is(ns.SASL2, "challenge") {
				t.Fatalf("received %s, want a challenge", el)
			}
			p.Send("<abort xmlns='urn:xmpp:sasl:2'/>")
			if got := failure2(p.Receive()); got != "aborted" {
				t.Errorf("%s, want aborted", got)
			}
			p.Send("<response xmlns='urn:xmpp:sasl:2'/>")
			if got := failure2(p.Receive()); got != "malformed-request" {
				t.Errorf("response after abort: %s", got)
			}
		})
		t.Run("tries of both profiles count together", func(t *testing.T) {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(plain("AGp1bGlldAB4"))
			p.Receive()
			p.Send("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>AGp1bGlldAB4</auth>")
			p.Receive()
			p.Send(plain("AGp1bGlldAB4"))
			p.ExpectError("policy-violation")
		})
		select {
		case err := <-hosts.Closed:
			t.Errorf("somebody had a session, which ended with %v", err)
		default:
		}
	})
}

// "Servers MUST disconnect Clients immediately if any other traffic is received."
func TestSASL2ExchangeIsAlone(t *testing.T) {
	const begun = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"
	const begunOld = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for _, tc := range []struct{ name, begin, send string }{
			{"a stanza", begun, "message"},
			{"another request", begun, authenticate()},
			{"another request of the old profile", begun, "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>"},
			{"a response of the old profile", begun, "<response xmlns='" + ns.SASL + "'>" + c2stest.Plain + "</response>"},
			{"an abort of the old profile", begun, "<abort xmlns='" + ns.SASL + "'/>"},
			{"TLS", begun, "<starttls xmlns='" + ns.TLS + "'/>"},
			{"stream management", begun, "<resume xmlns='" + ns.SM + "' previd='x' h='0'/>"},
			{"a task", begun, "<next xmlns='urn:xmpp:sasl:2' task='x'/>"},
			{"a request within one of the old profile", begunOld, authenticate()},
			{"a response within one of the old profile", begunOld, "<response xmlns='urn:xmpp:sasl:2'>" + c2stest.Plain + "</response>"},
		} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(tc.begin)
			if el := p.Receive(); el.Local != "challenge" {
				t.Fatalf("%s: received %s", tc.name, el)
			}
			if tc.send == "message" {
				p.SendStanza("<message to='romeo@localhost'/>")
			} else {
				p.Send(tc.send)
			}
			p.ExpectError("not-authorized")
		}
	})
}

// Who has signed in stays who it is: by whichever profile, and whether there is a resource already, nobody signs in once more, as
// somebody else or by a token, nor makes an account.
func TestNobodySignsInTwice(t *testing.T) {
	const old = "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>"
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for before, signIn := range map[string]func(p *c2stest.Peer){
			"SASL":         func(p *c2stest.Peer) { p.SignIn() },
			"SASL, bound":  func(p *c2stest.Peer) { p.SignIn(); p.Bind("x") },
			"SASL2":        func(p *c2stest.Peer) { p.Open(c2stest.Domain); p.Send(authenticate()); p.Receive(); p.Receive() },
			"SASL2, bound": func(p *c2stest.Peer) { p.Open(c2stest.Domain); p.Send(authenticate(bind2())); p.Receive(); p.Receive() },
			"SASL2, anyhow": func(p *c2stest.Peer) {
				p.Open(c2stest.Domain)
				p.Send(authenticate())
				p.Receive()
				p.Receive()
				p.Bind("x")
			},
		} {
			for _, again := range []string{old + c2stest.Plain + "</auth>", authenticate(), authenticate(bind2()),
				by("guess", fast, agent), "<response xmlns='" + ns.SASL + "'/>", "<response xmlns='urn:xmpp:sasl:2'/>"} {
				p := dial()
				signIn(p)
				p.Send(again)
				if el := p.Receive(); !el.Is(ns.Stream, "error") || el.Child(ns.Streams, "unsupported-stanza-type") == nil {
					t.Errorf("%s, then %.60s: %s", before, again, el)
				}
			}
		}
	})
}

// What the stream's header says must be who signs in.
func TestSASL2ClaimedAddress(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		for from, want := range map[string]string{
			"romeo@localhost": "invalid-authzid", "JULIET@localhost/x": "", "localhost": "", "@@": "", "": "",
		} {
			p := dial()
			p.Send(p.Header("from='" + from + "' to='localhost' version='1.0'"))
			p.ExpectHeader()
			p.Receive()
			p.Send(authenticate(bind2()))
			if want != "" {
				if got := failure2(p.Receive()); got != want {
					t.Errorf("from %s: %s, want %s", from, got, want)
				}
				continue
			}
			p.Expect(success("juliet@localhost/generated", "<bound xmlns='urn:xmpp:bind:0'/>"))
		}
	})
}

// One request is all that it takes: what is sent to the session by then, and while it is opened, comes after the answer.
func TestSignInInOneRoundTrip(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		hosts.OnOpen = func(s *session.Session) {
			s.Send(stanza.NewWire(xmlstream.New(ns.Client, "message", "id", "early")))
		}
		p := dial()
		p.Open(c2stest.Domain)
		p.Send(authenticate(agent, bind2("<tag>AwesomeXMPP</tag>", "<enable xmlns='urn:xmpp:sm:3' resume='true' max='20'/>",
			"<x xmlns='urn:test:asked'/>", "<x xmlns='urn:test:unknown'/>")))
		answer := p.Receive()
		full := answer.Child(ns.SASL2, "authorization-identifier").Text()
		resource, ok := strings.CutPrefix(full, "juliet@localhost/AwesomeXMPP/")
		if !ok || len(resource) != 16 || strings.Contains(resource, "d4565fa7") {
			t.Errorf("bound %s", full)
		}
		bound := answer.Child(ns.Bind2, "bound")
		if bound == nil || answer.Child(ns.SASL2, "additional-data") != nil {
			t.Fatalf("received %s", answer)
		}
		enabled := bound.Child(ns.SM, "enabled")
		if enabled == nil || enabled.Attr("resume") != "true" || enabled.Attr("max") != "20" || bound.Child(c2stest.Asked, "x") == nil ||
			bound.Child("urn:test:unknown", "x") != nil {
			t.Errorf("bound with %s", bound)
		}
		p.Expect(featuresManaged)
		p.Expect("<message xmlns='jabber:client' id='early'/>")
		p.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		p.Send(nonza("a", " h='1'")) // it counts
		p.SendStanza("<message id='1'/>")
		p.Expect("<message xmlns='jabber:client' id='1' from='" + full + "'/>")
		p.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		p.Send(nonza("r", ""))
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='1'/>")
		p.Send(nonza("enable", ""))
		p.Expect(failed(stanza.UnexpectedRequest))
		p.Send(nonza("a", " h='3'"))
		p.ExpectError("undefined-condition")
	})
}

func TestInlineResume(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		first := dial()
		first.SignIn()
		first.Bind("balcony")
		id := manage(first)
		echo(first, "1")
		first.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		s := hosts.Session("juliet@localhost/balcony")

		second := dial()
		second.Open(c2stest.Domain)
		second.Send(authenticate(bind2(), nonza("resume", " previd='"+id+"' h='0'")))
		// No resource is bound, and no features follow.
		second.Expect(success("juliet@localhost/balcony", "<resumed xmlns='urn:xmpp:sm:3' previd='"+id+"' h='1'/>"))
		second.Expect("<message xmlns='jabber:client' id='1' from='juliet@localhost/balcony'/>")
		second.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		echo(second, "2")
		if hosts.Session("juliet@localhost/balcony") != s || hosts.Session("juliet@localhost/generated") != nil {
			t.Error("it is another session")
		}
		first.ExpectError("conflict")

		// Attack case 31. Who fails gets a resource if it asks for one, and may do as others do if it does not.
		for _, wrong := range []string{"", "x", id + "x", id[:21]} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(authenticate(nonza("resume", " previd='"+wrong+"' h='0'")))
			p.Expect(success("juliet@localhost", failed(stanza.ItemNotFound)))
			p.Expect(featuresToBind)
			p.Send(nonza("resume", " previd='"+wrong+"' h='0'"))
			p.Expect(failed(stanza.ItemNotFound))
			p.Bind("x")
		}
		third := dial()
		third.Open(c2stest.Domain)
		third.Send(authenticate(nonza("resume", " previd='"+id+"' h='one'"), bind2()))
		third.Expect(success("juliet@localhost/generated", failed(stanza.BadRequest), "<bound xmlns='urn:xmpp:bind:0'/>"))
		third.Expect(featuresBound)
		third.Echo("2")

		fourth := dial()
		fourth.Open(c2stest.Domain)
		fourth.Send(authenticate(nonza("resume", " previd='"+id+"' h='99'"), bind2()))
		fourth.ExpectError("undefined-condition")
		echo(second, "3") // whom that does not disturb
	})
}

// A client that no resource can be bound for is authenticated none the less.
func TestInlineBindFails(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		hosts.OnBind = func(resource string) error {
			switch resource {
			case "full":
				return stanza.NewError(stanza.ResourceConstraint, "too many")
			case "fault":
				return fmt.Errorf("a fault of ours")
			}
			return nil
		}
		for tag, want := range map[string]string{
			"full": "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" +
				"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>too many</text>",
			"fault": "<internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>",
		} {
			p := dial()
			p.Open(c2stest.Domain)
			p.Send(authenticate(bind2("<tag>" + tag + "</tag>")))
			p.Expect(success("juliet@localhost", "<failed xmlns='urn:xmpp:bind:0'>"+want+"</failed>"))
			p.Expect(featuresToBind)
			p.Bind("balcony")
			p.Echo("1")
		}
	})
}
