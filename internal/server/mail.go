package server

import (
	"context"

	"rollcall/internal/config"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/store"
)

// Messages is where messages are stored.
type Messages interface {
	store.Mailbox
	store.Archive
	// Secret gives a random secret of a name, which is the same as long as there are the messages.
	Secret(ctx context.Context, name string) ([]byte, error)
}

// memoryMail bounds the messages that a host keeps in memory where there is no store, in bytes.
const memoryMail = 16 << 20

// keepsMail tells whether messages wait for users of a host who are offline. Anonymous users never come back for them.
func (h *virtualHost) keepsMail() bool {
	return h.cfg.Offline.MaxMessages > 0 && h.cfg.Auth.Method != config.AuthAnonymous
}

// messages is where the messages of a host are stored; nil: nowhere that lasts.
func (s *Server) messages(h *virtualHost) Messages {
	switch {
	case h.cfg.Auth.Method == config.AuthAnonymous:
	case s.opts.Messages != nil:
		return s.opts.Messages
	case s.store != nil:
		return s.store
	}
	return nil
}

// mail says where messages wait for a host's users, and whom it takes for one. Where users have accounts they are those who have
// one, or have signed in. Where an application or an authority knows them it is not asked about each message, and often cannot
// be: users are those who have signed in, those of whom the application has given a roster, and the sender's own contacts, who
// come from the application too.
func (s *Server) mail(h *virtualHost) host.Mail {
	m := host.Mail{Limit: h.cfg.Offline.MaxMessages, Told: h.told}
	if lasting := s.messages(h); lasting != nil {
		m.Box, m.Lasts, m.UIDs = lasting, true, h.uids
	} else if h.keepsMail() {
		m.Box = host.NewMemory(memoryMail)
	}
	switch h.cfg.Auth.Method {
	case config.AuthAccounts:
		m.Known = func(jid.JID, jid.JID) store.Known { return store.Member }
	case config.AuthHTTP, config.AuthJWT:
		m.Known = func(from, to jid.JID) store.Known {
			if s.directory.Lists(from, to) || h.members.has(to.Local()) {
				return store.Anybody
			}
			return store.Listed
		}
	}
	return m
}
