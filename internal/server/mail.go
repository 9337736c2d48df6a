package server

import (
	"context"
	"errors"

	"rollcall/internal/config"
	"rollcall/internal/host"
	"rollcall/internal/store"
)

// Messages is where messages are stored.
type Messages interface {
	store.Mailbox
	store.Archive
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

func (s *Server) mail(h *virtualHost) host.Mail {
	m := host.Mail{Limit: h.cfg.Offline.MaxMessages}
	if lasting := s.messages(h); lasting != nil {
		m.Box, m.Lasts = lasting, true
	} else if h.keepsMail() {
		m.Box = host.NewMemory(memoryMail)
	}
	if h.cfg.Auth.Method == config.AuthAccounts && s.store != nil {
		m.Known = func(ctx context.Context, username string) (bool, error) {
			_, err := s.store.Account(ctx, h.cfg.Name, username)
			if errors.Is(err, store.ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		}
	}
	return m
}
