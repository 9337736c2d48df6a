package roster

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// fetchState says which fetch is wanted and who waits for it. Fetches of a user are numbered from 1 in the order in
// which they begin; a wish is the number of the first fetch that fulfils it, which makes "a fetch that began before
// the notification never answers it" a comparison of two numbers.
type fetchState struct {
	begun    uint64    // fetches begun so far
	applied  uint64    // the last one that brought or confirmed the roster
	wanted   uint64    // the first one that is good enough for everybody
	wished   time.Time // when wanted was raised last
	began    time.Time // when the last fetch began
	notified bool      // what is wanted was asked for by the service
	flying   bool      // a goroutine fetches
	failures int       // in a row
	lastErr  error     // of the last fetch, nil when it succeeded
	retry    *time.Timer
	patient  bool // the retry is not to be hurried
	waiters  []*waiter
}

// waiter is somebody who waits for a fetch.
type waiter struct {
	ticket uint64 // the first fetch that will do
	tries  int    // failed fetches it will still bear
	timer  *time.Timer
	done   func(Outcome) // called by the owner, once
}

// Outcome is what became of a wish for a roster.
type Outcome struct {
	Known   *Known             // the newest that is known; nil when nothing is
	Changes []rosterdoc.Change // what the fetch changed
	First   bool               // nothing was known before the fetch: every item is new
	Err     error              // why there is nothing newer
}

// unknownWait is how long a client waits for its first roster before it gets an error: the error must come within 5 s.
const unknownWait = 4500 * time.Millisecond

// loginTries is how many failed fetches a client bears while it waits; the time bounds it as well.
const loginTries = 8

// Ask gives the roster to done: at once when it is known and fresh, otherwise when the service has answered, or when it
// takes too long; what is known then is given, however old. With nothing known the outcome has the error. Ask is called
// by the owner, and done is.
func (u *User) Ask(done func(Outcome)) {
	k := u.Current()
	if k != nil && !u.outOfDate() && time.Since(k.AsOf) < k.MaxAge {
		done(Outcome{Known: k})
		return
	}
	wait := unknownWait
	if k != nil {
		wait = u.engine.opts.LoginWait
	}
	u.wait(u.want(newest), loginTries, wait, done)
}

// Suspect says that something that was true at a time contradicts the copy: a copy from before is fetched again, unless
// the fetch under way has begun since.
func (u *User) Suspect(then time.Time) {
	if k := u.Current(); k != nil && !k.AsOf.Before(then) {
		return
	}
	u.mu.Lock()
	coming := u.fetch.flying && !u.fetch.began.Before(then)
	u.mu.Unlock()
	if coming {
		return
	}
	u.want(newer)
	u.fly()
}

// renew asks again for a copy that is near its age, or that is known to be out of date and that nobody is asking for.
func (u *User) renew() {
	if u.outOfDate() {
		u.fly()
		return
	}
	k := u.Current()
	if k == nil {
		return
	}
	early := time.Duration(rand.Int64N(int64(k.MaxAge)/5 + 1))
	if time.Since(k.AsOf) > k.MaxAge-early {
		u.want(newest)
		u.fly()
	}
}

// outOfDate tells whether a newer fetch than the one applied is wanted.
func (u *User) outOfDate() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fetch.wanted > u.fetch.applied
}

// wish is how new a roster is wanted, and on whose word.
type wish uint8

const (
	newest   wish = iota // a fetch under way will do
	newer                // only a fetch that begins after now will do
	notified             // the same, and the service itself has asked for it
)

// want wishes for a fetch and gives the number of the first that will do.
func (u *User) want(w wish) (ticket uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := &u.fetch
	ticket = f.begun + 1
	if w == newest && f.flying && f.begun > 0 {
		ticket = f.begun
	}
	if ticket > f.wanted {
		f.wanted, f.wished = ticket, time.Now()
	}
	f.notified = f.notified || w == notified
	return ticket
}

// wait has the owner call done when the fetch of that number has been applied, when tries fetches have failed, or
// when the time is over.
func (u *User) wait(ticket uint64, tries int, timeout time.Duration, done func(Outcome)) {
	w := &waiter{ticket: ticket, tries: tries, done: done}
	w.timer = time.AfterFunc(timeout, func() {
		u.Post(func() {
			if u.leave(w) {
				done(Outcome{Known: u.usable(), Err: u.waitError()})
			}
		})
	})
	u.mu.Lock()
	u.fetch.waiters = append(u.fetch.waiters, w)
	u.mu.Unlock()
	u.fly()
}

// usable gives what is known if it may be used although the service fails.
func (u *User) usable() *Known {
	k := u.Current()
	if k != nil && k.StaleIfError >= 0 && time.Since(k.AsOf) > k.MaxAge+k.StaleIfError {
		return nil
	}
	return k
}

// ErrTimeout: the service has not answered in the time that somebody could wait.
var ErrTimeout = errors.New("the roster service has not answered yet")

func (u *User) waitError() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fetch.lastErr != nil {
		return u.fetch.lastErr
	}
	return ErrTimeout
}

// leave takes a waiter out of the list and tells whether it was still there.
func (u *User) leave(w *waiter) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.fetch.waiters, w)
	if i < 0 {
		return false
	}
	u.fetch.waiters = slices.Delete(u.fetch.waiters, i, i+1)
	return true
}

// fly begins to fetch, unless that is under way, not wanted, or about to be tried again. What the service itself
// asked for is tried at once: it has just shown that it is there.
func (u *User) fly() {
	u.mu.Lock()
	f := &u.fetch
	if f.flying || f.wanted <= f.applied || u.engine.ctx.Err() != nil {
		u.mu.Unlock()
		return
	}
	if f.retry != nil {
		if !f.notified {
			u.mu.Unlock()
			return
		}
		f.retry.Stop()
		f.retry = nil
	}
	f.flying = true
	u.mu.Unlock()
	u.engine.spawn(u.fetchLoop)
}

// fetchLoop fetches until what is wanted has been applied or a fetch has failed.
func (u *User) fetchLoop() {
	for {
		u.mu.Lock()
		f := &u.fetch
		if f.wanted <= f.applied {
			f.flying = false
			u.mu.Unlock()
			u.engine.leave(u)
			return
		}
		f.begun++
		n, byService := f.begun, f.notified
		f.began = time.Now()
		began, wished := f.began, f.wished
		f.notified = false
		u.mu.Unlock()

		req := rosterhttp.Request{User: u.name, Notified: byService}
		if k := u.Current(); k != nil {
			req.ETag, req.Like = k.ETag, k.Roster
		}
		res, err := u.engine.opts.Source.Fetch(u.engine.ctx, req)
		if err == nil && res.NotModified && req.ETag == "" {
			err = errors.New("the service answered 304 Not Modified to a request without If-None-Match")
		}
		if err != nil {
			u.Do(func() { u.failed(n, err) })
			u.engine.leave(u)
			return
		}
		u.Do(func() { u.arrived(n, wished, began, res) })
	}
}

// arrived applies what fetch n brought; called by the owner.
func (u *User) arrived(n uint64, wished, began time.Time, res rosterhttp.Result) {
	old := u.Current()
	k := &Known{Roster: res.Roster, ETag: res.ETag, Wished: wished, AsOf: began, MaxAge: u.engine.opts.MaxAge,
		StaleIfError: res.StaleIfError, Dropped: res.Dropped}
	if res.MaxAge >= 0 {
		k.MaxAge = res.MaxAge
	}
	k.MaxAge = max(k.MaxAge, minAge)
	var changes []rosterdoc.Change
	switch {
	case res.NotModified:
		k.Roster, k.Dropped = old.Roster, old.Dropped
		if k.ETag == "" {
			k.ETag = old.ETag
		}
	case old != nil:
		changes = rosterdoc.Diff(old.Roster, k.Roster)
		if len(changes) == 0 {
			k.Roster = old.Roster // one of two equal ones is enough
		}
	}
	u.current.Store(k)

	u.mu.Lock()
	f := &u.fetch
	f.applied, f.failures, f.lastErr = n, 0, nil
	ready := f.takeWaiters(func(w *waiter) bool { return w.ticket <= n })
	l := u.listener
	u.mu.Unlock()

	if u.engine.down.Swap(false) {
		u.engine.spawn(u.engine.back)
	}
	if l != nil {
		l.RosterChanged(old, k, changes)
	}
	for _, w := range ready {
		w.done(Outcome{Known: k, Changes: changes, First: old == nil})
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

// The delays before a failed fetch is tried again: doubled each time up to a bound that is lower when the user has no
// roster at all, and spread by a fifth so that users do not ask in step.
const (
	retryFirst   = 250 * time.Millisecond
	retryUnknown = 5 * time.Second
	retryKnown   = 30 * time.Second
	retryLongest = 10 * time.Minute // whatever Retry-After says
)

// scheduleRetry has the fetch tried again if anybody is interested: somebody waits, or the user is online. The
// caller holds u.mu.
func (u *User) scheduleRetry(err error, known bool) {
	f := &u.fetch
	if f.retry != nil || (len(f.waiters) == 0 && u.listener == nil) || u.engine.ctx.Err() != nil {
		return
	}
	bound := retryUnknown
	if known {
		bound = retryKnown
	}
	delay := min(retryFirst<<min(f.failures-1, 10), bound)
	var herr *rosterhttp.Error
	if errors.As(err, &herr) && herr.RetryAfter > 0 {
		delay = min(max(delay, herr.RetryAfter), retryLongest)
	}
	f.patient = !isDown(err) // what one user's answer says is not changed by another's
	delay += time.Duration(rand.Int64N(int64(delay) / 5))
	f.retry = time.AfterFunc(delay, func() {
		u.mu.Lock()
		f.retry = nil
		interested := len(f.waiters) > 0 || u.listener != nil
		u.mu.Unlock()
		if interested {
			u.fly()
		}
	})
}

// hurry tries a fetch that waits to be tried again now.
func (u *User) hurry() {
	u.mu.Lock()
	f := &u.fetch
	waiting := f.retry != nil && !f.patient
	if waiting {
		f.retry.Stop()
		f.retry = nil
	}
	u.mu.Unlock()
	if waiting {
		u.fly()
	}
}

// isDown tells whether a failed fetch says that the service does not answer anybody.
func isDown(err error) bool {
	var herr *rosterhttp.Error
	if !errors.As(err, &herr) {
		return false
	}
	return herr.Kind == rosterhttp.Unavailable || herr.Kind == rosterhttp.Timeout || herr.Kind == rosterhttp.BreakerOpen
}

// isTemporary tells whether a failed fetch may go well if it is tried again soon.
func isTemporary(err error) bool {
	var herr *rosterhttp.Error
	if !errors.As(err, &herr) {
		return !errors.Is(err, context.Canceled)
	}
	switch herr.Kind {
	case rosterhttp.Unavailable, rosterhttp.Timeout, rosterhttp.BreakerOpen:
		return true
	case rosterhttp.Status:
		return herr.Status >= 500 || herr.Status == 429
	}
	return false
}
