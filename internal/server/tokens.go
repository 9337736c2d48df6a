package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/feature/lease"
	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/store"
)

// tokens keeps the one-use tokens of a host in the store.
type tokens struct {
	store *store.Store
	host  string
}

// Tokens implements auth.TokenStore.
func (t tokens) Tokens(ctx context.Context, username string, most int) ([]auth.StoredToken, error) {
	found, err := t.store.Tokens(ctx, t.host, username, most)
	all := make([]auth.StoredToken, len(found))
	for i, one := range found {
		all[i] = auth.StoredToken{ID: one.ID, Expires: one.Expires, Credentials: auth.Credentials{
			SHA1: auth.Keys(one.Credentials.SHA1), SHA256: auth.Keys(one.Credentials.SHA256)}}
	}
	return all, err
}

// AddToken implements auth.TokenStore.
func (t tokens) AddToken(ctx context.Context, username string, one auth.StoredToken, keep int) error {
	return t.store.AddToken(ctx, t.host, username, store.Token{ID: one.ID, Expires: one.Expires, Credentials: store.Credentials{
		SHA1: store.Keys(one.Credentials.SHA1), SHA256: store.Keys(one.Credentials.SHA256)}}, keep)
}

// UseToken implements auth.TokenStore.
func (t tokens) UseToken(ctx context.Context, username, id string) (bool, error) {
	err := t.store.UseToken(ctx, t.host, username, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// MakeToken makes a one-use token of a user, for a program beside a server. st is the database of the configuration.
func MakeToken(ctx context.Context, cfg *config.Config, st *store.Store, user jid.JID, ttl time.Duration) (auth.Token, error) {
	for i, c := range cfg.Hosts {
		if c.Name != user.Domain() {
			continue
		}
		a, err := authConfig(ctx, cfg, i, outside{store: st})
		if err != nil {
			return auth.Token{}, err
		}
		sasl, err := auth.New(a)
		if err != nil {
			return auth.Token{}, err
		}
		return sasl.MakeToken(ctx, user.Local(), ttl)
	}
	return auth.Token{}, fmt.Errorf("there is no host %s", user.Domain())
}

// newLeases makes what holds a host's sessions to their tokens.
func (s *Server) newLeases(h *virtualHost) *lease.Leases {
	o := lease.Options{SignIn: s.cfg.Limits.PreAuthTimeout}
	if s.store != nil {
		o.Tidy = func(ctx context.Context) {
			if err := s.store.RemoveExpiredTokens(ctx); err != nil && ctx.Err() == nil {
				h.log.Warn("expired tokens are kept", "error", err)
			}
		}
	}
	return lease.New(o)
}

// makeToken lets the admin API make tokens of a host's users.
func (s *Server) makeToken(h *virtualHost) func(context.Context, string, time.Duration) (admin.Token, error) {
	return func(ctx context.Context, user string, ttl time.Duration) (admin.Token, error) {
		t, err := h.sasl.Load().MakeToken(ctx, user, ttl)
		switch {
		case errors.Is(err, auth.ErrNoTokens):
			err = admin.ErrNoTokens
		case errors.Is(err, store.ErrUnavailable):
			err = admin.ErrBusy
		}
		return admin.Token{JID: user + "@" + h.cfg.Name, Text: t.Text, ID: t.ID, Expires: t.Expires}, err
	}
}

// revokeTokens lets it take them back, and the sessions that were opened with them.
func (s *Server) revokeTokens(h *virtualHost) func(context.Context, string, string) (admin.Revoked, error) {
	return func(ctx context.Context, user, id string) (r admin.Revoked, err error) {
		if s.store == nil {
			return r, admin.ErrNoTokens
		}
		account, err := jid.New(user, h.cfg.Name, "")
		if err != nil {
			return r, err
		}
		if r.Tokens, err = s.store.RemoveTokens(ctx, h.cfg.Name, user, id); err != nil {
			return r, err
		}
		r.Sessions = h.leases.Revoke(ctx, user, id, func() []*session.Session { return s.registry.Sessions(account) })
		return r, nil
	}
}
