package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/feature/register"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
)

// users are the accounts of a host, as those change them who may: users their own, in band, and the API any.
type users struct {
	accounts
	sasl     func() *auth.Server // there is one when somebody calls
	registry *host.Registry
	members  *members
	log      *slog.Logger

	// barred are users whose accounts have just been disabled or removed, and until when that matters: somebody who proved a
	// password just before has no session yet that could be ended, but is going to have one.
	mu     sync.Mutex
	barred map[string]time.Time
	time   time.Duration // from the proof to the session, at most

	rules atomic.Pointer[config.Auth] // as of now: of registration, removal and passwords
	roles *roles
	// registrations are counted, and observe counts what comes of them.
	registrations *auth.Registrations
	observe       func(result string)
}

func (s *Server) newUsers(h *virtualHost) *users {
	return &users{accounts: accounts{s.store, h.cfg.Name}, roles: &h.roles, sasl: h.sasl.Load,
		registry: s.registry, members: h.members, log: h.log, barred: map[string]time.Time{}, time: s.cfg.Limits.PreAuthTimeout + time.Minute,
		registrations: s.registrations, observe: h.metrics.Registration}
}

// bar has sessions of a user looked at that begin from now on.
func (u *users) bar(user string) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.barred, func(_ string, until time.Time) bool { return until.Before(now) })
	u.barred[user] = now.Add(u.time)
}

func (u *users) isBarred(user string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, is := u.barred[user]
	return is && time.Now().Before(until)
}

// opened ends a session whose user may not have it any more.
func (u *users) opened(ctx context.Context, s *session.Session) {
	user := s.JID().Local()
	u.mu.Lock()
	_, is := u.barred[user]
	u.mu.Unlock()
	if !is {
		return
	}
	if a, err := u.store.Account(ctx, u.host, user); err != nil || a.Disabled {
		s.Close(errAccount)
	}
}

// errAccount ends sessions of an account that is disabled, or is no more: "the server SHOULD then return a <not-authorized/> stream
// error and terminate all active sessions for the entity" (XEP-0077 section 3.2).
var errAccount = &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "the account may not be used any more"}

// end ends a user's sessions and waits until others have seen them go, or ctx is done.
func (u *users) end(ctx context.Context, user string) {
	account, err := jid.New(user, u.host, "")
	if err != nil {
		return
	}
	all := u.registry.Sessions(account)
	for _, one := range all {
		one.Close(errAccount)
	}
	for _, one := range all {
		select {
		case <-one.Ended():
		case <-ctx.Done():
		}
	}
}

// SetPassword implements register.Accounts and, with Password, admin.Users.
func (u *users) SetPassword(ctx context.Context, user, password string) error {
	err := u.Password(ctx, user, password)
	var bad *admin.BadPassword
	switch {
	case errors.As(err, &bad):
		return &register.BadPassword{Reason: bad.Reason}
	case errors.Is(err, admin.ErrNoUser):
		return register.ErrNoAccount
	case err == nil:
		u.log.Info("password changed", "user", user, "by", "the user")
	}
	return err
}

// Remove implements register.Accounts.
func (u *users) Remove(ctx context.Context, user string, certain func()) error {
	u.bar(user)
	if err := u.store.RemoveAccount(ctx, u.host, user); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return register.ErrNoAccount
		}
		return err
	}
	u.log.Info("account removed", "user", user, "by", "the user")
	certain()
	return u.swept(ctx, user)
}

// swept ends the sessions of an account that is gone, and takes away what they left behind.
func (u *users) swept(ctx context.Context, user string) error {
	u.end(ctx, user)
	u.members.drop(ctx, user)
	err := u.store.RemoveLeftovers(ctx, u.host, user)
	u.members.forget()
	return err
}

// Users implements admin.Users.
func (u *users) Users(ctx context.Context, after string, limit int) (list []admin.UserInfo, err error) {
	page, err := u.store.AccountsAfter(ctx, u.host, after, limit)
	for _, a := range page {
		list = append(list, userInfo(a))
	}
	return list, err
}

func userInfo(a store.Account) admin.UserInfo {
	return admin.UserInfo{JID: a.Username + "@" + a.Host, User: a.Username, Created: a.Created, PasswordChanged: a.Changed, Disabled: a.Disabled,
		Role: admin.Role(a.Role)}
}

// User implements admin.Users.
func (u *users) User(ctx context.Context, user string) (admin.UserInfo, error) {
	a, err := u.store.Account(ctx, u.host, user)
	return userInfo(a), unknown(err)
}

// Create implements admin.Users.
func (u *users) Create(ctx context.Context, user, password string, r admin.Role) error {
	c, err := u.credentials(ctx, password)
	if err != nil {
		return err
	}
	err = u.store.AddAccountAs(ctx, u.host, user, store.Role(r), c)
	if errors.Is(err, store.ErrExists) {
		return admin.ErrUserExists
	}
	return err
}

// Password implements admin.Users.
func (u *users) Password(ctx context.Context, user, password string) error {
	c, err := u.credentials(ctx, password)
	if err != nil {
		return err
	}
	return unknown(u.store.SetCredentials(ctx, u.host, user, c))
}

// Disable implements admin.Users.
func (u *users) Disable(ctx context.Context, user string, disabled bool) error {
	if disabled {
		u.bar(user)
	}
	err := u.store.SetDisabled(ctx, u.host, user, disabled)
	if disabled && err == nil {
		u.end(ctx, user)
	}
	return unknown(err)
}

// Role implements admin.Users.
func (u *users) Role(ctx context.Context, user string, r admin.Role) error {
	return unknown(u.store.SetRole(ctx, u.host, user, store.Role(r)))
}

// Delete implements admin.Users.
func (u *users) Delete(ctx context.Context, user string) error {
	u.bar(user)
	if err := u.store.RemoveAccount(ctx, u.host, user); err != nil {
		return unknown(err)
	}
	return u.swept(ctx, user)
}

func (u *users) credentials(ctx context.Context, password string) (store.Credentials, error) {
	var c auth.Credentials
	err := auth.CheckPassword(password, u.rules.Load().PasswordMin)
	if err == nil {
		c, err = u.sasl().MakeCredentials(ctx, password)
	}
	if err != nil && ctx.Err() == nil {
		return store.Credentials{}, &admin.BadPassword{Reason: strings.TrimPrefix(err.Error(), "auth: ")}
	}
	return stored(c), err
}

func unknown(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return admin.ErrNoUser
	}
	return err
}
