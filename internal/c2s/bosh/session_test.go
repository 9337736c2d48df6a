package bosh_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

func (s *server) session(resource string) *session.Session {
	return s.hosts.Session("juliet@localhost/" + resource)
}

func (s *server) say(resource, id string) {
	s.session(resource).Send(stanza.NewWire(xmlstream.New(ns.Client, "message", "id", id)))
}

// A request is held until there is something to say, or its time is over, or another comes (XEP-0124 section 8.3).
func TestHold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		start := time.Now()
		c.expect(c.start("", ""), empty)
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("held for %v", took)
		}
		held := c.start("", "")
		c.none(held)
		s.say("x", "1")
		c.expect(held, holding(message("1")))

		// What comes between two requests waits for the next.
		s.say("x", "2")
		synctest.Wait()
		s.say("x", "3")
		synctest.Wait()
		c.expect(c.start("", ""), holding(message("2")+message("3")))

		// Another request releases the first: only as many are held as were agreed on.
		time.Sleep(10 * time.Second)
		first := c.start("", "")
		c.none(first)
		second := c.start("", "<presence xmlns='jabber:client'/>")
		c.expect(first, empty)
		c.none(second)
		s.say("x", "4")
		c.expect(second, holding(message("4")))
	})
}

func TestHoldTwo(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "hold='2' wait='60' ver='1.6'")
		first := c.start("", "")
		c.none(first)
		time.Sleep(10 * time.Second)
		second := c.start("", "")
		c.none(second)
		c.none(first)
		s.say("x", "1")
		c.expect(first, holding(message("1")))
		c.none(second)
		start := time.Now()
		c.expect(second, empty)
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("held for %v", took)
		}
	})
}

// A session whose client sends nothing ends, and one whose client does lives on (section 10).
func TestInactivity(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		for range 10 {
			time.Sleep(59 * time.Second)
			c.expect(c.start("", "<presence xmlns='jabber:client'/>"), empty)
		}
		start := time.Now()
		if reason := <-s.hosts.Closed; !strings.Contains(reason.Error(), "no request came in time") {
			t.Errorf("ended with %v", reason)
		}
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("ended after %v", took)
		}
		synctest.Wait()
		c.expect(c.start("", ""), ended("item-not-found"))
	})
}

// A request whose connection broke does not count as one.
func TestInactivityAfterBreak(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan answer, 1)
		go func() { gone <- c.post(ctx, c.body(c.rid, "", "")) }()
		c.none(gone)
		time.Sleep(30 * time.Second)
		cancel()
		<-gone
		start := time.Now()
		<-s.hosts.Closed
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		held := c.start("", "")
		c.none(held)
		pause := c.start("pause='120'", "") // one more than may be under way
		c.expect(held, empty)
		c.expect(pause, empty)
		s.say("x", "1") // does not answer it
		time.Sleep(119 * time.Second)
		c.expect(c.start("", ""), holding(message("1")))
		// From now on it is as it was.
		start := time.Now()
		<-s.hosts.Closed
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("ended after %v", took)
		}
		// A shorter one is obeyed, a longer one is not.
		c = s.bind("y", "")
		c.expect(c.start("pause='5'", ""), empty)
		start = time.Now()
		<-s.hosts.Closed
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("ended after %v", took)
		}
		c = s.bind("z", "")
		c.expect(c.start("pause='121'", ""), ended("policy-violation"))
		// What waits is not in the answer to a pause.
		c = s.bind("a", "")
		s.say("a", "1")
		synctest.Wait()
		c.expect(c.start("pause='60'", ""), empty)
		c.expect(c.start("", ""), holding(message("1")))
	})
}

// Sections 11 and 12.
func TestOveractivity(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		c.none(c.start("", ""))
		c.expect(c.start("", ""), ended("policy-violation")) // at once, only to ask
		c.expect(c.start("", ""), ended("item-not-found"))

		c = s.bind("y", "")
		first := c.start("", "")
		c.none(first)
		time.Sleep(5 * time.Second)
		c.none(c.start("", ""))
		c.expect(first, empty)

		// A polling session, and its rhythm.
		p := s.bind("z", "wait='0' ver='1.6'")
		for range 3 {
			time.Sleep(5 * time.Second)
			p.expect(p.start("", ""), empty)
		}
		s.say("z", "1")
		synctest.Wait()
		time.Sleep(5 * time.Second)
		p.expect(p.start("", ""), holding(message("1")))
		p.expect(p.start("", ""), empty) // there was something, there may be more
		p.expect(p.start("", ""), ended("policy-violation"))

		// The others hear of it.
		c = s.bind("w", "")
		first = c.start("", "")
		c.none(first)
		c.expect(c.start("", ""), ended("policy-violation"))
		c.expect(first, ended("other-request"))
	})
}

// A request that is broken is none that only asks: the client is told what is wrong with it, also while another is held.
func TestBrokenBesideHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		held := c.start("", "")
		c.none(held)
		broken := c.start("", "<!-- -->")
		c.expect(held, empty)
		if got := c.got(<-broken); !strings.Contains(got, "<restricted-xml ") {
			t.Errorf("answered %s", got)
		}
	})
}

// Attack case 13: nobody's requests pile up: one beyond those agreed on, while none is answered, is too many.
func TestTooManyRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		block := make(chan struct{})
		s.hosts.OnReceive = func(_ *session.Session, el *xmlstream.Element) {
			if el.Attr("id") == "slow" {
				<-block
			}
		}
		c := s.bind("x", "")
		first := c.start("", message("slow"))
		c.none(first)
		second := c.start("", message("2"))
		c.none(second)
		c.expect(c.start("", message("3")), ended("policy-violation"))
		c.expect(first, ended("other-request"))
		c.expect(second, ended("other-request"))
		close(block)
	})
}

// Section 9.
func TestAcknowledgements(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "ack='1' hold='1' wait='60' ver='1.6'")
		rid := c.rid
		first := c.start("", "")
		c.none(first)
		time.Sleep(5 * time.Second)
		second := c.start("", "")
		c.expect(first, fmt.Sprintf("<body xmlns='http://jabber.org/protocol/httpbind' ack='%d'/>", rid+1))
		s.say("x", "1")
		c.expect(second, holding(message("1"))) // its own rid: none
		// What is acknowledged is forgotten.
		third := c.start(fmt.Sprintf("ack='%d'", rid+1), "<presence xmlns='jabber:client'/>")
		c.none(third)
		c.expect(c.startRID(rid+1, "", ""), ended("item-not-found"))
	})
}

// Section 15.
func TestKeys(t *testing.T) {
	key := func(seed string, n int) string {
		for range n {
			sum := sha1.Sum([]byte(seed))
			seed = hex.EncodeToString(sum[:])
		}
		return seed
	}
	inBubble(t, func(t *testing.T, s *server) {
		begin := func(resource string) *client {
			c, _ := s.create("newkey='" + strings.ToUpper(key("seed", 10)) + "' hold='1' wait='60' ver='1.6'")
			for i, step := range []struct{ attributes, payload string }{
				{"", "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + c2stest.Plain + "</auth>"},
				{"xmpp:restart='true' to='localhost'", ""},
				{"", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='" + ns.Bind + "'><resource>" + resource + "</resource></bind></iq>"},
			} {
				if got := c.ask(step.attributes+" key='"+key("seed", 9-i)+"'", step.payload); strings.Contains(got, "terminate") {
					t.Fatalf("answered %s", got)
				}
			}
			return c // the next key is the 6th
		}
		c := begin("a")
		rid := c.rid
		one := c.ask("key='"+key("seed", 6)+"'", message("1"))
		c.expect(c.startRID(rid, "key='"+key("seed", 6)+"'", message("1")), one)
		c.ask("key='"+key("seed", 5)+"' newkey='"+key("other", 3)+"'", message("2"))
		c.ask("key='"+key("other", 2)+"'", message("3"))
		c.expect(c.start("key='"+key("seed", 4)+"'", message("4")), ended("item-not-found"))

		c = begin("b")
		c.expect(c.start("", message("1")), ended("item-not-found"))
		// Not even an old answer is for somebody without the key.
		c = begin("c")
		c.ask("key='"+key("seed", 6)+"'", message("1"))
		c.expect(c.startRID(c.rid-1, "key='"+key("seed", 7)+"'", ""), ended("item-not-found"))
	})
}

// Clients that know no conditions are told by HTTP (section 17.1).
func TestLegacy(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, created := s.create("hold='1' wait='60'")
		if strings.Contains(created, " ver=") {
			t.Errorf("created with %s", created)
		}
		if a := <-c.startRID(c.rid+5, "", ""); a.status != 404 {
			t.Errorf("%+v, want 404", a)
		}
		c, _ = s.create("hold='1' wait='60'")
		c.bound("x", "")
		c.none(c.start("", ""))
		if a := <-c.start("", ""); a.status != 403 {
			t.Errorf("%+v, want 403", a)
		}
	})
}

// Section 13.
func TestTerminate(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		var last string
		s.hosts.OnReceive = func(_ *session.Session, el *xmlstream.Element) { last = el.String() }
		c := s.bind("x", "")
		held := c.start("", "")
		c.none(held)
		quit := c.start("type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>")
		c.expect(held, ended(""))
		c.expect(quit, empty)
		if reason := <-s.hosts.Closed; reason != session.ErrClosed {
			t.Errorf("ended with %v", reason)
		}
		if last != "<presence xmlns='jabber:client' type='unavailable'/>" {
			t.Errorf("last received %s", last)
		}
		c.expect(c.start("", ""), ended("item-not-found"))
		c = s.bind("y", "")
		c.expect(c.start("type='terminate'", ""), ended(""))
	})
}

// The server ends a session, with what waited (XEP-0206 section 6).
func TestServerEnds(t *testing.T) {
	final := func(payload, condition string) string {
		return "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='remote-stream-error' xmlns:stream='http://etherx.jabber.org/streams'>" +
			payload + "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><" + condition +
			" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></body>"
	}
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		held := c.start("", "")
		c.none(held)
		s.session("x").Close(&stanza.StreamError{Condition: stanza.StreamConflict})
		c.expect(held, final("", "conflict"))

		// Between two requests, also late, and once.
		c = s.bind("y", "")
		s.say("y", "1")
		s.session("y").Close(&stanza.StreamError{Condition: stanza.StreamConflict})
		time.Sleep(50 * time.Second)
		c.expect(c.start("", ""), final(message("1"), "conflict"))
		c.expect(c.start("", ""), ended("item-not-found"))

		// Of several it is the oldest whose client is there.
		c = s.bind("z", "hold='2' wait='60' ver='1.6'")
		first := c.start("", "")
		c.none(first)
		time.Sleep(5 * time.Second)
		second := c.start("", "")
		c.none(second)
		s.session("z").Close(&stanza.StreamError{Condition: stanza.StreamConflict})
		c.expect(first, final("", "conflict"))
		c.expect(second, empty)
	})
}

// When the server stops, held requests are answered, and a client between two is waited for a moment.
func TestShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		a, b, gone := s.bind("a", ""), s.bind("b", ""), s.bind("c", "")
		held := a.start("", "")
		a.none(held)
		stopped := make(chan struct{})
		start := time.Now()
		go func() { s.stop(); close(stopped) }()
		a.expect(held, ended("system-shutdown"))
		time.Sleep(time.Second)
		b.expect(b.start("", ""), ended("system-shutdown"))
		<-stopped
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("stopped after %v", took)
		}
		gone.expect(gone.start("", ""), ended("system-shutdown"))
		if got := s.post(t.Context(), "<body "+xmlns+" rid='1' to='localhost'/>"); got.body != ended("system-shutdown") {
			t.Errorf("a new session: %+v", got)
		}
	})
}

// Attack case 13: a client that does not fetch what it is sent costs its own session, and no more than its outbox holds.
func TestOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, other := s.bind("x", ""), s.bind("y", "")
		big := xmlstream.New(ns.Client, "message").Append(xmlstream.New(ns.Client, "body").AppendText(strings.Repeat("x", 10<<10)))
		sent := 0
		for s.session("x") != nil && s.session("x").Send(stanza.NewWire(big)) {
			sent++
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if sent*10<<10 < 1<<20 || sent*10<<10 > 2<<20 {
			t.Errorf("%d messages of 10 KiB were taken", sent)
		}
		if reason := <-s.hosts.Closed; reason != session.ErrOverflow {
			t.Errorf("ended with %v", reason)
		}
		c.expect(c.start("", ""), ended("item-not-found"))
		other.expect(other.start("", message("1")), holding(echo("1", "y")))
	})
}
