package server

import "testing"

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64][2]int{
		0: {1000, 1000}, 1 << 20: {1000, 1000}, 16 << 20: {400, 150}, 32 << 20: {200, 75}, 64 << 20: {100, 50}, 10 << 30: {100, 50},
	} {
		if got := [2]int{gcPercent(live, false), gcPercent(live, true)}; got != want {
			t.Errorf("with %d live bytes: %d%%, not %d%%", live, got, want)
		}
	}
}
