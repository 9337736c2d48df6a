package server

import (
	"context"
	"errors"

	"rollcall/internal/auth"
	"rollcall/internal/store"
)

// clientTokens keeps what signs the clients of a host's users in again (XEP-0484) with the values of their accounts.
type clientTokens struct {
	values store.Values
	host   string
}

const (
	tokenSpace = "fast"
	// tokenClients is how many clients of one user have tokens at a time.
	tokenClients = 32
)

func (c clientTokens) key(username, client string) store.Key {
	return store.Key{Host: c.host, Username: username, Space: tokenSpace, Name: client}
}

// Update implements auth.ClientTokenStore.
func (c clientTokens) Update(ctx context.Context, username, client string, change func([]byte) ([]byte, error)) error {
	err := c.values.UpdateValue(ctx, c.key(username, client), tokenClients, change)
	if errors.Is(err, store.ErrLimit) {
		return auth.ErrTooManyClients
	}
	return err
}

// List implements auth.ClientTokenStore.
func (c clientTokens) List(ctx context.Context, username string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for v, err := range c.values.Values(ctx, c.host, username, tokenSpace, "") {
		if err != nil {
			return nil, err
		}
		all[v.Name] = v.Value
	}
	return all, nil
}

// Remove implements auth.ClientTokenStore.
func (c clientTokens) Remove(ctx context.Context, username, client string) error {
	err := c.values.RemoveValue(ctx, c.key(username, client))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
