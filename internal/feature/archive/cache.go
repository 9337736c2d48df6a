package archive

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/internal/store"
)

// Bounds of what is known of users without asking the store.
const (
	cacheAge   = 10 * time.Minute
	cacheBytes = 16 << 20
	userCost   = 300 // beside what a user has said, roughly
	// patience bounds how long a message waits for a store that does not answer.
	patience = 5 * time.Second
)

// cache has what users want archived, those who were asked about last.
type cache struct {
	read     func(ctx context.Context, user string) (*prefs, error)
	patience store.Patience

	mu    sync.Mutex // nothing is locked, called or sent while it is held
	users map[string]*list.Element
	order list.List // of *entry, the longest unused first
	bytes int
	reads map[string]*reading
}

type entry struct {
	user string
	p    *prefs
	at   time.Time
	cost int
}

// reading is what many wait for who ask about one user.
type reading struct {
	done  chan struct{}
	p     *prefs
	err   error
	stale bool // something was written meanwhile; guarded by cache.mu
}

func (c *cache) init(read func(context.Context, string) (*prefs, error)) {
	c.read, c.users, c.reads = read, map[string]*list.Element{}, map[string]*reading{}
}

// get gives what a user wants. It waits for the store where that is not known.
func (c *cache) get(ctx context.Context, user string) (p *prefs, err error) {
	if p := c.known(user); p != nil {
		return p, nil
	}
	err = c.patience.Wait(ctx, func(ctx context.Context) (err error) {
		p, err = c.ask(ctx, user)
		return err
	})
	return p, err
}

// known gives what is known without the store; nil when nothing is.
func (c *cache) known(user string) *prefs {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.users[user]
	if e == nil || time.Since(e.Value.(*entry).at) >= cacheAge {
		return nil
	}
	c.order.MoveToBack(e)
	return e.Value.(*entry).p
}

// ask has the store asked once by all who want to know of a user at a time.
func (c *cache) ask(ctx context.Context, user string) (*prefs, error) {
	quiet := c.patience.Quiet()
	c.mu.Lock()
	r := c.reads[user]
	if r == nil && quiet {
		c.mu.Unlock()
		return nil, errUnknown
	}
	first := r == nil
	if first {
		r = &reading{done: make(chan struct{})}
		c.reads[user] = r
	}
	c.mu.Unlock()
	if first {
		c.fill(ctx, user, r)
		return r.p, r.err
	}
	select {
	case <-r.done:
		return r.p, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill reads for all who wait, whatever becomes of the one who came first.
func (c *cache) fill(ctx context.Context, user string, r *reading) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r.err = errors.New("archive: reading has panicked")
	begun := time.Now()
	defer func() {
		c.patience.Note(begun, r.err != nil && !errors.Is(r.err, errUnreadable))
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.reads[user] == r {
			delete(c.reads, user)
		}
		if r.err == nil && !r.stale {
			c.put(user, r.p)
		}
		close(r.done)
	}()
	r.p, r.err = c.read(ctx, user)
}

// put has it remembered. The caller holds the mutex.
func (c *cache) put(user string, p *prefs) {
	c.forget(user)
	e := &entry{user, p, time.Now(), userCost + len(user) + p.cost()}
	c.users[user] = c.order.PushBack(e)
	c.bytes += e.cost
	for c.bytes > cacheBytes {
		c.forget(c.order.Front().Value.(*entry).user)
	}
}

func (c *cache) forget(user string) {
	if e := c.users[user]; e != nil {
		c.order.Remove(e)
		c.bytes -= e.Value.(*entry).cost
		delete(c.users, user)
	}
}

// drop has the store asked by who comes from now on.
func (c *cache) drop(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(user)
	if r := c.reads[user]; r != nil {
		r.stale = true
		delete(c.reads, user)
	}
}
