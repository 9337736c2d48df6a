package admin

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Status is the answer of /admin/status. A host's token shows that host alone.
type Status struct {
	Version string       `json:"version"`
	Ready   bool         `json:"ready"`
	Started time.Time    `json:"started"`
	Hosts   []HostStatus `json:"hosts"` // by name
	// Database is the server's, and not told to a host's own credential; nil when there is none.
	Database *DatabaseStatus `json:"database,omitempty"`
}

// DatabaseStatus is what is written to the database through its queue: messages, values of users, events. All but Queued and
// QueuedBytes count from the server's start on.
type DatabaseStatus struct {
	Commits     uint64  `json:"commits"`
	Failures    uint64  `json:"failures"` // tries to commit that failed
	Writes      uint64  `json:"writes"`
	Failed      uint64  `json:"failed"`       // writes that were given up, or found too much waiting
	MeanMillis  float64 `json:"mean_ms"`      // of a write, from when it came until it was on the disk
	Queued      int     `json:"queued"`       // writes that wait now
	QueuedBytes int     `json:"queued_bytes"` // likewise
	Bytes       int64   `json:"bytes"`        // how large the database is, as of a minute ago at most
}

// MessageStatus is what became of messages that were to be stored since the server's start, and what waits.
type MessageStatus struct {
	Stored     uint64 `json:"stored"`
	Refused    uint64 `json:"refused"`
	Waiting    int    `json:"waiting"`    // in mailboxes, as counted a minute ago at most; 0 without a database
	Recipients int    `json:"recipients"` // for so many users
	Archived   int    `json:"archived"`   // in archives, as counted an hour ago at most
	Archives   int    `json:"archives"`   // of so many users
}

// HostStatus is the state of one host.
type HostStatus struct {
	Host     string        `json:"host"`
	Users    int           `json:"users"`    // online
	Sessions int           `json:"sessions"` // of these users
	Rosters  RosterCounts  `json:"rosters"`
	Service  ServiceStatus `json:"service"`
	// Services are others that the host asks or tells: "auth", "keys", "profile", "image", "webhooks".
	Services map[string]ServiceStatus `json:"services,omitempty"`
	Messages *MessageStatus           `json:"messages,omitempty"`
}

// RosterCounts says what is known of the rosters of the users online: Known has Stale in it, Unknown has not.
type RosterCounts struct {
	Known   int `json:"known"`
	Stale   int `json:"stale"`   // known to be out of date; a fetch is due
	Unknown int `json:"unknown"` // has not arrived yet
	Kept    int `json:"kept"`    // copies for users who are offline
	Held    int `json:"held"`    // removals that wait to be confirmed, of users online or offline
}

// ServiceStatus is how the host's roster service does.
type ServiceStatus struct {
	State       string    `json:"state"` // "ok", "failing", "down" (asked with single probes only), "unasked", "none" (no roster.url)
	Fetches     uint64    `json:"fetches"`
	Failures    uint64    `json:"failures"`
	InFlight    int       `json:"in_flight"`
	Breaker     string    `json:"breaker,omitempty"` // "closed", "open", "half-open"
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastError   string    `json:"last_error,omitempty"` // while it is failing or down
}

// status is GET /admin/status.
func (a *API) status(c *call) (*reply, error) {
	s := Status{Version: a.opts.Version, Ready: a.opts.Ready(), Started: a.started.UTC().Truncate(time.Second), Hosts: []HostStatus{}}
	for _, h := range a.hosts {
		if c.grant.allows(h) {
			hs := h.Status()
			hs.Host = h.Name
			s.Hosts = append(s.Hosts, hs)
		}
	}
	if c.grant.all && a.opts.Database != nil {
		s.Database = a.opts.Database()
	}
	slices.SortFunc(s.Hosts, func(x, y HostStatus) int { return strings.Compare(x.Host, y.Host) })
	return ok(s)
}

// health is for load balancers and scripts, and so for everybody: 200 when ready to take clients.
func (a *API) health(r *http.Request) (*reply, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		no := refuse(http.StatusMethodNotAllowed, "%s is not for this path; use GET", r.Method)
		no.allow = "GET, HEAD"
		return nil, no
	}
	if !a.opts.Ready() {
		no := refuse(http.StatusServiceUnavailable, "the server is starting or stopping")
		no.retryAfter = time.Second
		return nil, no
	}
	return ok(short{Status: "ok", Message: "ready"})
}
