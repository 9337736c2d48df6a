package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The feed of what came of notifications and writes, as server-sent events (HTML Living Standard section 9.2).

const (
	keptEvents = 200
	maxReaders = 64
	// A reader that is so many events behind, or takes none for so long, is dropped.
	readerQueue = 256
	readerStall = 10 * time.Second
	// heartbeat is how often a comment is sent where there is nothing else, so that proxies keep the connection.
	heartbeat = 15 * time.Second
)

// An Event is what came of a notification or write at one host.
type Event struct {
	ID         int64     `json:"id"` // counts up from 1 since the start
	Time       time.Time `json:"time"`
	What       string    `json:"what"`           // "refresh", "profile", "put", "patch", "confirm", "session ended"
	Host       string    `json:"host,omitempty"` // absent when no name was of a host of ours
	Peer       string    `json:"peer"`
	By         string    `json:"by"` // "token", "signature", "certificate", "loopback"
	Credential string    `json:"credential,omitempty"`
	Users      []string  `json:"users"` // the first ten
	Names      int       `json:"names"` // how many there are
	Changed    int       `json:"changed"`
	Unchanged  int       `json:"unchanged"`
	Offline    int       `json:"offline"`
	Held       int       `json:"held"`
	Errors     int       `json:"errors"`
	Added      int       `json:"items_added"`
	Removed    int       `json:"items_removed"`
	Altered    int       `json:"items_changed"`
	Reason     string    `json:"reason,omitempty"` // why the first name failed
	Took       float64   `json:"took_ms"`

	host *Host // nil: for those who may see all hosts
}

func (j *job) event(t tally, reason string) Event {
	now := time.Now()
	return Event{
		Time: now.UTC(), What: j.what, Peer: j.peer, By: j.by, Credential: j.credential, Users: []string{}, Names: t.names,
		Changed: t.outcomes[Changed], Unchanged: t.outcomes[Unchanged], Offline: t.outcomes[Offline], Held: t.outcomes[Held],
		Errors: t.errors, Added: t.added, Removed: t.removed, Altered: t.changed, Reason: reason,
		Took: float64(now.Sub(j.arrived).Microseconds()) / 1000,
	}
}

// A feed keeps the last events and hands new ones to its readers.
type feed struct {
	mu      sync.Mutex
	last    int64
	ring    [keptEvents]Event // number n at n modulo its length
	readers map[*reader]bool
}

// A reader is somebody who follows the feed. Its queue is closed when it is too far behind.
type reader struct {
	queue chan Event
	sees  func(*Host) bool
}

func (f *feed) publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	e.ID = f.last
	f.ring[e.ID%keptEvents] = e
	for r := range f.readers {
		if !r.sees(e.host) {
			continue
		}
		select {
		case r.queue <- e:
		default:
			delete(f.readers, r)
			close(r.queue)
		}
	}
}

// join adds a reader, whose queue begins with the events that are kept and came after that one. It is nil when there are
// too many.
func (f *feed) join(after int64, sees func(*Host) bool) *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) == maxReaders {
		return nil
	}
	if after < 0 || after > f.last { // of the server's last life
		after = 0
	}
	r := &reader{queue: make(chan Event, readerQueue), sees: sees}
	for id := max(after, f.last-keptEvents) + 1; id <= f.last; id++ {
		if e := f.ring[id%keptEvents]; sees(e.host) {
			r.queue <- e // there is room: keptEvents < readerQueue
		}
	}
	if f.readers == nil {
		f.readers = map[*reader]bool{}
	}
	f.readers[r] = true
	return r
}

func (f *feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

// events is GET /admin/events.
func (a *API) events(c *call) (*reply, error) {
	if a.ctx.Err() != nil {
		return nil, a.stopping()
	}
	after, _ := strconv.ParseInt(c.r.Header.Get("Last-Event-ID"), 10, 64) // anything else begins with the oldest
	g := c.grant
	r := a.feed.join(after, func(h *Host) bool { return g.all || h != nil && g.hosts[h] })
	if r == nil {
		return nil, busy(fmt.Sprintf("%d clients follow the events already", maxReaders))
	}
	return &reply{stream: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer a.feed.leave(r)
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(a.ctx, cancel)() // the stop of the server ends the stream
		follow(ctx, w, r)
	})}, nil
}

// follow writes events until ctx is done or the reader is dropped.
func follow(ctx context.Context, w http.ResponseWriter, r *reader) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx is not to hold it back
	w.WriteHeader(http.StatusOK)
	conn := http.NewResponseController(w)
	send := func(text string) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(readerStall)) // a test's ResponseWriter has none
		_, err := w.Write([]byte(text))
		return err == nil && conn.Flush() == nil
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	text := ": rollcall\n\n"
	for send(text) {
		select {
		case e, ok := <-r.queue:
			b, err := json.Marshal(e)
			if !ok || err != nil {
				return
			}
			text = fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, "outcome", b)
		case <-beat.C:
			text = ": still here\n\n"
		case <-ctx.Done():
			return
		}
	}
}
