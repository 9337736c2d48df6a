package authhttp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// maxCached is how many passwords are remembered at a time; others are asked about.
const maxCached = 10_000

// A cache remembers for a short time that passwords were right, never that they were wrong: as keyed hashes, with a key that is
// made anew in each process and leaves it nowhere.
type cache struct {
	ttl  time.Duration
	salt [32]byte

	mu    sync.Mutex
	until map[[32]byte]time.Time
}

func newCache(ttl time.Duration) *cache {
	c := &cache{ttl: ttl, until: make(map[[32]byte]time.Time)}
	rand.Read(c.salt[:]) // never fails (crypto/rand)
	return c
}

func (c *cache) key(user, password string) (k [32]byte) {
	m := hmac.New(sha256.New, c.salt[:])
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(user)))
	m.Write(size[:])
	m.Write([]byte(user))
	m.Write([]byte(password))
	m.Sum(k[:0])
	return k
}

func (c *cache) has(k [32]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.until[k]
	return ok && time.Now().Before(until)
}

func (c *cache) add(k [32]byte) {
	if c.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if len(c.until) >= maxCached {
		for other, until := range c.until {
			if !now.Before(until) {
				delete(c.until, other)
			}
		}
	}
	if len(c.until) < maxCached {
		c.until[k] = now.Add(c.ttl)
	}
}
