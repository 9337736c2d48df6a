package server

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/store"
)

// accounts lets users of a host sign in whose credentials are in the store.
type accounts struct {
	store *store.Store
	host  string
}

// Credentials implements auth.Source.
func (a accounts) Credentials(ctx context.Context, username string) (auth.Credentials, error) {
	found, err := a.store.Account(ctx, a.host, username)
	if errors.Is(err, store.ErrNotFound) {
		return auth.Credentials{}, auth.ErrUnknownUser
	}
	if err != nil {
		return auth.Credentials{}, err
	}
	return auth.Credentials{
		SHA1:    auth.Keys(found.Credentials.SHA1),
		SHA256:  auth.Keys(found.Credentials.SHA256),
		Version: found.Changed.UnixMicro(),
		// The clock tells two accounts of one name apart: the first was removed before the second was made, each with a commit.
		Account:  found.Created.UnixMicro(),
		Disabled: found.Disabled,
	}, nil
}

// Upgrade implements auth.Upgrader. Nothing is to be done when somebody has set another password meanwhile.
func (a accounts) Upgrade(ctx context.Context, username string, storedKey []byte, c auth.Credentials) error {
	err := a.store.UpgradeCredentials(ctx, a.host, username, storedKey, stored(c))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// stored are credentials as the store has them.
func stored(c auth.Credentials) store.Credentials {
	return store.Credentials{SHA1: store.Keys(c.SHA1), SHA256: store.Keys(c.SHA256)}
}

// maxSignInWait is the longest that a try to sign in waits where many have failed. A stream that has not signed in has time for
// three.
const maxSignInWait = 8 * time.Second

// newGuard makes what slows down those who guess passwords, for all hosts.
func (s *Server) newGuard() *auth.Guard {
	return auth.NewGuard(auth.GuardOptions{
		Tries: s.cfg.Limits.FailedSignIns, MaxWait: signInWait(s.cfg.Limits), Exceeded: s.guessed, Log: s.log,
	})
}

func signInWait(l config.Limits) time.Duration { return min(maxSignInWait, l.PreAuthTimeout/4) }

// guessed tells the application of a user whose password is being guessed.
func (s *Server) guessed(host, username string, last netip.Prefix, tries int) {
	h := s.hostNamed(host)
	if h == nil {
		return
	}
	if tell := h.tells(config.EventSignInFailures); tell != nil {
		data := map[string]any{"failures": tries}
		if last.IsValid() {
			data["last_from"] = last.String()
		}
		tell(username, data)
	}
}
