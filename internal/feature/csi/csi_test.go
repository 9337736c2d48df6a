package csi

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

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

func (l *line) heard() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// XEP-0386: "If the client included a XEP-0352 <active/> or <inactive/> element, the session must begin in that state."
func TestSessionBeginsInactive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := host.New(t.Context(), host.NewRegistry(), host.Options{Name: "localhost", Features: []host.Feature{New()},
			SessionsPerUser: 10, OutboxBytes: 1 << 20, StanzaBytes: 256 << 10, Idle: 10, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop(context.Background(), &stanza.StreamError{Condition: stanza.SystemShutdown})
		if got := strings.Join(h.Inline(), " "); got != ns.CSI {
			t.Errorf("announced: %s", got)
		}
		for asked, waits := range map[string]bool{"inactive": true, "active": false, "": false} {
			b := host.InlineBind{}
			if asked != "" {
				b.Asked = []*xmlstream.Element{xmlstream.New(ns.CSI, asked)}
			}
			l := &line{}
			s, bound, err := h.BindInline(t.Context(), "john", b, l)
			if err != nil || len(bound) != 0 {
				t.Fatal(bound, err)
			}
			s.Send(stanza.NewWire(xmlstream.New(ns.Client, "presence", "from", "marie@localhost/x")))
			if got := l.heard(); (got == "") != waits {
				t.Errorf("%q: came %q", asked, got)
			}
		}
	})
}
