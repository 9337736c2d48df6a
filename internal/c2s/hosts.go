package c2s

import (
	"context"

	"rollcall/internal/auth"
	"rollcall/internal/host"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// HostsOf gives the hosts of a registry as streams see them; sasl gives the SASL server of each, by domain, nil for none. A
// stream keeps to the one that it was first given.
func HostsOf(r *host.Registry, sasl func(domain string) *auth.Server) Hosts { return hosts{r, sasl} }

type hosts struct {
	registry *host.Registry
	sasl     func(domain string) *auth.Server
}

// Host implements Hosts.
func (h hosts) Host(domain string) Host {
	found, sasl := h.registry.Host(domain), h.sasl(domain)
	if found == nil || sasl == nil {
		return nil
	}
	return virtual{found, sasl}
}

type virtual struct {
	host *host.Host
	sasl *auth.Server
}

// Auth implements Host.
func (v virtual) Auth() *auth.Server { return v.sasl }

// Bind implements Host.
func (v virtual) Bind(ctx context.Context, local, resource string, c session.Conn) (Session, error) {
	s, err := v.host.Bind(ctx, local, resource, c)
	if err != nil {
		return nil, err
	}
	return &bound{s, v.host, c}, nil
}

// Inline implements Host.
func (v virtual) Inline() []string { return v.host.Inline() }

// BindInline implements Host.
func (v virtual) BindInline(ctx context.Context, local string, b host.InlineBind, c session.Conn) (Session, []*xmlstream.Element, error) {
	s, answers, err := v.host.BindInline(ctx, local, b, c)
	if err != nil {
		return nil, nil, err
	}
	return &bound{s, v.host, c}, answers, nil
}

// ResumeInline implements Host.
func (v virtual) ResumeInline(ctx context.Context, local string, r host.Resumption, c session.Conn) (Session, uint32, error) {
	s, handled, err := v.host.ResumeInline(ctx, local, r, c)
	if err != nil {
		return nil, 0, err
	}
	return &bound{s, v.host, c}, handled, nil
}

// Resume implements Host.
func (v virtual) Resume(ctx context.Context, local string, r host.Resumption, c session.Conn) (Session, error) {
	s, err := v.host.Resume(ctx, local, r, c)
	if err != nil {
		return nil, err
	}
	return &bound{s, v.host, c}, nil
}

// bound is a session as one of its connections sees it.
type bound struct {
	*session.Session
	host *host.Host
	conn session.Conn
}

// Receive implements Session.
func (b *bound) Receive(el *xmlstream.Element) {
	b.handle(el)
	b.Pause()
}

func (b *bound) handle(el *xmlstream.Element) {
	if b.Begin(b.conn) {
		defer b.End()
		b.host.Receive(b.Session, el)
	}
}

// Nonza implements Session.
func (b *bound) Nonza(el *xmlstream.Element) (known bool) {
	known = true // where it goes on with another connection, nobody is to be told
	b.Aside(b.conn, func() { known = b.host.Nonza(b.Session, el) })
	return known
}
