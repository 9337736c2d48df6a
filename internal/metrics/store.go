package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Store is what a database's queue of writes has done so far, and what waits in it.
type Store struct {
	Commits, Failures              uint64 // transactions, and tries that failed
	Writes, Failed, Refused, Bytes uint64 // writes, those that failed, those that found the queue full; bytes of the first
	Largest                        int    // most writes of one transaction
	Queued, QueuedBytes            int    // what waits
	Size                           int64  // bytes of the database, as it was last looked at
	// Latency has how many writes took no longer than each of Bounds, the last of them those that took longer than all; not
	// added up. LatencySum is the time of all of them.
	Bounds     []time.Duration
	Latency    []uint64
	LatencySum time.Duration
}

// Store has a database's numbers read when somebody scrapes.
func (m *Metrics) Store(read func() Store) {
	if m != nil {
		m.registry.MustRegister(newStoreState(read))
	}
}

type storeState struct {
	read                                   func() Store
	commits, failures, writes, bytes, took *prometheus.Desc
	largest, queued, queuedBytes, size     *prometheus.Desc
}

func newStoreState(read func() Store) *storeState {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &storeState{
		read:        read,
		commits:     desc("rollcall_store_commits_total", "Transactions of queued writes, each of which waited for the disk once."),
		failures:    desc("rollcall_store_commit_failures_total", "Tries to commit queued writes that failed; they are tried again."),
		writes:      desc("rollcall_store_writes_total", "Queued writes to the database, by what came of them.", "result"),
		bytes:       desc("rollcall_store_written_bytes_total", "Bytes of queued writes that were committed."),
		took:        desc("rollcall_store_write_duration_seconds", "Time of queued writes, from when they came until they were on the disk."),
		largest:     desc("rollcall_store_commit_writes_max", "Most writes of one transaction since the start."),
		queued:      desc("rollcall_store_queue_writes", "Writes that wait for their transaction."),
		queuedBytes: desc("rollcall_store_queue_bytes", "Bytes of writes that wait for their transaction."),
		size:        desc("rollcall_store_size_bytes", "Size of the database, looked at once a minute."),
	}
}

// Describe implements prometheus.Collector.
func (s *storeState) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.commits, s.failures, s.writes, s.bytes, s.took, s.largest, s.queued, s.queuedBytes, s.size} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *storeState) Collect(out chan<- prometheus.Metric) {
	n := s.read()
	tell := func(t prometheus.ValueType, d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, t, value, labels...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	tell(counter, s.commits, float64(n.Commits))
	tell(counter, s.failures, float64(n.Failures))
	tell(counter, s.writes, float64(n.Writes), "ok")
	tell(counter, s.writes, float64(n.Failed), "error")
	tell(counter, s.writes, float64(n.Refused), "refused")
	tell(counter, s.bytes, float64(n.Bytes))
	tell(gauge, s.largest, float64(n.Largest))
	tell(gauge, s.queued, float64(n.Queued))
	tell(gauge, s.queuedBytes, float64(n.QueuedBytes))
	tell(gauge, s.size, float64(n.Size))
	buckets, all := map[float64]uint64{}, uint64(0)
	for i, count := range n.Latency {
		all += count
		if i < len(n.Bounds) {
			buckets[n.Bounds[i].Seconds()] = all
		}
	}
	out <- prometheus.MustNewConstHistogram(s.took, all, n.LatencySum.Seconds(), buckets)
}
