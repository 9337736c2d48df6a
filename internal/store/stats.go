package store

import (
	"context"
	"fmt"
	"time"
)

// Stats are numbers of the queue of writes, and of what was read. All but Queued and QueuedBytes count from Open on.
type Stats struct {
	Commits  uint64 // transactions, each of which waited for the disk once
	Writes   uint64 // that were committed
	Bytes    uint64 // of those writes
	Failed   uint64 // writes that were not: the disk was full, a limit reached, the database away
	Refused  uint64 // writes that found the queue full
	Failures uint64 // tries to commit that failed

	Reads uint64 // questions to the database

	LargestGroup int // most writes of one commit
	Queued       int // writes that wait now
	QueuedBytes  int

	// Latency has how many committed writes took how long, from being queued to being on the disk: Latency[i] those of at
	// most LatencyBounds[i] (and more than the bound before), the last those of more. LatencySum is the sum.
	Latency    [len(LatencyBounds) + 1]uint64
	LatencySum time.Duration
}

// LatencyBounds are the bounds of Stats.Latency.
var LatencyBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second, 30 * time.Second,
}

func (s *Stats) latency(d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	s.Latency[i]++
	s.LatencySum += d
}

// Size tells how many bytes the database has: of SQLite the file without its log, of PostgreSQL the tables of the schema with their
// indexes. It reads no table.
func (s *Store) Size(ctx context.Context) (bytes int64, err error) {
	query := sqliteSize
	if s.remote {
		query = postgresSize
	}
	err = s.read(ctx, func(ctx context.Context) error { return s.db.QueryRowContext(ctx, query).Scan(&bytes) })
	if err != nil {
		return 0, fmt.Errorf("store: the size of the database: %w", err)
	}
	return bytes, nil
}
