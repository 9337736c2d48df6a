package rosterhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many at once, over real connections, some of whom give up: whoever gets an answer gets its own, from a request
// that reached the service after it was asked for, and never is a user twice or one too many in a request.
func TestBatchStress(t *testing.T) {
	const size, fetchers, each = 7, 50, 20
	var arrived atomic.Int64
	b := &bulk{answer: func(w http.ResponseWriter, _ *http.Request, asked []string, _ int) {
		n := arrived.Add(1)
		docs := map[string]json.RawMessage{}
		for _, user := range asked {
			docs[user] = json.RawMessage(fmt.Sprintf(`{"%s@contacts.example":{"name":"%d"}}`, user, n))
		}
		if len(asked) > size || len(docs) != len(asked) {
			t.Errorf("asked for %q", asked)
		}
		if err := json.NewEncoder(w).Encode(docs); err != nil {
			t.Log(err) // everybody gave up
		}
	}}
	s := batchService(t, b.ServeHTTP, func(c *Config) { c.BatchSize, c.Concurrency = size, 3 })
	var all sync.WaitGroup
	for f := range fetchers {
		all.Go(func() {
			for i := range each {
				user := fmt.Sprintf("user%d", (f*7+i*3)%30)
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 4 {
					time.AfterFunc(time.Duration(f)*100*time.Microsecond, cancel)
				}
				before := arrived.Load()
				res, err := s.Fetch(ctx, Request{User: user})
				cancel()
				var e *Error
				switch {
				case errors.As(err, &e) && e.Kind == Canceled && i%5 == 4:
				case err != nil || res.Roster.Len() != 1:
					t.Errorf("%s: %+v, %v", user, res, err)
				default:
					for item := range res.Roster.All() {
						n, _ := strconv.ParseInt(item.Name, 10, 64)
						if item.JID.Local() != user || n <= before {
							t.Errorf("%s got the roster of %s from request %s; %d had been made before", user, item.JID, item.Name, before)
						}
					}
				}
			}
		})
	}
	all.Wait()
	s.Close()
	if h := s.Health(); h.InFlight != 0 || h.Waiting != 0 || h.Failures != 0 || len(s.batches.underWay) != 0 || len(s.batches.queue) != 0 {
		t.Errorf("%+v, under way %d, in the queue %d", h, len(s.batches.underWay), len(s.batches.queue))
	}
}
