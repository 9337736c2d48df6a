package roster

import (
	"slices"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// arrived takes what fetch n brought; called by the owner. known is what the fetch said that we have.
func (u *User) arrived(n uint64, wished, began time.Time, known *Known, res rosterhttp.Result) {
	if u.overtaken(n) {
		return
	}
	old := u.Current()
	k := u.fetched(known, res)
	k.Wished, k.AsOf = wished, began
	var changes []rosterdoc.Change
	if old != nil && k.Roster != old.Roster {
		changes = rosterdoc.Diff(old.Roster, k.Roster)
	}
	was := u.held.Load()
	held := u.guard(old, k, changes)
	o := Outcome{Known: k, Changes: changes, First: old == nil}
	if held != nil {
		o = Outcome{Known: old, Held: held, Err: held.err(old.Roster.Len())}
		u.save(old, nil, false)
	} else {
		u.replace(old, k, changes, was != nil)
	}
	u.mu.Lock()
	u.fetch.failures, u.fetch.lastErr = 0, nil
	u.mu.Unlock()
	ready := u.settle(n, began, k.MaxAge)
	if u.engine.down.Swap(false) {
		u.engine.spawn(u.engine.back)
	}
	u.tell(old, o, ready)
}

// overtaken tells whether the result of fetch n is not to be used: the service has told something since it began, and
// nobody knows whether the answer is older or newer than that.
func (u *User) overtaken(n uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return n < u.fetch.floor
}

// fetched makes a roster of a fetch's result.
func (u *User) fetched(known *Known, res rosterhttp.Result) *Known {
	k := &Known{Roster: res.Roster, Source: FromFetch, ETag: res.ETag, Body: res.Body, MaxAge: u.engine.tuning.Load().MaxAge,
		StaleIfError: res.StaleIfError, Dropped: res.Dropped}
	if res.MaxAge >= 0 {
		k.MaxAge = res.MaxAge
	}
	k.MaxAge = max(k.MaxAge, minAge)
	if res.NotModified || res.Same {
		k.Roster, k.Dropped = known.Roster, known.Dropped
	}
	if res.NotModified && k.ETag == "" {
		k.ETag = known.ETag
	}
	return k
}

// replace makes k the copy. The caller has made the changes of old and k.
func (u *User) replace(old, k *Known, changes []rosterdoc.Change, dirty bool) {
	if old != nil && len(changes) == 0 {
		k.Roster = old.Roster // one of two equal ones is enough
	}
	k.succeed(old, changes)
	u.current.Store(k)
	dirty = dirty || old == nil || len(changes) > 0 || k.ETag != old.ETag || k.StaleIfError != old.StaleIfError ||
		time.Since(u.savedAt) > saveEvery
	if dirty {
		u.save(k, changesOf(old, k, changes), old == nil)
	}
}

// saveEvery is how often a copy is written that was confirmed and has not changed.
const saveEvery = 5 * time.Minute

// save gives the copy to the keeper.
func (u *User) save(k *Known, changes []change, reset bool) {
	u.savedAt = time.Now()
	u.engine.keep.later(u.name, &save{known: k, held: u.held.Load(), changes: changes, reset: reset})
}

// settle notes that what is known was right when fetch n began, and gives those who have waited for it.
func (u *User) settle(n uint64, at time.Time, maxAge time.Duration) (ready []*waiter) {
	u.mu.Lock()
	u.fetch.checked = at
	u.fetch.renewal = maxAge - u.spread(maxAge/5) // users who came together are asked for one by one
	u.mu.Unlock()
	return u.reach(n)
}

// reach notes that what fetch n was to bring is known, and gives those who have waited for it.
func (u *User) reach(n uint64) (ready []*waiter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fetch.applied = n
	return u.fetch.takeWaiters(func(w *waiter) bool { return w.ticket <= n })
}

// tell tells the listener, then those who have waited.
func (u *User) tell(old *Known, o Outcome, ready []*waiter) {
	u.mu.Lock()
	l := u.listener
	u.mu.Unlock()
	if l != nil {
		l.RosterChanged(old, o.Known, o.Changes)
	}
	if applied := u.engine.opts.Applied; applied != nil && len(o.Changes) > 0 {
		applied(u.name, o.Known, o.Changes)
	}
	for _, w := range ready {
		w.done(o)
	}
}

// minAge bounds what max-age=0 can do: a copy is never asked for at every stanza.
const minAge = time.Second

// failed notes that fetch n failed; called by the owner. Whoever has waited long enough gets what is known.
func (u *User) failed(n uint64, err error) {
	temporary := isTemporary(err)
	if isDown(err) {
		u.engine.down.Store(true)
	}
	known := u.usable()
	u.mu.Lock()
	f := &u.fetch
	f.flying = false
	f.failures++
	f.lastErr = err
	over := f.takeWaiters(func(w *waiter) bool {
		if w.ticket > n {
			return false
		}
		w.tries--
		return w.tries <= 0 || !temporary
	})
	u.scheduleRetry(err, known != nil)
	again := f.notified
	u.mu.Unlock()
	if again { // a notification came while the fetch was failing
		u.fly()
	}
	u.engine.opts.Log.Warn("roster not fetched", "user", u.name, "error", err, "known", known != nil)
	for _, w := range over {
		w.done(Outcome{Known: known, Err: err})
	}
}

// takeWaiters removes those waiters that fit and gives them.
func (f *fetchState) takeWaiters(fits func(*waiter) bool) []*waiter {
	var taken []*waiter
	f.waiters = slices.DeleteFunc(f.waiters, func(w *waiter) bool {
		if !fits(w) {
			return false
		}
		w.timer.Stop()
		taken = append(taken, w)
		return true
	})
	return taken
}
