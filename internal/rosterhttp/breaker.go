package rosterhttp

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// The breaker's figures: the contract's section 1, and "one probe per 5 s ± jitter".
const (
	breakerFailures = 5
	breakerDelay    = 5 * time.Second
	breakerJitter   = 0.2
	// maxHold is how long the service can ask, by Retry-After, not to be probed.
	maxHold = time.Minute
)

// breaker keeps requests from a service that is down. To failsafe's breaker it adds that a result counts
// only in the state that its request began in: of 32 requests that were under way when the breaker opened,
// the last must not pass for the result of a probe.
type breaker struct {
	mu    sync.Mutex
	cb    circuitbreaker.CircuitBreaker[any]
	epoch uint64    // counts changes of state
	hold  time.Time // no probe before, while open
	free  bool      // a probe ended without a result: the next may begin at once
}

// permit is the leave to make one request.
type permit struct {
	epoch uint64
	probe bool
}

func newBreaker() *breaker {
	return &breaker{cb: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerFailures).
		WithSuccessThreshold(1). // which also makes it one probe at a time
		WithDelay(breakerDelay).
		WithJitterFactor(breakerJitter).
		Build()}
}

// admit asks for leave to make a request; wait is how long it is no use to ask again when it is refused.
// A request that the service itself has just caused need not wait for the time of the next probe.
func (b *breaker) admit(notified bool) (p permit, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.cb.State()
	if before == circuitbreaker.OpenState {
		switch hold := time.Until(b.hold); {
		case notified || b.free:
			b.cb.HalfOpen()
		case hold > 0:
			return permit{}, max(hold, b.cb.RemainingDelay()), false
		}
	}
	if !b.cb.TryAcquirePermit() {
		// While a probe is under way nobody knows for how long; its timeout is of the delay's size.
		return permit{}, max(b.cb.RemainingDelay(), time.Second), false
	}
	b.changed(before)
	probe := b.cb.State() == circuitbreaker.HalfOpenState
	if probe {
		b.free = false
	}
	return permit{epoch: b.epoch, probe: probe}, 0, true
}

// done gives the permit back with what was learned. It tells the state before and after, for the log.
func (b *breaker) done(p permit, v verdict, retryAfter time.Duration) (before, after circuitbreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before = b.cb.State()
	if p.epoch != b.epoch {
		return before, before
	}
	switch {
	case v == alive:
		b.cb.RecordSuccess()
	case v == down:
		b.cb.RecordFailure()
	case p.probe:
		b.cb.Open()
		b.free = true
	}
	if b.changed(before) && v == down {
		b.hold = time.Now().Add(min(retryAfter, maxHold))
	}
	return before, b.cb.State()
}

func (b *breaker) changed(before circuitbreaker.State) bool {
	if b.cb.State() == before {
		return false
	}
	b.epoch++
	return true
}

// state is closed, open or half-open, and the time until the next probe while it is open.
func (b *breaker) state() (circuitbreaker.State, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.cb.State()
	if s != circuitbreaker.OpenState || b.free {
		return s, 0
	}
	return s, max(b.cb.RemainingDelay(), time.Until(b.hold), 0)
}
