package c2s

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Pace is how fast one client may send. What comes faster is not refused: the connection is read more slowly, and the
// client's own system makes it wait (RFC 6120 section 4.9.3.14 would allow to end the stream).
type Pace struct {
	Rate  int // bytes a second, in the long run; 0: as fast as it likes
	Burst int // bytes at once, after a time of silence
	// Exempt are the addresses that are trusted to send as fast as they like.
	Exempt []netip.Prefix
}

// pace is a Pace with what follows from it.
type pace struct {
	Pace
	burst time.Duration // that Burst is worth
}

func newPace(p Pace) *pace {
	all := &pace{Pace: p}
	if p.Rate > 0 {
		all.burst = all.worth(p.Burst)
	}
	return all
}

// worth is the time that bytes are worth.
func (p *pace) worth(n int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(p.Rate)
}

// What an element costs beside its bytes, as parts of a second's worth of them: so a rate that is set higher makes room
// for more of either.
const (
	stanzasASecond  = 64
	presenceASecond = 1 // of those that go to every contact
)

const (
	// maxDebt bounds how long a client is held up, for one stanza as large as they may be.
	maxDebt = 20 * time.Second
	// longestPause is how long a pause goes on without a look at whether the connection has ended.
	longestPause = time.Second
	// readAtATime is how much is read at once of a client that is measured, so that no pause between two reads is long.
	readAtATime = 4 << 10
)

// Meter counts what a client has sent. It is one number, when the client's whole burst will be free again: an idle client
// has no timer and no goroutine. Any goroutine may call its methods; those of a nil Meter do nothing.
type Meter struct {
	srv  *Server
	free atomic.Int64 // nanoseconds after srv.epoch
}

// Limit gives as much of p as should be read at once.
func (m *Meter) Limit(p []byte) []byte {
	if m == nil {
		return p
	}
	return p[:min(len(p), readAtATime)]
}

// Took says that n bytes were read, and waits if that was too much; a second at most. It is for the goroutine that reads.
func (m *Meter) Took(n int) {
	if m == nil || n <= 0 {
		return
	}
	m.Charge(n)
	if d := m.Owed(); d > 0 {
		time.Sleep(min(d, longestPause))
	}
}

// Charge counts n bytes.
func (m *Meter) Charge(n int) {
	if m == nil {
		return
	}
	if p := m.srv.pace.Load(); p.Rate > 0 {
		m.spend(p.worth(n))
	}
}

// spend counts bytes by the time that they are worth.
func (m *Meter) spend(worth time.Duration) {
	burst := m.srv.pace.Load().burst
	for {
		old, now := m.free.Load(), int64(time.Since(m.srv.epoch))
		free := min(max(old, now)+int64(worth), now+int64(burst+maxDebt))
		if m.free.CompareAndSwap(old, free) {
			return
		}
	}
}

// Owed is how long to wait until more may be read; not positive when nothing is owed.
func (m *Meter) Owed() time.Duration {
	if m == nil {
		return 0
	}
	p := m.srv.pace.Load()
	if p.Rate == 0 { // since a moment ago
		return 0
	}
	return time.Duration(m.free.Load()) - time.Since(m.srv.epoch) - p.burst
}

// Wait waits until nothing is owed or ctx is done.
func (m *Meter) Wait(ctx context.Context) {
	for d := m.Owed(); d > 0 && ctx.Err() == nil; d = m.Owed() {
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// measured tells whether a connection from an address is measured.
func (p *Pace) measured(a netip.Addr) bool {
	return p.Rate > 0 && !slices.ContainsFunc(p.Exempt, func(e netip.Prefix) bool { return e.Contains(a.Unmap().WithZone("")) })
}

// pay counts what a stanza costs beside its bytes, and waits if that was too much. What goes to every contact of a user
// costs most: so many times what was sent goes out.
func (c *conn) pay(toEverybody bool) {
	if c.meter.srv == nil {
		return
	}
	worth := time.Second / stanzasASecond
	if toEverybody {
		worth = time.Second / presenceASecond
	}
	c.meter.spend(worth)
	for d := c.meter.Owed(); d > 0 && !c.ended.Load(); d = c.meter.Owed() {
		time.Sleep(min(d, longestPause))
	}
}
