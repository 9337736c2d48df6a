package c2s_test

import (
	"fmt"
	"testing"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
)

func nonza(name, attributes string) string {
	return fmt.Sprintf("<%s xmlns='%s'%s/>", name, ns.SM, attributes)
}

func failed(condition stanza.Condition) string {
	return fmt.Sprintf("<failed xmlns='%s'><%s xmlns='%s'/></failed>", ns.SM, condition, ns.Stanzas)
}

// manage enables stream management and gives the id to resume with.
func manage(p *c2stest.Peer) string {
	p.T.Helper()
	p.Send(nonza("enable", " resume='true'"))
	el := p.Receive()
	if !el.Is(ns.SM, "enabled") || el.Attr("resume") != "true" || len(el.Attr("id")) != 22 {
		p.T.Fatalf("received %s", el)
	}
	return el.Attr("id")
}

// echo is what comes of a message, and the server's question.
func echo(p *c2stest.Peer, id string) {
	p.T.Helper()
	p.SendStanza("<message id='" + id + "'/>")
	p.Expect("<message xmlns='jabber:client' id='" + id + "' from='juliet@localhost/balcony'/>")
}

func TestStreamManagement(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
		p := dial()
		p.SignIn()
		p.Send(nonza("enable", "")) // before a resource is bound
		p.Expect(failed(stanza.UnexpectedRequest))
		p.Bind("balcony")
		echo(p, "before it is enabled, nothing counts")
		id := manage(p)
		p.Send(nonza("r", ""))
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='0'/>")
		echo(p, "1")
		p.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		echo(p, "2")
		p.SendStanza("<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
		p.Receive()
		p.Send(nonza("r", ""))
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='3'/>")
		p.Send(nonza("a", " h='1'"))
		p.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		p.Send(nonza("a", " h='3'"))
		p.Send(nonza("enable", " resume='true'")) // attack case 32
		p.Expect(failed(stanza.UnexpectedRequest))
		p.Send(nonza("resume", " previd='"+id+"' h='0'"))
		p.Expect(failed(stanza.UnexpectedRequest))
		p.Send(nonza("a", " h='4'"))
		p.Expect("<error xmlns='http://etherx.jabber.org/streams'><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" +
			"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>You acknowledged 4 stanzas, but I only sent you 3 so far.</text>" +
			"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='4' send-count='3'/></error>")
		p.ExpectGone()
	})
}

func TestBadManagement(t *testing.T) {
	for name, xml := range map[string]string{
		"no count": nonza("a", ""), "a count that is none": nonza("a", " h='-1'"), "a count beyond 32 bits": nonza("a", " h='4294967296'"),
		"a word": nonza("a", " h='one'"),
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, c2s.Options{}, func(t *testing.T, _ *c2stest.Hosts, dial func() *c2stest.Peer) {
				p := dial()
				p.SignIn()
				p.Bind("balcony")
				manage(p)
				p.Send(xml)
				p.ExpectError("bad-format")
			})
		})
	}
}

func TestResume(t *testing.T) {
	onEach(t, c2s.Options{}, func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer) {
		first := dial()
		first.SignIn()
		first.Bind("balcony")
		id := manage(first)
		echo(first, "1")
		first.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		s := hosts.Session("juliet@localhost/balcony")

		second := dial()
		second.SignIn()
		for _, wrong := range []string{"", "x", id + "x", id[:21]} { // attack case 31
			second.Send(nonza("resume", " previd='"+wrong+"' h='0'"))
			second.Expect(failed(stanza.ItemNotFound))
		}
		second.Send(nonza("resume", " previd='"+id+"' h='one'"))
		second.Expect(failed(stanza.BadRequest))
		// The first connection still seems to live. It is closed, and its session goes on here.
		second.Send(nonza("resume", " previd='"+id+"' h='0'"))
		second.Expect("<resumed xmlns='urn:xmpp:sm:3' previd='" + id + "' h='1'/>")
		second.Expect("<message xmlns='jabber:client' id='1' from='juliet@localhost/balcony'/>")
		second.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		echo(second, "2")
		second.Send(nonza("r", ""))
		second.Expect("<a xmlns='urn:xmpp:sm:3' h='2'/>")
		if hosts.Session("juliet@localhost/balcony") != s {
			t.Error("it is another session")
		}
		first.ExpectError("conflict")

		third := dial()
		third.SignIn()
		third.Send(nonza("resume", " previd='"+id+"' h='99'"))
		third.ExpectError("undefined-condition")
		echo(second, "3") // whom that does not disturb
		second.ExpectGone()
		if reason := <-hosts.Closed; reason.Error() != "closed by the client" {
			t.Errorf("it ended with %v", reason)
		}
		fourth := dial()
		fourth.SignIn()
		fourth.Send(nonza("resume", " previd='"+id+"' h='3'"))
		fourth.Expect(failed(stanza.ItemNotFound))
		fourth.Bind("balcony") // it may still do that
	})
}

// A session goes on over whatever transport its client comes back.
func TestResumeOnAnotherTransport(t *testing.T) {
	hosts := c2stest.NewHosts(t)
	srv, _ := c2stest.NewServer(t, c2s.Options{Hosts: hosts})
	dials := []func() *c2stest.Peer{listenTCP(t, srv), listenWebSocket(t, srv), listenBOSH(t, srv)}
	p := dials[0]()
	p.SignIn()
	p.Bind("balcony")
	id := manage(p)
	s := hosts.Session("juliet@localhost/balcony")
	for n := range 2 * len(dials) {
		next := dials[(n+1)%len(dials)]()
		next.SignIn()
		message := fmt.Sprintf("<message xmlns='jabber:client' id='%d' from='juliet@localhost/balcony'/>", n)
		p.SendStanza(fmt.Sprintf("<message id='%d'/>", n))
		p.Expect(message)
		p.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		next.Send(nonza("resume", fmt.Sprintf(" previd='%s' h='%d'", id, n)))
		next.Expect(fmt.Sprintf("<resumed xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", id, n+1))
		next.Expect(message) // it was not acknowledged
		next.Expect("<r xmlns='urn:xmpp:sm:3'/>")
		next.Send(nonza("a", fmt.Sprintf(" h='%d'", n+1)))
		next.Send(nonza("r", ""))
		next.Expect(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", n+1))
		p.ExpectError("conflict")
		p = next
	}
	if hosts.Session("juliet@localhost/balcony") != s {
		t.Error("it is another session")
	}
}
