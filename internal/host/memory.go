package host

import (
	"context"
	"fmt"
	"sync"

	"rollcall/internal/store"
)

// NewMemory makes a mailbox in memory, where no store is: it has so many bytes at most, and ends with the program.
func NewMemory(bytes int) store.Mailbox {
	return &memoryMail{room: bytes, boxes: make(map[account][]store.Message)}
}

type memoryMail struct {
	mu    sync.Mutex
	room  int
	last  store.ID
	boxes map[account][]store.Message
}

type account struct{ host, username string }

// memoryCost is what a message takes beside its bytes, roughly.
const memoryCost = 512

func memoryCostOf(m store.Message) int {
	return memoryCost + len(m.Stanza) + len(m.With) + len(m.StanzaID)
}

// Append implements store.Mailbox. Only what is undelivered is kept, and nobody is known here.
func (m *memoryMail) Append(entries []store.Entry, done func(ids []store.ID, err error)) {
	ids, err := m.add(entries)
	done(ids, err)
}

func (m *memoryMail) add(entries []store.Entry) ([]store.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []store.ID
	for _, e := range entries {
		m.last++
		message := store.Message{ID: m.last, Entry: e}
		message.Limit, message.Known = 0, store.Anybody
		a := account{e.Host, e.Username}
		switch {
		case !e.Undelivered:
		case e.Known != store.Anybody:
			return nil, fmt.Errorf("host: the mailbox of %s@%s: %w", e.Username, e.Host, store.ErrNotFound)
		case e.Limit > 0 && len(m.boxes[a]) >= e.Limit:
			return nil, fmt.Errorf("host: the mailbox of %s@%s: %w", e.Username, e.Host, store.ErrLimit)
		case memoryCostOf(message) > m.room:
			return nil, fmt.Errorf("host: the mailboxes in memory: %w", store.ErrFull)
		default:
			m.room -= memoryCostOf(message)
			m.boxes[a] = append(m.boxes[a], message)
		}
		ids = append(ids, message.ID)
	}
	return ids, nil
}

// Waiting implements store.Mailbox.
func (m *memoryMail) Waiting(_ context.Context, host, username string, after store.ID, limit int) (page store.Page, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.boxes[account{host, username}] {
		if message.ID <= after {
			continue
		}
		if len(page.Messages) == limit {
			page.More = true
			break
		}
		page.Messages = append(page.Messages, message)
	}
	return page, nil
}

// CountWaiting implements store.Mailbox.
func (m *memoryMail) CountWaiting(_ context.Context, host, username string, most int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return min(most, len(m.boxes[account{host, username}])), nil
}

// Delivered implements store.Mailbox.
func (m *memoryMail) Delivered(host, username string, ids []store.ID, done func(error)) {
	m.take(account{host, username}, ids)
	if done != nil {
		done(nil)
	}
}

func (m *memoryMail) take(a account, ids []store.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rest []store.Message
	for _, message := range m.boxes[a] {
		gone := false
		for _, id := range ids {
			gone = gone || id == message.ID
		}
		if gone {
			m.room += memoryCostOf(message)
		} else {
			rest = append(rest, message)
		}
	}
	if m.boxes[a] = rest; len(rest) == 0 {
		delete(m.boxes, a)
	}
}
