package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	// rollcall answers a notification within 30 s (section 2 of the contract).
	notifyTimeout = 35 * time.Second
	// How long a notification that failed waits before it is sent again: doubled each time, up to the second.
	retryFirst = 2 * time.Second
	retryMost  = 30 * time.Second
)

// errResumed ends a notification that was sent while the application did not answer: it is sent again, and rollcall may
// ask at once rather than when it would have tried again.
var errResumed = errors.New("given up, to tell anew")

// notifier tells rollcall whose contacts changed: section 2 of the contract, as an application would do it. One request
// is under way at a time; names that come up meanwhile go into the next one, so nothing grows with the number of
// changes. Names whose refresh failed are told again: after a pause, or, while the application is switched off and a
// refresh cannot but fail, when it is switched on.
type notifier struct {
	url    func() string
	client *http.Client
	feed   *feed
	log    *slog.Logger

	mu      sync.Mutex
	waiting map[string]bool         // to be told now
	owed    map[string]bool         // were told, and it failed
	paused  bool                    // the application is switched off
	abandon context.CancelCauseFunc // ends the request under way; nil when there is none
	wake    chan struct{}           // holds one: there is something to do
}

func newNotifier(url func() string, f *feed, log *slog.Logger) *notifier {
	return &notifier{
		url:  url,
		feed: f,
		log:  log,
		client: &http.Client{
			Timeout:   notifyTimeout,
			Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		waiting: map[string]bool{},
		owed:    map[string]bool{},
		wake:    make(chan struct{}, 1),
	}
}

// tell has rollcall notified of these people, soon. It does not wait.
func (n *notifier) tell(ids ...string) {
	n.mu.Lock()
	for _, id := range ids {
		n.waiting[id] = true
	}
	n.mu.Unlock()
	n.poke()
}

// tellAgain has rollcall notified of everybody whose last notification failed.
func (n *notifier) tellAgain() {
	n.mu.Lock()
	maps.Copy(n.waiting, n.owed)
	n.mu.Unlock()
	n.poke()
}

// pause is called when the application is switched off.
func (n *notifier) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = true
}

// resume is called when the application is switched on again.
func (n *notifier) resume() {
	n.mu.Lock()
	n.paused = false
	if n.abandon != nil {
		n.abandon(errResumed)
	}
	n.mu.Unlock()
	n.tellAgain()
}

func (n *notifier) poke() {
	select {
	case n.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take gives the names to be told now, sorted.
func (n *notifier) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := slices.Sorted(maps.Keys(n.waiting))
	clear(n.waiting)
	return ids
}

// told notes how it went. It says whether to try again after a pause.
func (n *notifier) told(ids []string, err error) (retry bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		switch {
		case err == nil:
			delete(n.owed, id)
		case errors.Is(err, errResumed):
			n.waiting[id] = true
		default:
			n.owed[id] = true
		}
	}
	return err != nil && !n.paused
}

// run sends notifications until ctx ends.
func (n *notifier) run(ctx context.Context) {
	defer n.client.CloseIdleConnections()
	retry := time.NewTimer(0)
	retry.Stop()
	for pause := retryFirst; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-retry.C:
			n.tellAgain()
		}
		ids := n.take()
		if len(ids) == 0 {
			continue
		}
		err := n.send(ctx, ids)
		switch again := n.told(ids, err); {
		case err == nil:
			pause = retryFirst
		case errors.Is(err, errResumed):
			n.poke()
		case again:
			retry.Reset(pause)
			pause = min(2*pause, retryMost)
		}
	}
}

// send posts one notification and shows it in the feed. It fails when not every roster was refreshed.
func (n *notifier) send(ctx context.Context, ids []string) error {
	body, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	ctx, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	n.setAbandon(abandon)
	defer n.setAbandon(nil)

	line := n.feed.line(Line{Kind: "notify", Text: "POST /roster_admin/refresh", Request: string(body), Pending: true})
	n.feed.put(line)
	start := time.Now()
	status, answer, err := n.post(ctx, body)
	line.Pending, line.Status, line.Answer, line.Millis = false, status, string(answer), millisSince(start)
	if err == nil {
		line.Note, err = readAnswer(status, answer)
	} else if cause := context.Cause(ctx); cause != nil {
		err, line.Note = cause, cause.Error()
	} else {
		line.Note = cut(err.Error(), maxText)
	}
	line.Failed = err != nil
	n.feed.put(line)
	if err != nil {
		n.log.Debug("demo: a notification failed", "status", status, "err", err)
	}
	return err
}

func (n *notifier) setAbandon(f context.CancelCauseFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.abandon = f
}

func (n *notifier) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return 0, nil, errors.Unwrap(err) // without "Post URL:", which the line says already
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxPayload))
	return resp.StatusCode, answer, errors.Join(err, resp.Body.Close())
}

// readAnswer puts rollcall's answer into words; the error says that something is left to be wished for.
func readAnswer(status int, body []byte) (note string, err error) {
	var a struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Updated int    `json:"updated"`
		Errors  int    `json:"errors"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return "an answer that is not JSON", err
	}
	switch {
	case status != http.StatusOK:
		note = cut(a.Message, maxText)
		return note, errors.New(note)
	case a.Errors > 0:
		return fmt.Sprintf("updated %d, %s", a.Updated, count(a.Errors, "error")), errors.New(cut(a.Message, maxText))
	default:
		return fmt.Sprintf("updated %d", a.Updated), nil
	}
}
