package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
)

// rosters lets the admin API refresh, write and show the rosters of an engine.
type rosters struct {
	engine *roster.Engine
	asks   bool // there is a service to ask
}

// Refresh implements admin.Rosters.
func (r rosters) Refresh(ctx context.Context, users []string) []admin.RosterResult {
	results := make([]admin.RosterResult, 0, len(users))
	for _, res := range r.engine.Refresh(ctx, users) {
		results = append(results, result(res))
	}
	return results
}

// Put implements admin.Rosters.
func (r rosters) Put(ctx context.Context, user string, document []byte, ifMatch string) admin.RosterResult {
	return result(r.engine.Write(ctx, user, roster.Write{Document: document, IfMatch: condition(ifMatch), Arrived: admin.Arrival(ctx)}))
}

// Patch implements admin.Rosters.
func (r rosters) Patch(ctx context.Context, user string, patch []byte, ifMatch string) admin.RosterResult {
	return result(r.engine.Write(ctx, user, roster.Write{Document: patch, Patch: true, IfMatch: condition(ifMatch), Arrived: admin.Arrival(ctx)}))
}

// condition is what If-Match asks of a version, "" being that of a roster that is not known.
func condition(ifMatch string) func(string) bool {
	switch ifMatch {
	case "":
		return nil
	case "*":
		return func(ver string) bool { return ver != "" }
	default:
		return func(ver string) bool { return ver == ifMatch }
	}
}

// Confirm implements admin.Rosters.
func (r rosters) Confirm(ctx context.Context, user string) admin.RosterResult {
	res := result(r.engine.Confirm(ctx, user))
	switch {
	case !errors.Is(res.Err, roster.ErrNothingHeld):
		return res
	case res.Version == "":
		res.Err = admin.ErrNoRoster
		return res
	default:
		return admin.RosterResult{Result: admin.Unchanged, Version: res.Version}
	}
}

// result says what the engine did in the words of the API, which has an HTTP status for some errors.
func result(res roster.Result) admin.RosterResult {
	out := admin.RosterResult{Result: admin.Outcome(res.Kind.String()), Added: res.Added, Removed: res.Removed, Changed: res.Changed,
		Version: res.Version, Dropped: dropped(res.Dropped), Err: res.Err}
	for _, e := range []struct{ engine, api error }{
		{roster.ErrPrecondition, admin.ErrPrecondition}, {roster.ErrDocument, admin.ErrDocument},
		{roster.ErrNoRoster, admin.ErrNoRoster}, {roster.ErrNoService, admin.ErrNoService},
	} {
		if errors.Is(res.Err, e.engine) {
			out.Err = named{res.Err, e.api}
		}
	}
	return out
}

// named is an error of the engine that the API knows by another one, with the engine's words.
type named struct {
	error
	is error
}

func (n named) Unwrap() error { return n.is }

func dropped(items []rosterdoc.Dropped) []admin.DroppedItem {
	var out []admin.DroppedItem
	for _, d := range items {
		out = append(out, admin.DroppedItem{Key: d.Key, Reason: d.Reason, Warning: d.Warning})
	}
	return out
}

// shownRemovals is how many contacts that would go are shown of what is held.
const shownRemovals = 100

// Roster implements admin.Rosters.
func (r rosters) Roster(ctx context.Context, user string) (*admin.RosterView, error) {
	v, err := r.engine.View(ctx, user)
	if errors.Is(err, roster.ErrNoRoster) {
		return nil, admin.ErrNoRoster
	}
	if err != nil {
		return nil, fmt.Errorf("roster of %q: %w", user, err)
	}
	k := v.Known
	out := &admin.RosterView{
		Version: k.Ver(), Source: k.Source, AsOf: k.AsOf.UTC(), Age: int64(max(0, time.Since(k.AsOf)).Seconds()), Stale: v.Stale,
		ETag: k.ETag, Online: v.Online, Items: k.Roster.AppendJSON(nil), Dropped: dropped(k.Dropped),
	}
	if r.asks {
		seconds := int64(k.MaxAge.Seconds())
		out.MaxAge = &seconds
		if k.Source == roster.FromFetch && v.Checked.IsZero() {
			out.Source = "store" // of the server's last life
		}
	}
	if v.Err != nil {
		out.LastError = v.Err.Error()
	}
	if h := v.Held; h != nil {
		out.Held = &admin.HeldView{Since: h.Since.UTC(), Added: h.Added, Removed: h.Removed, Changed: h.Changed, RemovedContacts: []string{}}
		for _, c := range rosterdoc.Diff(k.Roster, h.Next.Roster) {
			if c.Kind == rosterdoc.Removed && len(out.Held.RemovedContacts) < shownRemovals {
				out.Held.RemovedContacts = append(out.Held.RemovedContacts, c.Old.JID.String())
			}
		}
	}
	return out, nil
}
