package measure

import (
	"math"
	"os"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	ten := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for p, want := range map[float64]float64{0: 1, 10: 1, 50: 5, 51: 6, 90: 9, 99: 10, 100: 10} {
		if got := Percentile(ten, p); got != want {
			t.Errorf("p%v: got %v, want %v", p, got, want)
		}
	}
	if got := Percentile([]uint32{}, 50); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestMedian(t *testing.T) {
	values := []float64{9, 1, 5}
	if got := Median(values); got != 5 || values[0] != 9 {
		t.Errorf("got %v, and the values are %v", got, values)
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("got %v", got)
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestParseStat(t *testing.T) {
	const line = "4242 (a (strange) name) S 1 4242 4242 0 -1 4194560 1000 0 0 0 150 25 7 8 20 0 12 0 1234 1000000 500"
	got, err := parseStat([]byte(line))
	if err != nil || got != 1750*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, broken := range []string{"", "1 (a) S 1", "1 (a) S 1 1 1 0 -1 1 1 0 0 0 x 25 7"} {
		if _, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q: no error", broken)
		}
	}
}

func TestParseRollup(t *testing.T) {
	const text = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:                1234 kB\nPss:                 900 kB\n"
	if got, err := parseRollup([]byte(text)); err != nil || got != 1234 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseRollup([]byte("Pss: 1 kB\n")); err == nil {
		t.Error("no error")
	}
}

// The clock and /proc tell of the same time, in steps of 10 ms.
func TestCPUAgreesWithProc(t *testing.T) {
	pid := os.Getpid()
	before, err := CPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := statTicks(pid)
	if err != nil {
		t.Fatal(err)
	}
	after, err := CPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	if proc+20*time.Millisecond < before || proc > after+20*time.Millisecond {
		t.Errorf("/proc says %v, the clock %v and then %v", proc, before, after)
	}
	if rss, err := RSS(pid); err != nil || rss < 1<<20 {
		t.Errorf("resident: %d, %v", rss, err)
	}
	if _, err := CPU(1 << 22); err == nil {
		t.Error("a pid above the highest there can be, and no error")
	}
}
