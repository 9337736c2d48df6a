package admin

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// A Refresher acts on notifications for the users of one host. It is called by several goroutines.
type Refresher interface {
	// Refresh fetches and applies the rosters of users, canonical localparts, and returns one result for each, in
	// the same order. It returns soon after ctx is done.
	Refresh(ctx context.Context, users []string) []RosterResult
}

// Rosters is a Refresher that also takes rosters and shows them (section 3). Documents are those of section 1, patches
// merge patches of them (RFC 7396), both at most Host.MaxBytes long and with an object on the outside; what else is to
// be said about them, the implementation says with ErrDocument. The caller does not change them afterwards.
//
// ifMatch is a version, "*" for any that is known, or "" for no condition.
type Rosters interface {
	Refresher
	// Put makes document the roster of user.
	Put(ctx context.Context, user string, document []byte, ifMatch string) RosterResult
	// Patch changes the roster of user. One that is not known here becomes a refresh, or ErrNoRoster.
	Patch(ctx context.Context, user string, patch []byte, ifMatch string) RosterResult
	// Confirm applies the removals that are held. Where there are none, the result is Unchanged.
	Confirm(ctx context.Context, user string) RosterResult
	// Roster shows what is known of the roster of user. The error is ErrNoRoster when nothing is.
	Roster(ctx context.Context, user string) (*RosterView, error)
}

// What can be wrong with a write, beside failures of other kinds, which are worth another try. They may be wrapped: the
// whole text is the answer's message.
var (
	ErrPrecondition = errors.New("the roster has another version than If-Match says")
	ErrNoRoster     = errors.New("has no roster here")
	ErrDocument     = errors.New("the document is refused")
	ErrBusy         = errors.New("the server has too much to do; try again")
	ErrNoService    = errors.New("is of a host without roster.url, so there is nobody to ask")
)

// A RosterResult is what a notification or a write came to for one user.
type RosterResult struct {
	Result                  Outcome
	Added, Removed, Changed int           // items
	Version                 string        // of the roster now, "" when none is known
	Dropped                 []DroppedItem // what was left out of the document or patch
	Err                     error         // with Failed, and why with Held: a sentence that an operator can act on
}

// An Outcome is the result in a word.
type Outcome string

// The outcomes.
const (
	Changed   Outcome = "changed"   // the new roster is applied and its pushes are queued
	Unchanged Outcome = "unchanged" // the roster is what it was
	Offline   Outcome = "offline"   // nobody is there; the copy, if any, is marked stale
	Held      Outcome = "held"      // fetched, but so much would go that a second fetch must say the same, or an operator
	Failed    Outcome = "error"     // nothing was changed
)

// A DroppedItem is an item that was left out of a roster, or with Warning one that was changed.
type DroppedItem struct {
	Key     string `json:"key"` // as in the document
	Reason  string `json:"reason"`
	Warning bool   `json:"warning,omitempty"`
}

// A RosterView is a roster as an operator sees it.
type RosterView struct {
	Host    string          `json:"host"`
	User    string          `json:"user"` // localpart
	Version string          `json:"version"`
	Source  string          `json:"source"`            // where it came from: "fetch", "put", "patch", "store"
	AsOf    time.Time       `json:"as_of"`             // when the service last said so
	Age     int64           `json:"age"`               // seconds since then
	MaxAge  *int64          `json:"max_age,omitempty"` // seconds after which the service is asked again; nil: never
	Stale   bool            `json:"stale"`             // it is known to be out of date
	ETag    string          `json:"etag,omitempty"`    // the service's
	Online  bool            `json:"online"`
	Items   json.RawMessage `json:"items"` // a document of section 1
	Dropped []DroppedItem   `json:"dropped,omitempty"`
	Held    *HeldView       `json:"held,omitempty"`
	// LastError is why the last fetch failed, "" when it did not.
	LastError string `json:"last_error,omitempty"`
}

// A HeldView is a roster that was fetched and waits to be confirmed.
type HeldView struct {
	Since   time.Time `json:"since"`
	Added   int       `json:"added"`
	Removed int       `json:"removed"`
	Changed int       `json:"changed"`
	// RemovedContacts are the first hundred of those that would go.
	RemovedContacts []string `json:"removed_contacts"`
}
