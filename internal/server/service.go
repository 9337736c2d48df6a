package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/config"
	"rollcall/internal/rosterhttp"
)

// service is who a host asks for rosters: a client that may be replaced by another while it is used.
type service struct {
	now atomic.Pointer[rosterhttp.Client]

	mu      sync.Mutex
	retired map[*rosterhttp.Client]*time.Timer
}

// retirement is how long a client that was replaced has for what it was asked before.
const retirement = time.Minute

func newService(c *rosterhttp.Client) *service {
	s := &service{retired: map[*rosterhttp.Client]*time.Timer{}}
	s.now.Store(c)
	return s
}

func (s *service) client() *rosterhttp.Client { return s.now.Load() }

// Fetch implements roster.Source.
func (s *service) Fetch(ctx context.Context, r rosterhttp.Request) (rosterhttp.Result, error) {
	return s.client().Fetch(ctx, r)
}

// replace has another client asked from now on. What the one before was asked, it answers.
func (s *service) replace(by *rosterhttp.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.now.Swap(by)
	s.retired[old] = time.AfterFunc(retirement, func() {
		old.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.retired, old)
	})
}

// close is for the end, when nobody asks any more.
func (s *service) close() {
	s.client().Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, timer := range s.retired {
		timer.Stop()
		old.Close()
	}
	clear(s.retired)
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
		key = wrong.Key
	}
	return nil, from.KeyError(config.HostKey(i, key), err)
}
