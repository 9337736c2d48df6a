package server

import (
	"slices"
	"strings"

	"rollcall/internal/config"
	"rollcall/internal/metrics"
	"rollcall/internal/roster"
)

// Reload takes over what a running server can of a configuration, and says in the log what takes a restart. With an error
// nothing has changed. No session ends, and no request that is under way. live are the keys that took effect. It may be called
// by any goroutine.
func (s *Server) Reload(next *config.Config) (live []string, err error) {
	if err := next.Check(); err != nil {
		return nil, err
	}
	s.reload.Lock()
	defer s.reload.Unlock()
	changes := s.loaded.Changes(next)
	swaps, err := s.prepare(changes, next)
	if err != nil {
		return nil, err
	}
	for _, one := range swaps {
		one.take()
	}
	s.adjust(next)
	s.loaded = next
	for _, c := range changes {
		if s.takes(c, next) {
			live = append(live, c.String())
		}
	}
	var restart []string
	for _, c := range s.cfg.Changes(next) { // those of earlier reloads too
		if !s.takes(c, next) {
			restart = append(restart, c.String())
		}
	}
	if len(restart) > 0 {
		s.log.Warn("some changed keys take a restart", "keys", restart)
	}
	s.log.Info("configuration read again", "changed", live)
	return live, nil
}

// adjust takes over what is only numbers and credentials.
func (s *Server) adjust(next *config.Config) {
	s.admin.Allow(s.callers(next))
	l := next.Limits
	s.c2s.Adjust(s.streams(l))
	s.crowd.bound(l.HTTPPerAddress)
	s.guard.SetTries(l.FailedSignIns, signInWait(l))
	s.registrations.Adjust(l.RegistrationsPerAddress, l.Registrations)
	for _, h := range s.hosts {
		h.host.SetLimits(l.SessionsPerUser, l.DetachedPerUser)
		if of := next.Host(h.cfg.Name); of != nil {
			h.roles.names.Store(&of.Admins)
		}
	}
}

// A swap puts something new, which was made from a configuration, in the place of what was there. One of the two is called,
// and neither fails.
type swap struct{ take, drop func() }

// A part of a host is made anew, as a whole, when one of its keys has changed.
type part struct {
	has func(key string) bool
	// can tells whether a host that was built without, or with another kind of it, can take it over.
	can  func(h *virtualHost, next config.Host) bool
	make func(s *Server, h *virtualHost, next *config.Config, i int) (swap, error)
}

var parts = []part{
	{keys("max_age", "login_wait", "guard"),
		func(*virtualHost, config.Host) bool { return true }, (*Server).tuned},
	{table("roster"), // a host that asks nobody keeps rosters in another way
		func(h *virtualHost, next config.Host) bool { return h.service != nil && next.Roster.Asks() }, (*Server).otherService},
	{table("auth"),
		func(h *virtualHost, next config.Host) bool { return h.cfg.Auth.Method == next.Auth.Method }, (*Server).otherAuth},
	{table("profile"),
		func(h *virtualHost, next config.Host) bool { return h.profiles != nil && next.Profile.URL != "" }, (*Server).otherProfiles},
	{table("archive"), // where there is none there is nothing to do
		func(*virtualHost, config.Host) bool { return true }, (*Server).otherArchive},
	{table("webhooks"),
		func(h *virtualHost, next config.Host) bool { return h.webhooks != nil && next.Webhooks.URL != "" }, (*Server).otherWebhooks},
}

func table(name string) func(key string) bool {
	return func(key string) bool { return strings.HasPrefix(key, "host."+name+".") }
}

func keys(ofRoster ...string) func(key string) bool {
	return func(key string) bool {
		name, ok := strings.CutPrefix(key, "host.roster.")
		return ok && slices.Contains(ofRoster, name)
	}
}

// partOf gives the first part that has a key, nil when none has.
func partOf(key string) *part {
	if i := slices.IndexFunc(parts, func(p part) bool { return p.has(key) }); i >= 0 {
		return &parts[i]
	}
	return nil
}

// prepare makes what is to be swapped.
func (s *Server) prepare(changes []config.Change, next *config.Config) (swaps []swap, err error) {
	for i, c := range next.Hosts {
		h := s.hostNamed(c.Name)
		for n := range parts {
			p := &parts[n]
			if h == nil || !slices.ContainsFunc(changes, func(one config.Change) bool {
				return one.Host == c.Name && partOf(one.Key) == p && s.takes(one, next)
			}) {
				continue
			}
			one, err := p.make(s, h, next, i)
			if err != nil {
				for _, made := range swaps {
					made.drop()
				}
				return nil, err
			}
			swaps = append(swaps, one)
		}
	}
	return swaps, nil
}

func (s *Server) tuned(h *virtualHost, next *config.Config, i int) (swap, error) {
	r := next.Hosts[i].Roster
	return swap{func() { h.engine.Tune(roster.Tuning{MaxAge: r.MaxAge, LoginWait: r.LoginWait, Guard: r.Guard}) }, func() {}}, nil
}

func (s *Server) otherService(h *virtualHost, next *config.Config, i int) (swap, error) {
	client, err := s.newClient(h, next, i)
	if err != nil {
		return swap{}, err
	}
	return swap{func() { h.service.replace(client) }, client.Close}, nil
}

// otherAuth leaves what the old one has kept, connections of a minute and a half at most, to the garbage collector.
func (s *Server) otherAuth(h *virtualHost, next *config.Config, i int) (swap, error) {
	breaker := h.services.breaker(metrics.Auth)
	drop := func() { h.services.breaks(metrics.Auth, breaker) }
	sasl, err := s.newAuth(s.alive, h, next, i)
	if err != nil {
		drop()
		return swap{}, err
	}
	return swap{func() {
		h.sasl.Store(sasl)
		if h.users != nil {
			h.users.rules.Store(&next.Hosts[i].Auth)
		}
	}, drop}, nil
}

func (s *Server) otherProfiles(h *virtualHost, next *config.Config, i int) (swap, error) {
	client, err := s.newDocuments(h, next, i)
	if err != nil {
		return swap{}, err
	}
	return swap{func() { h.profiles.source.replace(client) }, client.Close}, nil
}

func (s *Server) otherArchive(h *virtualHost, next *config.Config, i int) (swap, error) {
	return swap{func() {
		if h.archives != nil {
			h.archives.Tune(kept(next.Hosts[i]))
		}
	}, func() {}}, nil
}

func (s *Server) otherWebhooks(h *virtualHost, next *config.Config, i int) (swap, error) {
	o, err := s.webhookOptions(h, next, i)
	if err != nil {
		return swap{}, err
	}
	move, err := h.webhooks.Move(o)
	if err != nil {
		return swap{}, next.KeyError(config.HostKey(i, "webhooks.url"), err)
	}
	return swap{move, func() {}}, nil
}

func (s *Server) hostNamed(name string) *virtualHost {
	for _, h := range s.hosts {
		if h.cfg.Name == name {
			return h
		}
	}
	return nil
}

// takes tells whether a change takes effect without a restart. Hosts neither come nor go.
func (s *Server) takes(c config.Change, next *config.Config) bool {
	if !c.Live || c.Host == "" {
		return c.Live
	}
	h, of := s.hostNamed(c.Host), next.Host(c.Host)
	if h == nil || of == nil {
		return false
	}
	p := partOf(c.Key)
	return p == nil || p.can(h, *of)
}
