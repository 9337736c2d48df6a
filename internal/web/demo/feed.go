package demo

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	maxLines   = 200  // lines that the feed remembers
	maxText    = 200  // bytes of a line's text
	maxPayload = 4096 // bytes shown of a request's or an answer's body
	maxReaders = 32   // pages that follow the feed at a time

	feedBeat  = 15 * time.Second // a comment that often tells a page that has gone from one that is quiet
	feedWrite = 10 * time.Second // a page that takes longer to read an event is given up
)

// Line is one line of the feed: something the application did or was asked. An event that repeats a line's number
// replaces the line: what was pending has been answered.
type Line struct {
	Number  int64     `json:"number"` // from 1, in the order in which the lines began
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`              // change, switch: done on the panel; fetch: rollcall asked; notify: rollcall was told
	Text    string    `json:"text"`              // "GET /contacts/alice"
	Request string    `json:"request,omitempty"` // the request's body, cut to maxPayload
	Status  int       `json:"status,omitempty"`  // the HTTP status of the answer
	Answer  string    `json:"answer,omitempty"`  // the answer's body, cut to maxPayload
	Note    string    `json:"note,omitempty"`    // "4 contacts"
	Millis  float64   `json:"millis,omitempty"`  // how long the answer took
	Failed  bool      `json:"failed,omitempty"`  // answered, but not as hoped, whatever the status
	Pending bool      `json:"pending,omitempty"` // not answered yet

	event int64 // the number of the event that last changed the line
}

// feed remembers the last lines and wakes who follows them. Readers keep a position and no queue, so a slow one costs
// nothing and misses at most what has been forgotten. Its methods may be called by any goroutine.
type feed struct {
	boot string // tells one run of the demo from the next

	mu     sync.Mutex
	lines  []Line // by number
	number int64  // the last line's
	event  int64  // the last event's
	state  int64  // counts changes of what showState gives
	news   chan struct{}
}

func newFeed() *feed {
	return &feed{boot: strconv.FormatInt(time.Now().UnixNano(), 36), news: make(chan struct{})}
}

// line gives a number and the time to a line, which is not shown before it is put.
func (f *feed) line(l Line) Line {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number++
	l.Number, l.Time = f.number, time.Now()
	return l
}

// put shows a line that came from line, or replaces it when it is there already. A line that was forgotten meanwhile
// stays forgotten.
func (f *feed) put(l Line) {
	l.Request, l.Answer = cut(l.Request, maxPayload), cut(l.Answer, maxPayload)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.event++
	l.event = f.event
	i, found := slices.BinarySearchFunc(f.lines, l.Number, func(x Line, n int64) int { return cmp.Compare(x.Number, n) })
	if found {
		f.lines[i] = l
	} else {
		f.lines = slices.Insert(f.lines, i, l)
	}
	if n := len(f.lines) - maxLines; n > 0 {
		f.lines = slices.Delete(f.lines, 0, n)
	}
	f.wake()
}

// touch tells the readers that the state has changed.
func (f *feed) touch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state++
	f.wake()
}

func (f *feed) wake() {
	close(f.news)
	f.news = make(chan struct{})
}

// after gives the lines that changed after an event, oldest change first, the number of the state, and a channel that
// is closed when there is more.
func (f *feed) after(event int64) (lines []Line, state int64, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lines {
		if l.event > event {
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(a.event, b.event) })
	return lines, f.state, f.news
}

// showFeed answers GET /app/feed with server-sent events: "state" with what GET /app/state gives, at the start and
// when it changes, and "line" for each line. An event's id is for Last-Event-ID, with which a browser comes back.
func (s *Service) showFeed(w http.ResponseWriter, r *http.Request) {
	select {
	case s.readers <- struct{}{}:
		defer func() { <-s.readers }()
	default:
		w.Header().Set("Retry-After", "5")
		writeJSON(w, http.StatusServiceUnavailable, failure{"too many pages follow the demo; close one"})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := &eventWriter{w: w, c: http.NewResponseController(w)}
	position := s.feed.position(r.Header.Get("Last-Event-ID"))
	beat := time.NewTicker(feedBeat)
	defer beat.Stop()
	for shown := int64(-1); ; {
		lines, state, news := s.feed.after(position)
		if state != shown {
			out.event("", "state", s.state())
			shown = state
		}
		for _, l := range lines {
			position = l.event
			out.event(s.feed.id(position), "line", l)
		}
		if out.flush() != nil {
			return // the page has gone
		}
		select {
		case <-news:
		case <-beat.C:
			out.comment()
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}

// id is the event id that a page hands back as Last-Event-ID. It names the run of the demo, whose counts start anew.
func (f *feed) id(event int64) string { return f.boot + "-" + strconv.FormatInt(event, 10) }

// position is the event that an id of this run names; 0, before everything, for any other.
func (f *feed) position(id string) int64 {
	event, ours := strings.CutPrefix(id, f.boot+"-")
	n, err := strconv.ParseInt(event, 10, 64)
	if !ours || err != nil || n < 0 {
		return 0
	}
	return n
}

// eventWriter writes server-sent events (HTML, section 9.2). After an error it writes nothing more; flush tells.
type eventWriter struct {
	w   http.ResponseWriter
	c   *http.ResponseController
	err error
}

func (e *eventWriter) event(id, name string, data any) {
	b, err := json.Marshal(data) // has no line breaks
	if err != nil {
		e.fail(err)
		return
	}
	e.deadline()
	if id != "" {
		e.printf("id: %s\n", id)
	}
	e.printf("event: %s\ndata: %s\n\n", name, b)
}

func (e *eventWriter) comment() {
	e.deadline()
	e.printf(":\n\n")
}

// deadline bounds the next writes. A server without deadlines is one in a test.
func (e *eventWriter) deadline() {
	if err := e.c.SetWriteDeadline(time.Now().Add(feedWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		e.fail(err)
	}
}

func (e *eventWriter) printf(format string, args ...any) {
	if e.err != nil {
		return
	}
	_, err := fmt.Fprintf(e.w, format, args...)
	e.fail(err)
}

func (e *eventWriter) flush() error {
	if e.err == nil {
		e.fail(e.c.Flush())
	}
	return e.err
}

func (e *eventWriter) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}
