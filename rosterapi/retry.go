package rosterapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The pauses between attempts: random, up to a bound that doubles each time. An answer's Retry-After is a floor.
const (
	defaultAttempts = 5
	firstPause      = 250 * time.Millisecond
	longestPause    = 10 * time.Second
	longestRetry    = time.Minute // of what Retry-After may ask for
)

// persist makes a request until its answer is final, the attempts are used up or ctx ends.
func (c *Client) persist(ctx context.Context, r *request, target string, key []byte) (*response, error) {
	attempts := c.Attempts
	if attempts <= 0 {
		attempts = defaultAttempts
	}
	bound := firstPause
	for n := 1; ; n++ {
		resp, err := c.once(ctx, r, target, key)
		switch {
		case ctx.Err() != nil && err != nil:
			return nil, fmt.Errorf("rosterapi: %s: given up: %w", r.op(), context.Cause(ctx))
		case err != nil && (n == attempts || !r.repeatable(err)):
			return nil, fmt.Errorf("rosterapi: %s: no answer: %w", r.op(), cause(err))
		case err == nil && (n == attempts || !passing(resp.status)):
			return resp, nil
		}
		pause := rand.N(bound) + firstPause/2
		if err == nil {
			pause = max(pause, retryAfter(resp.header))
		}
		if !sleep(ctx, pause) {
			if err == nil {
				return resp, nil
			}
			return nil, fmt.Errorf("rosterapi: %s: no answer, and no time to try again: %w", r.op(), cause(err))
		}
		bound = min(2*bound, longestPause)
	}
}

// passing says whether a status is of a failure that may pass.
func passing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, // rollcall's own
		http.StatusBadGateway, http.StatusGatewayTimeout: // of a proxy, while rollcall starts again
		return true
	}
	return false
}

// repeatable says whether a request may be made again after an error of the network. A conditional one may not: had it
// arrived, it would be refused the second time, for the version is another since.
func (r *request) repeatable(err error) bool {
	var certificate *tls.CertificateVerificationError
	return r.ifMatch == "" && !errors.As(err, &certificate)
}

// cause is an error of net/http without method and URL, which are in our own words already.
func cause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// retryAfter reads the header (RFC 9110 section 10.2.3); 0 when there is none.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.Atoi(value); err == nil {
		return min(max(0, time.Duration(min(n, 1<<30))*time.Second), longestRetry)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now := time.Now()
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return min(max(0, at.Sub(now)), longestRetry)
}

// sleep waits, unless ctx ends before; then it returns false, at once if that is known already.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
