package server

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector's pace is made for programs whose heap is large or whose memory nobody counts. A chat server's
// heap is small, so collecting whenever it has doubled means to collect all the time while there is something to do;
// and when nothing is to do any more, the runtime keeps what a storm of sign-ins needed, for it collects only when as
// much again has been allocated. So here the heap may grow by slack before it is collected, however small it is, and
// when it has become quiet it is collected once and what is left over is given back to the system. GOGC, when it is
// set, is left alone, and GOMEMLIMIT bounds both.
//
// While ever more is live, as when people sign in, the heap may grow by less: what stays is then made among what does
// not, and a page with one object that stays can be given back to nobody.
const (
	slack       = 64 << 20
	slackGrown  = 24 << 20 // while ever more is live
	period      = 500 * time.Millisecond
	quietBytes  = 128 << 10   // allocated in a period that counts as quiet
	returnBytes = 4 << 20     // allocated since memory was last given back, for it to be worth while
	returnPause = time.Minute // since then, for as much that is free to be: it ended after it had become quiet, and was collected since
	// While no client is let in, what is live is seen so often: by itself the runtime collects only when more is allocated, or
	// after two minutes, and those who are refused allocate nothing.
	shortPause = 2 * time.Second
	shortShare = 20 // of the time at most, one part in so many
)

// keepMemory paces the collector, and looks after the memory that is allowed, until ctx is done.
func keepMemory(ctx context.Context, a *allowance, log *slog.Logger) {
	defer a.limitHeap(log)()
	pace := os.Getenv("GOGC") == ""
	if pace {
		before := debug.SetGCPercent(100)
		defer debug.SetGCPercent(before)
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	var last, returned, was uint64
	var gave time.Time     // when memory was last given back
	var took time.Duration // to do that
	percent, grows := 100, true
	for {
		metrics.Read(m)
		allocated, live, free := m[0].Value.Uint64(), m[1].Value.Uint64(), m[2].Value.Uint64()
		if live != was { // it has been collected
			was, grows = live, live > was+max(was/20, 1<<20)
		}
		if p := gcPercent(live, grows); pace && p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		due := allocated-returned > returnBytes || free > returnBytes && time.Since(gave) > returnPause
		if allocated-last < quietBytes && due || a.full.Load() && time.Since(gave) > max(shortPause, shortShare*took) {
			gave = time.Now()
			debug.FreeOSMemory()
			returned, took = allocated, time.Since(gave)
		}
		last = allocated
		a.look(usedMemory(), log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcPercent gives the growth, in percent of what is live, after which the heap is collected: slack or double, whichever
// is more; while it grows, slackGrown or half as much again. It is rounded, because setting it anew costs something.
func gcPercent(live uint64, grows bool) int {
	most, allow, least := 1000, uint64(slack), 100
	if grows {
		allow, least = slackGrown, 50
	}
	p := most
	if live > 0 {
		p = int(min(uint64(most), allow*100/live))
	}
	return max(least, p/25*25)
}
