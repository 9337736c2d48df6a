// Package roster is the engine that keeps users' rosters equal to the service's (the contract's sections 1, 2 and 5):
// a copy of each roster in memory, one fetch at a time for a user however many ask, the difference between what was
// known and what came, and one owner for each user who applies changes in order.
package roster

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// Source is where rosters come from; a *rosterhttp.Client is one.
type Source interface {
	Fetch(ctx context.Context, r rosterhttp.Request) (rosterhttp.Result, error)
}

// Options says how an engine behaves.
type Options struct {
	Source      Source
	MaxAge      time.Duration // how long a copy is used without asking, where the service does not say
	LoginWait   time.Duration // how long a client waits for the service when an older copy could be served
	Concurrency int           // fetches at a time for one refresh
	Keep        int           // copies kept of users who are offline
	Log         *slog.Logger
}

// Known is a roster as the service gave it, and when. It is immutable.
type Known struct {
	Roster *rosterdoc.Roster
	ETag   string
	Wished time.Time     // when the fetch that brought or confirmed it was wished for
	AsOf   time.Time     // when the fetch that brought or confirmed it began
	MaxAge time.Duration // how long it may be used without asking
	// StaleIfError is how long after that it may be used when the service fails; less than 0: for ever.
	StaleIfError time.Duration
	Dropped      []rosterdoc.Dropped
}

// Listener is told what becomes of an online user's roster. Its methods are called by the user's owner.
type Listener interface {
	// RosterChanged tells that the service has been asked and what changed, perhaps nothing. old is nil when the roster
	// was unknown before; then every item is new, and changes is nil.
	RosterChanged(old, new *Known, changes []rosterdoc.Change)
}

// Engine keeps the rosters of one host's users. Its methods may be called by any goroutine.
type Engine struct {
	opts Options
	ctx  context.Context
	wg   sync.WaitGroup // fetches

	// down says that the last fetch that told anything about the service told that it is down.
	down atomic.Bool

	mu      sync.Mutex // after it no other lock but a User's is taken
	stopped bool
	users   map[string]*User
	idle    *list.List // *User, offline and known; the longest offline first
}

// New makes an engine whose fetches end with ctx. Call Stop when ctx is done.
func New(ctx context.Context, o Options) *Engine {
	return &Engine{opts: o, ctx: ctx, users: make(map[string]*User), idle: list.New()}
}

// Context is done when the engine is to stop.
func (e *Engine) Context() context.Context { return e.ctx }

// Stop begins no more fetches and waits for those under way, which end with the engine's context.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.wg.Wait()
}

// spawn runs fn in a goroutine that Stop waits for, unless the engine has been stopped.
func (e *Engine) spawn(fn func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped {
		e.wg.Go(fn)
	}
	return !e.stopped
}

// Attach makes a user online: changes of the roster go to l, and failed fetches are tried again until Detach. A user
// who is attached several times has the first listener.
func (e *Engine) Attach(name string, l Listener) *User {
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.users[name]
	if u == nil {
		u = &User{name: name, engine: e}
		e.users[name] = u
	}
	if u.idle != nil {
		e.idle.Remove(u.idle)
		u.idle = nil
	}
	u.attached++
	if u.attached == 1 {
		u.setListener(l)
	}
	return u
}

// Detach takes back one Attach. When it was the last one, the user is offline: the copy is kept as long as there is
// room.
func (e *Engine) Detach(u *User) {
	e.mu.Lock()
	defer e.mu.Unlock()
	u.attached--
	if u.attached > 0 {
		return
	}
	u.setListener(nil)
	e.putAway(u)
}

// leave is called when a user's fetch has ended, which the user may have been kept for.
func (e *Engine) leave(u *User) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u.attached == 0 && u.idle == nil && e.users[u.name] == u {
		e.putAway(u)
	}
}

// putAway keeps or forgets a user who is offline. One who is being fetched stays as he is, so that whoever signs in next
// finds the fetch that is under way.
func (e *Engine) putAway(u *User) {
	switch {
	case u.flying():
		return
	case u.Current() == nil:
		delete(e.users, u.name)
		return
	}
	u.idle = e.idle.PushBack(u)
	for e.idle.Len() > e.opts.Keep {
		oldest := e.idle.Remove(e.idle.Front()).(*User)
		oldest.idle = nil
		delete(e.users, oldest.name)
	}
}

// lookup gives a user who is online or whose copy is kept.
func (e *Engine) lookup(name string) *User {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.users[name]
}

func (e *Engine) isOnline(u *User) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return u.attached > 0
}

// Counts is how many rosters the engine holds, by what is known of them.
type Counts struct {
	Online  int // users who are online
	Unknown int // of these, those whose roster has not arrived
	Stale   int // of these, those whose copy is known to be out of date
	Kept    int // copies of users who are offline
}

// Counts counts the rosters.
func (e *Engine) Counts() Counts {
	var c Counts
	for _, u := range e.attachedUsers() {
		c.Online++
		switch {
		case u.Current() == nil:
			c.Unknown++
		case u.outOfDate():
			c.Stale++
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.Kept = e.idle.Len()
	return c
}

func (e *Engine) attachedUsers() []*User {
	e.mu.Lock()
	defer e.mu.Unlock()
	users := make([]*User, 0, len(e.users))
	for _, u := range e.users {
		if u.attached > 0 {
			users = append(users, u)
		}
	}
	return users
}

// back has every fetch that waits to be tried again tried now: the service has just answered one.
func (e *Engine) back() {
	for _, u := range e.attachedUsers() {
		u.hurry()
	}
}

// Run asks the service again for the rosters of online users whose copy has passed its age, until ctx is done: so a
// lost notification heals. Each copy is asked for somewhat before its time, at a moment of its own.
func (e *Engine) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for _, u := range e.attachedUsers() {
				u.renew()
			}
		}
	}
}

const sweepEvery = 5 * time.Second
