package rosterhttp

import (
	"fmt"
	"time"
)

// Kind says in which way a fetch failed.
type Kind uint8

// The ways to fail. "Counts" means that the breaker counts it: the service is down or wants to be left
// alone. The others say that this answer is no good, from a service that does answer: one user's 404 must
// not keep everybody else's roster away.
const (
	// Refused: no request was made, because the user's name cannot be asked for.
	Refused Kind = iota + 1
	// Unavailable: no connection, no TLS, a connection lost before the answer was whole. Counts.
	Unavailable
	// Timeout: not finished within Config.Timeout. Counts.
	Timeout
	// Status: a status that has no roster. 5xx, 408 and 429 count; others do not.
	Status
	// Type: not JSON, by its Content-Type or Content-Encoding: a login page, for example.
	Type
	// TooLarge: more bytes or contacts than allowed.
	TooLarge
	// Document: not a document of the contract.
	Document
	// BreakerOpen: no request was made, because the service has been failing.
	BreakerOpen
	// Canceled: the caller's context ended first. It says nothing about the service.
	Canceled
	// Missing: the answer to a batch has nothing for this user, or null.
	Missing
)

var kinds = [...]string{
	Refused: "refused", Unavailable: "unavailable", Timeout: "timeout", Status: "status", Type: "type",
	TooLarge: "too-large", Document: "document", BreakerOpen: "breaker-open", Canceled: "canceled",
	Missing: "missing",
}

// String is the kind as a label of logs and metrics.
func (k Kind) String() string {
	if int(k) < len(kinds) && kinds[k] != "" {
		return kinds[k]
	}
	return "unknown"
}

// An Error is a failed fetch. Its text is a sentence for an operator: what was asked, what came, and what
// to do about it where that is known. It has no token, query or body in it.
type Error struct {
	Kind       Kind
	Status     int           // of the answer, for any kind; 0 when there was none
	RetryAfter time.Duration // how long the service, or the breaker, wants to be left alone; 0 for no wish
	Batch      bool          // it was a batch that was asked for, by POST
	URL        string        // what was asked, without its query
	Err        error
}

func (e *Error) Error() string {
	method := "GET"
	if e.Batch {
		method = "POST"
	}
	return fmt.Sprintf("%s %s: %v", method, e.URL, e.Err)
}

// Unwrap gives the cause: context errors, errors of the network.
func (e *Error) Unwrap() error { return e.Err }

// A ConfigError says which key of the configuration New does not take, and why.
type ConfigError struct {
	Key string // "roster.url", "roster.batch_url"
	Err error
}

func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// verdict is what a fetch says about the service.
type verdict uint8

const (
	unsure verdict = iota // nothing
	alive                 // it answers
	down                  // it does not, or wants to be left alone
)

func (e *Error) verdict() verdict {
	switch e.Kind {
	case Refused, BreakerOpen, Canceled:
		return unsure
	case Unavailable, Timeout:
		return down
	case Status:
		if e.Status >= 500 || e.Status == 408 || e.Status == 429 {
			return down
		}
	}
	return alive
}
