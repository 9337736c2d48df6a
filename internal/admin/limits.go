package admin

import (
	"net/netip"
	"sync"
	"time"
)

// maxFailures is how many refused credentials of one address are answered 401 in a minute. More are answered 429; a right
// one is always heard, or whoever can send wrong ones through the same proxy could shut the service out.
const maxFailures = 20

// buckets are token buckets by key, at most maxBuckets of them: keys for which there is no room share one.
type buckets struct {
	mu    sync.Mutex
	rate  float64 // tokens a second; 0: no limit
	burst float64
	all   map[string]bucket
	swept time.Time
}

const maxBuckets = 10_000

type bucket struct {
	tokens float64
	at     time.Time // when it had them
}

func newBuckets(rate float64, burst int) buckets {
	return buckets{rate: rate, burst: float64(burst), all: map[string]bucket{}}
}

// set has them fill up at another rate.
func (b *buckets) set(rate float64, burst int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate, b.burst = rate, float64(burst)
}

// perSecond is what set has said.
func (b *buckets) perSecond() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(b.rate)
}

// take takes a token out of the key's bucket, or tells after what time there will be one.
func (b *buckets) take(key string) (wait time.Duration) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate == 0 {
		return 0
	}
	if _, known := b.all[key]; !known && len(b.all) >= maxBuckets {
		b.sweep(now)
		if len(b.all) >= maxBuckets {
			key = ""
		}
	}
	have := b.burst
	if old, known := b.all[key]; known {
		have = b.now(old, now)
	}
	if have < 1 {
		b.all[key] = bucket{have, now}
		return time.Duration((1 - have) / b.rate * float64(time.Second))
	}
	b.all[key] = bucket{have - 1, now}
	return 0
}

func (b *buckets) now(old bucket, now time.Time) float64 {
	return min(b.burst, old.tokens+now.Sub(old.at).Seconds()*b.rate)
}

// sweep forgets the buckets that are full again, once a second at most.
func (b *buckets) sweep(now time.Time) {
	if now.Sub(b.swept) < time.Second {
		return
	}
	b.swept = now
	for key, old := range b.all {
		if b.now(old, now) >= b.burst {
			delete(b.all, key)
		}
	}
}

// addressOf names who is behind a TCP peer: an address, or with IPv6 the network of which each customer has at least one.
func addressOf(peer string) string {
	ap, err := netip.ParseAddrPort(peer)
	if err != nil {
		return peer
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
