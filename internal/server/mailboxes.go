package server

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/host"
	"rollcall/internal/store"
)

// counted is what is known of a host's messages, for those who look: what became of those that were to be stored, and, where there is
// a database, what waits in it.
type counted struct {
	store *store.Store
	host  string
	log   *slog.Logger

	size *atomic.Int64 // of the database, which all hosts share

	stored, refused atomic.Uint64
	messages, users atomic.Int64 // as they were counted last
}

// countEvery is how often what waits is counted: that reads an index.
const countEvery = time.Minute

func (c *counted) feature() host.Feature {
	f := host.Feature{Name: "mailboxes"}
	if c.store != nil {
		f.Run = c.run
	}
	return f
}

func (c *counted) run(ctx context.Context) error {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		messages, users, err := c.store.CountMailboxes(ctx, c.host)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.log.Warn("the messages that wait are not counted", "error", err)
		default:
			c.messages.Store(int64(messages))
			c.users.Store(int64(users))
		}
		if n, err := c.store.Size(ctx); err == nil {
			c.size.Store(n)
		} else if ctx.Err() == nil {
			c.log.Warn("it is not known how large the database is", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *counted) waiting() (messages, users int) {
	return int(c.messages.Load()), int(c.users.Load())
}

// told counts a message that was to be stored.
func (h *virtualHost) told(err error) {
	if err == nil {
		h.counted.stored.Add(1)
	} else {
		h.counted.refused.Add(1)
	}
	h.metrics.Message(messageResult(err))
}

// messageResult is what became of a message, as a label of metrics.
func messageResult(err error) string {
	switch {
	case err == nil:
		return "stored"
	case errors.Is(err, store.ErrNotFound):
		return "unknown"
	case errors.Is(err, store.ErrLimit):
		return "mailbox-full"
	case errors.Is(err, store.ErrFull):
		return "disk-full"
	case errors.Is(err, store.ErrUnavailable):
		return "unavailable"
	}
	return "other"
}

func (h *virtualHost) messageStatus() *admin.MessageStatus {
	c := h.counted
	m := &admin.MessageStatus{Stored: c.stored.Load(), Refused: c.refused.Load()}
	if c.store != nil {
		m.Waiting, m.Recipients = c.waiting()
	}
	if h.archives != nil {
		m.Archived, m.Archives = h.archives.Kept()
	}
	return m
}

// databaseStatus is what operators see of the database.
func (s *Server) databaseStatus() *admin.DatabaseStatus {
	if s.store == nil {
		return nil
	}
	n := s.store.Stats()
	d := &admin.DatabaseStatus{Commits: n.Commits, Failures: n.Failures, Writes: n.Writes, Failed: n.Failed + n.Refused, Queued: n.Queued, QueuedBytes: n.QueuedBytes, Bytes: s.storeSize.Load()}
	if n.Writes > 0 {
		d.MeanMillis = float64(n.LatencySum.Milliseconds()) / float64(n.Writes)
	}
	return d
}
