package store

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/store/storetest"
)

// benchKinds are databases that wait for their disk.
func benchKinds(b *testing.B, bench func(b *testing.B, s *Store)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, openWith(b, Options{DataDir: b.TempDir()})) })
	b.Run("postgres", func(b *testing.B) {
		bench(b, openWith(b, Options{URL: storetest.Start(b, true).Database("postgres")}))
	})
}

// BenchmarkAppend stores messages of 500 bytes for 1,000 accounts, by 200 goroutines that each wait for one message at a
// time: "mailbox" for recipients who are offline, "both" in the mailbox and the archive, "pair" also in the archive of the
// sender.
func BenchmarkAppend(b *testing.B) {
	stanza := bytes.Repeat([]byte("stanza, 20 bytes it  "), 25)[:500]
	for _, what := range []string{"mailbox", "both", "pair"} {
		b.Run(what, func(b *testing.B) {
			benchKinds(b, func(b *testing.B, s *Store) {
				var n atomic.Int64
				before := s.Stats()
				b.SetParallelism(200 / runtime.GOMAXPROCS(0))
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					told := make(chan error, 1)
					for pb.Next() {
						i := n.Add(1)
						john, marie := fmt.Sprintf("user%d", i*7919%1000), fmt.Sprintf("user%d", i*104729%1000)
						entries := []Entry{{Host: "chat.example.com", Username: john, With: marie + "@chat.example.com", Stanza: stanza,
							StanzaID: "2c9f5a7e-5a0c-4a0e", Undelivered: true, Archived: what != "mailbox", Limit: 1_000_000}}
						if what == "pair" {
							entries = append(entries, Entry{Host: "chat.example.com", Username: marie, With: john + "@chat.example.com",
								Stanza: stanza, StanzaID: "2c9f5a7e-5a0c-4a0e", Archived: true})
						}
						s.Append(entries, func(_ []ID, err error) { told <- err })
						if err := <-told; err != nil {
							b.Error(err)
						}
					}
				})
				b.StopTimer()
				st := s.Stats()
				commits := float64(st.Commits - before.Commits)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
				b.ReportMetric(float64(b.N)/commits, "messages/commit")
				b.ReportMetric(commits/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric((st.LatencySum-before.LatencySum).Seconds()*1e3/float64(b.N), "ms/message")
				b.ReportMetric(float64(p99(st).Milliseconds()), "p99-at-most-ms")
			})
		})
	}
}

// p99 is a bound that 99% of the writes kept.
func p99(s Stats) time.Duration {
	var n uint64
	for i, bound := range LatencyBounds {
		if n += s.Latency[i]; n*100 >= s.Writes*99 {
			return bound
		}
	}
	return time.Hour
}

// BenchmarkSetValue writes values one after the other: each is a commit of its own.
func BenchmarkSetValue(b *testing.B) {
	benchKinds(b, func(b *testing.B, s *Store) {
		value := make([]byte, 500)
		for i := 0; b.Loop(); i++ {
			k := Key{Host: "chat.example.com", Username: fmt.Sprintf("user%d", i%1000), Space: "last"}
			if err := s.SetValue(context.Background(), k, value, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
