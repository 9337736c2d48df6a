package server

import (
	"slices"
	"strings"

	"rollcall/internal/config"
	"rollcall/internal/rosterhttp"
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
	clients, err := s.newClients(changes, next)
	if err != nil {
		return nil, err
	}
	for h, client := range clients {
		h.service.replace(client)
	}
	s.admin.Allow(s.callers(next))
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

// newClients makes a client for each host whose service is asked otherwise than before.
func (s *Server) newClients(changes []config.Change, next *config.Config) (map[*virtualHost]*rosterhttp.Client, error) {
	made := map[*virtualHost]*rosterhttp.Client{}
	for i, c := range next.Hosts {
		h := s.hostNamed(c.Name)
		if h == nil || h.service == nil || !slices.ContainsFunc(changes, func(one config.Change) bool {
			return one.Host == c.Name && ofService(one) && s.takes(one, next)
		}) {
			continue
		}
		client, err := s.newClient(h, next, i)
		if err != nil {
			for _, one := range made {
				one.Close()
			}
			return nil, err
		}
		made[h] = client
	}
	return made, nil
}

func (s *Server) hostNamed(name string) *virtualHost {
	for _, h := range s.hosts {
		if h.cfg.Name == name {
			return h
		}
	}
	return nil
}

// takes tells whether a change takes effect without a restart. Hosts neither come nor go, and whether one has a service at all
// does not change: its rosters are kept in another way then.
func (s *Server) takes(c config.Change, next *config.Config) bool {
	if !c.Live || c.Host == "" {
		return c.Live
	}
	h := s.hostNamed(c.Host)
	i := slices.IndexFunc(next.Hosts, func(other config.Host) bool { return other.Name == c.Host })
	if h == nil || i < 0 {
		return false
	}
	return !ofService(c) || h.service != nil && next.Hosts[i].Roster.Asks()
}

// ofService tells whether a key is about a host's service.
func ofService(c config.Change) bool { return strings.HasPrefix(c.Key, "host.roster.") }
