package server

import (
	"slices"
	"sync/atomic"
)

// roles say who administers a host beside those whose accounts say so.
type roles struct {
	names atomic.Pointer[[]string] // as of now: of the key admins
}

// named tells whether the configuration names a user.
func (r *roles) named(user string) bool { return slices.Contains(*r.names.Load(), user) }
