// Package profile fetches users' names and pictures from the application (docs/profile-http.md), and keeps copies: one fetch
// of a user at a time, however many ask; what is known stays, and is served, when the application fails; what is unknown is
// an error, and never an empty profile.
package profile

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"rollcall/internal/rosterhttp"
	"rollcall/internal/store"
)

// A Source is asked for documents and pictures; *rosterhttp.Documents is one.
type Source interface {
	User(ctx context.Context, user, etag string, most int64, notified bool) (rosterhttp.Content, error)
	Image(ctx context.Context, user, reference, etag string, most int64, notified bool) (rosterhttp.Content, error)
}

// Options make an Engine. Functions in it are called by any goroutine.
type Options struct {
	Host        string
	Source      Source
	Store       store.Values  // nil: copies are in memory alone
	MaxAge      time.Duration // how long a copy is used without asking, when the application does not say
	AvatarBytes int           // of a picture
	KeepBytes   int           // of the copies in memory; 0: 32 MiB
	// Online tells whether a user has a client that is signed in: then a refresh fetches. May be nil.
	Online func(local string) bool
	// Changed is called when another profile than before is known of a user, also the first time. It does not wait. May be nil.
	Changed func(local string)
	Log     *slog.Logger
}

const (
	keepBytes = 32 << 20
	entryCost = 512 // of an entry, beside what is in its profile

	staleWait = 2 * time.Second  // how long somebody waits for a fresh copy who can have an older one
	pause     = 15 * time.Second // after a failure, until somebody's asking makes another request
	fetchTime = 20 * time.Second // one fetch, waiting for its turn included
)

// ErrUnknown is about a profile of which nothing is known, because the application cannot be asked just now.
var ErrUnknown = errors.New("the profile is not known: the application does not answer")

// An Engine has the profiles of one host's users. Its methods may be called by any goroutine.
type Engine struct {
	opts   Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	entries map[string]*entry
	used    *list.List // of entries, those used last in front
	bytes   int
}

// entry is what is known of a user. Guarded by Engine.mu.
type entry struct {
	local string
	place *list.Element
	bytes int // as counted in Engine.bytes

	copy    copied
	known   *Profile // nil: unknown
	loaded  bool     // the store has been asked
	stale   bool     // a notification has come, or the copy is of the store
	fresh   time.Time
	failed  time.Time // when a fetch failed, zero after one that did not
	err     error
	begun   uint64 // fetches
	flight  *flight
	waiters int
}

// flight is a fetch that is under way.
type flight struct {
	n       uint64
	done    chan struct{} // closed when what came of it is in the entry, and here:
	err     error
	changed bool
}

// New makes an engine; Stop ends it.
func New(ctx context.Context, o Options) *Engine {
	if o.KeepBytes == 0 {
		o.KeepBytes = keepBytes
	}
	e := &Engine{opts: o, entries: map[string]*entry{}, used: list.New()}
	e.ctx, e.cancel = context.WithCancel(ctx)
	return e
}

// Stop gives up fetches that are under way and waits for them.
func (e *Engine) Stop() {
	e.cancel()
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.wg.Wait()
}

// Known gives what is known of a user without asking anybody, nil when nothing is. What is old, or not known, is asked for
// in the background when fetch is true.
func (e *Engine) Known(local string, fetch bool) *Profile {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.entries[local]
	if fetch && (t == nil || !t.isFresh()) {
		t = e.touch(local)
		if t.flight == nil && time.Since(t.failed) >= pause {
			e.fetch(t, false)
		}
	}
	if t == nil {
		return nil
	}
	return t.known
}

// Get gives a user's profile: a copy that is fresh, or what the application says. Who can have an older copy waits for 2
// seconds at most. The error wraps ErrUnknown, or is that of ctx.
func (e *Engine) Get(ctx context.Context, local string) (*Profile, error) {
	e.mu.Lock()
	t := e.touch(local)
	if t.isFresh() || t.flight == nil && time.Since(t.failed) < pause {
		defer e.mu.Unlock()
		return t.known, t.unknown()
	}
	f := t.flight
	if f == nil {
		f = e.fetch(t, false)
	}
	e.hold(t)
	e.mu.Unlock()
	defer e.release(t)
	soon := time.NewTimer(staleWait)
	defer soon.Stop()
	for {
		select {
		case <-f.done:
		case <-ctx.Done():
		case <-soon.C:
			if p := e.Known(local, false); p == nil {
				continue // there is nothing else to give
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return t.known, t.unknown()
	}
}

func (t *entry) isFresh() bool { return t.known != nil && !t.stale && time.Now().Before(t.fresh) }

// unknown is the error for who asked, when there is nothing to give.
func (t *entry) unknown() error {
	switch {
	case t.known != nil:
		return nil
	case t.err != nil:
		return errors.Join(ErrUnknown, t.err)
	}
	return ErrUnknown
}

// touch gives the entry of a user, made if need be. The caller has the lock.
func (e *Engine) touch(local string) *entry {
	t := e.entries[local]
	if t == nil {
		t = &entry{local: local}
		t.place = e.used.PushFront(t)
		e.entries[local] = t
	}
	e.used.MoveToFront(t.place)
	e.weigh(t)
	return t
}

// weigh counts an entry anew, and lets go of those that were not used for longest and that nobody waits for.
func (e *Engine) weigh(t *entry) {
	now := entryCost + len(t.local) + len(t.copy.Avatar) + len(t.copy.ETag) + len(t.copy.AvatarETag)
	if t.known != nil {
		now += t.known.size()
	}
	e.bytes += now - t.bytes
	t.bytes = now
	for at := e.used.Back(); at != nil && e.bytes > e.opts.KeepBytes; {
		old := at.Value.(*entry)
		at = at.Prev()
		if old != t && old.flight == nil && old.waiters == 0 {
			e.used.Remove(old.place)
			delete(e.entries, old.local)
			e.bytes -= old.bytes
		}
	}
}

func (e *Engine) hold(t *entry) { t.waiters++ }

func (e *Engine) release(t *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t.waiters--
}
