package blocking

import (
	"container/list"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/store"
)

// Bounds on what is kept of users who are offline.
const (
	coldAge   = 10 * time.Minute // how long a list is used without being read again
	coldBytes = 8 << 20
	// inMemory is how many users may have lists where there is no store.
	inMemory = 10_000
	// accountCost is what an account takes beside its list, roughly.
	accountCost = 512
)

// account is a user whose list is kept.
type account struct {
	jid     jid.JID                   // bare
	current atomic.Pointer[blocklist] // nil: unknown; written in turn
	// turn is taken, by putting one in, by who reads or changes the list, one after the other: the store takes its time.
	turn chan struct{}

	// Guarded by lists.mu:
	sessions   int
	interested map[*session.Session]struct{} // they have asked for the list and are told of changes
	cold       *list.Element                 // nil while there are sessions
	cost       int                           // of a cold one
	readAt     time.Time                     // when the list was last known to be the store's
}

// take takes the account's turn.
func (a *account) take(ctx context.Context) (release func(), err error) {
	select {
	case a.turn <- struct{}{}:
		return func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, errUnknown
	}
}

// lists are the users whose list is kept: those who have sessions, and some who have not.
type lists struct {
	mu       sync.RWMutex // nothing else is locked, called or sent while it is held
	accounts map[string]*account
	cold     list.List // of *account, the longest unused first
	bytes    int       // of cold
	lasting  int       // lists where there is no store, which are never forgotten
	unsure   map[*account]struct{}
	patience store.Patience

	wake chan struct{} // has one when somebody is unsure
}

func (ls *lists) init() {
	ls.accounts, ls.unsure, ls.wake = make(map[string]*account), make(map[*account]struct{}), make(chan struct{}, 1)
}

// known gives a user's list without waiting; nil when it is not known.
func (ls *lists) known(local string) *blocklist {
	ls.mu.RLock()
	a := ls.accounts[local]
	ls.mu.RUnlock()
	if a == nil {
		return nil
	}
	return a.current.Load()
}

// fresh gives a user's list if it need not be read.
func (ls *lists) fresh(local string) *blocklist {
	ls.mu.RLock()
	a := ls.accounts[local]
	online := a != nil && a.sessions > 0
	ls.mu.RUnlock()
	switch {
	case a == nil:
		return nil
	case online:
		return a.current.Load()
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if a.cold != nil {
		ls.cold.MoveToBack(a.cold)
	}
	if a.sessions == 0 && time.Since(a.readAt) > coldAge {
		return nil
	}
	return a.current.Load()
}

// keep gives a user's account, a new one when there is none.
func (ls *lists) keep(user jid.JID) *account {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.get(user)
}

// get is keep for who holds the mutex.
func (ls *lists) get(user jid.JID) *account {
	a := ls.accounts[user.Local()]
	if a == nil {
		user = user.Clone()
		a = &account{jid: user, turn: make(chan struct{}, 1)}
		ls.accounts[user.Local()] = a
		ls.cool(a)
	}
	return a
}

// cool puts an account without sessions among those that may be forgotten. The caller holds the mutex.
func (ls *lists) cool(a *account) {
	a.cold = ls.cold.PushBack(a)
	ls.weigh(a)
	for ls.bytes > coldBytes && ls.cold.Len() > 1 {
		oldest := ls.cold.Front().Value.(*account)
		ls.warm(oldest)
		delete(ls.accounts, oldest.jid.Local())
	}
}

// weigh notes what a cold account takes. The caller holds the mutex.
func (ls *lists) weigh(a *account) {
	ls.bytes -= a.cost
	a.cost = accountCost + len(a.jid.String())
	if l := a.current.Load(); l != nil {
		a.cost += 4 * l.bytes
	}
	ls.bytes += a.cost
}

// warm takes an account out of those that may be forgotten. The caller holds the mutex.
func (ls *lists) warm(a *account) {
	if a.cold != nil {
		ls.cold.Remove(a.cold)
		ls.bytes -= a.cost
		a.cold, a.cost = nil, 0
	}
}

// set makes l an account's list. The caller has the turn.
func (ls *lists) set(a *account, l *blocklist) {
	a.current.Store(l)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	a.readAt = time.Now()
	delete(ls.unsure, a)
	if a.cold != nil {
		ls.weigh(a)
	}
}

// doubt notes that an account's list may be another in the store.
func (ls *lists) doubt(a *account) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if a.sessions == 0 {
		return // it is read again when it is needed
	}
	ls.unsure[a] = struct{}{}
	select {
	case ls.wake <- struct{}{}:
	default:
	}
}

// doubts tells whether an account's list may be another in the store.
func (ls *lists) doubts(a *account) bool {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	_, unsure := ls.unsure[a]
	return unsure
}

// doubted gives those whose list is to be read again.
func (ls *lists) doubted() []*account {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return slices.Collect(maps.Keys(ls.unsure))
}

// opened reads the list of a user whose first session this is.
func (b *Blocking) opened(ctx context.Context, s *session.Session) {
	a, first := b.lists.attach(s.JID().Bare(), b.opts.Forget)
	if !first {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := a.take(ctx)
	if err != nil {
		b.lists.doubt(a)
		return
	}
	defer release()
	if _, err := b.refresh(ctx, a); err != nil {
		b.lists.doubt(a)
	}
}

// attach adds a session to its account, and tells whether the list may have to be read for it.
func (ls *lists) attach(user jid.JID, forget bool) (a *account, first bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	a = ls.get(user)
	a.sessions++
	if a.sessions > 1 {
		return a, false
	}
	ls.warm(a)
	if forget {
		a.current.Store(nil)
		a.readAt = time.Time{}
	}
	return a, a.current.Load() == nil || time.Since(a.readAt) > coldAge
}

func (b *Blocking) closed(_ context.Context, s *session.Session) {
	ls := &b.lists
	ls.mu.Lock()
	defer ls.mu.Unlock()
	a := ls.accounts[s.JID().Local()]
	delete(a.interested, s)
	if a.sessions--; a.sessions > 0 {
		return
	}
	a.interested = nil
	l := a.current.Load()
	if _, unsure := ls.unsure[a]; unsure {
		delete(ls.unsure, a)
		a.readAt = time.Time{}
	} else if l != nil {
		a.readAt = time.Now() // nobody else changes it while there are sessions
	}
	if b.opts.Store == nil && !b.opts.Forget && l != nil && len(l.items) > 0 {
		return // there is no other place where it is
	}
	ls.cool(a)
}

// list gives a user's list. It waits for the store where the list is not there.
func (b *Blocking) list(ctx context.Context, user jid.JID) (l *blocklist, err error) {
	if l := b.lists.fresh(user.Local()); l != nil {
		return l, nil
	}
	a := b.lists.keep(user.Bare())
	err = b.lists.patience.Wait(ctx, func(ctx context.Context) (err error) {
		l, err = b.tryList(ctx, user, a)
		return err
	})
	return l, err
}

func (b *Blocking) tryList(ctx context.Context, user jid.JID, a *account) (*blocklist, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := a.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if l := b.lists.fresh(user.Local()); l != nil { // somebody has read it meanwhile
		return l, nil
	}
	return b.refresh(ctx, a)
}

// refresh reads an account's list from the store, and has everybody see it if it is another. Where that fails, one that
// was known is still used. The caller has the turn.
func (b *Blocking) refresh(ctx context.Context, a *account) (*blocklist, error) {
	old := a.current.Load()
	l, err := b.read(ctx, a)
	if err != nil {
		if old != nil {
			return old, nil
		}
		return nil, errUnknown
	}
	b.apply(a, old, l)
	return l, nil
}

func (b *Blocking) read(ctx context.Context, a *account) (*blocklist, error) {
	if b.opts.Store == nil {
		if l := a.current.Load(); l != nil {
			return l, nil
		}
		return empty, nil
	}
	patience := &b.lists.patience
	if patience.Quiet() {
		return nil, errUnknown
	}
	begun := time.Now()
	value, err := b.opts.Store.Value(ctx, b.key(a))
	switch {
	case errors.Is(err, store.ErrNotFound):
		patience.Note(begun, false)
		return empty, nil
	case errors.Is(err, context.Canceled): // who asked is gone
		return nil, err
	case err != nil:
		patience.Note(begun, true)
		b.opts.Log.Error("whom a user has blocked cannot be read; until it can, nothing reaches the user", "user", a.jid.Local(), "error", err)
		return nil, err
	}
	patience.Note(begun, false)
	l, wrong := parseList(value)
	if wrong > 0 {
		b.opts.Log.Error("of those whom a user has blocked some have no address", "user", a.jid.Local(), "left_out", wrong)
	}
	return l, nil
}

func (b *Blocking) key(a *account) store.Key {
	return store.Key{Host: b.opts.Host, Username: a.jid.Local(), Space: Space, Name: ListName}
}

// again is how often lists are read again that could not be.
const again = 5 * time.Second

// run reads lists again that could not be read, or may have been written though it seemed they were not.
func (b *Blocking) run(ctx context.Context) error {
	timer := time.NewTimer(again)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.lists.wake:
			timer.Reset(again)
			continue
		case <-timer.C:
		}
		for _, a := range b.lists.doubted() {
			b.settle(ctx, a)
		}
		if len(b.lists.doubted()) > 0 {
			timer.Reset(again)
		}
	}
}

func (b *Blocking) settle(ctx context.Context, a *account) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := a.take(ctx)
	if err != nil {
		return
	}
	defer release()
	old := a.current.Load()
	l, err := b.read(ctx, a)
	if err != nil {
		return
	}
	b.apply(a, old, l)
	if old != nil {
		if _, added := old.with(l.items); len(added) > 0 {
			b.push(a, payload("block", added))
		}
		if _, removed := l.with(old.items); len(removed) > 0 {
			b.push(a, payload("unblock", removed))
		}
	}
}
