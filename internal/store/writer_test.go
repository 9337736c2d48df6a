package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// An engineFunc is a database for tests of the queue.
type engineFunc func(ctx context.Context, g *group) error

func (f engineFunc) commit(ctx context.Context, g *group) error { return f(ctx, g) }

// A gate is an engine whose commits wait for the test.
type gate struct {
	groups chan []*write // what is being committed
	answer chan error    // what becomes of it
}

func newGate() *gate { return &gate{make(chan []*write), make(chan error)} }

func (g *gate) commit(_ context.Context, group *group) error {
	g.groups <- group.writes
	return <-g.answer
}

// a write for tests, of some bytes.
func testWrite(size int, done func(err error)) *write {
	return &write{size: size, statements: func(ID) []statement { return nil }, done: func(_ ID, err error) { done(err) }}
}

func ignore(error) {}

// What comes while a commit is under way is committed together, in its order, and what finds nothing before it at once: there
// is no time that passes.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := newGate()
		w := newWriter(t.Context(), g, Options{})
		var told []int
		add := func(i int) {
			w.add(testWrite(1, func(err error) {
				if err != nil {
					t.Error(err)
				}
				told = append(told, i)
			}))
		}
		add(0)
		if first := <-g.groups; len(first) != 1 {
			t.Errorf("the first commit has %d writes", len(first))
		}
		const more = groupWrites + 7
		for i := range more {
			add(i + 1)
		}
		synctest.Wait()
		if len(told) != 0 {
			t.Error("told before it was committed")
		}
		for _, want := range []int{groupWrites, 7} {
			g.answer <- nil
			if next := <-g.groups; len(next) != want {
				t.Errorf("%d writes in a commit, want %d", len(next), want)
			}
		}
		g.answer <- nil
		w.close()
		if len(told) != more+1 || !slices.IsSorted(told) {
			t.Errorf("told %d, or not in order", len(told))
		}
		st := w.stats()
		if st.Commits != 3 || st.Writes != more+1 || st.LargestGroup != groupWrites || st.Latency[0] != more+1 || st.Queued != 0 || st.QueuedBytes != 0 {
			t.Errorf("%+v", st)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		w := newWriter(t.Context(), g, Options{QueueWrites: 3, QueueBytes: 10 * writeCost})
		w.add(testWrite(0, ignore))
		<-g.groups // and the queue is empty
		var refused int
		count := func(err error) {
			if errors.Is(err, ErrUnavailable) {
				refused++
			}
		}
		for range 5 {
			w.add(testWrite(0, count))
		}
		if refused != 2 {
			t.Errorf("%d refused by number, want 2", refused)
		}
		g.answer <- nil
		<-g.groups
		w.add(testWrite(4*writeCost, count))
		w.add(testWrite(4*writeCost, count))
		if refused != 2 {
			t.Errorf("%d refused, though there was room", refused)
		}
		w.add(testWrite(writeCost, count))
		if refused != 3 {
			t.Errorf("%d refused by bytes, want 3", refused)
		}
		var invalid error
		w.add(testWrite(5*writeCost, func(err error) { invalid = err }))
		if !errors.Is(invalid, ErrInvalid) {
			t.Errorf("a huge write: %v", invalid)
		}
		if st := w.stats(); st.Refused != 3 || st.Queued != 2 || st.QueuedBytes != 10*writeCost {
			t.Errorf("%+v", st)
		}
		g.answer <- nil
		<-g.groups
		g.answer <- nil
		w.close()
		closed := error(nil)
		w.add(testWrite(1, func(err error) { closed = err }))
		if !errors.Is(closed, ErrUnavailable) {
			t.Errorf("after close: %v", closed)
		}
	})
}

// Writes that nobody waits for ride along; alone they are written after a moment, and whoever wants to see them does not
// wait for that.
func TestLazyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		w := newWriter(t.Context(), engineFunc(func(_ context.Context, g *group) error {
			sizes = append(sizes, len(g.writes))
			return nil
		}), Options{})
		lazy := func() {
			x := testWrite(1, ignore)
			x.lazy = true
			w.add(x)
		}
		began := time.Now()
		lazy()
		lazy()
		synctest.Wait()
		if len(sizes) != 0 {
			t.Errorf("committed at once: %v", sizes)
		}
		w.add(testWrite(1, ignore))
		synctest.Wait()
		if !slices.Equal(sizes, []int{3}) {
			t.Errorf("commits of %v, want 3", sizes)
		}
		lazy()
		if err := w.settle(t.Context()); err != nil || !slices.Equal(sizes, []int{3, 2}) {
			t.Errorf("commits of %v, %v", sizes, err)
		}
		if err := w.settle(t.Context()); err != nil || len(sizes) != 2 || time.Since(began) != 0 {
			t.Errorf("nothing to settle: commits of %v, %v", sizes, err)
		}
		lazy()
		time.Sleep(lazyDelay)
		synctest.Wait()
		if !slices.Equal(sizes, []int{3, 2, 1}) {
			t.Errorf("commits of %v", sizes)
		}
		lazy()
		w.close()
		if !slices.Equal(sizes, []int{3, 2, 1, 1}) {
			t.Errorf("close writes what is queued: %v", sizes)
		}
	})
}

// A database that is away is waited for, in bounded time; one whose disk is full is not.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason atomic.Pointer[error] // nil: commits succeed
		w := newWriter(t.Context(), engineFunc(func(context.Context, *group) error {
			if err := reason.Load(); err != nil {
				return *err
			}
			return nil
		}), Options{Patience: 10 * time.Second})
		defer w.close()
		wait := func() (time.Duration, error) {
			began := time.Now()
			_, err := w.do(t.Context(), testWrite(1, ignore))
			return time.Since(began), err
		}
		full, away := fmt.Errorf("%w: for a test", ErrFull), fmt.Errorf("%w: for a test", ErrUnavailable)
		reason.Store(&full)
		if took, err := wait(); !errors.Is(err, ErrFull) || took != 0 {
			t.Errorf("full: %v after %v", err, took)
		}
		reason.Store(nil)
		if took, err := wait(); err != nil || took != 0 {
			t.Errorf("space again: %v after %v", err, took)
		}

		reason.Store(&away)
		if took, err := wait(); !errors.Is(err, ErrUnavailable) || took < 10*time.Second || took > 10*time.Second+mostWait {
			t.Errorf("away: %v after %v", err, took)
		}
		var wg sync.WaitGroup
		for i := range 3 { // one behind the other
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				began := time.Now()
				_, err := w.do(t.Context(), testWrite(1, ignore))
				if took := time.Since(began); !errors.Is(err, ErrUnavailable) || took > 10*time.Second+2*mostWait {
					t.Errorf("away: %v after %v", err, took)
				}
			})
		}
		wg.Wait()
		wg.Go(func() {
			if took, err := wait(); err != nil || took < 5*time.Second || took > 5*time.Second+mostWait {
				t.Errorf("back: %v after %v", err, took)
			}
		})
		time.Sleep(5 * time.Second)
		reason.Store(nil)
		wg.Wait()
	})
}

func TestCloseDoesNotWaitForADatabaseThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t.Context(), engineFunc(func(context.Context, *group) error { return ErrUnavailable }), Options{})
		var told []error
		for range 3 {
			w.add(testWrite(1, func(err error) { told = append(told, err) }))
		}
		synctest.Wait()
		began := time.Now()
		w.close()
		if took := time.Since(began); took != 0 || len(told) != 3 || !errors.Is(errors.Join(told...), ErrUnavailable) {
			t.Errorf("%v after %v", told, took)
		}
	})
}

// A write whose caller has gone before its turn is not written.
func TestWriteOfACallerWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		w := newWriter(t.Context(), g, Options{})
		w.add(testWrite(1, ignore))
		<-g.groups
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.do(ctx, testWrite(1, ignore)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		w.add(testWrite(1, ignore))
		g.answer <- nil
		if next := <-g.groups; len(next) != 1 {
			t.Errorf("%d writes, want the last one alone", len(next))
		}
		g.answer <- nil
		w.close()
	})
}

// One bad statement among others in a commit fails alone.
func TestABadStatementFailsAlone(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		hold := make(chan struct{})
		s.writer.add(testWrite(0, func(error) { <-hold })) // holds the writer up, so that the next ones are one group
		var mu sync.Mutex
		var bad, good []error
		var wg sync.WaitGroup
		note := func(list *[]error) func(ID, error) {
			wg.Add(1)
			return func(_ ID, err error) {
				defer wg.Done()
				mu.Lock()
				defer mu.Unlock()
				*list = append(*list, err)
			}
		}
		key := Key{"h", "u", "s", ""}
		for i := range 9 {
			key.Name = fmt.Sprint(i)
			st, err := s.setValue(key, []byte("x"), 0)
			if err != nil {
				t.Fatal(err)
			}
			list := &good
			all := []statement{st}
			if i%3 == 1 {
				// The first of the two must not stay, either.
				list, all = &bad, append(all, statement{query: `INSERT INTO message_clock (one, last) VALUES (2, 0)`})
			}
			s.writer.add(&write{statements: func(ID) []statement { return all }, done: note(list)})
		}
		before := s.Stats()
		close(hold)
		wg.Wait()
		if len(good) != 6 || errors.Join(good...) != nil {
			t.Errorf("the good ones: %v", good)
		}
		for _, err := range bad {
			if err == nil || errors.Is(err, ErrFull) || errors.Is(err, ErrUnavailable) {
				t.Errorf("a bad one: %v", err)
			}
		}
		if n := s.Stats().Commits - before.Commits; len(bad) != 3 || n > 2 {
			t.Errorf("%d bad ones in %d commits", len(bad), n)
		}
		for i := range 9 {
			key.Name = fmt.Sprint(i)
			if _, err := s.Value(t.Context(), key); errors.Is(err, ErrNotFound) != (i%3 == 1) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

// Many goroutines write at the same time: each gets its own ids, in its order, and each commit has many writes.
func TestManyWriters(t *testing.T) {
	const workers, each = 50, 20
	everyKind(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		all := make([][]ID, workers)
		for i := range all {
			wg.Go(func() {
				for range each {
					ids, err := appendWait(s, Entry{Host: "h", Username: fmt.Sprint("u", i), Archived: true, Kind: int64(i)})
					if err != nil {
						t.Error(err)
						return
					}
					all[i] = append(all[i], ids...)
				}
			})
		}
		wg.Wait()
		for i, want := range all {
			p, err := s.Messages(t.Context(), "h", fmt.Sprint("u", i), Query{})
			if got := ids(p.Messages); err != nil || !slices.IsSorted(want) || !slices.Equal(got, want) {
				t.Errorf("%d: told %v, has %v, %v", i, want, got, err)
			}
		}
		if st := s.Stats(); st.Writes != workers*each || st.Commits >= st.Writes {
			t.Errorf("%d writes in %d commits", st.Writes, st.Commits)
		}
	})
}
