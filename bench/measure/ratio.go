package measure

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Times are of a window, in microseconds, counted in classes that are half a percent wide: so many windows can be added up, again and again.
type Times []uint32

// classWidth is the logarithm of the ratio of two neighbouring classes.
var classWidth = math.Log(1.005)

// NewTimes counts them.
func NewTimes(micros []uint32) Times {
	var t Times
	for _, m := range micros {
		class := int(math.Round(math.Log(float64(max(m, 1))) / classWidth))
		if class >= len(t) {
			t = slices.Grow(t, class+1-len(t))[:class+1]
		}
		t[class]++
	}
	return t
}

// Pooled returns the value in microseconds that p percent of all times of the windows do not exceed, to half a percent; NaN when there are none.
func Pooled(windows []Times, p float64) float64 {
	var sum Times
	total := uint64(0)
	for _, w := range windows {
		if len(w) > len(sum) {
			sum = slices.Grow(sum, len(w)-len(sum))[:len(w)]
		}
		for class, n := range w {
			sum[class] += n
			total += uint64(n)
		}
	}
	rank, seen := max(1, uint64(math.Ceil(p/100*float64(total)))), uint64(0)
	for class, n := range sum {
		if seen += uint64(n); seen >= rank {
			return math.Exp(float64(class) * classWidth)
		}
	}
	return math.NaN()
}

// resamples are how often Ratio draws.
const resamples = 2000

// Ratio compares the percentiles of two kinds of windows, of which each round has one: that of all times of a, over that of all of b. In
// 95 of 100 such runs what is true lies between low and high, if rounds are alike and do not depend on each other: they are drawn anew, with
// replacement (Efron, Bootstrap Methods, 1979; percentile intervals). The draws are the same each time.
func Ratio(a, b []Times, p float64) (ratio, low, high float64) {
	return ratioOf(a, b, p, resamples)
}

func ratioOf(a, b []Times, p float64, resamples int) (ratio, low, high float64) {
	draw := rand.New(rand.NewPCG(1, uint64(len(a))))
	drawn := make([]float64, resamples)
	someA, someB := make([]Times, len(a)), make([]Times, len(b))
	for i := range drawn {
		for k := range someA {
			round := draw.IntN(len(a))
			someA[k], someB[k] = a[round], b[round]
		}
		drawn[i] = Pooled(someA, p) / Pooled(someB, p)
	}
	slices.Sort(drawn)
	return Pooled(a, p) / Pooled(b, p), Percentile(drawn, 2.5), Percentile(drawn, 97.5)
}
