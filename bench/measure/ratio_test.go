package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// windows makes so many, of 1,000 exponentially distributed times each; each window is slower or faster than others by its own chance.
func windows(r *rand.Rand, n int, mean float64) (all []Times, micros []uint32) {
	for range n {
		own := mean * math.Exp(0.1*r.NormFloat64())
		var w []uint32
		for range 1000 {
			w = append(w, uint32(own*r.ExpFloat64()))
		}
		all, micros = append(all, NewTimes(w)), append(micros, w...)
	}
	return all, micros
}

func TestPooled(t *testing.T) {
	all, micros := windows(rand.New(rand.NewPCG(1, 1)), 20, 1000)
	slices.Sort(micros)
	for _, p := range []float64{1, 50, 99, 100} {
		if got, want := Pooled(all, p), float64(Percentile(micros, p)); math.Abs(got/want-1) > 0.005 {
			t.Errorf("p%v: %v, want %v", p, got, want)
		}
	}
	if got := Pooled([]Times{nil, NewTimes(nil)}, 50); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
	if got := Pooled([]Times{NewTimes([]uint32{0})}, 50); got != 1 {
		t.Errorf("of nothing: %v", got)
	}
}

// Of many runs in which the truth is known, some 95 in 100 have it between the bounds: of equal kinds, and of one that is a fifth slower.
func TestRatioHasTheTruth(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const runs = 60
	for _, truth := range []float64{1, 1.2} {
		within, above := 0, 0
		for range runs {
			a, _ := windows(r, 15, 1000*truth)
			b, _ := windows(r, 15, 1000)
			ratio, low, high := ratioOf(a, b, 50, 200)
			if low > ratio || ratio > high {
				t.Fatalf("%v is not between %v and %v", ratio, low, high)
			}
			if low <= truth && truth <= high {
				within++
			}
			if low > 1 {
				above++
			}
		}
		if within < runs*85/100 {
			t.Errorf("%v: in %d of %d runs only the truth is between the bounds", truth, within, runs)
		}
		if truth > 1 && above < runs*90/100 {
			t.Errorf("%v: in %d of %d runs only it shows that one is slower", truth, above, runs)
		}
	}
}
