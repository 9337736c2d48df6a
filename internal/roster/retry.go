package roster

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"time"

	"rollcall/internal/rosterhttp"
)

// The delays before a failed fetch is tried again: doubled each time up to a bound that is lower when the user has no
// roster at all, and spread by a fifth so that users do not ask in step.
const (
	retryFirst   = 250 * time.Millisecond
	retryUnknown = 5 * time.Second
	retryKnown   = 30 * time.Second
	retryLongest = 10 * time.Minute // whatever Retry-After says
)

// scheduleRetry has the fetch tried again if anybody is interested: somebody waits, or the user is online. The
// caller holds u.mu.
func (u *User) scheduleRetry(err error, known bool) {
	f := &u.fetch
	if f.retry != nil || (len(f.waiters) == 0 && u.listener == nil) || u.engine.ctx.Err() != nil {
		return
	}
	bound := retryUnknown
	if known {
		bound = retryKnown
	}
	delay := min(retryFirst<<min(f.failures-1, 10), bound)
	var herr *rosterhttp.Error
	if errors.As(err, &herr) && herr.RetryAfter > 0 {
		delay = min(max(delay, herr.RetryAfter), retryLongest)
	}
	f.patient = !isDown(err) // what one user's answer says is not changed by another's
	delay += u.spread(delay / 5)
	f.retry = time.AfterFunc(delay, func() {
		u.mu.Lock()
		f.retry = nil
		interested := len(f.waiters) > 0 || u.listener != nil
		u.mu.Unlock()
		if interested {
			u.fly()
		}
	})
}

// spread gives some of a time that is another part of it for each user and each fetch, so that those who came together ask one
// by one. It is no random number: what happens in a simulated world is to happen again (see server.TestWorld). The caller holds
// u.mu.
func (u *User) spread(most time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64([]byte(u.name), u.fetch.begun))
	return time.Duration(h.Sum64() % uint64(most+1))
}

// hurry tries a fetch that waits to be tried again now.
func (u *User) hurry() {
	u.mu.Lock()
	f := &u.fetch
	waiting := f.retry != nil && !f.patient
	if waiting {
		f.retry.Stop()
		f.retry = nil
	}
	u.mu.Unlock()
	if waiting {
		u.fly()
	}
}

// isDown tells whether a failed fetch says that the service does not answer anybody.
func isDown(err error) bool {
	var herr *rosterhttp.Error
	if !errors.As(err, &herr) {
		return false
	}
	return herr.Kind == rosterhttp.Unavailable || herr.Kind == rosterhttp.Timeout || herr.Kind == rosterhttp.BreakerOpen
}

// isTemporary tells whether a failed fetch may go well if it is tried again soon.
func isTemporary(err error) bool {
	var herr *rosterhttp.Error
	if !errors.As(err, &herr) {
		return !errors.Is(err, context.Canceled)
	}
	switch herr.Kind {
	case rosterhttp.Unavailable, rosterhttp.Timeout, rosterhttp.BreakerOpen:
		return true
	case rosterhttp.Status:
		return herr.Status >= 500 || herr.Status == 429
	}
	return false
}
