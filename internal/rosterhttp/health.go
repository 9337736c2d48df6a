package rosterhttp

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// Health is how the service has been doing, for `rollcall status` and metrics.
type Health struct {
	Breaker   string        // closed (all is well), open (requests are not made) or half-open (one is)
	NextProbe time.Duration // until the next request while the breaker is open
	InFlight  int           // requests under way
	Waiting   int           // fetches that wait for one of them to end

	LastSuccess time.Time // of a roster or a 304; zero when there was none
	LastFailure time.Time
	LastError   string // the sentence of the last failure, of one user in a batch too; "" when there was none
	// ConsecutiveFailures are failed fetches since the last success, of any kind but those that made no
	// request and those that their caller gave up.
	ConsecutiveFailures int

	Fetches  uint64 // requests made, successful or not; a batch is one, and fails when all of its users do
	Failures uint64

	// Latency is a moving average of whole exchanges that ended in a roster or a 304, the last eight or so
	// counting most. LastLatency is the last one.
	Latency, LastLatency time.Duration
}

// record collects what Health shows.
type record struct {
	mu sync.Mutex
	h  Health
}

func (r *record) success(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.h
	h.Fetches++
	h.LastSuccess = time.Now()
	h.ConsecutiveFailures = 0
	h.LastLatency = took
	if h.Latency == 0 {
		h.Latency = took
	} else {
		h.Latency += (took - h.Latency) / 8
	}
}

func (r *record) failure(e *Error) {
	switch e.Kind {
	case Refused, BreakerOpen, Canceled:
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.h
	h.Fetches++
	h.Failures++
	h.ConsecutiveFailures++
	h.LastFailure = time.Now()
	h.LastError = e.Error()
}

// blemish notes the failure of one user in a batch that brought others' rosters.
func (r *record) blemish(e *Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.LastFailure, r.h.LastError = time.Now(), e.Error()
}

// add counts requests under way and fetches that wait.
func (r *record) add(inFlight, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.InFlight += inFlight
	r.h.Waiting += waiting
}

func (r *record) snapshot() Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.h
}

// Health tells how the service has been doing.
func (c *Client) Health() Health {
	h := c.record.snapshot()
	state, next := c.breaker.state()
	h.Breaker, h.NextProbe = state.String(), next
	return h
}

// logBreaker tells the operator when the breaker opens and closes; once each, however many users wait.
func (c *Client) logBreaker(before, after circuitbreaker.State, e *Error) {
	switch {
	case before == after:
	case after == circuitbreaker.ClosedState:
		c.cfg.Log.Info("the "+c.cfg.Of+" service is back", "host", c.cfg.Host)
	case before == circuitbreaker.ClosedState:
		c.cfg.Log.Warn("the "+c.cfg.Of+" service is failing: what is known stays, and one request at a time asks whether it is back",
			"host", c.cfg.Host, "failures", breakerFailures, "error", e)
	}
}
