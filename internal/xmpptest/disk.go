package xmpptest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"rollcall/internal/roster"
	"rollcall/internal/store"
)

// Disk is where the rosters and values of a World are when its server has ended. It can fail in the ways in which disks and
// processes do. The rosters are kept by another store, or by itself. Its methods may be called by any goroutine.
type Disk struct {
	mu      sync.Mutex
	inner   roster.Store
	power   int // changes when the process dies
	failure Failure
	written map[string]time.Time // when each user's roster was written last
	values  map[store.Key][]byte

	messages messages
}

// Failure is how a Disk fails.
type Failure uint8

// The ways in which it can fail.
const (
	Works    Failure = iota
	ReadOnly         // nothing is written
	Broken           // nothing is written or read
	Lies             // what was written is said not to have been
	Faulty           // whoever writes a value or a message, or reads an archive, panics, and says what it was about
	Slow             // everything takes slowness
)

// slowness is what a slow disk takes for one thing.
const slowness = 400 * time.Millisecond

// NewDisk makes a disk that keeps what is written in inner; nil: in a map of its own.
func NewDisk(inner roster.Store) *Disk {
	if inner == nil {
		inner = &inMemory{rosters: map[string]store.Roster{}, journals: map[string][]store.RosterChange{}}
	}
	return &Disk{inner: inner, written: map[string]time.Time{}, values: map[store.Key][]byte{}}
}

// Fail has the disk fail from now on.
func (d *Disk) Fail(f Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = f
}

// Written tells when a user's roster was written last; zero when it never was.
func (d *Disk) Written(user string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written[user]
}

var errDisk = fmt.Errorf("the disk has failed: %w", store.ErrUnavailable)

// cut makes an end of all that the process that is running now reads and writes.
func (d *Disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.power++
}

// attach gives the disk to a new process.
func (d *Disk) attach() roster.Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	return process{d, d.power}
}

// process is a disk as one process sees it.
type process struct {
	disk  *Disk
	power int
}

// use tells how the disk works just now. Calls are short, so that a failure comes before or after them, unless it is slow.
func (p process) use(write bool) (f Failure, err error) {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if p.disk.failure == Slow {
		p.disk.mu.Unlock()
		time.Sleep(slowness) // of the bubble's clock
		p.disk.mu.Lock()
	}
	f = p.disk.failure
	if p.disk.power != p.power || f == Broken || f == ReadOnly && write {
		err = errDisk
	}
	return f, err
}

// SaveRosters implements roster.Store.
func (p process) SaveRosters(ctx context.Context, saves []store.RosterSave) error {
	failure, err := p.use(true)
	if err != nil {
		return err
	}
	if err := p.disk.inner.SaveRosters(ctx, saves); err != nil {
		return err
	}
	p.disk.mu.Lock()
	for _, s := range saves {
		p.disk.written[s.Username] = time.Now()
	}
	p.disk.mu.Unlock()
	if failure == Lies {
		return errDisk
	}
	return nil
}

// Roster implements roster.Store.
func (p process) Roster(ctx context.Context, host, username string) (store.Roster, error) {
	if _, err := p.use(false); err != nil {
		return store.Roster{}, err
	}
	return p.disk.inner.Roster(ctx, host, username)
}

// RosterJournal implements roster.Store.
func (p process) RosterJournal(ctx context.Context, host, username string, from int64) ([]store.RosterChange, error) {
	if _, err := p.use(false); err != nil {
		return nil, err
	}
	return p.disk.inner.RosterJournal(ctx, host, username, from)
}

// TrimRosterJournals implements roster.Store.
func (p process) TrimRosterJournals(ctx context.Context, host string, before time.Time, keep, most int) (int, error) {
	if _, err := p.use(true); err != nil {
		return 0, err
	}
	return p.disk.inner.TrimRosterJournals(ctx, host, before, keep, most)
}

// TrimRosters implements roster.Store.
func (p process) TrimRosters(ctx context.Context, host string, most int) (int, error) {
	if _, err := p.use(true); err != nil {
		return 0, err
	}
	return p.disk.inner.TrimRosters(ctx, host, most)
}

// inMemory is a roster.Store in memory that costs nothing to open. It keeps one host's rosters and forgets none: what is
// trimmed is for the tests of package store.
type inMemory struct {
	mu       sync.Mutex
	rosters  map[string]store.Roster
	journals map[string][]store.RosterChange
}

func (m *inMemory) SaveRosters(_ context.Context, saves []store.RosterSave) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	rosters, journals := maps.Clone(m.rosters), maps.Clone(m.journals) // all or nothing
	for _, s := range saves {
		journal := slices.Clone(journals[s.Username])
		if s.Reset {
			journal = nil
		}
		for _, c := range s.Changes {
			at, found := slices.BinarySearchFunc(journal, c, func(a, b store.RosterChange) int { return int(a.Version - b.Version) })
			if found {
				journal[at] = c
			} else {
				journal = slices.Insert(journal, at, c)
			}
		}
		rosters[s.Username], journals[s.Username] = s.Roster, journal
	}
	m.rosters, m.journals = rosters, journals
	return nil
}

func (m *inMemory) Roster(_ context.Context, _, username string) (store.Roster, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rosters[username]
	if !ok {
		return store.Roster{}, store.ErrNotFound
	}
	return r, nil
}

func (m *inMemory) RosterJournal(_ context.Context, _, username string, from int64) ([]store.RosterChange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.journals[username], from, func(c store.RosterChange, v int64) int { return int(c.Version - v) })
	return slices.Clone(m.journals[username][i:]), nil
}

func (m *inMemory) TrimRosterJournals(context.Context, string, time.Time, int, int) (int, error) {
	return 0, nil
}
func (m *inMemory) TrimRosters(context.Context, string, int) (int, error) { return 0, nil }
