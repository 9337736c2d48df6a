package roster

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/store"
)

// A user's copy is read from the store when it is wanted for the first time. What is read is known, and to be asked for
// again: nobody knows what the service has told while the copy was nowhere in memory.

const (
	loadTime  = 10 * time.Second // for reading a copy
	loadRetry = 10 * time.Second // after a failure, while the user is online
)

// loading is how far a user's copy is from being read; guarded by User.mu.
type loading struct {
	done    bool
	under   bool // way
	failed  bool // and so somebody was told that there is no roster yet
	retry   *time.Timer
	waiting []func(error)
}

// whenLoaded runs fn when the copy has been read from the store, as the owner. It is called by the owner, and runs fn at
// once when there is nothing to be read any more. The error is about the store; on a host that can ask the service it
// is nil.
func (u *User) whenLoaded(fn func(error)) {
	if u.beginLoad(fn) {
		fn(nil)
	}
}

// beginLoad tells whether the copy has been read; otherwise fn will be run when it has.
func (u *User) beginLoad(fn func(error)) (done bool) {
	u.mu.Lock()
	if u.load.done {
		u.mu.Unlock()
		return true
	}
	u.load.waiting = append(u.load.waiting, fn)
	start := !u.load.under
	u.load.under = true
	u.mu.Unlock()
	if start && !u.engine.spawn(u.readStore) {
		u.Post(func() { u.loaded(nil, nil, errStopped) })
	}
	return false
}

var errStopped = errors.New("the server is stopping")

func (u *User) isLoaded() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.load.done
}

// readStore reads the copy.
func (u *User) readStore() {
	k, held, err := u.engine.read(u.name)
	u.Do(func() { u.loaded(k, held, err) })
	u.engine.leave(u)
}

// loaded takes what was read; called by the owner.
func (u *User) loaded(k *Known, held *Held, err error) {
	e := u.engine
	if err != nil {
		e.opts.Log.Error("stored roster not read", "user", u.name, "error", err)
	}
	final := err == nil || e.opts.Source != nil // without the copy, the service has it all the same
	u.mu.Lock()
	if final && k != nil && u.current.Load() == nil {
		u.current.Store(k)
		u.held.Store(held)
		if e.opts.Source != nil {
			u.fetch.wanted = max(u.fetch.wanted, u.fetch.begun+1)
			u.fetch.wished = time.Now()
		}
		u.savedAt = time.Now()
	}
	late := final && k != nil && u.load.failed
	u.load.done, u.load.under, u.load.failed = final, false, !final
	waiting := u.load.waiting
	u.load.waiting = nil
	if !final && u.load.retry == nil && u.listener != nil && e.ctx.Err() == nil {
		u.load.retry = time.AfterFunc(loadRetry, u.loadAgain)
	}
	u.mu.Unlock()
	if final {
		err = nil
	}
	if late {
		u.tell(nil, Outcome{Known: k, First: true}, nil)
	}
	for _, fn := range waiting {
		fn(err)
	}
}

// loadAgain reads the copy of a user who is still online: what clients were told would come, is to come.
func (u *User) loadAgain() {
	u.mu.Lock()
	u.load.retry = nil
	online := u.listener != nil
	u.mu.Unlock()
	if online {
		u.beginLoad(func(error) {})
	}
}

// read gives a user's copy from the store, nil when there is none.
func (e *Engine) read(name string) (*Known, *Held, error) {
	if e.keep.store == nil {
		return nil, nil, nil
	}
	if k, held := e.keep.find(name); k != nil {
		return k, held, nil
	}
	ctx, cancel := context.WithTimeout(e.ctx, loadTime)
	defer cancel()
	row, err := e.keep.store.Roster(ctx, e.opts.Host, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return e.decode(row)
}

// decode makes a copy of what the store has. The limits of documents do not matter here: it was taken once.
func (e *Engine) decode(row store.Roster) (*Known, *Held, error) {
	o := e.documents(row.Username, nil)
	o.MaxItems, o.MaxBytes = 1<<30, 1<<40
	roster, _, err := rosterdoc.Decode(row.Document, o)
	if err != nil {
		return nil, nil, errStored(row.Username, err)
	}
	k := &Known{Roster: roster, Version: row.Version, Tag: row.Tag, Source: row.Source, ETag: row.ETag,
		AsOf: notToCome(row.AsOf), MaxAge: e.tuning.Load().MaxAge, StaleIfError: row.StaleIfError}
	if len(row.Dropped) > 0 {
		if err := json.Unmarshal(row.Dropped, &k.Dropped); err != nil {
			return nil, nil, errStored(row.Username, err)
		}
	}
	if row.Held == nil {
		return k, nil, nil
	}
	next, _, err := rosterdoc.Decode(row.Held, o)
	if err != nil {
		return nil, nil, errStored(row.Username, err)
	}
	since := notToCome(row.HeldSince)
	held := &Held{Since: since, Next: &Known{Roster: next, Source: FromFetch, AsOf: since,
		MaxAge: e.tuning.Load().MaxAge, StaleIfError: row.StaleIfError}}
	held.Added, held.Removed, held.Changed = count(rosterdoc.Diff(roster, next))
	return k, held, nil
}

// notToCome is a time that was stored, and is not to come though the clock may have been set back since: what is known from the future
// would be newer than all that is told for that long.
func notToCome(at time.Time) time.Time {
	if now := time.Now(); at.After(now) {
		return now
	}
	return at
}

// documents is how a user's documents are read.
func (e *Engine) documents(name string, like *rosterdoc.Roster) rosterdoc.Options {
	o := e.opts.Documents
	o.Like = like
	if owner, err := jid.New(name, e.opts.Host, ""); err == nil { // names are canonical, so there is none
		o.Owner = owner
	}
	return o
}
