package server

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"rollcall/internal/admin"
	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/jid"
	"rollcall/internal/stanza"
)

// What becomes of a try to make an account in band: labels of metrics.RegistrationResults.
const (
	registrationMade         = "made"
	registrationTaken        = "taken"
	registrationUnacceptable = "unacceptable"
	registrationRefused      = "refused" // too many
	registrationFailed       = "failed"  // by a fault of ours
)

// registrar gives who makes accounts of a host in band, nil where nobody does now.
func (s *Server) registrar(domain string) c2s.Registrar {
	h := s.hostNamed(domain)
	if h == nil || h.users == nil || !h.users.rules.Load().Registration {
		return nil
	}
	return h.users
}

// mayRemove tells whether users may remove their own accounts.
func (u *users) mayRemove() bool { return u.rules.Load().Removal }

// Register implements c2s.Registrar.
func (u *users) Register(ctx context.Context, user, password string, from netip.Prefix) error {
	result, err := u.register(ctx, user, password, from)
	u.observe(result)
	return err
}

// register looks at what costs nothing first, and then counts the try, before anything is looked up or hashed.
func (u *users) register(ctx context.Context, user, password string, from netip.Prefix) (result string, err error) {
	if slices.Contains(u.rules.Load().ReservedNames, user) || u.roles.named(user) { // who is named in admins has a role by the name alone
		return registrationUnacceptable, stanza.NewError(stanza.NotAcceptable, "this username is reserved; choose another")
	}
	if err := auth.CheckPassword(password, u.rules.Load().PasswordMin); err != nil {
		return registrationUnacceptable, stanza.NewError(stanza.NotAcceptable, strings.TrimPrefix(err.Error(), "auth: "))
	}
	if !u.registrations.Try(u.host, from) {
		return registrationRefused, stanza.NewError(stanza.ResourceConstraint, "too many accounts have been asked for; try again in an hour")
	}
	taken, err := u.taken(ctx, user)
	if err != nil {
		return registrationFailed, err
	}
	if !taken {
		err = u.Create(ctx, user, password, admin.RoleUser)
	}
	switch {
	case taken || errors.Is(err, admin.ErrUserExists):
		return registrationTaken, stanza.NewError(stanza.Conflict, "this username is taken; choose another")
	case err != nil:
		return registrationFailed, err
	}
	return registrationMade, nil
}

// taken tells whether a name is somebody's, account or not: whoever got it would get what is kept or done under it. So is that
// of an account that has just been removed, until nobody can be left who has signed in to it.
func (u *users) taken(ctx context.Context, user string) (bool, error) {
	account, err := jid.New(user, u.host, "")
	if err != nil {
		return true, err
	}
	if u.isBarred(user) || len(u.registry.Sessions(account)) > 0 || u.members.has(user) {
		return true, nil
	}
	return u.store.NameInUse(ctx, u.host, user)
}
