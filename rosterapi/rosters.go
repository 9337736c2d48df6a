package rosterapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// An Option is something special about a Put or a Patch.
type Option func(*request)

// IfVersion makes the change conditional: it is made only if the roster has this version still, which is that of a [Copy].
// If not, the error is an *[Error] whose Status is 412 (http.StatusPreconditionFailed).
func IfVersion(version string) Option {
	return func(r *request) { r.ifMatch = `"` + version + `"` }
}

// Put gives the server a user's roster, instead of having it fetched: PUT /roster_admin/rosters/USER, of section 3. It
// returns when the clients have been told; the error is nil when they have.
func (c *Client) Put(ctx context.Context, user string, roster Roster, opts ...Option) (Report, error) {
	return c.write(ctx, http.MethodPut, user, roster, "application/json", opts)
}

// Patch gives the server the changes to a user's roster: PATCH /roster_admin/rosters/USER, of section 3. What the patch
// does not name stays as it is. A server that does not know the roster yet fetches it instead.
func (c *Client) Patch(ctx context.Context, user string, patch Patch, opts ...Option) (Report, error) {
	return c.write(ctx, http.MethodPatch, user, patch, mergePatch, opts)
}

// PatchMany gives the server changes to the rosters of many users, by their names, in one request of 1 MiB at most:
// PATCH /roster_admin/rosters, of section 3. Befriending two people is one such change.
func (c *Client) PatchMany(ctx context.Context, patches map[string]Patch) (Report, error) {
	return c.write(ctx, http.MethodPatch, "", patches, mergePatch, nil)
}

// mergePatch is the type of RFC 7396.
const mergePatch = "application/merge-patch+json"

// write sends a document for one user, or for many when user is "".
func (c *Client) write(ctx context.Context, method, user string, document any, contentType string, opts []Option) (Report, error) {
	r := &request{method: method, path: rostersPath, contentType: contentType}
	if user != "" || method == http.MethodPut {
		path, err := userPath(user)
		if err != nil {
			return Report{}, err
		}
		r.path = path
	}
	r.query = map[string][]string{"detail": {"1"}}
	var err error
	if r.body, err = json.Marshal(document); err != nil {
		return Report{}, fmt.Errorf("rosterapi: %w", err)
	}
	for _, o := range opts {
		o(r)
	}
	var report Report
	if err := c.change(ctx, r, &report); err != nil {
		if user != "" {
			report.Untold = []string{user}
		}
		return report, err
	}
	return report, report.failure()
}

// A Copy is what the server has of a user's roster.
type Copy struct {
	Host   string `json:"host"`
	User   string `json:"user"`  // without the host
	Roster Roster `json:"items"` // as clients see it

	Version string    `json:"version"` // opaque; for IfVersion
	Source  string    `json:"source"`  // how it came, in a word: "fetch", "put", "patch" or "store"
	AsOf    time.Time `json:"as_of"`   // when the application last said so
	Stale   bool      `json:"stale"`   // it is known to be out of date
	Online  bool      `json:"online"`  // a client of the user is there

	Dropped   []Dropped `json:"dropped"`    // what the document said and the server did not take
	Held      *HeldBack `json:"held"`       // nil: nothing is held back
	LastError string    `json:"last_error"` // why the last fetch failed; "" when it did not
}

// HeldBack is a new roster that would remove so many contacts that the server waits until it is said again, or confirmed.
type HeldBack struct {
	Since           time.Time `json:"since"`
	Added           int       `json:"added"` // contacts
	Removed         int       `json:"removed"`
	Changed         int       `json:"changed"`
	RemovedContacts []string  `json:"removed_contacts"` // the first hundred
}

// Get returns the server's copy of a user's roster: GET /roster_admin/rosters/USER, of section 3. When there is none the
// error is an *[Error] whose Status is 404.
func (c *Client) Get(ctx context.Context, user string) (Copy, error) {
	var copied Copy
	path, err := userPath(user)
	if err != nil {
		return copied, err
	}
	_, err = c.do(ctx, &request{method: http.MethodGet, path: path}, &copied)
	return copied, err
}

// Confirm lets a removal of many contacts happen that the guard holds back (section 1): it was meant.
func (c *Client) Confirm(ctx context.Context, user string) (Report, error) {
	var report Report
	path, err := userPath(user)
	if err != nil {
		return report, err
	}
	r := &request{method: http.MethodPost, path: path + "/confirm", query: map[string][]string{"detail": {"1"}}}
	if err := c.change(ctx, r, &report); err != nil {
		return report, err
	}
	return report, report.failure()
}

const rostersPath = "/roster_admin/rosters"

// userPath is where a user's roster is.
func userPath(user string) (string, error) {
	switch user {
	case "":
		return "", fmt.Errorf("rosterapi: no user was named")
	case ".", "..":
		return "", fmt.Errorf("rosterapi: a user called %q cannot be named in a URL", user)
	}
	return rostersPath + "/" + escape(user), nil
}

// escape percent-encodes all but the unreserved characters of RFC 3986 section 2.3.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
