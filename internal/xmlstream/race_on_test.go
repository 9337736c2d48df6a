//go:build race

package xmlstream

// With the race detector sync.Pool throws things away at random, so allocations cannot be counted.
const raceDetector = true
