package server

import (
	"rollcall/internal/metrics"
	"rollcall/internal/rosterhttp"
	"rollcall/internal/store"
)

// state is what is read of a host when somebody scrapes.
func (h *virtualHost) state() metrics.Host {
	return metrics.Host{
		Online:   func() int { return h.engine.Counts().Online },
		Sessions: h.sessions,
		Rosters: func() metrics.Rosters {
			c := h.engine.Counts()
			return metrics.Rosters{Oldest: c.Oldest, Average: c.Average, Held: c.Held, Journal: c.Journal, Unsaved: c.Unsaved}
		},
		Service:   h.serviceState,
		Queues:    h.queues,
		Mailboxes: h.mailboxes(),
		Archives:  h.kept(),
		Breakers:  func() map[string]string { return h.services.breakers() },
	}
}

func (h *virtualHost) queues() metrics.Queues {
	q := h.host.Queues()
	return metrics.Queues{OutboxBytes: q.Outboxes, LargestOutbox: q.LargestOutbox, Letters: q.Letters, Requests: q.Requests}
}

// mailboxes tells what waits in a host's mailboxes, where it is counted.
func (h *virtualHost) mailboxes() func() (messages, users int) {
	if h.counted.store == nil {
		return nil
	}
	return h.counted.waiting
}

// kept tells what is in a host's archives, where there are any.
func (h *virtualHost) kept() func() (messages, users int) {
	if h.counted.store == nil {
		return nil
	}
	return func() (messages, users int) {
		if h.archives == nil {
			return 0, 0
		}
		return h.archives.Kept()
	}
}

// storeState is what is read of the database when somebody scrapes.
func (s *Server) storeState() metrics.Store {
	n := s.store.Stats()
	return metrics.Store{Commits: n.Commits, Failures: n.Failures, Writes: n.Writes, Failed: n.Failed, Refused: n.Refused, Bytes: n.Bytes,
		Largest: n.LargestGroup, Queued: n.Queued, QueuedBytes: n.QueuedBytes, Size: s.storeSize.Load(),
		Bounds: store.LatencyBounds[:], Latency: n.Latency[:], LatencySum: n.LatencySum}
}

func (h *virtualHost) sessions() metrics.Sessions {
	n := h.host.SessionsByTransport()
	return metrics.Sessions{TCP: n["tcp"], WebSocket: n["websocket"], BOSH: n["bosh"]}
}

func (h *virtualHost) serviceState() metrics.Service {
	if h.service == nil {
		return metrics.Service{}
	}
	health := h.service.client().Health()
	return metrics.Service{Breaker: health.Breaker, InFlight: health.InFlight, Waiting: health.Waiting}
}

// observe counts what a host's client of the service did.
func (h *virtualHost) observe(o rosterhttp.Observation) {
	for result, users := range o.Results {
		h.metrics.Fetched(result, users)
	}
	if o.Sent {
		h.metrics.Request(o.Took, o.Users, o.Batch)
	}
	h.metrics.Dropped(o.Dropped)
}
