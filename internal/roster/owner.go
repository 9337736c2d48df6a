package roster

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"rollcall/internal/fault"
)

// User is a user's roster and its owner: functions given to Do and Post run one at a time, in order, without a lock
// held. All that belongs to the user's roster and presence is done there, so none of it needs locks of its own.
type User struct {
	name   string
	engine *Engine

	current atomic.Pointer[Known] // written by the owner
	held    atomic.Pointer[Held]  // likewise
	savedAt time.Time             // when the copy was last given to the keeper; the owner's

	mu       sync.Mutex // of what follows; nothing else is locked, called or sent while it is held
	queue    []func()
	busy     bool // somebody runs the queue
	listener Listener
	load     loading
	fetch    fetchState

	turn atomic.Pointer[semaphore.Weighted] // of those who write where nobody can be asked, in the order in which they came
	// uncertain says that the store may have another roster: a write was reported as failed. It is the turn's.
	uncertain bool

	// Guarded by the engine's mutex:
	attached  int // sessions
	pins      int // who else needs the user to stay in memory
	idle      *list.Element
	idleBytes int
}

// Current gives the roster as it is known, nil when it is not. A roster that could not be fetched is never an empty
// one.
func (u *User) Current() *Known { return u.current.Load() }

// Do runs fn as the owner and returns when it has run. It must not be called from within an owner's function: that is
// what Post is for.
func (u *User) Do(fn func()) {
	u.mu.Lock()
	if !u.busy {
		u.busy = true
		u.mu.Unlock()
		u.call(fn)
		u.drain()
		return
	}
	done := make(chan struct{})
	u.queue = append(u.queue, func() { defer close(done); fn() })
	u.mu.Unlock()
	<-done
}

// Post has fn run by the owner, now or soon. From within an owner's function it may be called for any user; fn must
// then not post again. What others queued meanwhile is left to a goroutine of its own: otherwise the owner of one user
// would run the work of the next, and that one's of the next.
func (u *User) Post(fn func()) {
	u.mu.Lock()
	if u.busy {
		u.queue = append(u.queue, fn)
		u.mu.Unlock()
		return
	}
	u.busy = true
	u.mu.Unlock()
	u.call(fn)
	u.mu.Lock()
	more := len(u.queue) > 0
	u.busy = more
	u.mu.Unlock()
	if more && !u.engine.spawn(u.drain) {
		u.drain()
	}
}

// drain runs what was queued meanwhile.
func (u *User) drain() {
	for {
		u.mu.Lock()
		queue := u.queue
		u.queue = nil
		if len(queue) == 0 {
			u.busy = false
			u.mu.Unlock()
			return
		}
		u.mu.Unlock()
		for _, fn := range queue {
			u.call(fn)
		}
	}
}

// call runs fn; a fault in it must not leave the user without an owner.
func (u *User) call(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			fault.Log(u.engine.opts.Log, "working for the owner of a roster", r, "user", u.name)
		}
	}()
	fn()
}

// busyElsewhere tells whether a goroutine fetches the roster or reads it from the store, or is going to: somebody waits
// for it.
func (u *User) busyElsewhere() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fetch.flying || u.load.under || len(u.fetch.waiters) > 0
}

func (u *User) setListener(l Listener) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.listener = l
}
