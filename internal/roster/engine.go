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

	"rollcall/internal/metrics"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// Source is where rosters come from; a *rosterhttp.Client is one.
type Source interface {
	Fetch(ctx context.Context, r rosterhttp.Request) (rosterhttp.Result, error)
}

// Options says how an engine behaves.
type Options struct {
	Host      string            // whose users' rosters these are, a canonical domain
	Source    Source            // nil: there is nobody to ask, rosters are what Put and Patch say
	Store     Store             // where copies outlive the process; nil: they are kept in memory
	Documents rosterdoc.Options // the limits of documents; Owner and Like are the engine's
	MaxAge    time.Duration     // how long a copy is used without asking, where the service does not say
	LoginWait time.Duration     // how long a client waits for the service when an older copy could be served
	Guard     bool              // a fetched roster that would remove most contacts is held until a later one says the same
	KeepBytes int               // memory for copies of users who are offline; 0: without a bound
	Stored    int               // copies in the store, at most; 0: as many as come. Without a Source none is forgotten
	Waiting   int               // users of one refresh who may wait for a fetch at a time
	Log       *slog.Logger
	Metrics   *metrics.Instruments // nil: none
	// Applied is told of each change of a roster, whoever is online; it must not block. nil: nobody wants to know.
	Applied func(user string, k *Known, changes []rosterdoc.Change)
}

// Listener is told what becomes of an online user's roster. Its methods are called by the user's owner.
type Listener interface {
	// RosterChanged tells that the service has been asked, or has told, and what changed, perhaps nothing. old is nil
	// when the roster was unknown before; then every item is new, and changes is nil.
	RosterChanged(old, new *Known, changes []rosterdoc.Change)
}

// Tuning is what may be changed while an engine runs. It has the fields of Options of the same names.
type Tuning struct {
	MaxAge    time.Duration
	LoginWait time.Duration
	Guard     bool
}

// Tune takes over other values. A copy keeps the age that it was given when it came.
func (e *Engine) Tune(t Tuning) { e.tuning.Store(&t) }

// Engine keeps the rosters of one host's users. Its methods may be called by any goroutine.
type Engine struct {
	opts  Options // but for what is in tuning
	ctx   context.Context
	wg    sync.WaitGroup // fetches
	more  chan func()    // what spawn has to be done, for a goroutine that waits for it
	keep  *keeper
	quit  context.CancelFunc // ends the keeper
	saver sync.WaitGroup     // the keeper

	// down says that the last fetch that told anything about the service told that it is down.
	down atomic.Bool

	tuning atomic.Pointer[Tuning]

	mu        sync.Mutex // after it no other lock but a User's is taken
	stopped   bool
	users     map[string]*User
	idle      *list.List // *User, offline and known; the longest offline first
	idleBytes int
}

// New makes an engine whose fetches end with ctx. Call Stop when ctx is done.
func New(ctx context.Context, o Options) *Engine {
	e := &Engine{opts: o, ctx: ctx, more: make(chan func()), users: make(map[string]*User), idle: list.New(),
		keep: newKeeper(o.Host, o.Store, o.Log)}
	e.Tune(Tuning{MaxAge: o.MaxAge, LoginWait: o.LoginWait, Guard: o.Guard})
	if o.Source == nil {
		e.keep.stored = 0
	} else {
		e.keep.stored = o.Stored
	}
	keeping, quit := context.WithCancel(context.WithoutCancel(ctx))
	e.quit = quit
	e.saver.Go(func() { e.keep.run(keeping) })
	return e
}

// Context is done when the engine is to stop.
func (e *Engine) Context() context.Context { return e.ctx }

// Stop begins no more fetches, waits for those under way, which end with the engine's context, and writes what has not
// been written. The store may be closed then.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.wg.Wait()
	e.quit()
	e.saver.Wait()
}

// spawn runs fn in a goroutine that Stop waits for, unless the engine has been stopped.
func (e *Engine) spawn(fn func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	select {
	case e.more <- fn:
	default:
		e.wg.Go(func() { e.work(fn) })
	}
	return true
}

// lingering is how long a goroutine of spawn waits for more to do. Of many fetches in a row most then need not begin
// one, and have it grow its stack for reading a document and telling what changed.
const lingering = 100 * time.Millisecond

// work runs fn, and what comes soon after it.
func (e *Engine) work(fn func()) {
	fn()
	over := time.NewTimer(lingering)
	defer over.Stop()
	for {
		select {
		case fn := <-e.more:
			fn()
			over.Reset(lingering)
		case <-over.C:
			return
		case <-e.ctx.Done():
			return
		}
	}
}

// Attach makes a user online: changes of the roster go to l, and failed fetches are tried again until Detach. A user
// who is attached several times has the first listener.
func (e *Engine) Attach(name string, l Listener) *User {
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.get(name)
	u.attached++
	if u.attached == 1 {
		u.setListener(l)
	}
	return u
}

// get gives a user who is to stay in memory. The caller holds e.mu.
func (e *Engine) get(name string) *User {
	u := e.users[name]
	if u == nil {
		u = &User{name: name, engine: e}
		u.load.done = e.opts.Store == nil
		e.users[name] = u
	}
	e.wake(u)
	return u
}

// wake takes a user out of the list of those who may be forgotten. The caller holds e.mu.
func (e *Engine) wake(u *User) {
	if u.idle != nil {
		e.idle.Remove(u.idle)
		e.idleBytes -= u.idleBytes
		u.idle = nil
	}
}

// pin keeps a user in memory, without being online, until unpin.
func (e *Engine) pin(name string) *User {
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.get(name)
	u.pins++
	return u
}

// pinOnline pins a user who is online, and tells whether he is.
func (e *Engine) pinOnline(u *User) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u.attached == 0 {
		return false
	}
	u.pins++
	return true
}

func (e *Engine) unpin(u *User) {
	e.mu.Lock()
	defer e.mu.Unlock()
	u.pins--
	e.putAway(u)
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

// leave is called when a goroutine has ended that the user may have been kept for.
func (e *Engine) leave(u *User) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u.idle == nil && e.users[u.name] == u {
		e.putAway(u)
	}
}

// putAway keeps or forgets a user who is offline. One who is being fetched stays as he is, so that whoever signs in next
// finds the fetch that is under way. The caller holds e.mu.
func (e *Engine) putAway(u *User) {
	switch {
	case u.attached > 0 || u.pins > 0 || u.busyElsewhere():
		return
	case u.Current() == nil:
		delete(e.users, u.name)
		return
	}
	u.idleBytes = userBytes + u.Current().Roster.Size()
	e.idleBytes += u.idleBytes
	u.idle = e.idle.PushBack(u)
	for e.opts.KeepBytes > 0 && e.idleBytes > e.opts.KeepBytes {
		oldest := e.idle.Front().Value.(*User)
		e.wake(oldest)
		delete(e.users, oldest.name)
		e.keep.forget(oldest.name)
	}
}

// userBytes is about what a copy costs beside its roster.
const userBytes = 1 << 10

// lookup gives a user who is online or whose copy is in memory.
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
	if e.opts.Source == nil {
		return nil
	}
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
