package server

import (
	"time"

	"rollcall/internal/feature/contacts"
	"rollcall/internal/feature/disco"
	"rollcall/internal/feature/ping"
	timefeature "rollcall/internal/feature/time"
	"rollcall/internal/feature/version"
	"rollcall/internal/host"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// features is the list of what a virtual host can do, in the order in which they see a stanza at each stage.
func (s *Server) features(h *virtualHost) []host.Feature {
	all := []host.Feature{
		contacts.New(contacts.Options{
			Host:        h.cfg.Name,
			Engine:      h.engine,
			Registry:    s.registry,
			Directory:   s.directory,
			Mutual:      h.cfg.Roster.Mutual,
			ClientEdits: stanza.Condition(h.cfg.Roster.ClientEdits),
			Metrics:     h.metrics,
			Presence:    h.presenceTold(),
		}),
		disco.New(s.directory.Shows),
		ping.New(),
		version.New("rollcall", s.opts.Version),
		timefeature.New(time.Now),
	}
	if h.webhooks != nil {
		all = append(all, h.webhookFeature())
	}
	return all
}

// streamFeatures lists what the features of a host announce to clients that have signed in.
func (s *Server) streamFeatures(domain string) []*xmlstream.Element {
	return s.registry.Host(domain).StreamFeatures()
}
