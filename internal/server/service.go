package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/internal/config"
	"rollcall/internal/rosterhttp"
)

// A replaceable is a client of an application that may be replaced by another while it is used.
type replaceable[C client] struct {
	mu      sync.Mutex
	now     C
	retired map[C]*time.Timer
}

type client interface {
	comparable
	Close()
}

// retirement is how long a client that was replaced has for what it was asked before.
const retirement = time.Minute

func newReplaceable[C client](c C) *replaceable[C] {
	return &replaceable[C]{now: c, retired: map[C]*time.Timer{}}
}

func (r *replaceable[C]) client() C {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// replace has another client asked from now on. What the one before was asked, it answers.
func (r *replaceable[C]) replace(by C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.now
	r.now = by
	r.retired[old] = time.AfterFunc(retirement, func() {
		old.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.retired, old)
	})
}

// close is for the end, when nobody asks any more.
func (r *replaceable[C]) close() {
	r.client().Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, timer := range r.retired {
		timer.Stop()
		old.Close()
	}
	clear(r.retired)
}

// service is who a host asks for rosters.
type service struct {
	*replaceable[*rosterhttp.Client]
}

// Fetch implements roster.Source.
func (s service) Fetch(ctx context.Context, r rosterhttp.Request) (rosterhttp.Result, error) {
	return s.client().Fetch(ctx, r)
}

// documents is who a host asks for profiles.
type documents struct {
	*replaceable[*rosterhttp.Documents]
}

// User implements profile.Source.
func (d documents) User(ctx context.Context, user, etag string, most int64, notified bool) (rosterhttp.Content, error) {
	return d.client().User(ctx, user, etag, most, notified)
}

// Image implements profile.Source.
func (d documents) Image(ctx context.Context, user, reference, etag string, most int64, notified bool) (rosterhttp.Content, error) {
	return d.client().Image(ctx, user, reference, etag, most, notified)
}

// newClient makes the client of a host's service. i is the host's place in the configuration that c is from.
func (s *Server) newClient(h *virtualHost, from *config.Config, i int) (*rosterhttp.Client, error) {
	c := from.Hosts[i]
	client, err := rosterhttp.New(rosterhttp.Config{
		Host: c.Name, URL: c.Roster.URL, BatchURL: c.Roster.BatchURL, BatchSize: c.Roster.BatchSize,
		Token: string(c.Roster.Token), Timeout: c.Roster.Timeout,
		MaxBytes: h.cfg.Roster.MaxBytes, MaxItems: h.cfg.Roster.MaxItems, Concurrency: c.Roster.Concurrency,
		UserAgent: "rollcall/" + s.opts.Version, Log: s.log.With("host", c.Name), Dial: s.opts.DialRoster, Observe: h.observe,
	})
	if err == nil {
		return client, nil
	}
	key := "roster.url"
	if wrong := (*rosterhttp.ConfigError)(nil); errors.As(err, &wrong) {
		key, err = wrong.Key, wrong.Err
	}
	return nil, from.KeyError(config.HostKey(i, key), err)
}
