package server

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"rollcall/internal/feature/commands"
	"rollcall/internal/store"
)

// roles say who administers a host: those whom the configuration names, and those whose accounts say so.
type roles struct {
	accounts *accounts                // nil where users have no accounts here
	names    atomic.Pointer[[]string] // as of now: of the key admins
}

// named tells whether the configuration names a user.
func (r *roles) named(user string) bool { return slices.Contains(*r.names.Load(), user) }

// of looks a user's role up. Nothing of it is remembered, so that one that is taken away is gone.
func (r *roles) of(ctx context.Context, user string) (commands.Role, error) {
	role := commands.Role{Admin: r.named(user)}
	if r.accounts == nil {
		return role, nil
	}
	a, err := r.accounts.store.Account(ctx, r.accounts.host, user)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return role, nil
	case err != nil:
		return commands.Role{}, err
	}
	role.Admin = role.Admin || a.Role == store.RoleAdmin
	role.Barred, role.Account = a.Disabled, a.Created
	return role, nil
}
