package roster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/store"
)

// Store is where rosters outlive the process; a *store.Store is one.
type Store interface {
	Roster(ctx context.Context, host, username string) (store.Roster, error) // store.ErrNotFound when there is none
	RosterJournal(ctx context.Context, host, username string, from int64) ([]store.RosterChange, error)
	SaveRosters(ctx context.Context, saves []store.RosterSave) error
	TrimRosterJournals(ctx context.Context, host string, before time.Time, keep, most int) (left int, err error)
	TrimRosters(ctx context.Context, host string, most int) (gone int, err error)
}

// keeper writes rosters to the store. What comes from fetches is written a moment later, many users in one transaction:
// should the process die before, the service is asked again anyway. What the service has sent to a host that cannot ask
// is written before it is acknowledged. Without a store everything stays pending for ever: rosters are then kept in
// memory, where they cost nothing beside the copies that are there anyway.
type keeper struct {
	host   string
	store  Store // nil: memory
	stored int   // copies that are kept; 0: all
	log    *slog.Logger

	wake   chan struct{} // there is something to write
	urgent chan struct{} // somebody waits for it

	mu      sync.Mutex // nothing else is locked, called or sent while it is held
	pending map[string]*save
	writing map[string]*save // taken from pending by the flush under way

	failing atomic.Bool // the last flush has failed
	writes  atomic.Uint64
	journal atomic.Int64 // changes kept, as they were counted last
}

// save is what is to be written of one user.
type save struct {
	known   *Known
	held    *Held
	reset   bool // older changes are to be deleted
	changes []change
	done    chan error // who waits for it, nil when nobody does
}

// change is what one version changed. Its Kind is 0 in the first version.
type change struct {
	rosterdoc.Change
	version int64
	tag     string
	at      time.Time
}

const (
	flushAfter = time.Second      // how long a change may wait to be written
	flushRetry = 10 * time.Second // after a failure
	flushTime  = 30 * time.Second // for one transaction
	flushUsers = 500              // users in a transaction: others want to write as well
	// pendingChanges bounds what waits to be written of one user, when the store fails: older changes are forgotten.
	pendingChanges = 10_000

	// The journal "keeps at least 1,000 changes and 30 days for each user" (the contract's section 5), and no more
	// than journalMost.
	journalKeep = 1_000
	journalAge  = 30 * 24 * time.Hour
	journalMost = 100_000
	trimEvery   = 6 * time.Hour
)

func newKeeper(host string, s Store, log *slog.Logger) *keeper {
	return &keeper{host: host, store: s, log: log, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		pending: make(map[string]*save)}
}

// changesOf gives what made k of old.
func changesOf(old, k *Known, changes []rosterdoc.Change) []change {
	now := time.Now()
	if old == nil {
		return []change{{version: k.Version, tag: k.Tag, at: now}}
	}
	all := make([]change, len(changes))
	for i, c := range changes {
		all[i] = change{c, k.Version - int64(len(changes)-1-i), k.Tag, now}
	}
	return all
}

// later has a user's roster written soon.
func (k *keeper) later(name string, s *save) {
	k.mu.Lock()
	k.merge(name, s)
	k.mu.Unlock()
	signal(k.wake)
}

// forget drops a user's roster that is in memory alone.
func (k *keeper) forget(name string) {
	if k.store != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pending, name)
}

// now has a user's roster written and waits for it.
func (k *keeper) now(ctx context.Context, name string, s *save) error {
	if k.store == nil {
		k.later(name, s)
		return nil
	}
	s.done = make(chan error, 1)
	k.mu.Lock()
	k.merge(name, s)
	k.mu.Unlock()
	signal(k.wake)
	signal(k.urgent)
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		if k.withdraw(name, s) {
			return ctx.Err()
		}
		return <-s.done // it is being written, for flushTime at most
	}
}

// withdraw takes back what has not begun to be written.
func (k *keeper) withdraw(name string, s *save) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending[name] != s {
		return false
	}
	delete(k.pending, name)
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// merge adds s to what is pending of a user, s being newer. The caller holds k.mu.
func (k *keeper) merge(name string, s *save) {
	if p := k.pending[name]; p != nil && !s.reset {
		s.changes = append(p.changes, s.changes...)
		s.reset = p.reset
	}
	if n := len(s.changes) - pendingChanges; n > 0 {
		s.changes, s.reset = slices.Clone(s.changes[n:]), true
	}
	k.pending[name] = s
}

// find gives what is to be written of a user, nil when there is nothing.
func (k *keeper) find(name string) (known *Known, held *Held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, where := range []map[string]*save{k.pending, k.writing} {
		if s := where[name]; s != nil && s.done == nil {
			return s.known, s.held
		}
	}
	return nil, nil
}

// run writes what comes until ctx is done, and then what is left.
func (k *keeper) run(ctx context.Context) {
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	for {
		select {
		case <-ctx.Done():
			k.last(ctx)
			return
		case <-trim.C:
			k.trim(ctx)
		case <-k.wake:
			if k.store != nil {
				if k.pause(ctx, flushAfter); ctx.Err() == nil { // otherwise it is written last
					k.attempt(ctx)
				}
			}
		}
	}
}

// last writes what is left when everything else has ended.
func (k *keeper) last(ctx context.Context) {
	if k.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	if err := k.flush(ctx); err != nil {
		k.log.Error("rosters not saved", "error", err)
	}
}

// attempt writes what is pending; after a failure it is tried again.
func (k *keeper) attempt(ctx context.Context) {
	err := k.flush(ctx)
	if failed := err != nil; k.failing.Swap(failed) != failed {
		if failed {
			k.log.Error("rosters cannot be saved; they are served all the same and tried again", "error", err)
		} else {
			k.log.Info("rosters are saved again")
		}
	}
	if err != nil {
		k.pause(ctx, flushRetry)
		signal(k.wake)
	}
}

// pause waits for a while, or until somebody waits for what is to be written.
func (k *keeper) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.urgent:
	case <-ctx.Done():
	}
}

// flush writes what is pending. What cannot be written is pending again, unless somebody waits for it: then it has
// not happened.
func (k *keeper) flush(ctx context.Context) error {
	k.mu.Lock()
	k.writing, k.pending = k.pending, make(map[string]*save)
	saves := k.writing
	k.mu.Unlock()

	var failed error
	names := make([]string, 0, min(len(saves), flushUsers))
	rows := make([]store.RosterSave, 0, cap(names))
	written := 0
	write := func() {
		ctx, cancel := context.WithTimeout(ctx, flushTime)
		err := k.store.SaveRosters(ctx, rows)
		cancel()
		if err != nil {
			failed = err
			k.takeBack(names)
		} else {
			written += len(rows)
		}
		for _, name := range names {
			if s := saves[name]; s.done != nil {
				s.done <- err
			}
		}
		names, rows = names[:0], rows[:0]
	}
	for name, s := range saves {
		names, rows = append(names, name), append(rows, k.row(name, s))
		if len(names) == flushUsers {
			write()
		}
	}
	if len(names) > 0 {
		write()
	}
	k.mu.Lock()
	k.writing = nil
	k.mu.Unlock()
	k.writes.Add(uint64(written))
	return failed
}

// takeBack makes pending again what could not be written.
func (k *keeper) takeBack(names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		old := k.writing[name]
		if old.done != nil {
			continue
		}
		newer := k.pending[name]
		k.pending[name] = old
		if newer != nil {
			k.merge(name, newer)
		}
	}
}

// waiting tells how many users' rosters wait to be written.
func (k *keeper) waiting() int {
	if k.store == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pending) + len(k.writing)
}

// trim keeps the journals within their bounds.
func (k *keeper) trim(ctx context.Context) {
	if k.store == nil {
		k.trimMemory(time.Now().Add(-journalAge))
		return
	}
	left, err := k.store.TrimRosterJournals(ctx, k.host, time.Now().Add(-journalAge), journalKeep, journalMost)
	if err != nil {
		k.log.Warn("the journals of rosters were not trimmed", "error", err)
		return
	}
	k.journal.Store(int64(left))
	if k.stored > 0 {
		if _, err := k.store.TrimRosters(ctx, k.host, k.stored); err != nil {
			k.log.Warn("old rosters were not deleted", "error", err)
		}
	}
}

// trimMemory does the same where there is no store.
func (k *keeper) trimMemory(before time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := 0
	for _, s := range k.pending {
		old := 0
		for len(s.changes)-old > journalKeep && s.changes[old].at.Before(before) {
			old++
		}
		if old > 0 {
			s.changes = slices.Clone(s.changes[old:])
		}
		left += len(s.changes)
	}
	k.journal.Store(int64(left))
}

// row writes a save as the store has it.
func (k *keeper) row(name string, s *save) store.RosterSave {
	r := store.RosterSave{Reset: s.reset, Roster: store.Roster{
		Host: k.host, Username: name, Version: s.known.Version, Tag: s.known.Tag, Document: s.known.Roster.AppendJSON(nil),
		Source: s.known.Source, ETag: s.known.ETag, AsOf: s.known.AsOf, StaleIfError: s.known.StaleIfError,
		Dropped: encodeDropped(s.known.Dropped),
	}}
	if s.held != nil {
		r.Held, r.HeldSince = s.held.Next.Roster.AppendJSON(nil), s.held.Since
	}
	for _, c := range s.changes {
		row := store.RosterChange{Version: c.version, Tag: c.tag, At: c.at}
		switch c.Kind {
		case rosterdoc.Added:
			row.Contact = c.New.JID.String()
		case rosterdoc.Removed, rosterdoc.Changed:
			row.Contact, row.Before = c.Old.JID.String(), rosterdoc.AppendItem(nil, c.Old)
		}
		r.Changes = append(r.Changes, row)
	}
	return r
}

func encodeDropped(d []rosterdoc.Dropped) []byte {
	if len(d) == 0 {
		return nil
	}
	b, err := json.Marshal(d)
	if err != nil { // cannot happen: it is strings
		return nil
	}
	return b
}

// errStored is for what the store has and cannot be read.
func errStored(name string, err error) error {
	return fmt.Errorf("the stored roster of %s cannot be used: %w", name, err)
}
