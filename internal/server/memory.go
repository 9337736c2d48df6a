package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A storm of sign-ins leaves the heap and the goroutines' stacks larger than what idle clients need, and the runtime
// collects only when as much again has been allocated: with nobody doing anything, never. So when it has become quiet,
// what is left over is collected once and given back to the system.
const (
	quietPeriod = time.Second
	quietBytes  = 256 << 10 // allocated in a period that counts as quiet
	leftBytes   = 4 << 20   // allocated since the last time, for it to be worth while
)

// returnMemory gives memory back in quiet times, until ctx is done.
func returnMemory(ctx context.Context) {
	tick := time.NewTicker(quietPeriod)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var before, returned uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		if now-before < quietBytes && now-returned > leftBytes {
			debug.FreeOSMemory()
			returned = now
		}
		before = now
	}
}
