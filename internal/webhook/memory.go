package webhook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// memory is an Outbox that ends with the process.
type memory struct {
	mu     sync.Mutex
	last   int64
	events []Event // in the order of their ids; those that were removed have no body
	gone   int     // of them
}

// errOverflow: there are as many events as may be.
var errOverflow = errors.New("too many wait to be told")

// Add implements Outbox.
func (m *memory) Add(e Event, most int, done func(error)) {
	m.mu.Lock()
	full := len(m.events)-m.gone >= most
	if !full {
		m.last = max(m.last+1, time.Now().UnixMicro()) // above those of an earlier process
		e.ID = m.last
		m.events = append(m.events, e)
	}
	m.mu.Unlock()
	if full {
		done(errOverflow)
		return
	}
	done(nil)
}

// find gives the place of the first event with that id, or a later one.
func (m *memory) find(id int64) int {
	i, _ := slices.BinarySearchFunc(m.events, id, func(e Event, id int64) int { return int(e.ID - id) })
	return i
}

// Page implements Outbox.
func (m *memory) Page(_ context.Context, after int64, limit int) (page []Event, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := m.find(after + 1); i < len(m.events) && len(page) < limit; i++ {
		if m.events[i].Body != nil {
			page = append(page, m.events[i])
		}
	}
	return page, nil
}

// Remove implements Outbox.
func (m *memory) Remove(ids []int64, done func(error)) {
	m.mu.Lock()
	for _, id := range ids {
		if i := m.find(id); i < len(m.events) && m.events[i].ID == id && m.events[i].Body != nil {
			m.events[i].Body = nil
			m.gone++
		}
	}
	if m.gone > len(m.events)/2 {
		m.events = slices.DeleteFunc(m.events, func(e Event) bool { return e.Body == nil })
		m.gone = 0
	}
	m.mu.Unlock()
	done(nil)
}
