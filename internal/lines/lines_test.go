package lines

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// record is work that has been done.
type record struct {
	mu   sync.Mutex
	done []string
}

func (r *record) note(what string) func(Fly) {
	return func(Fly) { r.add(what) }
}

func (r *record) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, what)
}

func (r *record) is(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.done, want) {
		t.Errorf("%q was done, want %q", r.done, want)
	}
}

// What is in one line is done in order, one line does not wait for another, and in the end nothing is left.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New[string](Bounds{})
		var r record
		gate := make(chan struct{})
		l.Do("a", 1, func(Fly) { <-gate; r.add("a1") })
		l.Do("a", 1, r.note("a2"))
		l.Do("b", 1, r.note("b1"))
		r.is(t, "b1")
		if l.Waiting() != 1 || l.Empty() {
			t.Errorf("%d wait", l.Waiting())
		}
		close(gate)
		r.is(t, "b1", "a1", "a2")
		if !l.Empty() {
			t.Error("something is left")
		}
		l.Stop()
		if l.Do("a", 1, r.note("late")) {
			t.Error("it has stopped")
		}
	})
}

// While too much is on its way nothing is done, and a line is remembered until all has landed.
func TestFlying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New[string](Bounds{Flying: 100})
		var r record
		landed := map[string]func(){}
		send := func(what string, bytes int) {
			if !l.Do("a", 1, func(fly Fly) { landed[what] = fly(bytes); r.add(what) }) {
				t.Fatal("no room")
			}
		}
		send("60", 60)
		send("50", 50)
		send("200", 200)
		send("1", 1)
		r.is(t, "60", "50")
		landed["50"]()
		r.is(t, "60", "50", "200")
		landed["60"]()
		r.is(t, "60", "50", "200")
		landed["200"]()
		r.is(t, "60", "50", "200", "1")
		if l.Empty() {
			t.Error("what is on its way is forgotten")
		}
		landed["1"]()
		if !l.Empty() {
			t.Error("a line is left")
		}
		l.Stop()
	})
}

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		bounds Bounds
		weight int
		want   map[string]int // how many find room in each line, while the first of each is done
	}{
		"waiting":       {Bounds{Waiting: 3}, 1, map[string]int{"a": 4, "b": 4}},
		"of one":        {Bounds{Weight: 50}, 10, map[string]int{"a": 5, "b": 5}},
		"of all":        {Bounds{Weight: 50, Weighs: 80}, 10, map[string]int{"a": 5, "b": 3}},
		"one too heavy": {Bounds{Weight: 50}, 51, map[string]int{"a": 0, "b": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New[string](c.bounds)
				gate := make(chan struct{})
				for _, of := range []string{"a", "b"} {
					n := 0
					for n < 10 && l.Do(of, c.weight, func(Fly) { <-gate }) {
						n++
						synctest.Wait()
					}
					if n != c.want[of] {
						t.Errorf("%d find room in %s, want %d", n, of, c.want[of])
					}
				}
				close(gate)
				l.Stop()
				if !l.Empty() {
					t.Error("something is left")
				}
			})
		})
	}
}

func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New[int](Bounds{AtOnce: 2})
		gate := make(chan struct{})
		var r record
		for of := range 5 {
			l.Do(of, 1, func(Fly) { r.add("begun"); <-gate })
		}
		r.is(t, "begun", "begun")
		gate <- struct{}{}
		r.is(t, "begun", "begun", "begun")
		close(gate)
		l.Stop() // which does what waits
		r.is(t, "begun", "begun", "begun", "begun", "begun")
	})
}

// What was dropped is not done, and what it has on its way lands in nothing.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New[string](Bounds{Flying: 10})
		var r record
		gate := make(chan struct{})
		var landed func()
		l.Do("a", 5, func(fly Fly) { landed = fly(100); <-gate; r.add("a1") })
		l.Do("a", 5, r.note("a2"))
		synctest.Wait()
		l.Drop("a")
		l.Drop("nobody")
		l.Do("a", 5, r.note("anew"))
		r.is(t, "anew")
		close(gate)
		r.is(t, "anew", "a1")
		landed()
		r.is(t, "anew", "a1")
		if !l.Empty() {
			t.Error("something is left")
		}
		l.Stop()
	})
}
