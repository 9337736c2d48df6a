package lease

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// line is a connection with a lease, and how it ended.
type line struct {
	lease *session.Lease
	mu    sync.Mutex
	ended bool
	serr  *stanza.StreamError
}

func (*line) Send([]stanza.Wire) error { return nil }
func (l *line) End(serr *stanza.StreamError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.serr = true, serr
}
func (l *line) Abort()                 { l.End(nil) }
func (l *line) Info() session.ConnInfo { return session.ConnInfo{Transport: "line", Lease: l.lease} }

// over gives the condition that it ended with, "" while it lives.
func (l *line) over() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.ended:
		return ""
	case l.serr == nil:
		return "closed"
	}
	return string(l.serr.Condition)
}

type place struct {
	t      *testing.T
	host   *host.Host
	leases *Leases
	tidied int
}

// bubble runs a test on a host.
func bubble(t *testing.T, test func(p *place)) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{t: t}
		p.leases = New(Options{SignIn: 30 * time.Second, Tidy: func(context.Context) { p.tidied++ }})
		var err error
		p.host, err = host.New(t.Context(), host.NewRegistry(), host.Options{Name: "localhost", SessionsPerUser: 10,
			Features: []host.Feature{p.leases.Feature()}, OutboxBytes: 1 << 20, StanzaBytes: 256 << 10, Resume: time.Minute, Unacked: 100,
			DetachedPerUser: 10, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		p.host.Start()
		test(p)
		p.host.Stop(context.WithoutCancel(t.Context()), &stanza.StreamError{Condition: stanza.SystemShutdown})
		if n := len(p.leases.held); n > 0 {
			t.Errorf("%d sessions are still held", n)
		}
	})
}

func (p *place) open(user string, l *session.Lease) (*line, *session.Session) {
	p.t.Helper()
	c := &line{lease: l}
	s, err := p.host.Bind(p.t.Context(), user, "", c)
	if err != nil {
		p.t.Fatal(err)
	}
	return c, s
}

func (p *place) revoke(user, token string) int {
	return p.leases.Revoke(p.t.Context(), user, token, func() (all []*session.Session) {
		for _, s := range p.host.Sessions() {
			if s.JID().Local() == user {
				all = append(all, s)
			}
		}
		return all
	})
}

func token(id string) *session.Lease { return &session.Lease{Token: id, Since: time.Now()} }

func TestRevoke(t *testing.T) {
	bubble(t, func(p *place) {
		one, _ := p.open("john", token("one"))
		two, _ := p.open("john", token("two"))
		three, _ := p.open("john", token("three"))
		password, _ := p.open("john", nil)
		jwt, _ := p.open("john", &session.Lease{Until: time.Now().Add(time.Hour)})
		marie, _ := p.open("marie", token("one"))
		if n := p.revoke("john", "one"); n != 1 || one.over() != "policy-violation" || two.over() != "" || marie.over() != "" {
			t.Errorf("one token: %d sessions, %q %q %q", n, one.over(), two.over(), marie.over())
		}
		if n := p.revoke("john", ""); n != 2 || two.over() != "policy-violation" || three.over() != "policy-violation" {
			t.Errorf("all tokens: %d sessions, %q %q", n, two.over(), three.over())
		}
		if password.over()+jwt.over()+marie.over() != "" {
			t.Errorf("others ended: %q %q %q", password.over(), jwt.over(), marie.over())
		}
		if n := p.revoke("john", ""); n != 0 {
			t.Errorf("again: %d", n)
		}
	})
}

// A token that was shown, but has not led to a session yet, leads to none when it is revoked; one that is made afterwards does.
func TestRevokeWhileSigningIn(t *testing.T) {
	bubble(t, func(p *place) {
		early, other := token("early"), token("other")
		time.Sleep(time.Second)
		p.revoke("john", "")
		p.revoke("marie", "early")
		if c, _ := p.open("john", early); c.over() != "policy-violation" {
			t.Errorf("signed in before all were revoked: %q", c.over())
		}
		if c, _ := p.open("marie", early); c.over() != "policy-violation" {
			t.Errorf("with the token that was revoked: %q", c.over())
		}
		if c, _ := p.open("marie", other); c.over() != "" {
			t.Errorf("with another token: %q", c.over())
		}
		time.Sleep(time.Second)
		if c, _ := p.open("john", token("late")); c.over() != "" {
			t.Errorf("signed in afterwards: %q", c.over())
		}
		time.Sleep(time.Minute)
		p.revoke("jane", "") // lets go of what concerns nobody any more
		if n := len(p.leases.revoked); n != 1 {
			t.Errorf("%d revocations are remembered", n)
		}
	})
}

func TestUntil(t *testing.T) {
	bubble(t, func(p *place) {
		until := &session.Lease{Until: time.Now().Add(time.Hour)}
		ends, _ := p.open("john", until)
		leaves, s := p.open("john", until)
		s.Leave(leaves, nil)
		past, _ := p.open("john", &session.Lease{Until: time.Now().Add(-time.Second)})
		if past.over() != "reset" {
			t.Errorf("what has expired: %q", past.over())
		}
		time.Sleep(time.Hour - time.Second)
		if ends.over() != "" {
			t.Errorf("a second before: %q", ends.over())
		}
		time.Sleep(time.Second)
		if ends.over() != "reset" || leaves.over() != "closed" {
			t.Errorf("afterwards: %q %q", ends.over(), leaves.over())
		}
	})
}

// A session hangs on what its client showed last.
func TestResumed(t *testing.T) {
	bubble(t, func(p *place) {
		first, s := p.open("john", &session.Lease{Token: "one", Until: time.Now().Add(time.Minute)})
		s.Manage(true, 0, 7)
		synctest.Wait()
		second := &line{lease: &session.Lease{Token: "two", Until: time.Now().Add(time.Hour)}}
		if err := s.Resume(p.t.Context(), second, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if second.over() != "" || first.over() == "" {
			t.Errorf("after the first token's end: %q %q", first.over(), second.over())
		}
		if n := p.revoke("john", "one"); n != 0 {
			t.Error("it hangs on the first token")
		}
		if n := p.revoke("john", "two"); n != 1 || second.over() != "policy-violation" {
			t.Errorf("%d, %q", n, second.over())
		}
	})
}

// A session that was opened with a token ends with it, though its client has come back by a password or what came of one.
func TestResumedWithoutLease(t *testing.T) {
	bubble(t, func(p *place) {
		resume := func(l *session.Lease) *line {
			_, s := p.open("john", l)
			s.Manage(true, 0, 7)
			synctest.Wait()
			second := &line{}
			if err := s.Resume(p.t.Context(), second, 0); err != nil {
				t.Fatal(err)
			}
			return second
		}
		revoked, ends := resume(token("one")), resume(&session.Lease{Until: time.Now().Add(time.Hour)})
		if n := p.revoke("john", "one"); n != 1 || revoked.over() != "policy-violation" || ends.over() != "" {
			t.Errorf("revoked: %d, %q, %q", n, revoked.over(), ends.over())
		}
		time.Sleep(time.Hour)
		if ends.over() != "reset" {
			t.Errorf("at the end: %q", ends.over())
		}
	})
}

func TestTidy(t *testing.T) {
	bubble(t, func(p *place) {
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if p.tidied != 6 {
			t.Errorf("tidied %d times in an hour", p.tidied)
		}
	})
}
