package roster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"rollcall/internal/rosterdoc"
)

// Writing is the contract's section 3: the service sends a roster, or what is different, with the notification.

// What writing can fail with, beside errors of the store and the context.
var (
	ErrDocument     = errors.New("the document is refused")
	ErrPrecondition = errors.New("the roster has another version")
	ErrNothingHeld  = errors.New("nothing is held")
)

// A Write is a roster, or a part of one, that the service sends.
type Write struct {
	Document []byte // of the contract's section 1; with Patch a merge patch of it (RFC 7396)
	Patch    bool
	IfMatch  func(ver string) bool // nil: whatever there is; "" is the version of a roster that is not known
	// Arrived is when the service sent it, if that is some time ago: a write waits for those before it. Zero: now.
	Arrived time.Time
}

// Write makes a roster what the service says it is, or changes it. Writes for one user apply in the order in which they
// come, also against fetches: what was fetched by a request that began earlier is dropped. A patch for a roster that is
// not known here becomes a refresh, or fails with ErrNoRoster where nobody can be asked.
func (e *Engine) Write(ctx context.Context, name string, w Write) Result {
	began := time.Now()
	u := e.pin(name)
	res := u.apply(ctx, w)
	e.unpin(u)
	if errors.Is(res.Err, ErrNoRoster) && e.opts.Source != nil {
		return e.Refresh(ctx, []string{name})[0]
	}
	e.countResults([]Result{res})
	if res.Kind == Changed {
		e.opts.Metrics.PushLag(time.Since(began))
	}
	return res
}

func (u *User) apply(ctx context.Context, w Write) Result {
	if err := u.untilLoaded(ctx); err != nil {
		return u.failure(err)
	}
	if u.engine.opts.Source == nil {
		return u.writeThrough(ctx, w)
	}
	var res Result
	u.Do(func() { res = u.write(w) })
	return res
}

// untilLoaded waits until the copy has been read from the store.
func (u *User) untilLoaded(ctx context.Context) error {
	if u.isLoaded() {
		return nil
	}
	loaded := make(chan error, 1)
	u.Do(func() { u.whenLoaded(func(err error) { loaded <- err }) })
	select {
	case err := <-loaded:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *User) failure(err error) Result {
	res := Result{Kind: Failed, Err: err}
	if k := u.Current(); k != nil {
		res.Version = k.Ver()
	}
	return res
}

// read makes the roster that a write asks for.
func (u *User) read(w Write, old *Known) (*Known, error) {
	ver := ""
	k := &Known{Source: FromPut, MaxAge: u.engine.tuning.Load().MaxAge, StaleIfError: -1}
	var like *rosterdoc.Roster
	if old != nil {
		ver, like = old.Ver(), old.Roster
	}
	if w.IfMatch != nil && !w.IfMatch(ver) {
		return nil, ErrPrecondition
	}
	var err error
	options := u.engine.documents(u.name, like)
	switch {
	case !w.Patch:
		k.Roster, k.Dropped, err = rosterdoc.Decode(w.Document, options)
	case old == nil:
		return nil, ErrNoRoster
	default:
		k.Source, k.MaxAge, k.StaleIfError = FromPatch, old.MaxAge, old.StaleIfError
		k.Roster, k.Dropped, err = rosterdoc.Patch(old.Roster, w.Document, options)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	k.AsOf = time.Now()
	k.Wished = k.AsOf
	return k, nil
}

// write applies a write where the service can be asked as well; called by the owner.
func (u *User) write(w Write) Result {
	old := u.Current()
	k, err := u.read(w, old)
	if err != nil {
		return u.failure(err)
	}
	if u.fetchedSince(w.Arrived) {
		return Result{Kind: Unchanged, Version: old.Ver(), Dropped: k.Dropped}
	}
	var changes []rosterdoc.Change
	if old != nil {
		changes = rosterdoc.Diff(old.Roster, k.Roster)
	}
	u.held.Store(nil)
	u.replace(old, k, changes, true)
	n, whole := u.overtake(!w.Patch)
	o := Outcome{Known: k, Changes: changes, First: old == nil}
	var ready []*waiter
	switch {
	case !whole:
	case w.Patch: // of the rest of the roster it says nothing: that gets no younger
		ready = u.reach(n)
	default:
		ready = u.settle(n, k.AsOf, k.MaxAge)
	}
	u.tell(old, o, ready)
	u.fly() // what is still wanted
	return o.result(k.Dropped)
}

// fetchedSince tells whether what the service was asked after a write arrived has been applied, or is held: it has what was
// written, and may have what came after it.
func (u *User) fetchedSince(arrived time.Time) bool {
	k, held := u.Current(), u.held.Load()
	return !arrived.IsZero() && k != nil &&
		(k.Source == FromFetch && k.AsOf.After(arrived) || held != nil && held.Next.AsOf.After(arrived))
}

// overtake numbers a write among the fetches: those that began before are not used any more. What they were wanted for
// is fulfilled by a whole roster; a part of one leaves what was wanted to a fetch that begins now.
func (u *User) overtake(whole bool) (n uint64, settled bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := &u.fetch
	outOfDate := f.wanted > f.applied
	f.begun++
	f.floor = f.begun
	if whole || !outOfDate {
		f.wanted = min(f.wanted, f.begun)
		return f.begun, true
	}
	f.wanted = f.begun + 1
	return f.begun, false
}

// writeThrough applies a write where nobody can be asked: it is in the store before anybody hears of it.
func (u *User) writeThrough(ctx context.Context, w Write) Result {
	turn := u.turn.Load()
	if turn == nil {
		u.turn.CompareAndSwap(nil, semaphore.NewWeighted(1))
		turn = u.turn.Load()
	}
	if err := turn.Acquire(ctx, 1); err != nil {
		return u.failure(err)
	}
	defer turn.Release(1)
	old := u.Current() // nobody else changes it
	k, err := u.read(w, old)
	if err != nil {
		return u.failure(err)
	}
	var changes []rosterdoc.Change
	if old != nil {
		changes = rosterdoc.Diff(old.Roster, k.Roster)
	}
	k.succeed(old, changes)
	if old == nil || len(changes) > 0 || u.uncertain {
		s := &save{known: k, changes: changesOf(old, k, changes), reset: old == nil}
		if err := u.engine.keep.now(ctx, u.name, s); err != nil {
			u.uncertain = true
			return u.failure(fmt.Errorf("the roster cannot be stored: %w", err))
		}
		u.uncertain = false
	}
	o := Outcome{Known: k, Changes: changes, First: old == nil}
	u.Do(func() {
		u.current.Store(k)
		u.tell(old, o, nil)
	})
	return o.result(k.Dropped)
}

// Confirm applies what the guard holds of a user's roster.
func (e *Engine) Confirm(ctx context.Context, name string) Result {
	u := e.pin(name)
	defer e.unpin(u)
	if err := u.untilLoaded(ctx); err != nil {
		return u.failure(err)
	}
	var res Result
	u.Do(func() {
		held, old := u.held.Load(), u.Current()
		if held == nil {
			res = u.failure(ErrNothingHeld)
			return
		}
		next := *held.Next
		changes := rosterdoc.Diff(old.Roster, next.Roster)
		u.held.Store(nil)
		u.replace(old, &next, changes, true)
		o := Outcome{Known: &next, Changes: changes}
		u.tell(old, o, nil)
		res = o.result(nil)
	})
	return res
}
