package roster

import (
	"errors"
	"slices"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// fetchState says which fetch is wanted and who waits for it. Fetches of a user are numbered from 1 in the order in
// which they begin; a wish is the number of the first fetch that fulfils it, which makes "a fetch that began before
// the notification never answers it" a comparison of two numbers.
type fetchState struct {
	begun    uint64        // fetches begun so far
	applied  uint64        // the last one that brought or confirmed the roster
	wanted   uint64        // the first one that is good enough for everybody
	floor    uint64        // the first one whose result is good: the service has told something after the others began
	checked  time.Time     // when the copy was last known to be right
	renewal  time.Duration // how long after that it is asked for again without a reason
	wished   time.Time     // when wanted was raised last
	began    time.Time     // when the last fetch began
	notified bool          // what is wanted was asked for by the service
	flying   bool          // a goroutine fetches
	failures int           // in a row
	lastErr  error         // of the last fetch, nil when it succeeded
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
	Held    *Held              // the fetch brought a roster that the guard holds; nothing was changed
	Err     error              // why there is nothing newer
}

// unknownWait is how long a client waits for its first roster before it gets an error: the error must come within 5 s.
const unknownWait = 4500 * time.Millisecond

// loginTries is how many failed fetches a client bears while it waits; the time bounds it as well.
const loginTries = 8

// ErrNoRoster: the service has not sent this user's roster yet, and cannot be asked for it.
var ErrNoRoster = errors.New("no roster is known: the application has not sent one yet, and there is no roster.url to ask for it")

// Ask gives the roster to done: at once when it is known and fresh, otherwise when the service has answered, or when it
// takes too long; what is known then is given, however old. With nothing known the outcome has the error. Ask is called
// by the owner, and done is.
func (u *User) Ask(done func(Outcome)) {
	u.whenLoaded(func(err error) {
		k := u.Current()
		switch {
		case err != nil:
			done(Outcome{Err: err})
		case k != nil && u.fresh(k):
			done(Outcome{Known: k})
		case u.engine.opts.Source == nil:
			done(Outcome{Err: ErrNoRoster})
		default:
			wait := unknownWait
			if k != nil {
				wait = u.engine.tuning.Load().LoginWait
			}
			u.wait(u.want(newest), loginTries, wait, done)
		}
	})
}

// fresh tells whether a copy may be used without asking. Where nobody can be asked it always may.
func (u *User) fresh(k *Known) bool {
	if u.engine.opts.Source == nil {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fetch.wanted <= u.fetch.applied && time.Since(u.fetch.checked) < k.MaxAge
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
	u.mu.Lock()
	due := !u.fetch.checked.IsZero() && time.Since(u.fetch.checked) > u.fetch.renewal
	u.mu.Unlock()
	if due {
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
	newest   wish = iota // a fetch under way will do, if nobody wants a newer one
	newer                // only a fetch that begins after now will do
	notified             // the same, and the service itself has asked for it
)

// want wishes for a fetch and gives the number of the first that will do.
func (u *User) want(w wish) (ticket uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := &u.fetch
	if f.flying && w == newest {
		u.engine.opts.Metrics.Shared(1)
	}
	ticket = f.begun + 1
	if w == newest && f.flying && f.begun > 0 {
		ticket = max(f.begun, min(f.wanted, ticket))
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
				u.engine.leave(u)
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
	if u.engine.opts.Source == nil || !u.beginLoad(func(error) { u.fly() }) {
		return
	}
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
		known := u.Current()
		if known != nil {
			req.ETag, req.Body, req.Like = known.ETag, known.Body, known.Roster
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
		u.Do(func() { u.arrived(n, wished, began, known, res) })
	}
}
