package xmpptest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"rollcall/internal/store"
)

// A Disk keeps messages too. What is appended is on it a moment later, in order, unless the process dies before; then, and
// when the disk fails, it is said not to be, or nothing.

// messages are those of a Disk; guarded by its mutex.
type messages struct {
	last store.ID
	all  []store.Message
}

// commitTime is how long the disk takes to write messages, on the bubble's clock.
const commitTime = 2 * time.Millisecond

// attachMessages gives the disk's messages to a new process.
func (d *Disk) attachMessages() *Messages {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Messages{process: process{d, d.power}}
}

// Messages is what a process sees of a Disk's messages: server.Messages.
type Messages struct {
	process
	// Guarded by the disk's mutex. Only one commit runs at a time, so that what is appended is written in order.
	queue      []func()
	committing bool
}

// All gives what is stored.
func (d *Disk) All() []store.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.messages.all)
}

func (m *Messages) later(what func()) {
	d := m.disk
	d.mu.Lock()
	m.queue = append(m.queue, what)
	first := !m.committing
	m.committing = true
	d.mu.Unlock()
	if first {
		time.AfterFunc(commitTime, m.commit)
	}
}

func (m *Messages) commit() {
	d := m.disk
	for {
		d.mu.Lock()
		if len(m.queue) == 0 {
			m.committing = false
			d.mu.Unlock()
			return
		}
		next := m.queue[0]
		m.queue = m.queue[1:]
		d.mu.Unlock()
		next()
	}
}

// Append implements store.Mailbox and store.Archive.
func (m *Messages) Append(entries []store.Entry, done func(ids []store.ID, err error)) {
	if failure, _ := m.use(true); failure == Faulty {
		panic(fmt.Sprintf("%s: %s", entries[0].Username, entries[0].Stanza))
	}
	m.later(func() {
		ids, err := m.append(entries)
		done(ids, err)
	})
}

func (m *Messages) append(entries []store.Entry) (ids []store.ID, err error) {
	if _, err := m.use(true); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	d := m.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range entries {
		if !d.knows(e) {
			return nil, store.ErrNotFound
		}
		if e.Undelivered && e.Limit > 0 && len(d.messages.of(e.Host, e.Username, undelivered)) >= e.Limit {
			return nil, store.ErrLimit
		}
	}
	for _, e := range entries {
		d.messages.last++
		e.Limit, e.Known = 0, store.Anybody
		e.At = e.At.Truncate(time.Microsecond)
		d.messages.all = append(d.messages.all, store.Message{ID: d.messages.last, Entry: e})
		ids = append(ids, d.messages.last)
	}
	return ids, nil
}

// knows tells whether a message's recipient is known as it asks: a disk has no accounts. The caller holds the mutex.
func (d *Disk) knows(e store.Entry) bool {
	_, member := d.values[store.MemberKey(e.Host, e.Username)]
	if !member && e.Known == store.Listed {
		_, err := d.inner.Roster(context.Background(), e.Host, e.Username)
		return err == nil
	}
	return member || e.Known == store.Anybody
}

func undelivered(m store.Message) bool { return m.Undelivered }
func archived(m store.Message) bool    { return m.Archived }

func (ms *messages) of(host, username string, which func(store.Message) bool) (all []store.Message) {
	for _, m := range ms.all {
		if m.Host == host && m.Username == username && which(m) {
			all = append(all, m)
		}
	}
	return all
}

func (m *Messages) read(host, username string, which func(store.Message) bool) ([]store.Message, error) {
	if _, err := m.use(false); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return m.disk.messages.of(host, username, which), nil
}

// Waiting implements store.Mailbox.
func (m *Messages) Waiting(_ context.Context, host, username string, after store.ID, limit int) (page store.Page, err error) {
	all, err := m.read(host, username, func(x store.Message) bool { return x.Undelivered && x.ID > after })
	return pageOf(all, limit, false), err
}

func pageOf(all []store.Message, limit int, last bool) store.Page {
	if len(all) <= limit {
		return store.Page{Messages: all}
	}
	if last {
		return store.Page{Messages: all[len(all)-limit:], More: true}
	}
	return store.Page{Messages: all[:limit], More: true}
}

// CountWaiting implements store.Mailbox.
func (m *Messages) CountWaiting(_ context.Context, host, username string, most int) (int, error) {
	all, err := m.read(host, username, undelivered)
	return min(most, len(all)), err
}

// Delivered implements store.Mailbox. It is on the disk at once, unless the disk fails.
func (m *Messages) Delivered(host, username string, ids []store.ID, done func(error)) {
	_, err := m.use(true)
	if err == nil {
		m.update(host, username, func(x *store.Message) {
			if slices.Contains(ids, x.ID) {
				x.Undelivered = false
			}
		})
	}
	if done != nil {
		done(err)
	}
}

func (m *Messages) update(host, username string, change func(*store.Message)) {
	d := m.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.messages.all {
		if x := &d.messages.all[i]; x.Host == host && x.Username == username {
			change(x)
		}
	}
	d.messages.all = slices.DeleteFunc(d.messages.all, func(x store.Message) bool { return !x.Archived && !x.Undelivered })
}

func matches(q store.Query, m store.Message) bool {
	return m.Archived && (q.With == "" || q.With == m.With) && (q.Resource == "" || q.Resource == m.Resource) &&
		!(!q.Start.IsZero() && m.At.Before(q.Start)) && !(!q.End.IsZero() && m.At.After(q.End)) &&
		(q.After == 0 || m.ID > q.After) && (q.Before == 0 || m.ID < q.Before) &&
		(q.IDs == nil || slices.Contains(q.IDs, m.ID)) && m.Kind&q.Mask == q.Bits
}

// Messages implements store.Archive.
func (m *Messages) Messages(_ context.Context, host, username string, q store.Query) (store.Page, error) {
	all, err := m.read(host, username, func(x store.Message) bool { return matches(q, x) })
	page := pageOf(all, q.Limit, q.Last)
	if failure, _ := m.use(false); failure == Faulty {
		panic(fmt.Sprintf("%s: %s", username, all[0].Stanza))
	}
	for q.Bytes > 0 && len(page.Messages) > 1 {
		size := 0
		for _, x := range page.Messages {
			size += len(x.Stanza)
		}
		if size <= q.Bytes {
			break
		}
		page.More = true
		if q.Last {
			page.Messages = page.Messages[1:]
		} else {
			page.Messages = page.Messages[:len(page.Messages)-1]
		}
	}
	return page, err
}

// Secret gives what ids are made of, which is the same for every process.
func (m *Messages) Secret(_ context.Context, name string) ([]byte, error) {
	secret := sha256.Sum256([]byte(name))
	return secret[:], nil
}

// CountMessages implements store.Archive.
func (m *Messages) CountMessages(_ context.Context, host, username string, q store.Query) (int, error) {
	all, err := m.read(host, username, func(x store.Message) bool { return matches(q, x) })
	return len(all), err
}

// MessageBounds implements store.Archive.
func (m *Messages) MessageBounds(_ context.Context, host, username string) (first, last store.Mark, err error) {
	all, err := m.read(host, username, archived)
	if err == nil && len(all) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return first, last, err
	}
	end := all[len(all)-1]
	return store.Mark{ID: all[0].ID, At: all[0].At}, store.Mark{ID: end.ID, At: end.At}, nil
}

// TrimMessages implements store.Archive.
func (m *Messages) TrimMessages(_ context.Context, host, username string, before time.Time, keep int) (gone int, err error) {
	all, err := m.read(host, username, archived)
	if err != nil {
		return 0, err
	}
	going := map[store.ID]bool{}
	old := true
	for i, x := range all {
		old = old && x.At.Before(before)
		if keep >= 0 && i < len(all)-keep || old {
			going[x.ID] = true
		}
	}
	m.update(host, username, func(x *store.Message) {
		if going[x.ID] {
			x.Archived = false
		}
	})
	return len(going), nil
}

// Archives implements store.Archive.
func (m *Messages) Archives(_ context.Context, host string) iter.Seq2[string, error] {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	names := map[string]bool{}
	for _, x := range m.disk.messages.all {
		if x.Host == host && x.Archived {
			names[x.Username] = true
		}
	}
	return func(yield func(string, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if !yield(name, nil) {
				return
			}
		}
	}
}
