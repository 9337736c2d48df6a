package measure

import (
	"math"
	"slices"
)

// Percentile returns the value that p percent of the sorted values do not exceed (nearest rank), NaN when there are none.
func Percentile[T ~int64 | ~uint32 | ~float64](sorted []T, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return float64(sorted[min(max(rank, 1), len(sorted))-1])
}

// Median returns the middle of the values, the mean of the two middle ones when their number is even, NaN when there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
