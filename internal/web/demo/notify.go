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

// notifier tells rollcall whose contacts changed: section 2 of the contract, as an application would do it. One request
// is under way at a time; names that come up meanwhile go into the next one, so nothing grows with the number of
// changes. Names whose refresh failed are told again.
type notifier struct {
	url    func() string
	client *http.Client
	feed   *feed
	log    *slog.Logger

	mu      sync.Mutex
	waiting map[string]bool // to be told now
	owed    map[string]bool // were told, and it failed
	wake    chan struct{}   // holds one: there is something to do
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

// told notes how it went.
func (n *notifier) told(ids []string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		if ok {
			delete(n.owed, id)
		} else {
			n.owed[id] = true
		}
	}
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
			continue
		}
		ids := n.take()
		if len(ids) == 0 {
			continue
		}
		ok := n.send(ctx, ids)
		n.told(ids, ok)
		if ok {
			pause = retryFirst
			continue
		}
		retry.Reset(pause)
		pause = min(2*pause, retryMost)
	}
}

// send posts one notification and shows it in the feed. It says whether every roster was refreshed.
func (n *notifier) send(ctx context.Context, ids []string) bool {
	body, err := json.Marshal(ids)
	if err != nil { // cannot happen: strings without bad UTF-8
		n.log.Error("demo: a notification could not be written", "err", err)
		return false
	}
	line := n.feed.line(Line{Kind: "notify", Text: "POST /roster_admin/refresh", Request: string(body), Pending: true})
	n.feed.put(line)
	start := time.Now()
	status, answer, err := n.post(ctx, body)
	line.Pending, line.Status, line.Answer, line.Millis = false, status, string(answer), millisSince(start)
	ok := false
	if err != nil {
		line.Note = "failed: " + err.Error()
	} else {
		line.Note, ok = readAnswer(status, answer)
	}
	line.Failed = !ok
	if !ok {
		n.log.Debug("demo: a notification failed", "status", status, "note", line.Note)
	}
	n.feed.put(line)
	return ok
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

// readAnswer puts rollcall's answer into words and says whether it is all one could wish for.
func readAnswer(status int, body []byte) (note string, ok bool) {
	var a struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Updated int    `json:"updated"`
		Errors  int    `json:"errors"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return "an answer that is not JSON", false
	}
	switch {
	case status != http.StatusOK:
		return cut(a.Message, maxText), false
	case a.Errors > 0:
		return cut(fmt.Sprintf("updated %d, %s: %s", a.Updated, count(a.Errors, "error"), a.Message), maxText), false
	default:
		return fmt.Sprintf("updated %d", a.Updated), true
	}
}
