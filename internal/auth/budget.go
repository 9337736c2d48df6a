package auth

import (
	"cmp"
	"time"
)

// A budget is what has been spent of it at a time.
type budget struct {
	spent float64
	at    time.Time
	told  time.Time // when somebody was last told that it is used up
}

// A size is that of budgets: how much may be spent, and in which time an empty one fills up again.
type size struct {
	most int
	fill time.Duration
}

// spent is what is held against somebody now.
func (s size) spent(b budget, now time.Time) float64 {
	return max(0, b.spent-float64(s.most)*float64(now.Sub(b.at))/float64(s.fill))
}

func (s size) left(b budget, now time.Time) float64 { return float64(s.most) - s.spent(b, now) }

// spend counts one try, and does not when nothing is left.
func (s size) spend(b *budget, now time.Time) bool {
	if s.left(*b, now) < 1 {
		return false
	}
	b.spent, b.at = s.spent(*b, now)+1, now
	return true
}

// forgive takes one try back.
func (s size) forgive(b *budget, now time.Time) { b.spent, b.at = max(0, s.spent(*b, now)-1), now }

func (s size) lessSpent(now time.Time) func(x, y budget) int {
	return func(x, y budget) int { return cmp.Compare(s.spent(x, now), s.spent(y, now)) }
}

// tell says whether it is time to tell somebody that a budget is used up: once in tellAgain, however often that happens.
func (b *budget) tell(now time.Time) bool {
	if now.Sub(b.told) < tellAgain {
		return false
	}
	b.told = now
	return true
}

// keep puts an entry into a table that has most entries; of a few, which the runtime's order of maps picks, the least gives way.
func keep[K comparable, V any](table map[K]V, key K, value V, most int, compare func(x, y V) int) {
	if _, there := table[key]; !there && len(table) >= most {
		var least K
		n := 0
		for k, v := range table {
			if n == 0 || compare(v, table[least]) < 0 {
				least = k
			}
			if n++; n == considered {
				break
			}
		}
		delete(table, least)
	}
	table[key] = value
}
