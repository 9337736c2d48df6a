package c2s_test

import (
	"context"
	"testing/synctest"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// earlyHosts write to each session before its Bind returns. They live in a bubble of fake time.
type earlyHosts struct{ *c2stest.Hosts }

func (h earlyHosts) Host(domain string) c2s.Host {
	if host := h.Hosts.Host(domain); host != nil {
		return earlyHost{host}
	}
	return nil
}

type earlyHost struct{ c2s.Host }

func (h earlyHost) Bind(ctx context.Context, local, resource string, c session.Conn) (c2s.Session, error) {
	s, err := h.Host.Bind(ctx, local, resource, c)
	if err == nil {
		s.Send(stanza.NewWire(xmlstream.New("jabber:client", "message", "id", "early")))
		synctest.Wait() // it has been written, if it is going to be
	}
	return s, err
}
