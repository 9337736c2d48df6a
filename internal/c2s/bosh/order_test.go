package bosh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// Requests are dealt with and answered in their order, whatever the one in which they come (section 14.2).
func TestOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "hold='2' wait='60' ver='1.6'")
		third := c.startRID(c.rid+2, "", message("3"))
		c.none(third)
		second := c.startRID(c.rid+1, "", message("2"))
		c.none(second)
		c.none(third)
		first := c.startRID(c.rid, "", message("1"))
		all := c.got(<-first)
		// hold is 2, so that the first one is answered at once, with whatever there is.
		all += c.got(<-second)
		synctest.Wait()
		if !strings.Contains(all, echo("3", "x")) {
			all += c.got(<-third)
		}
		last := -1
		for _, id := range []string{"1", "2", "3"} {
			i := strings.Index(all, echo(id, "x"))
			if i <= last {
				t.Fatalf("echoes are missing or out of order: %s", all)
			}
			last = i
		}

		// A gap that is not filled: the client is asked to send again.
		c = s.bind("y", "")
		c.expect(c.startRID(c.rid+1, "", message("2")), again)
	})
}

// Attack case 38, sections 14.2 and 14.3.
func TestRIDWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		for name, rid := range map[string]func(c *client) int64{
			"gap": func(c *client) int64 { return c.rid + 2 }, "far": func(*client) int64 { return 1 << 53 },
			"farther": func(*client) int64 { return 1<<63 - 1 }, "old": func(c *client) int64 { return c.rid - 3 },
			"before all": func(*client) int64 { return 1 },
		} {
			c := s.bind("x", "")
			if got := c.got(<-c.startRID(rid(c), "", "")); got != ended("item-not-found") {
				t.Errorf("%s: %s", name, got)
			}
			<-s.hosts.Closed
		}
		// At the end of all numbers.
		a := s.post(t.Context(), fmt.Sprintf("<body %s rid='%d' to='localhost' ver='1.6'/>", xmlns, int64(1)<<53-1))
		sid := strings.Split(strings.SplitAfter(a.body, " sid='")[1], "'")[0]
		c := &client{s, sid, 1 << 53}
		c.expect(c.start("", ""), ended("item-not-found"))
	})
}

// A repetition is answered from memory, byte by byte, and done once.
func TestRepetition(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		received := 0
		s.hosts.OnReceive = func(_ *session.Session, el *xmlstream.Element) {
			if el.Local == "message" {
				received++
			}
		}
		c := s.bind("x", "")
		rid := c.rid
		one := c.ask("", message("1"))
		two := c.ask("", message("2"))
		c.expect(c.startRID(rid, "", message("1")), one)
		c.expect(c.startRID(rid+1, "", message("2")), two)
		c.expect(c.startRID(rid, "", message("1")), one)
		if received != 2 {
			t.Errorf("%d messages were received, want 2", received)
		}

		// One that is held gives way.
		held := c.startRID(rid+2, "", "")
		c.none(held)
		repeated := c.startRID(rid+2, "", "")
		c.expect(held, again)
		c.none(repeated)
		s.say("x", "3")
		c.expect(repeated, holding(message("3")))

		// And one that comes for ever is too much.
		for range 9 {
			c.expect(c.startRID(rid+2, "", ""), holding(message("3")))
		}
		c.expect(c.startRID(rid+2, "", ""), ended("policy-violation"))
	})
}

// What was to be said on a connection that broke is not lost.
func TestBrokenConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan answer, 1)
		rid := c.rid
		c.rid++
		go func() { gone <- c.post(ctx, c.body(rid, "", "")) }()
		c.none(gone)
		cancel()
		<-gone
		synctest.Wait()
		s.say("x", "1")
		synctest.Wait()
		c.expect(c.startRID(rid, "", ""), holding(message("1")))
		// The client need not repeat it before it goes on.
		ctx, cancel = context.WithCancel(t.Context())
		rid = c.rid
		c.rid++
		go func() { gone <- c.post(ctx, c.body(rid, "", "")) }()
		c.none(gone)
		cancel()
		<-gone
		synctest.Wait()
		s.say("x", "2")
		c.expect(c.start("", "<presence xmlns='jabber:client'/>"), holding(message("2")))
		c.expect(c.startRID(rid, "", ""), empty)
	})
}

// An answer that is still being written to a connection of which the client has heard no more does not keep back those that come
// after the client has asked for it again.
func TestAnswersBehindALostOne(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		lost := s.dial()
		defer lost.Close()
		body := c.body(c.rid, "", "")
		if _, err := fmt.Fprintf(lost, "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.say("x", "1")
		synctest.Wait() // it is being written
		began := time.Now()
		c.expect(c.startRID(c.rid, "", ""), holding(message("1")))
		c.rid++
		for _, id := range []string{"2", "3"} {
			c.expect(c.start("", message(id)), holding(echo(id, "x")))
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the answers came after %v", took)
		}
	})
}

// A request that does not come whole is no request.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	c := s.bind("x", "")
	conn := s.dial()
	body := c.body(c.rid, "", message("1"))
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)-8])
	conn.Close()
	c.expect(c.start("", message("2")), holding(echo("2", "x")))
}

// Attack case 43: a body that comes byte by byte is waited for no longer than 30 seconds in all.
func TestSlowBody(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c := s.bind("x", "")
		conn := s.dial()
		defer conn.Close()
		body := c.body(c.rid, "", message("1"))
		start := time.Now()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(body))
		for i := range len(body) {
			if _, err := conn.Write([]byte{body[i]}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > 32*time.Second {
			t.Errorf("the connection was held for %v", took)
		}
		c.expect(c.start("", message("2")), holding(echo("2", "x"))) // the session is as it was
	})
}
