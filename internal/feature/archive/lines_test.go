package archive

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/internal/jid"
	"rollcall/internal/session"
)

func newSession(t *testing.T) *session.Session {
	return session.New(t.Context(), new(sync.WaitGroup), jid.MustParse("john@localhost/phone"), nil, &session.Options{OutboxBytes: 1 << 20})
}

// A session's queries are answered in order, and none while too much is on its way to the client; nothing is left of a line when
// all is done, and nothing of a session that has ended.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lines
		var mu sync.Mutex
		var worked []int
		var landings []func()
		l.init(800, func(r *request, fly func(int) func()) {
			landed := fly(r.weight)
			mu.Lock()
			defer mu.Unlock()
			worked, landings = append(worked, r.weight), append(landings, landed)
		})
		s := newSession(t)
		for _, weight := range []int{60, 50, 200, 1, 2} { // bytes of the pages; up to 100 on their way let the next one go
			if !l.enter(s, &request{weight: weight}) {
				t.Fatal("no room")
			}
		}
		expect := func(want ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(worked, want) {
				t.Errorf("%v instead of %v", worked, want)
			}
		}
		expect(60, 50)
		landings[1]()
		expect(60, 50, 200)
		landings[0]()
		expect(60, 50, 200)
		landings[2]()
		expect(60, 50, 200, 1, 2)
		if len(l.of) != 1 {
			t.Error("what is on its way is forgotten")
		}
		landings[3]()
		landings[4]()
		if len(l.of) != 0 {
			t.Error("a line is left")
		}
		l.stop()
		if l.enter(s, &request{}) {
			t.Error("it has stopped")
		}
	})
}

func TestLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lines
		var landed func()
		worked := 0
		l.init(800, func(r *request, fly func(int) func()) {
			worked++
			landed = fly(1_000)
		})
		s, other := newSession(t), newSession(t)
		if !l.enter(s, &request{}) {
			t.Fatal("the first")
		}
		synctest.Wait()
		n := 0
		for l.enter(s, &request{weight: 1_000}) {
			n++
		}
		if n != lineQueries {
			t.Errorf("%d wait", n)
		}
		if l.enter(other, &request{weight: lineBytes + 1}) || len(l.of) != 1 {
			t.Error("a query that is too large")
		}
		l.drop(s)
		landed()
		synctest.Wait()
		if len(l.of) != 0 || worked != 1 {
			t.Error("a session that has ended", len(l.of), worked)
		}
		l.stop()
	})
}
