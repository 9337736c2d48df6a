package server

import (
	"sync"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/metrics"
	"rollcall/internal/rosterhttp"
)

// services are those of a host's application beside that of its rosters, as they have been doing: by the names that metrics has for
// them. They stay when the clients that ask are replaced.
type services struct {
	metrics *metrics.Instruments

	mu  sync.Mutex
	all map[string]*watched
}

// watched is one of them.
type watched struct {
	metrics  *metrics.Asked
	breaker  func() string // of the client that asks now; nil: it has none
	status   admin.ServiceStatus
	failures int // since the last success
}

func newServices(m *metrics.Instruments) *services {
	return &services{metrics: m, all: map[string]*watched{}}
}

// watch gives what a client of a service is to call for each request.
func (s *services) watch(name string) func(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.all[name]
	if w == nil {
		w = &watched{metrics: s.metrics.Service(name)}
		s.all[name] = w
	}
	return func(took time.Duration, err error) {
		w.metrics.Request(took, err == nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		st := &w.status
		st.Fetches++
		if err == nil {
			st.LastSuccess, st.LastError, w.failures = time.Now(), "", 0
			return
		}
		st.Failures++
		w.failures++
		st.LastFailure, st.LastError = time.Now(), err.Error()
	}
}

// breaks says how the breaker of a service is found out about, from now on. A service that is not watched has none.
func (s *services) breaks(name string, breaker func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.all[name]; w != nil {
		w.breaker = breaker
	}
}

// breaker gives how the breaker of a service is found out about; nil: it has none.
func (s *services) breaker(name string) func() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.all[name]; w != nil {
		return w.breaker
	}
	return nil
}

// breakers are the states of those that there are.
func (s *services) breakers() map[string]string {
	s.mu.Lock()
	ask := map[string]func() string{}
	for name, w := range s.all {
		if w.breaker != nil {
			ask[name] = w.breaker
		}
	}
	s.mu.Unlock()
	states := make(map[string]string, len(ask))
	for name, breaker := range ask {
		states[name] = breaker()
	}
	return states
}

// statuses are what operators see of them; nil when there are none.
func (s *services) statuses() map[string]admin.ServiceStatus {
	breakers := s.breakers()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return nil
	}
	out := make(map[string]admin.ServiceStatus, len(s.all))
	for name, w := range s.all {
		st := w.status
		st.Breaker = breakers[name]
		st.State = serviceState(st, w.failures)
		out[name] = st
	}
	return out
}

// serviceState is how a service does, in a word.
func serviceState(s admin.ServiceStatus, failures int) string {
	switch {
	case s.Fetches == 0:
		return "unasked"
	case s.Breaker != "" && s.Breaker != "closed":
		return "down"
	case failures > 0:
		return "failing"
	}
	return "ok"
}

// observeDocuments counts what a host's client for profiles did.
func (s *services) observeDocuments() func(rosterhttp.Observation) {
	profile, image := s.watch(metrics.Profile), s.watch(metrics.Image)
	return func(o rosterhttp.Observation) {
		if !o.Sent || o.Err != nil && o.Err.Kind == rosterhttp.Canceled {
			return
		}
		var err error
		if o.Err != nil {
			err = o.Err
		}
		if o.Image {
			image(o.Took, err)
		} else {
			profile(o.Took, err)
		}
	}
}
