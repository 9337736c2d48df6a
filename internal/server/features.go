package server

import (
	"time"

	"rollcall/internal/config"
	"rollcall/internal/feature/blocking"
	"rollcall/internal/feature/carbons"
	"rollcall/internal/feature/contacts"
	"rollcall/internal/feature/csi"
	"rollcall/internal/feature/disco"
	"rollcall/internal/feature/last"
	"rollcall/internal/feature/offline"
	"rollcall/internal/feature/ping"
	"rollcall/internal/feature/private"
	"rollcall/internal/feature/register"
	"rollcall/internal/feature/serverinfo"
	timefeature "rollcall/internal/feature/time"
	"rollcall/internal/feature/vcard"
	"rollcall/internal/feature/version"
	"rollcall/internal/host"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// features is the list of what a virtual host can do, in the order in which they see a stanza at each stage.
func (s *Server) features(h *virtualHost) ([]host.Feature, error) {
	blocked, err := blocking.New(blocking.Options{
		Host: h.cfg.Name, Store: s.values(), Forget: h.cfg.Auth.Method == config.AuthAnonymous,
		Changed: s.directory.BlocksChanged, Log: h.log,
	})
	if err != nil {
		return nil, err
	}
	personal, err := s.newPEP(h, blocked)
	if err != nil {
		return nil, err
	}
	photo, ofClients := h.photo(personal)
	moments := last.New(last.Options{
		Host: h.cfg.Name, Store: s.values(), Started: time.Now(), HostOnly: h.cfg.Auth.Method == config.AuthAnonymous,
		MaySee: s.directory.MaySee, Visible: s.directory.Visible, Log: h.log,
	})
	all := []host.Feature{
		h.leases.Feature(), // before all that would do something for a session that is to end
		blocked.Feature(),  // before all that would do something with what is blocked
		personal.feature(), // before contacts, which deals with presence
		moments.Feature(),
		contacts.New(contacts.Options{
			Host:           h.cfg.Name,
			Engine:         h.engine,
			Registry:       s.registry,
			Directory:      s.directory,
			Mutual:         h.cfg.Roster.Mutual,
			ClientEdits:    stanza.Condition(h.cfg.Roster.ClientEdits),
			Blocks:         blocked.Of,
			Metrics:        h.metrics,
			Presence:       h.presenceTold(),
			Photo:          photo,
			PhotoOfClients: ofClients,
			Announced:      personal.arrived(),
			Gained:         personal.gained(),
		}),
		disco.New(func() *host.Host { return h.host }, s.directory.Shows),
		serverinfo.New(h.cfg.Contact),
		carbons.New(s.registry),
		ping.New(),
		version.New("rollcall", s.opts.Version),
		timefeature.New(time.Now),
	}
	if h.cfg.Auth.Method != config.AuthAnonymous {
		all = append(all, h.members.feature(), h.counted.feature())
	}
	if h.keepsMail() {
		all = append(all, offline.New())
	}
	if s.cfg.Limits.IdleStanzas > 0 {
		all = append(all, csi.New())
	}
	if h.webhooks != nil {
		all = append(all, h.webhookFeature())
	}
	if h.users != nil {
		all = append(all, register.New(register.Options{Accounts: h.users, Removal: h.users.mayRemove, Opened: h.users.opened}))
	}
	if f, ok := s.commands(h, moments); ok {
		all = append(all, f)
	}
	if h.uids != nil {
		all = append(all, s.archive(h))
	}
	return append(all, s.stored(h, personal)...), nil
}

// stored are the features that keep what users give them in the store. Without a store they are not there, nor for anonymous
// users, who never come back for it. vCards are there without one where the application has the users' profiles.
func (s *Server) stored(h *virtualHost, personal personal) (all []host.Feature) {
	values := s.values()
	if h.cfg.Auth.Method == config.AuthAnonymous {
		values = nil
	}
	if h.profiles != nil {
		all = append(all, vcard.New(s.vcards(h)))
	} else if values != nil {
		all = append(all, vcard.New(vcard.Options{Host: h.cfg.Name, Store: values, Log: h.log, Photos: personal.photos()}))
	}
	if values != nil {
		all = append(all, private.New(private.Options{Host: h.cfg.Name, Store: values, Log: h.log}))
	}
	return all
}

// values is where features keep what is an account's; nil: nowhere.
func (s *Server) values() store.Values {
	switch {
	case s.opts.Values != nil:
		return s.opts.Values
	case s.store != nil:
		return s.store
	}
	return nil
}

// streamFeatures lists what the features of a host announce to clients that have signed in.
func (s *Server) streamFeatures(domain string) []*xmlstream.Element {
	return s.registry.Host(domain).StreamFeatures()
}
