package rosterhttp

import (
	"time"

	"rollcall/internal/rosterdoc"
)

// What became of a user's fetch, as a label of metrics; of a failed one it is its Kind as a string.
const (
	ResultOK          = "ok"           // a roster
	ResultNotModified = "not-modified" // the service says that nothing changed
	ResultSame        = "same"         // the document is the one that is known
)

// An Observation is one request, or one fetch for which none was made, for metrics.
type Observation struct {
	Sent    bool // a request was made: its user could be asked for, the breaker let it, the caller waited
	Batch   bool // it was a POST for several users
	Image   bool // it was for an image that a document names
	Users   int  // who were asked for, 1 or more
	Took    time.Duration
	Bytes   int            // of the body of the answer, decompressed
	Dropped int            // contacts left out
	Results map[string]int // Users by what became of their fetches
	Err     *Error         // why a document or an image was not had; rosters have Results
}

// observe tells who wants to know; results is for an observation of one user.
func (c *Client) observe(o Observation, result string) {
	if c.cfg.Observe == nil {
		return
	}
	if o.Results == nil {
		o.Results = map[string]int{result: 1}
	}
	c.cfg.Observe(o)
}

// label is what became of a fetch.
func label(res *Result, fail *Error) string {
	switch {
	case fail != nil:
		return fail.Kind.String()
	case res.NotModified:
		return ResultNotModified
	case res.Same:
		return ResultSame
	}
	return ResultOK
}

// left counts the contacts that were left out; those that were taken with a change are not.
func left(dropped []rosterdoc.Dropped) (n int) {
	for _, d := range dropped {
		if !d.Warning {
			n++
		}
	}
	return n
}
