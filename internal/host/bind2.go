package host

import (
	"context"
	"strings"
	"time"

	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// InlineBind is what a client says that has its resource bound as it signs in (XEP-0386).
type InlineBind struct {
	Tag    string // what it calls itself; "" when it does not say
	Client string // tells its installation from the user's others, for as long as there is one; "" when it does not say
	Manage *Management
	Asked  []*xmlstream.Element // what else it wants for the session
}

// Management is a request for stream management, see session.Session.Manage.
type Management struct {
	Resume     bool
	Max        time.Duration
	Credential uint64
}

// Inline names what a client may ask for when its resource is bound, see Inline.
func (h *Host) Inline() (vars []string) {
	for _, f := range h.opts.Features {
		for _, in := range f.Inline {
			if in.Var != "" {
				vars = append(vars, in.Var)
			}
		}
	}
	return vars
}

// BindInline makes a session as Bind does, whose resource is for the server to choose (XEP-0386 section 3.2.1), with all
// that the client has asked for, and gives the answers. One installation has the same resource each time, as long as it
// calls itself the same; its earlier sessions end.
func (h *Host) BindInline(ctx context.Context, local string, b InlineBind, c session.Conn) (s *session.Session, bound []*xmlstream.Element, err error) {
	s, err = h.bind(ctx, local, h.resource(b), c, func(s *session.Session) { bound = h.inline(ctx, s, b) })
	if err != nil {
		return nil, nil, err
	}
	if b.Client != "" {
		h.supersede(s, b.Client)
	}
	return s, bound, nil
}

// maxTag bounds what a client calls itself, in bytes: contacts see it.
const maxTag = 64

func (h *Host) resource(b InlineBind) string {
	id := b.Client
	if id == "" {
		id = generateResource()
	}
	if tagged := b.Tag + "/" + id; b.Tag != "" && len(b.Tag) <= maxTag {
		if _, err := h.jid.WithResource(tagged); err == nil { // "subject to the necessary validation"
			return tagged
		}
	}
	return id
}

func (h *Host) inline(ctx context.Context, s *session.Session, b InlineBind) (bound []*xmlstream.Element) {
	if m := b.Manage; m != nil {
		bound = append(bound, s.ManageInline(m.Resume, m.Max, m.Credential))
	}
	for _, f := range h.opts.Features {
		for _, in := range f.Inline {
			var asked *xmlstream.Element
			for _, el := range b.Asked {
				if el.Space == in.Space {
					asked = el
					break
				}
			}
			if answer := in.Bound(ctx, s, asked); answer != nil {
				bound = append(bound, answer)
			}
		}
	}
	return bound
}

// supersede ends the other sessions of a client's installation, which it has lost: the "server SHOULD terminate any
// earlier sessions from the same client". One with the same resource has ended already.
func (h *Host) supersede(s *session.Session, client string) {
	for _, other := range h.online.of(s.JID().Local()) {
		resource := other.JID().Resource()
		if other != s && (resource == client || strings.HasSuffix(resource, "/"+client)) {
			other.Close(errSuperseded)
		}
	}
}

var errSuperseded error = &stanza.StreamError{Condition: stanza.StreamConflict, Text: "replaced by a new connection"}
