package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rollcall/internal/admin"
)

// keptRosters starts the HTTP API of a host that keeps what it is told.
func keptRosters(ts *testscript.TestScript, neg bool, args []string) {
	k := &kept{}
	ctx, cancel := context.WithCancel(context.Background())
	api := admin.New(ctx, admin.Options{
		Hosts:   []admin.Host{{Name: "localhost", Rosters: k, Status: func() admin.HostStatus { return admin.HostStatus{} }}},
		Ready:   func() bool { return true },
		Version: "test", Log: slog.New(slog.DiscardHandler),
	})
	s := httptest.NewServer(api)
	ts.Defer(func() {
		s.Close()
		api.Close()
		cancel()
	})
	ts.Setenv(args[0], s.URL)
}

// kept has john's roster, a newer one of which is held until it is confirmed, and somebody's that has nothing in it.
type kept struct{ confirmed atomic.Bool }

func (k *kept) Refresh(_ context.Context, users []string) []admin.RosterResult {
	results := make([]admin.RosterResult, len(users))
	for i, u := range users {
		results[i] = admin.RosterResult{Result: admin.Changed, Added: 1, Removed: 2, Changed: 3}
		if u != "john" {
			results[i] = admin.RosterResult{Result: admin.Failed, Err: errors.New("the service answered 404")}
		}
	}
	return results
}

func (k *kept) Put(context.Context, string, []byte, string) admin.RosterResult {
	return admin.RosterResult{Result: admin.Failed, Err: admin.ErrBusy}
}

func (k *kept) Patch(context.Context, string, []byte, string) admin.RosterResult {
	return admin.RosterResult{Result: admin.Failed, Err: admin.ErrBusy}
}

func (k *kept) Confirm(_ context.Context, user string) admin.RosterResult {
	switch {
	case user != "john":
		return admin.RosterResult{Result: admin.Failed, Err: admin.ErrNoRoster}
	case k.confirmed.Swap(true):
		return admin.RosterResult{Result: admin.Unchanged}
	}
	return admin.RosterResult{Result: admin.Changed, Removed: 102, Added: 1}
}

func (k *kept) Roster(_ context.Context, user string) (*admin.RosterView, error) {
	v := &admin.RosterView{Version: "v7", Source: "put", AsOf: time.Now().Add(-time.Hour), Online: true, Items: json.RawMessage("{}")}
	switch user {
	case "john":
		v.Source, v.Stale, v.LastError = "fetch", true, "the service answered 503"
		v.Items = json.RawMessage(`{"news.example.com":{"subscription":"to","ask":"subscribe"},"marie@example.com":{"name":"Marie","groups":["Friends","Work"]}}`)
		v.Dropped = []admin.DroppedItem{{Key: "a b", Reason: "has no valid address"}, {Key: "x@y/z", Reason: "has a resource", Warning: true}}
		if !k.confirmed.Load() {
			v.Held = &admin.HeldView{Since: time.Now().Add(-2 * time.Minute), Removed: 102, Added: 1, RemovedContacts: []string{"a@example.com", "b@example.com"}}
		}
	case "new":
	default:
		return nil, admin.ErrNoRoster
	}
	return v, nil
}
