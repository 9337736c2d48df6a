package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

var errCut = errors.New("cut")

// line is a connection that notes what it takes.
type line struct {
	mu   sync.Mutex
	text string
}

func (l *line) Send(ws []stanza.Wire) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range ws {
		l.text += w.String()
	}
	return nil
}
func (l *line) End(*stanza.StreamError) {}
func (l *line) Abort()                  {}
func (l *line) Info() session.ConnInfo  { return session.ConnInfo{Transport: "line"} }

// heard gives what has come since it was asked last.
func (l *line) heard() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text
	l.text = ""
	return text
}

// bubble runs a test with a host whose sessions may be resumed within a minute.
func bubble(t *testing.T, o Options, test func(t *testing.T, h *Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Name, o.OutboxBytes, o.StanzaBytes, o.Log = "localhost", 1<<20, 256<<10, slog.New(slog.DiscardHandler)
		o.Resume = time.Minute
		if o.SessionsPerUser == 0 {
			o.SessionsPerUser = 10
		}
		h, err := New(t.Context(), NewRegistry(), o)
		if err != nil {
			t.Fatal(err)
		}
		h.Start()
		defer h.Stop(context.Background(), &stanza.StreamError{Condition: stanza.SystemShutdown})
		test(t, h)
	})
}

// client is a bound client that acknowledges nothing unless it is told to.
type client struct {
	*session.Session
	line *line
	id   string // to resume with
}

const password = 7

func arrive(t *testing.T, h *Host, local, resource string, priority int, managed bool) *client {
	t.Helper()
	c := &client{line: &line{}}
	s, err := h.Bind(t.Context(), local, resource, c.line)
	if err != nil {
		t.Fatal(err)
	}
	c.Session = s
	if managed {
		s.Manage(true, 0, password)
		_, c.id, _ = strings.Cut(c.heard(), " id='")
		c.id, _, _ = strings.Cut(c.id, "'")
	}
	s.SetAvailable(priority)
	return c
}

// says has the host handle a stanza of the client.
func (c *client) says(h *Host, xml string) {
	el, err := xmlstream.ParseElement([]byte(strings.Replace(xml, " ", " xmlns='"+ns.Client+"' ", 1)), xmlstream.Limits{})
	if err != nil {
		panic(err)
	}
	if c.Begin(c.line) {
		h.Receive(c.Session, el)
		c.End()
	}
}

func (c *client) heard() string { return c.line.heard() }

func (c *client) lost() { c.Leave(c.line, errCut) }

func expect(t *testing.T, got string, words ...string) {
	t.Helper()
	if len(words) == 0 && got != "" {
		t.Errorf("came: %s", got)
	}
	for _, w := range words {
		if n := strings.Count(got, w); n != 1 {
			t.Errorf("%q came %d times in %q", w, n, got)
		}
	}
}

// Of the sessions that a message is for one that is away keeps none from another that is there; it gets a copy when it has
// as much priority. A copy is not sent on while another session has one.
func TestMessagesToSessionsThatAreAway(t *testing.T) {
	const hello = "<message to='marie@localhost' type='chat' id='m1'/>"
	for _, tc := range []struct {
		name           string
		away, there    int  // priorities
		managed        bool // the one that is there
		copied, direct bool // who gets it
	}{
		{"more", 5, 0, false, true, true},
		{"as much", 1, 1, true, true, true},
		{"less", 0, 1, true, false, true},
		{"the other takes none", 0, -1, true, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, h *Host) {
				john := arrive(t, h, "john", "x", 0, false)
				away, there := arrive(t, h, "marie", "away", tc.away, true), arrive(t, h, "marie", "there", tc.there, tc.managed)
				away.lost()
				john.says(h, hello)
				if got := there.heard(); strings.Contains(got, "m1") != tc.direct {
					t.Errorf("the one that is there has %q", got)
				}
				again := &line{}
				if _, err := h.Resume(t.Context(), "marie", Resumption{ID: away.id, Credential: password}, again); err != nil {
					t.Fatal(err)
				}
				if got := again.heard(); strings.Contains(got, "m1") != tc.copied {
					t.Errorf("the one that was away has %q", got)
				}
				if !tc.direct {
					return
				}
				if err := there.Acknowledged(there.line, 1); err != nil {
					t.Fatal(err)
				}
				away.Leave(again, errCut) // and is not resumed
				time.Sleep(2 * time.Minute)
				expect(t, john.heard())
				expect(t, strings.ReplaceAll(there.heard(), "<r xmlns='urn:xmpp:sm:3'/>", ""))
			})
		})
	}
}

// Of the copies of a message the last is sent on when nobody has got it; one that was acknowledged is enough.
func TestCopiesOfAMessage(t *testing.T) {
	for _, acknowledged := range []bool{false, true} {
		bubble(t, Options{}, func(t *testing.T, h *Host) {
			john := arrive(t, h, "john", "x", 0, false)
			one, other := arrive(t, h, "marie", "1", 0, true), arrive(t, h, "marie", "2", 0, true)
			john.says(h, "<message to='marie@localhost' type='chat' id='m1'/>")
			expect(t, one.heard(), "m1")
			expect(t, other.heard(), "m1")
			if acknowledged {
				if err := one.Acknowledged(one.line, 1); err != nil {
					t.Fatal(err)
				}
			}
			one.Close(session.ErrExpired)
			expect(t, john.heard())
			other.Close(session.ErrExpired)
			if acknowledged {
				expect(t, john.heard())
			} else {
				expect(t, john.heard(), "m1", "service-unavailable")
			}
		})
	}
}

// What a session that ends has not delivered: messages are sent on, with the time at which they were sent, requests are
// answered, and the rest is over. A room is told that its occupant has gone.
func TestWhatIsLeft(t *testing.T) {
	ends := map[string]func(h *Host, c *client){
		"not resumed": func(_ *Host, c *client) { c.lost(); time.Sleep(2 * time.Minute) },
		"closed by the client, who has not acknowledged it": func(_ *Host, c *client) { c.Leave(c.line, nil) },
		"ended by us": func(_ *Host, c *client) { c.Close(&stanza.StreamError{Condition: stanza.StreamPolicyViolation}) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, h *Host) {
				john := arrive(t, h, "john", "x", 0, false)
				marie := arrive(t, h, "marie", "phone", 1, true)
				tablet := arrive(t, h, "marie", "tablet", 0, false)
				john.says(h, "<message to='marie@localhost/phone' type='chat' id='chat'/>")
				john.says(h, "<message to='marie@localhost/phone' id='normal'/>")
				john.says(h, "<message to='marie@localhost/phone' type='headline' id='headline'/>")
				john.says(h, "<message to='marie@localhost/phone' type='error' id='error'/>")
				john.says(h, "<message to='marie@localhost/phone' type='groupchat' id='room'/>")
				john.says(h, "<iq to='marie@localhost/phone' type='get' id='get'><q xmlns='q'/></iq>")
				john.says(h, "<iq to='marie@localhost/phone' type='result' id='result'/>")
				synctest.Wait()
				end(h, marie)
				<-marie.Ended()
				got := tablet.heard()
				expect(t, got, "id='chat'", "id='normal'")
				if n := strings.Count(got, "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='2000-01-01T00:00:00.000Z'/>"); n != 2 ||
					strings.Count(got, "<message ") != 2 || strings.Index(got, "'chat'") > strings.Index(got, "'normal'") {
					t.Errorf("the other session has %s", got)
				}
				got = john.heard()
				expect(t, got, "id='room'", "id='get'")
				if strings.Count(got, "recipient-unavailable") != 2 || strings.Count(got, "<error ") != 2 {
					t.Errorf("the sender has %s", got)
				}
			})
		})
	}
}

// Messages that nobody takes are a feature's to store, at the stop of the server too: its work ends after that.
func TestWhatIsLeftIsStored(t *testing.T) {
	for _, stop := range []bool{false, true} {
		var stored []string
		ended := false
		f := Feature{Name: "store",
			Stages: map[Stage]StanzaHandler{Unclaimed: func(_ context.Context, p *Passage) (bool, error) {
				if ended {
					t.Error("a message comes when the work has ended")
				}
				stored = append(stored, p.ID)
				return true, nil
			}},
			Closed: func(context.Context, *session.Session) { time.Sleep(time.Second) }, // takes its time
			Run:    func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil },
		}
		bubble(t, Options{Features: []Feature{f}}, func(t *testing.T, h *Host) {
			john, marie := arrive(t, h, "john", "x", 0, false), arrive(t, h, "marie", "phone", 0, true)
			marie.lost()
			john.says(h, "<message to='marie@localhost' type='chat' id='m1'/>")
			john.says(h, "<message to='marie@localhost/phone' type='chat' id='m2'/>")
			if stop {
				h.Stop(t.Context(), &stanza.StreamError{Condition: stanza.SystemShutdown})
			} else {
				time.Sleep(2 * time.Minute)
				<-marie.Ended()
			}
			if fmt.Sprint(stored) != "[m1 m2]" {
				t.Errorf("stored: %v", stored)
			}
			expect(t, john.heard())
		})
	}
}

// Who comes too late is told how many stanzas were handled; anybody else, and who has changed the password, is told
// nothing (attack case 31).
func TestResumeTooLate(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, h *Host) {
		marie := arrive(t, h, "marie", "phone", 0, true)
		for range 3 {
			marie.says(h, "<message to='marie@localhost/nowhere' type='headline'/>")
		}
		marie.lost()
		refused := func(local string, r Resumption, want NotResumed) {
			t.Helper()
			_, err := h.Resume(t.Context(), local, r, &line{})
			var got *NotResumed
			if !errors.As(err, &got) || *got != want {
				t.Errorf("%s, %+v: %v", local, r, err)
			}
		}
		unknown := NotResumed{Condition: stanza.ItemNotFound}
		wrong := func() {
			t.Helper()
			refused("john", Resumption{ID: marie.id, Credential: password}, unknown)
			refused("marie", Resumption{ID: marie.id, Credential: password + 1}, unknown)
			refused("marie", Resumption{ID: "", Credential: password}, unknown)
			refused("marie", Resumption{ID: marie.id[1:], Credential: password}, unknown)
		}
		wrong()
		time.Sleep(2 * time.Minute)
		wrong()
		refused("marie", Resumption{ID: marie.id, Credential: password}, NotResumed{stanza.ItemNotFound, 3, true})
		for n := range pastPerUser { // which bound what is remembered
			arrive(t, h, "marie", fmt.Sprint(n), 0, true).Close(nil)
			synctest.Wait()
		}
		refused("marie", Resumption{ID: marie.id, Credential: password}, unknown)
		if n := h.past.order.Len(); n != pastPerUser || len(h.past.users["marie"]) != pastPerUser {
			t.Errorf("%d are remembered", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t) // without resumption
		_, err := h.Resume(t.Context(), "marie", Resumption{ID: "x"}, &line{})
		var got *NotResumed
		if !errors.As(err, &got) || *got != (NotResumed{Condition: stanza.FeatureNotImplemented}) {
			t.Error(err)
		}
		h.Stop(t.Context(), &stanza.StreamError{Condition: stanza.SystemShutdown})
	})
}

func TestPastIsBounded(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, h *Host) {
		marie := arrive(t, h, "marie", "phone", 0, true)
		receipt, _ := marie.Receipt()
		var p past
		for n := range pastTotal + 10 {
			p.add(fmt.Sprint(n), receipt)
		}
		_, first := p.find("0", marie.id, password)
		_, last := p.find(fmt.Sprint(pastTotal+9), marie.id, password)
		if p.order.Len() != pastTotal || len(p.users) != pastTotal || first || !last {
			t.Errorf("%d of %d users are remembered", p.order.Len(), len(p.users))
		}
	})
}

// A user has so many sessions that are away, and none of them keeps a new one out.
func TestSessionsThatAreAwayGiveWay(t *testing.T) {
	bubble(t, Options{DetachedPerUser: 2}, func(t *testing.T, h *Host) {
		var all []*client
		for n := range 4 {
			c := arrive(t, h, "marie", fmt.Sprint(n), 0, true)
			all = append(all, c)
		}
		for _, c := range all {
			c.lost()
			time.Sleep(time.Second)
		}
		for n, c := range all {
			if got, want := c.Context().Err() != nil, n < 2; got != want || got && !errors.Is(context.Cause(c.Context()), session.ErrCrowded) {
				t.Errorf("%d has ended: %v, %v", n, got, context.Cause(c.Context()))
			}
		}
	})
	bubble(t, Options{SessionsPerUser: 2}, func(t *testing.T, h *Host) {
		first, second := arrive(t, h, "marie", "1", 0, true), arrive(t, h, "marie", "2", 0, true)
		first.lost()
		arrive(t, h, "marie", "3", 0, false)
		if first.Context().Err() == nil || second.Context().Err() != nil {
			t.Error("the wrong one gave way")
		}
		if _, err := h.Bind(t.Context(), "marie", "4", &line{}); err == nil {
			t.Error("there are too many")
		}
	})
}

// Who takes a resource over inherits the messages that were not delivered, before any that come later; when that comes to
// nothing they go elsewhere.
func TestInheritance(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, h *Host) {
		john, phone := arrive(t, h, "john", "x", 0, false), arrive(t, h, "marie", "phone", 0, true)
		john.says(h, "<message to='marie@localhost/phone' id='m1'/>")
		synctest.Wait() // its connection seems to live
		again := arrive(t, h, "marie", "phone", 0, false)
		john.says(h, "<message to='marie@localhost/phone' id='m2'/>")
		got := again.heard()
		expect(t, got, "id='m1'", "id='m2'", "<delay ")
		if strings.Index(got, "'m1'") > strings.Index(got, "'m2'") || phone.Context().Err() == nil {
			t.Error(got)
		}
		expect(t, john.heard())
	})
	// The server stops while the old session ends, so the new one is not bound.
	var h2 *Host
	stopping := Feature{Closed: func(context.Context, *session.Session) {
		h2.mu.Lock()
		defer h2.mu.Unlock()
		h2.stopped = true
	}}
	bubble(t, Options{Features: []Feature{stopping}}, func(t *testing.T, h *Host) {
		h2 = h
		john, _ := arrive(t, h, "john", "x", 0, false), arrive(t, h, "marie", "phone", 0, true)
		john.says(h, "<message to='marie@localhost/phone' id='m1'/>")
		synctest.Wait()
		c := &line{}
		if _, err := h.Bind(t.Context(), "marie", "phone", c); err == nil {
			t.Fatal("it was bound")
		}
		expect(t, john.heard(), "id='m1'", "service-unavailable")
		expect(t, c.heard())
	})
}

// Features are told of each session's end of a connection and beginning of another, between its own beginning and end.
func TestFeaturesFollowConnections(t *testing.T) {
	var told []string
	f := Feature{
		Opened:   func(_ context.Context, s *session.Session) { told = append(told, "opened") },
		Detached: func(_ context.Context, s *session.Session, _ session.ConnInfo) { told = append(told, "detached") },
		Resumed: func(_ context.Context, s *session.Session, _, _ session.ConnInfo) {
			told = append(told, "resumed")
		},
		Closed: func(_ context.Context, s *session.Session) { told = append(told, "closed") },
	}
	bubble(t, Options{Features: []Feature{f}}, func(t *testing.T, h *Host) {
		c := arrive(t, h, "marie", "x", 0, true)
		c.lost()
		if _, err := h.Resume(t.Context(), "marie", Resumption{ID: c.id, Credential: password}, &line{}); err != nil {
			t.Fatal(err)
		}
		c.Close(nil)
		<-c.Ended()
		if got := strings.Join(told, " "); got != "opened detached resumed closed" {
			t.Error(got)
		}
	})
}
