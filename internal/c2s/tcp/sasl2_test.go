package tcp_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

const bindInline = "<bind xmlns='urn:xmpp:bind:0'><tag>x</tag></bind>"

// Attack cases 14 and 15 for SASL2: where TLS is asked for, nobody is offered a way to sign in before it, and who tries it
// does not get in.
func TestSASL2NeedsTLS(t *testing.T) {
	request := "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + c2stest.Plain +
		"</initial-response>" + bindInline + "</authenticate>"
	s := newServer(t, c2s.Options{RequireTLS: true}, false)
	p := s.dial()
	if f := p.Open(c2stest.Domain); f.Child(ns.SASL2, "authentication") != nil {
		t.Errorf("offered in clear: %s", f)
	}
	p.Send(request)
	if el := p.Receive(); !el.Is(ns.SASL2, "failure") || el.First().Local != "encryption-required" {
		t.Errorf("received %s, want encryption-required", el)
	}
	p = s.dial()
	p.Open(c2stest.Domain)
	p.Send(starttls + request)
	p.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.ExpectError("")
}

// XEP-0388 with XEP-0474: the hash is that of what SASL2 has advertised, and two round trips are all it takes.
func TestSASL2ChannelBinding(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true}, true)
	conn, err := tls.Dial("tcp", s.addr, s.clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	p := c2stest.NewStream(t, conn)
	f := p.Open(c2stest.Domain)
	state := conn.ConnectionState()
	key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	client, err := scram.SHA256.NewClient(c2stest.User, c2stest.Password, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: key})
	step := func(in string) string {
		out, err := conv.Step(in)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString([]byte(out))
	}
	p.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256-PLUS'><initial-response>" + step("") +
		"</initial-response>" + bindInline + "</authenticate>")
	challenge, err := base64.StdEncoding.DecodeString(p.Receive().Text())
	if err != nil {
		t.Fatal(err)
	}
	if want := ",h=" + advertised(f); !strings.HasSuffix(string(challenge), want) {
		t.Errorf("challenge %s, want it to end in %s", challenge, want)
	}
	p.Send("<response xmlns='urn:xmpp:sasl:2'>" + step(string(challenge)) + "</response>")
	success := p.Receive()
	if !success.Is(ns.SASL2, "success") || success.Child(ns.Bind2, "bound") == nil {
		t.Fatalf("received %s", success)
	}
	data, err := base64.StdEncoding.DecodeString(success.Child(ns.SASL2, "additional-data").Text())
	if err != nil {
		t.Fatal(err)
	}
	if step(string(data)); !conv.Valid() {
		t.Error("the server did not prove that it knows the password")
	}
	if f := p.Receive(); !f.Is(ns.Stream, "features") {
		t.Errorf("received %s, want features", f)
	}
	p.Echo("1")
}

// advertised is XEP-0474's hash of what a client of SASL2 was offered.
func advertised(features *xmlstream.Element) string {
	var mechanisms, bindings []string
	for el := range features.Child(ns.SASL2, "authentication").Elements() {
		if el.Local == "mechanism" {
			mechanisms = append(mechanisms, el.Text())
		}
	}
	for el := range features.Child(ns.SASLCB, "sasl-channel-binding").Elements() {
		bindings = append(bindings, el.Attr("type"))
	}
	slices.Sort(mechanisms)
	slices.Sort(bindings)
	sum := sha256.Sum256([]byte(strings.Join(mechanisms, "\x1e") + "\x1f" + strings.Join(bindings, "\x1e")))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Attack case 19 for SASL2.
func TestSASL2WrongChannelBinding(t *testing.T) {
	s := newServer(t, c2s.Options{RequireTLS: true}, true)
	for first, want := range map[string]string{
		"y,,n=juliet,r=abcdefgh":                      "not-authorized", // -PLUS was offered
		"p=tls-unique,,n=juliet,r=abcdefgh":           "malformed-request",
		"p=tls-exporter,,n=juliet,r=abcdefgh":         "malformed-request", // not a -PLUS mechanism
		"n,a=romeo@localhost,n=juliet,r=abcdefgh":     "invalid-authzid",
		"n,a=juliet@other.example,n=juliet,r=abcdefg": "invalid-authzid",
		// Attack case 20.
		"n,,n=juliet,r=":             "malformed-request",
		"n,,m=x,n=juliet,r=abcdefgh": "malformed-request",
	} {
		conn, err := tls.Dial("tcp", s.addr, s.clientTLS())
		if err != nil {
			t.Fatal(err)
		}
		p := c2stest.NewStream(t, conn)
		p.Open(c2stest.Domain)
		p.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><initial-response>" +
			base64.StdEncoding.EncodeToString([]byte(first)) + "</initial-response>" + bindInline + "</authenticate>")
		if el := p.Receive(); !el.Is(ns.SASL2, "failure") || el.First().Local != want {
			t.Errorf("%s: received %s, want %s", first, el, want)
		}
	}
}

// A client's request may come byte by byte.
func TestSASL2InSmallPieces(t *testing.T) {
	s := newServer(t, c2s.Options{}, false)
	p := s.dial()
	p.Open(c2stest.Domain)
	for _, b := range []byte("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + c2stest.Plain +
		"</initial-response>" + bindInline + "</authenticate>") {
		if _, err := io.WriteString(p.Conn, string(rune(b))); err != nil {
			t.Fatal(err)
		}
	}
	if el := p.Receive(); el.Child(ns.Bind2, "bound") == nil {
		t.Errorf("received %s", el)
	}
	p.Receive()
	p.Echo("1")
}
