// Package hosttest has what tests of features need of a virtual host: one that is set up, and connections that note what they take.
package hosttest

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/internal/host"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
)

// New makes a host that is stopped when the test ends. What o leaves open that a host must have gets values that are not in the way;
// the name is then localhost.
func New(t testing.TB, r *host.Registry, o host.Options) *host.Host {
	t.Helper()
	o.Name = cmp.Or(o.Name, "localhost")
	o.SessionsPerUser = cmp.Or(o.SessionsPerUser, 10)
	o.OutboxBytes = cmp.Or(o.OutboxBytes, 1<<20)
	o.StanzaBytes = cmp.Or(o.StanzaBytes, 256<<10)
	o.Log = slog.New(slog.DiscardHandler)
	h, err := host.New(t.Context(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Stop(context.WithoutCancel(t.Context()), &stanza.StreamError{Condition: stanza.SystemShutdown})
	})
	return h
}

// Line is a connection that notes what it takes.
type Line struct {
	May chan struct{} // until it is closed nothing is taken; nil: everything is

	mu   sync.Mutex
	got  []string
	seen int
}

// Send implements session.Conn.
func (l *Line) Send(ws []stanza.Wire) error {
	if l.May != nil {
		<-l.May
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range ws {
		l.got = append(l.got, w.String())
	}
	return nil
}

// End implements session.Conn.
func (l *Line) End(*stanza.StreamError) {}

// Abort implements session.Conn.
func (l *Line) Abort() {}

// Info implements session.Conn.
func (l *Line) Info() session.ConnInfo { return session.ConnInfo{Transport: "line"} }

// All gives the stanzas that were taken.
func (l *Line) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// Fresh gives those that have come since it was asked last, nil when there are none. It is for bubbles (synctest): all others wait then.
func (l *Line) Fresh() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := append([]string(nil), l.got[l.seen:]...)
	l.seen = len(l.got)
	return fresh
}
