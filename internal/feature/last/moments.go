package last

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/xmlstream"
)

// A moment is the end of a user's presence. Moments are comparable.
type moment struct {
	at     time.Time // whole seconds
	status string    // what the client said then
}

// maxStatus is how many bytes of a status are kept.
const maxStatus = 1024

// statusOf gives the text of a presence, or what there is room for.
func statusOf(presence *xmlstream.Element) string {
	c := presence.Child(ns.Client, "status")
	if c == nil {
		return ""
	}
	text := c.Text()
	if len(text) <= maxStatus {
		return strings.Clone(text)
	}
	n := maxStatus
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.Clone(text[:n])
}

// encode gives a moment as it is stored: seconds since 1970, a newline, the status.
func (m moment) encode() []byte {
	return append(strconv.AppendInt(nil, m.at.Unix(), 10), "\n"+m.status...)
}

func parseMoment(value []byte) (moment, error) {
	seconds, status, ok := bytes.Cut(value, []byte{'\n'})
	at, err := strconv.ParseInt(string(seconds), 10, 64)
	if err != nil || !ok {
		return moment{}, fmt.Errorf("last: a stored time of last activity is not understood")
	}
	return moment{time.Unix(at, 0), string(status)}, nil
}

// Bounds of what is in memory.
const (
	maxPending = 100_000 // moments that wait to be written
	maxRecent  = 10_000  // moments that are kept where there is no store
)

// moments are who is available, and the ends that are not in the store.
type moments struct {
	mu        sync.Mutex                    // nothing else is locked, called or sent while it is held
	available map[string][]*session.Session // mostly one of a user
	pending   map[string]moment             // to be written
	recent    map[string]*list.Element
	order     list.List // of *past, the oldest first

	wake chan struct{} // has one when something is pending
}

type past struct {
	local string
	moment
}

func newMoments() *moments {
	return &moments{available: make(map[string][]*session.Session), pending: make(map[string]moment),
		recent: make(map[string]*list.Element), wake: make(chan struct{}, 1)}
}

// begin notes that a session is available.
func (ms *moments) begin(s *session.Session) {
	local := s.JID().Local()
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if s.Context().Err() != nil {
		return // its end has been noted, or is going to be
	}
	if sessions := ms.available[local]; !slices.Contains(sessions, s) {
		ms.available[local] = append(sessions, s)
	}
}

// end notes that a session is not available any more; m is to be kept when it was the user's last one. It is false when
// there is no room for that.
func (ms *moments) end(s *session.Session, m moment, stored bool) bool {
	local := s.JID().Local()
	ms.mu.Lock()
	defer ms.mu.Unlock()
	sessions := ms.available[local]
	i := slices.Index(sessions, s)
	if i < 0 {
		return true
	}
	if len(sessions) > 1 {
		ms.available[local] = slices.Delete(sessions, i, i+1)
		return true
	}
	delete(ms.available, local)
	if !stored {
		ms.keep(local, m)
		return true
	}
	if _, there := ms.pending[local]; !there && len(ms.pending) >= maxPending {
		return false
	}
	ms.pending[local] = m
	select {
	case ms.wake <- struct{}{}:
	default:
	}
	return true
}

// keep keeps a moment in memory. The caller holds the mutex.
func (ms *moments) keep(local string, m moment) {
	if e := ms.recent[local]; e != nil {
		ms.order.Remove(e)
	}
	ms.recent[local] = ms.order.PushBack(&past{local, m})
	if ms.order.Len() > maxRecent {
		delete(ms.recent, ms.order.Remove(ms.order.Front()).(*past).local)
	}
}

func (ms *moments) isAvailable(local string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.available[local]) > 0
}

// recall gives a user's last moment, as far as it is in memory.
func (ms *moments) recall(local string) (moment, bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m, ok := ms.pending[local]; ok {
		return m, true
	}
	if e := ms.recent[local]; e != nil {
		return e.Value.(*past).moment, true
	}
	return moment{}, false
}

func (ms *moments) waiting() map[string]moment {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return maps.Clone(ms.pending)
}

// written takes out what is in the store.
func (ms *moments) written(local string, m moment) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.pending[local] == m {
		delete(ms.pending, local)
	}
}

const (
	writers     = 32               // at a time: the store commits together what comes together
	writeTime   = 30 * time.Second // for one
	goodbyeTime = 5 * time.Second  // for all, when the host stops
	writeAgain  = 10 * time.Second
)

// run writes moments to the store. When ctx is done, those of the sessions that have just ended are written still.
func (l *Last) run(ctx context.Context) error {
	if l.opts.Store == nil {
		return nil
	}
	again := time.NewTimer(writeAgain)
	again.Stop()
	defer again.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.moments.wake:
		case <-again.C:
		}
		if ctx.Err() != nil {
			break
		}
		if err := l.write(ctx); err != nil && ctx.Err() == nil { // what was cut off by the end is written below
			l.opts.Log.Warn("when users were last there is not written yet", "error", err)
			again.Reset(writeAgain)
		}
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
	defer cancel()
	if err := l.write(bounded); err != nil {
		l.opts.Log.Warn("when users were last there is not written", "users", len(l.moments.waiting()), "error", err)
	}
	return nil
}

// write writes what is pending. The error is that of the first that could not be written; then the rest is left for later.
func (l *Last) write(ctx context.Context) error {
	var all sync.WaitGroup
	var failed error
	var mu sync.Mutex
	slots := make(chan struct{}, writers)
	for local, m := range l.moments.waiting() {
		slots <- struct{}{}
		mu.Lock()
		stop := failed != nil
		mu.Unlock()
		if stop {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, writeTime)
			defer cancel()
			if err := l.opts.Store.SetValue(ctx, l.key(local), m.encode(), 0); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = err
				return
			}
			l.moments.written(local, m)
		})
	}
	all.Wait()
	return failed
}
