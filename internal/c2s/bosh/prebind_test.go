package bosh_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
	"rollcall/internal/proxied"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// john has no account: who may ask for a session ahead says who he is.
var john = bosh.Ahead{Host: "localhost", User: "john", Resource: "page"}

// prebound makes a session ahead, and gives the client that is to go on with it.
func (s *server) prebound(a bosh.Ahead) (*client, bosh.Prebound) {
	s.t.Helper()
	p, err := s.bosh.Prebind(s.t.Context(), a)
	if err != nil {
		s.t.Fatal(err)
	}
	return &client{s, p.SID, int64(p.RID)}, p
}

func (s *server) page() *session.Session { return s.hosts.Session("john@localhost/page") }

func TestPrebind(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := s.prebound(john)
		if p.JID != "john@localhost/page" || len(p.SID) != 22 || p.RID < 5 || p.RID >= 1<<50 {
			t.Errorf("prebound %+v", p)
		}
		if info := s.page().Info(); info.RemoteAddr != "prebind" || info.Transport != "bosh" {
			t.Errorf("before its client comes: %+v", info)
		}
		held := c.start("", "")
		c.none(held)
		back := strings.Replace(echo("1", "page"), "juliet", "john", 1)
		next := c.start("", message("1"))
		c.expect(held, empty)
		c.expect(next, holding(back))
		if info := s.page().Info(); info.RemoteAddr == "prebind" {
			t.Errorf("afterwards: %+v", info)
		}
		_, other := s.prebound(john)
		if other.SID == p.SID || other.RID == p.RID {
			t.Errorf("the same secrets again: %+v", other)
		}
	})
}

// wait and hold are what the client's library has to be told, so they can be asked for.
func TestPrebindTerms(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, _ := s.prebound(bosh.Ahead{Host: "localhost", User: "john", Wait: 10, Hold: 2})
		one, two := c.start("", ""), c.start("", "")
		c.none(one)
		c.none(two)
		time.Sleep(11 * time.Second)
		c.expect(one, empty)
		c.expect(two, empty)
	})
}

// A session that was made ahead is no client's: who does not know its numbers does not get it.
func TestPrebindOfOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, _ := s.prebound(john)
		thief := &client{s, strings.ToUpper(c.sid), c.rid}
		if got := thief.ask("", ""); got != ended("item-not-found") {
			t.Errorf("another sid: %s", got)
		}
		c.none(c.start("", "")) // the session is as it was
		for _, rid := range []int64{2, -10} {
			c, _ = s.prebound(john)
			c.rid += rid
			if got := c.ask("", ""); got != ended("item-not-found") {
				t.Errorf("rid %+d: %s", rid, got)
			}
		}
	})
}

// Nobody comes: the session ends as that of a client which went away, and leaves nothing behind.
func TestPrebindLapses(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, _ := s.prebound(john)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if s.page() == nil {
			t.Fatal("it ended early")
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if s.page() != nil {
			t.Fatal("it is still there")
		}
		if got := c.ask("", ""); got != ended("item-not-found") {
			t.Errorf("answered %s", got)
		}
	})
}

// So many may wait for their clients, and those who came do not count.
func TestPrebindIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		s.hosts.Closed = make(chan error, 3*1024)
		all := make([]*client, 0, 1024)
		for range 1024 {
			c, _ := s.prebound(bosh.Ahead{Host: "localhost", User: "john"})
			all = append(all, c)
		}
		if _, err := s.bosh.Prebind(t.Context(), john); !errors.Is(err, c2s.ErrCrowded) {
			t.Fatalf("one more: %v", err)
		}
		all[0].none(all[0].start("", ""))
		s.prebound(john)
		if _, err := s.bosh.Prebind(t.Context(), john); !errors.Is(err, c2s.ErrCrowded) {
			t.Errorf("one more again: %v", err)
		}
		time.Sleep(63 * time.Second)
		synctest.Wait()
		for range 1024 {
			s.prebound(bosh.Ahead{Host: "localhost", User: "john"})
		}
	})
}

func TestPrebindRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		s.hosts.OnBind = func(resource string) error {
			if resource == "full" {
				return stanza.NewError(stanza.ResourceConstraint, "this account has 10 sessions already")
			}
			return nil
		}
		var refused *bosh.Refused
		_, err := s.bosh.Prebind(t.Context(), bosh.Ahead{Host: "localhost", User: "john", Resource: "full"})
		if !errors.As(err, &refused) || refused.Condition != "resource-constraint" || !strings.Contains(refused.Text, "10 sessions") {
			t.Errorf("a full account: %v", err)
		}
		_, err = s.bosh.Prebind(t.Context(), bosh.Ahead{Host: "elsewhere.example", User: "john"})
		if !errors.As(err, &refused) || refused.Condition != "host-unknown" {
			t.Errorf("a host that is not ours: %v", err)
		}
		_, err = s.bosh.Prebind(t.Context(), bosh.Ahead{Host: "localhost", User: "jo hn"})
		if !errors.As(err, &refused) || refused.Condition != "not-authorized" {
			t.Errorf("no name: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = s.bosh.Prebind(ctx, john); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		s.prebound(john) // all of them have been let go
		s.stop()
		if _, err = s.bosh.Prebind(t.Context(), john); !errors.As(err, &refused) || refused.Condition != "system-shutdown" {
			t.Errorf("a server that stops: %v", err)
		}
	})
}

// No client from outside is offered what signs in a client within.
func TestExternalIsNotForClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{})
	c, created := s.create("")
	if strings.Contains(created, "EXTERNAL") {
		t.Errorf("offered: %s", created)
	}
	for _, initial := range []string{"=", "anVsaWV0", c2stest.Plain} {
		got := c.ask("", "<auth xmlns='"+ns.SASL+"' mechanism='EXTERNAL'>"+initial+"</auth>")
		if !strings.Contains(got, "<invalid-mechanism/>") {
			t.Fatalf("answered %s", got)
		}
		c, _ = s.create("")
	}
}

// The session is worth a password: it is not given to who may not sign in as they have come, nor used without TLS once it
// was with TLS.
func TestPrebindNeedsTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{RequireTLS: true}, bosh.Options{Proxies: proxied.Trusted{loopback}})
	outside := http.Header{"X-Forwarded-For": {"192.0.2.1"}}
	inside := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}
	base := s.client.Transport
	c, _ := s.prebound(john)
	s.client.Transport = headed{base, outside}
	if got := c.got(s.post(t.Context(), c.body(c.rid, "", ""))); got != ended("policy-violation") {
		t.Errorf("without TLS: %s", got)
	}
	s.client.Transport = headed{base, inside}
	if got := c.ask("", message("1")); !strings.Contains(got, "id='1'") {
		t.Errorf("with TLS: %s", got)
	}
	if info := s.page().Info(); !info.Secure || info.RemoteAddr != "192.0.2.1" {
		t.Errorf("its client is %+v", info)
	}
	s.client.Transport = headed{base, outside}
	if a := s.post(t.Context(), c.body(c.rid, "", "")); a.err == nil {
		t.Errorf("without TLS again: %+v", a)
	}
	s.client.Transport = headed{base, inside}
	if got := c.ask("", message("2")); !strings.Contains(got, "id='2'") {
		t.Errorf("with TLS again: %s", got)
	}
}
