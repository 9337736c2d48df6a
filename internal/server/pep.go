package server

import (
	"context"
	"errors"

	"rollcall/internal/config"
	"rollcall/internal/feature/blocking"
	"rollcall/internal/feature/pep"
	"rollcall/internal/feature/vcard"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/session"
)

// personal is the feature for personal eventing of a host, if it has it.
type personal struct {
	pep       *pep.PEP // nil: what is published could not be kept
	directory *pep.Directory
}

// newPEP makes the feature, where there is a place for what is published, by users who come again.
func (s *Server) newPEP(h *virtualHost, blocked *blocking.Blocking) (personal, error) {
	if s.values() == nil || h.cfg.Auth.Method == config.AuthAnonymous {
		return personal{}, nil
	}
	o := pep.Options{
		Host: h.cfg.Name, Store: s.values(), Registry: s.registry, Directory: s.personal, Roster: s.knownRoster,
		Blocked: blocked.BlockedBy, Mutual: h.cfg.Roster.Mutual, Log: h.log,
	}
	if h.profiles == nil { // otherwise vCards are the application's
		o.PhotoChanged = s.directory.PhotoChanged
	} else {
		o.Managed = true
	}
	p, err := pep.New(o)
	if o.Managed {
		h.avatars = p
	}
	return personal{p, s.personal}, err
}

// feature does nothing where there is no such feature.
func (p personal) feature() host.Feature {
	if p.pep == nil {
		return host.Feature{Name: "pep"}
	}
	return p.pep.Feature()
}

func (p personal) arrived() func(*session.Session) {
	if p.pep == nil {
		return nil
	}
	return p.pep.Arrived
}

// photos has the photos of vCards that users write; nil: they are in the vCards.
func (p personal) photos() vcard.Photos {
	if p.pep == nil {
		return nil
	}
	return p.pep
}

func (p personal) gained() func(account, contact jid.JID) {
	if p.pep == nil {
		return nil
	}
	return p.directory.Gained
}

var errNotOurs = errors.New("there is no such host")

// knownRoster gives an account's roster, however old what is known of it is; one that is not known is asked for.
func (s *Server) knownRoster(ctx context.Context, account jid.JID) (*rosterdoc.Roster, error) {
	h := s.hostNamed(account.Domain())
	if h == nil {
		return nil, errNotOurs
	}
	k, err := h.engine.Known(ctx, account.Local())
	if err != nil {
		return nil, err
	}
	return k.Roster, nil
}
