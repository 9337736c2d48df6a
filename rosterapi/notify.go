package rosterapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// What one notification may have (section 2); more is sent in several.
const (
	maxNames = 10_000
	maxBody  = 1 << 20
)

// A Report is what a change came to, or several.
type Report struct {
	// Updated counts users whose new roster is applied and whose clients have been told, and those who are not online
	// and will find it when they come. Errors counts the others.
	Updated, Errors int

	// Users has the result for each user, by the name that was given. It is nil when the server does not say: an older
	// rollcall, or Prosody's module.
	Users map[string]UserReport

	// Untold are the users of whom the server has not been told, because it could not be reached or refused the
	// request: tell it again later. They are counted nowhere else.
	Untold []string

	reason string // of the first request in which every name failed
}

// A UserReport is what a change came to for one user.
type UserReport struct {
	Result  Result `json:"result"`
	Added   int    `json:"added"` // contacts
	Removed int    `json:"removed"`
	Changed int    `json:"changed"`
	Error   string `json:"error"` // with Failed: why, in a sentence

	// Of Put, Patch and PatchMany only:
	Version string    `json:"version"` // of the roster now
	Dropped []Dropped `json:"dropped"` // what was left out of the document
}

// A Result is what a change came to, in a word.
type Result string

// The results.
const (
	Changed   Result = "changed"   // the new roster is applied and the clients have been told
	Unchanged Result = "unchanged" // the roster is what it was
	Offline   Result = "offline"   // no client is there; the roster is fetched when one comes
	Held      Result = "held"      // the guard keeps a removal of many contacts until it is said again, or confirmed
	Failed    Result = "error"     // the new roster could not be had
)

// an answer is that of section 2.
type answer struct {
	Status  string                `json:"status"`
	Message string                `json:"message"`
	Updated int                   `json:"updated"`
	Errors  int                   `json:"errors"`
	Users   map[string]UserReport // with ?detail=1
}

// Notify tells the server that the rosters of these users have changed: POST /roster_admin/refresh, of section 2. Call it
// after the change is saved, for the server fetches the rosters at once. It returns when the clients have been told.
//
// Each user is named once, however often it is given. More than 10,000 names, or 1 MiB of them, go out in several
// requests; none are sent after one that fails.
//
// The error is nil when every roster is up to date. The report is there in any case, and says what was reached.
func (c *Client) Notify(ctx context.Context, users ...string) (Report, error) {
	var report Report
	names := distinct(users)
	for len(names) > 0 {
		body, n := batch(names)
		r := &request{method: http.MethodPost, path: "/roster_admin/refresh", query: url.Values{"detail": {"1"}}, body: body, contentType: "application/json"}
		if err := c.change(ctx, r, &report); err != nil {
			report.Untold = names
			return report, err
		}
		names = names[n:]
	}
	return report, report.failure()
}

// distinct leaves each name once, in the order of the first.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	var once []string
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			once = append(once, name)
		}
	}
	return once
}

// batch writes as many names as one request may have, one at least.
func batch(names []string) (body []byte, n int) {
	var b bytes.Buffer
	b.WriteByte('[')
	for n < len(names) && n < maxNames {
		name, err := json.Marshal(names[n])
		if err != nil {
			name = []byte(`""`) // cannot happen: a string is always JSON
		}
		if n > 0 {
			if b.Len()+len(name)+2 > maxBody {
				break
			}
			b.WriteByte(',')
		}
		b.Write(name)
		n++
	}
	b.WriteByte(']')
	return b.Bytes(), n
}

// change makes a request that is answered as section 2 has it, and adds the answer to the report. The error is that the
// request was not taken; users that failed are in the report.
func (c *Client) change(ctx context.Context, r *request, report *Report) error {
	var a answer
	if _, err := c.do(ctx, r, &a); err != nil {
		return err
	}
	if a.Status == "" {
		return fmt.Errorf("rosterapi: %s: the answer is not rollcall's: is the URL right?", r.op())
	}
	report.Updated += a.Updated
	report.Errors += a.Errors
	if a.Users != nil {
		if report.Users == nil {
			report.Users = map[string]UserReport{}
		}
		maps.Copy(report.Users, a.Users)
	}
	if a.Errors > 0 && a.Status != "ok" && report.reason == "" {
		report.reason = a.Message
	}
	return nil
}

// failure is the error for users whose roster is not up to date, nil when there are none.
func (r *Report) failure() error {
	if r.Errors == 0 {
		return nil
	}
	text := fmt.Sprintf("rosterapi: %d of %d rosters are not up to date", r.Errors, r.Errors+r.Updated)
	for _, name := range slices.Sorted(maps.Keys(r.Users)) {
		if u := r.Users[name]; u.Result == Failed {
			return errors.New(text + fmt.Sprintf("; %s: %s", name, u.Error)) // one is enough to see what is wrong
		}
	}
	if r.reason != "" {
		return errors.New(text + "; " + r.reason)
	}
	return errors.New(text + "; rollcall's log says why")
}
