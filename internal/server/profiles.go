package server

import (
	"context"
	"errors"

	"rollcall/internal/admin"
	"rollcall/internal/config"
	"rollcall/internal/feature/vcard"
	"rollcall/internal/jid"
	"rollcall/internal/metrics"
	"rollcall/internal/profile"
	"rollcall/internal/rosterhttp"
	"rollcall/internal/xmlstream"
)

// profiles are those of a host's users, as the application has them.
type profiles struct {
	engine *profile.Engine
	source documents
}

// addProfiles makes what asks a host's application for profiles, if it is to be asked.
func (s *Server) addProfiles(h *virtualHost, i int) error {
	c := h.cfg.Profile
	if c.URL == "" {
		return nil
	}
	client, err := s.newDocuments(h, s.cfg, i)
	if err != nil {
		return err
	}
	source := documents{newReplaceable(client)}
	h.services.breaks(metrics.Profile, func() string { return source.client().Health().Breaker })
	o := profile.Options{
		Host: h.cfg.Name, Source: source, MaxAge: c.MaxAge, AvatarBytes: c.AvatarBytes, Log: h.log,
		Online: func(local string) bool {
			account, err := jid.New(local, h.cfg.Name, "")
			return err == nil && len(s.registry.Sessions(account)) > 0
		},
	}
	o.Changed = func(local string) {
		if account, err := jid.New(local, h.cfg.Name, ""); err == nil {
			s.directory.PhotoChanged(account)
			h.showPicture(account)
		}
	}
	if h.cfg.Auth.Method != config.AuthAnonymous {
		o.Store = s.values()
	}
	h.profiles = &profiles{engine: profile.New(s.rosters, o), source: source}
	return nil
}

// newDocuments makes the client for a host's profiles. i is the host's place in the configuration that from is.
func (s *Server) newDocuments(h *virtualHost, from *config.Config, i int) (*rosterhttp.Documents, error) {
	c := from.Hosts[i].Profile
	client, err := rosterhttp.NewDocuments(rosterhttp.Config{
		Host: h.cfg.Name, URL: c.URL, Token: string(c.Token), Timeout: c.Timeout, Concurrency: c.Concurrency, Of: "profile",
		UserAgent: "rollcall/" + s.opts.Version, Log: h.log, Dial: s.opts.DialRoster,
		Observe: h.services.observeDocuments(),
	}, c.AvatarOrigins)
	if err != nil {
		if wrong := (*rosterhttp.ConfigError)(nil); errors.As(err, &wrong) {
			err = wrong.Err
		}
		return nil, from.KeyError(config.HostKey(i, "profile.url"), err)
	}
	return client, nil
}

// vcards are the options of the feature on a host whose profiles are the application's.
func (s *Server) vcards(h *virtualHost) vcard.Options {
	return vcard.Options{Host: h.cfg.Name, Log: h.log, Lists: s.directory.Lists,
		Profiles: func(ctx context.Context, local string) (*xmlstream.Element, error) {
			p, err := h.profiles.engine.Get(ctx, local)
			if err != nil {
				return nil, err
			}
			return p.VCard(), nil
		}}
}

// photo gives contacts what presence is to say of a user's picture, and whether it is what clients have published; nil where clients
// say it.
func (h *virtualHost) photo(personal personal) (told func(local string) (hash string, known bool), ofClients bool) {
	switch {
	case h.profiles != nil:
		return func(local string) (string, bool) {
			p := h.profiles.engine.Known(local, true)
			if p == nil {
				return "", false
			}
			return p.PhotoHash(), true
		}, false
	case personal.pep != nil:
		return personal.pep.PhotoHash, true
	}
	return nil, false
}

// showPicture has the picture of a user's profile published as the avatar (XEP-0084), for clients that look there.
func (h *virtualHost) showPicture(account jid.JID) {
	if h.avatars == nil {
		return
	}
	if p := h.profiles.engine.Known(account.Local(), false); p != nil {
		picture := p.Picture()
		h.avatars.Show(account, picture.Type, picture.Data)
	}
}

func (p *profiles) stop() {
	p.engine.Stop()
	p.source.close()
}

// Refresh implements admin.Refresher.
func (p *profiles) Refresh(ctx context.Context, users []string) []admin.RosterResult {
	results := make([]admin.RosterResult, 0, len(users))
	for _, r := range p.engine.Refresh(ctx, users) {
		kind := map[profile.Kind]admin.Outcome{profile.Changed: admin.Changed, profile.Unchanged: admin.Unchanged,
			profile.Offline: admin.Offline, profile.Failed: admin.Failed}[r.Kind]
		if errors.Is(r.Err, context.DeadlineExceeded) {
			r.Err = errors.New("the application did not answer in time")
		}
		results = append(results, admin.RosterResult{Result: kind, Err: r.Err})
	}
	return results
}
