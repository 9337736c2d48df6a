package archive

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/host"
	"rollcall/internal/host/hosttest"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// plenty is an archive without an end, which counts how often it is read.
type plenty struct {
	store.Archive
	mu    sync.Mutex
	reads int
	size  int
}

func (p *plenty) Messages(_ context.Context, _, _ string, q store.Query) (page store.Page, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	for i := range q.Limit {
		page.Messages = append(page.Messages, store.Message{ID: store.ID(i + 1), Entry: store.Entry{
			Stanza: fmt.Appendf(nil, "<message from='marie@localhost'><body>%0*d</body></message>", p.size, i)}})
	}
	page.More = true
	return page, nil
}

func (p *plenty) MessageBounds(context.Context, string, string) (first, last store.Mark, err error) {
	return store.Mark{ID: 1, At: time.Unix(1, 0)}, store.Mark{ID: 2, At: time.Unix(2, 0)}, nil
}

func (p *plenty) Archives(context.Context, string) iter.Seq2[string, error] {
	return maps.All(map[string]error{})
}

func (p *plenty) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads
}

// having counts the stanzas that a client has taken which have a text in them.
func having(c *hosttest.Line, text string) (n int) {
	for _, w := range c.All() {
		if strings.Contains(w, text) {
			n++
		}
	}
	return n
}

func newFlow(t *testing.T, size int) (*host.Host, *plenty) {
	uids, err := host.NewUIDs(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	p := &plenty{size: size}
	f := New(Options{Host: "localhost", Archive: p, UIDs: uids, Tuning: Tuning{Default: Always}, OutboxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)}).Feature()
	h := hosttest.New(t, host.NewRegistry(), host.Options{Features: []host.Feature{f}, Resume: time.Minute})
	h.Start()
	return h, p
}

func ask(t *testing.T, h *host.Host, s *session.Session, n int) {
	for i := range n {
		h.Receive(s, parse(t, fmt.Sprintf("<iq xmlns='jabber:client' type='set' id='q%d'><query xmlns='urn:xmpp:mam:2'/></iq>", i)))
	}
}

// A client that does not read has a few pages waiting, however much it asks for; the rest is not even read from the store. Each
// query is answered once, and when the client reads again it goes on.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const queries = lineQueries + 20
		h, p := newFlow(t, 900)
		for _, wait := range []time.Duration{time.Second, time.Minute} {
			before := p.count()
			c := &hosttest.Line{May: make(chan struct{})}
			s, err := h.Bind(t.Context(), "john", "", c)
			if err != nil {
				t.Fatal(err)
			}
			ask(t, h, s, queries)
			time.Sleep(wait)
			synctest.Wait()
			if n := p.count() - before; n != 3 {
				t.Errorf("%d pages were read", n)
			}
			close(c.May)
			synctest.Wait()
			if s.Context().Err() != nil {
				t.Errorf("its session has ended: %v", context.Cause(s.Context()))
			}
			fins, errors := having(c, "<fin "), having(c, "type='error'")
			if fins+errors != queries || wait < lineTime && fins < lineQueries || wait > lineTime && fins != 3 {
				t.Errorf("after %v: %d pages and %d errors", wait, fins, errors)
			}
			for i := range queries {
				if n := having(c, fmt.Sprintf("<iq type='result' id='q%d' ", i)) + having(c, fmt.Sprintf("<iq type='error' id='q%d' ", i)); n != 1 {
					t.Errorf("query %d has %d answers", i, n)
				}
			}
			if n := having(c, "<result "); n != pageDefault*fins {
				t.Errorf("%d results for %d pages", n, fins)
			}
			s.Close(nil)
			<-s.Ended()
		}
	})
}

// With stream management pages are sent as the client acknowledges them; of what it has lost with its session nothing is sent to
// others, and nothing is left.
func TestPagesAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newFlow(t, 900)
		c, other := &hosttest.Line{}, &hosttest.Line{}
		s, err := h.Bind(t.Context(), "john", "phone", c)
		if err != nil {
			t.Fatal(err)
		}
		tablet, err := h.Bind(t.Context(), "john", "tablet", other)
		if err != nil {
			t.Fatal(err)
		}
		tablet.SetAvailable(0)
		s.Manage(true, 0, 1)
		ask(t, h, s, 10)
		synctest.Wait()
		if n := p.count(); n != 3 || having(c, "<fin ") != 3 {
			t.Errorf("%d pages were read, %d written", n, having(c, "<fin "))
		}
		if err := s.Acknowledged(c, 2*(pageDefault+1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := p.count(); n != 5 {
			t.Errorf("%d pages were read", n)
		}
		s.Leave(c, context.Canceled)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := p.count(); n != 5 || having(other, "<result ") > 0 {
			t.Errorf("%d pages were read; another client has got %d results", n, having(other, "<result "))
		}
		tablet.Close(nil)
		<-tablet.Ended()
	})
}

// A client that binds by XEP-0386 is told where its archive begins and ends.
func TestMetadataInline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newFlow(t, 10)
		c := &hosttest.Line{}
		s, bound, err := h.BindInline(t.Context(), "john", host.InlineBind{}, c)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(bound, func(el *xmlstream.Element) bool { return el.Is(ns.MAM, "metadata") })
		if i < 0 || bound[i].Child(ns.MAM, "start").Attr("timestamp") != "1970-01-01T00:00:01.000Z" || bound[i].Child(ns.MAM, "end").Attr("timestamp") != "1970-01-01T00:00:02.000Z" {
			t.Errorf("it is told %v", bound)
		}
		s.Close(nil)
		<-s.Ended()
	})
}

func TestDisco(t *testing.T) {
	got := New(Options{OutboxBytes: 1 << 20}).Feature().Disco
	want := []string{"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:mam:2#groupchat-field", "urn:xmpp:sid:0"}
	if !slices.Equal(got.Account, want) || got.Host != nil {
		t.Errorf("%q, %q", got.Account, got.Host)
	}
}
