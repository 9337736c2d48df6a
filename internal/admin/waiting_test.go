package admin

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A stuck Refresher, or one that only looks at its context, does not keep the answer past 30 s, and the memory budget is
// not given back while it is at work.
func TestAnswersInTime(t *testing.T) {
	for name, stuck := range map[string]bool{"heeds its context": false, "stuck": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, setup{oneHost: true})
				free := make(chan struct{})
				f.hosts["a.example"].Rosters = refresher(func(ctx context.Context, users []string) []RosterResult {
					if stuck {
						<-free
						return nil
					}
					<-ctx.Done()
					return []RosterResult{{Result: Changed}, {Result: Failed, Err: ctx.Err()}}
				})
				began := time.Now()
				w := f.do(post, refreshPath, `["john","aaron"]`)
				if took := time.Since(began); took < 20*time.Second || took >= 30*time.Second {
					t.Errorf("answered after %v", took)
				}
				want := `"updated":1,"errors":1`
				if stuck {
					want = `"status":"error","message":"\"john\": it was not done in time`
				}
				if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				if all := f.room.TryAcquire(memoryBudget); all == stuck {
					t.Errorf("memory given back: %v", all)
				}
				close(free)
				synctest.Wait()
				if stuck && !f.room.TryAcquire(memoryBudget) {
					t.Error("memory is not given back")
				}
			})
		})
	}
}

type refresher func(context.Context, []string) []RosterResult

func (fn refresher) Refresh(ctx context.Context, users []string) []RosterResult {
	return fn(ctx, users)
}

func TestStoppingEndsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		f.hosts["a.example"].Rosters = refresher(func(ctx context.Context, users []string) []RosterResult {
			<-ctx.Done()
			return []RosterResult{{Result: Failed, Err: ctx.Err()}}
		})
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- f.do(post, refreshPath, `["john"]`) }()
		synctest.Wait()
		f.Close()
		if w := <-answered; !strings.Contains(w.Body.String(), `"status":"error"`) {
			t.Errorf("%s", w.Body)
		}
		if w := f.do(post, refreshPath, `["john"]`); w.Code != 503 {
			t.Errorf("after the end: %d", w.Code)
		}
	})
}

// A sender that hangs up has told the truth all the same.
func TestSenderHangsUp(t *testing.T) {
	f := start(t, setup{oneHost: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, post, refreshPath, strings.NewReader(`["john"]`))
	r.RemoteAddr = "127.0.0.1:1"
	f.ServeHTTP(httptest.NewRecorder(), r)
	if got := f.a.names(); !slices.Equal(got, []string{"john"}) {
		t.Errorf("asked for %q", got)
	}
}

func TestTooManyWaiting(t *testing.T) {
	f := start(t, setup{oneHost: true})
	var blocked sync.WaitGroup
	free := make(chan struct{})
	f.hosts["a.example"].Rosters = refresher(func(context.Context, []string) []RosterResult {
		blocked.Done()
		<-free
		return []RosterResult{{Result: Offline}}
	})
	n := memoryBudget / (baseWeight + maxBody) // each of unknown length
	var requests sync.WaitGroup
	for range n {
		blocked.Add(1)
		requests.Go(func() { f.notify(`["x"]`, true) })
	}
	blocked.Wait()
	w := f.notify(`["x"]`, true)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("number %d: %d %s", n+1, w.Code, w.Body)
	}
	close(free)
	requests.Wait()
	blocked.Add(1)
	if w := f.notify(`["x"]`, true); w.Code != 200 {
		t.Errorf("later: %d %s", w.Code, w.Body)
	}
}
