package server

import (
	"context"
	"errors"

	"rollcall/internal/admin"
	"rollcall/internal/config"
	"rollcall/internal/feature/commands"
	"rollcall/internal/feature/last"
	"rollcall/internal/host"
)

// commands lets a host's administrators do by their clients what the HTTP API does, and by the same. Where nobody proves who they
// are there are no administrators.
func (s *Server) commands(h *virtualHost, moments *last.Last) (f host.Feature, ok bool) {
	if m := h.cfg.Auth.Method; m == config.AuthOpen || m == config.AuthAnonymous {
		return f, false
	}
	o := commands.Options{
		Host: h.cfg.Name, Registry: s.registry, Role: h.roles.of, Seen: moments.Seen, Count: h.metrics.Command, Log: h.log,
		End: func(ctx context.Context, full string) bool { return sessions{h.host, s.registry}.End(ctx, full) },
	}
	if h.users != nil {
		o.Accounts = administered{h.users}
	}
	if h.service != nil {
		o.Rosters = commandedRosters{rosters{h.engine, true}}
	}
	return commands.New(o), true
}

// administered are a host's accounts, in the words of commands.
type administered struct{ *users }

// Count implements commands.Accounts.
func (a administered) Count(ctx context.Context) (int, error) {
	return a.store.CountAccounts(ctx, a.host)
}

// Exists implements commands.Accounts.
func (a administered) Exists(ctx context.Context, user string) (bool, error) {
	_, err := a.User(ctx, user)
	if errors.Is(err, admin.ErrNoUser) {
		return false, nil
	}
	return err == nil, err
}

// Create implements commands.Accounts. No command gives a role.
func (a administered) Create(ctx context.Context, user, password string) error {
	return inCommands(a.users.Create(ctx, user, password, admin.RoleUser))
}

// SetPassword implements commands.Accounts.
func (a administered) SetPassword(ctx context.Context, user, password string) error {
	return inCommands(a.Password(ctx, user, password))
}

// Disable implements commands.Accounts.
func (a administered) Disable(ctx context.Context, user string, disabled bool) error {
	return inCommands(a.users.Disable(ctx, user, disabled))
}

// Delete implements commands.Accounts.
func (a administered) Delete(ctx context.Context, user string) error {
	return inCommands(a.users.Delete(ctx, user))
}

func inCommands(err error) error {
	var bad *admin.BadPassword
	switch {
	case errors.As(err, &bad):
		return &commands.BadPassword{Reason: bad.Reason}
	case errors.Is(err, admin.ErrUserExists):
		return commands.ErrTaken
	case errors.Is(err, admin.ErrNoUser):
		return commands.ErrNoAccount
	}
	return err
}

// commandedRosters are a host's rosters, likewise.
type commandedRosters struct{ of rosters }

// Refresh implements commands.Rosters.
func (r commandedRosters) Refresh(ctx context.Context, users []string) (all []commands.Outcome) {
	for _, res := range r.of.Refresh(ctx, users) {
		all = append(all, outcome(res))
	}
	return all
}

// Held implements commands.Rosters.
func (r commandedRosters) Held(ctx context.Context, user string) (*commands.Held, error) {
	v, err := r.of.Roster(ctx, user)
	if errors.Is(err, admin.ErrNoRoster) || err == nil && v.Held == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &commands.Held{Since: v.Held.Since, Added: v.Held.Added, Removed: v.Held.Removed, Changed: v.Held.Changed,
		Removals: v.Held.RemovedContacts}, nil
}

// Confirm implements commands.Rosters.
func (r commandedRosters) Confirm(ctx context.Context, user string) commands.Outcome {
	return outcome(r.of.Confirm(ctx, user))
}

func outcome(res admin.RosterResult) commands.Outcome {
	return commands.Outcome{Result: string(res.Result), Added: res.Added, Removed: res.Removed, Changed: res.Changed, Err: res.Err}
}
