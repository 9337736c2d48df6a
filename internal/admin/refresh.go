package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// refreshMany is POST /roster_admin/refresh.
func (a *API) refreshMany(w http.ResponseWriter, r *http.Request, g grant) (any, error) {
	arrived := time.Now()
	c, err := a.prepare(r, g)
	if err != nil {
		return nil, err
	}
	size := r.ContentLength // -1: not said
	if size < 0 || size > maxBody {
		size = maxBody
	}
	slot, err := a.enter(baseWeight + size)
	if err != nil {
		return nil, err
	}
	defer slot.leave()
	names, err := readNames(w, r, arrived)
	if err != nil {
		return nil, err
	}
	t, err := a.refresh(r, g, c, names, slot, arrived)
	if err != nil {
		return nil, err
	}
	if t.names > 0 && t.errors == t.names {
		return answer{Status: "error", Message: t.reason, Errors: t.errors}, nil
	}
	return answer{Status: "ok", Message: complete, Updated: t.names - t.errors, Errors: t.errors}, nil
}

// refreshOne is GET /roster_admin/refresh/{user}.
func (a *API) refreshOne(r *http.Request, g grant, name string) (any, error) {
	c, err := a.prepare(r, g)
	if err != nil {
		return nil, err
	}
	slot, err := a.enter(baseWeight)
	if err != nil {
		return nil, err
	}
	defer slot.leave()
	t, err := a.refresh(r, g, c, []string{name}, slot, time.Now())
	if err != nil {
		return nil, err
	}
	if t.errors > 0 {
		return short{Status: "error", Message: t.reason}, nil
	}
	return short{Status: "ok", Message: complete}, nil
}

// prepare refuses what can be refused without the body.
func (a *API) prepare(r *http.Request, g grant) (choice, error) {
	if !a.opts.Ready() || a.ctx.Err() != nil {
		no := refuse(http.StatusServiceUnavailable, "the server is starting or stopping; try again")
		no.retryAfter = 5 * time.Second
		return choice{}, no
	}
	c, err := a.chooseHost(r)
	if err == nil && c.host != nil && !g.allows(c.host) && r.URL.Query().Has("host") {
		err = refuse(http.StatusForbidden, "the token is not valid for host %q", c.host.Name)
	}
	return c, err
}

// A slot is a notification's share of the memory budget. It is given back when the answer is written and all
// Refreshers have returned, whichever comes last.
type slot struct {
	holders atomic.Int32
	release func()
}

func (a *API) enter(weight int64) (*slot, error) {
	if !a.room.TryAcquire(weight) {
		no := refuse(http.StatusServiceUnavailable, "too many notifications are waiting; try again")
		no.retryAfter = time.Second
		return nil, no
	}
	s := &slot{release: func() { a.room.Release(weight) }}
	s.holders.Store(1)
	return s, nil
}

func (s *slot) leave() {
	if s.holders.Add(-1) == 0 {
		s.release()
	}
}

// A tally is what a notification came to.
type tally struct {
	names              int // distinct
	errors             int
	unknown, forbidden int // of the errors
	outcomes           map[Outcome]int
	reason             string // why the first name failed
}

func (t *tally) fail(name string, err error) {
	t.errors++
	if t.reason == "" {
		t.reason = fmt.Sprintf("%.80q: %v", name, err)
	}
}

// refresh does what a notification asks for and writes the log's line about it. Its error is a *refusal; then nothing
// was done.
func (a *API) refresh(r *http.Request, g grant, c choice, names []string, s *slot, arrived time.Time) (tally, error) {
	users, t, err := a.sort(g, c, names)
	if err != nil {
		return t, err
	}
	a.run(users, &t, s, arrived)
	a.opts.Log.Info("notification", "peer", r.RemoteAddr, "by", g.by, "names", t.names,
		"changed", t.outcomes[Changed], "unchanged", t.outcomes[Unchanged], "offline", t.outcomes[Offline],
		"errors", t.errors, "reason", t.reason, "took", time.Since(arrived).Round(time.Microsecond))
	return t, nil
}

// sort finds out whom the names mean, each counted once.
func (a *API) sort(g grant, c choice, names []string) (map[*Host][]string, tally, error) {
	t := tally{outcomes: map[Outcome]int{}}
	users := map[*Host][]string{}
	seen := make(map[user]bool, len(names))
	for _, name := range names {
		u, err := a.resolve(g, c, name)
		if errors.Is(err, errNoChoice) {
			return nil, t, refuse(http.StatusBadRequest, "%.80q %v, and there are several; write %s?host=DOMAIN, or bare JIDs as names", name, err, refreshPath)
		}
		key := u
		if err != nil {
			key = user{local: name}
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		t.names++
		switch {
		case err == nil:
			users[u.host] = append(users[u.host], u.local)
			continue
		case errors.Is(err, errUnknownHost):
			t.unknown++
		case errors.Is(err, errForbidden):
			t.forbidden++
		}
		t.fail(name, err)
	}
	if t.names == 0 || t.unknown+t.forbidden < t.names {
		return users, t, nil
	}
	no := refuse(http.StatusNotFound, "no name is of a host that is served here; %s", t.reason)
	if t.forbidden > 0 {
		no = refuse(http.StatusForbidden, "the token is not valid for what was asked; %s", t.reason)
	}
	no.errors = t.errors
	return nil, t, no
}

// run lets the Refreshers of all hosts work at a time and counts what they say. It returns in time even if they do not.
// The sender may hang up meanwhile: what it told is still true.
func (a *API) run(users map[*Host][]string, t *tally, s *slot, arrived time.Time) {
	type share struct {
		host    *Host
		results []RefreshResult
	}
	if len(users) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(a.ctx, arrived.Add(answerTime))
	defer cancel()
	done := make(chan share, len(users))
	for h, names := range users {
		s.holders.Add(1)
		a.wg.Go(func() {
			defer s.leave()
			ctx, cancel := context.WithDeadline(a.ctx, arrived.Add(refreshTime))
			defer cancel()
			done <- share{h, h.Rosters.Refresh(ctx, names)}
		})
	}
	for len(users) > 0 {
		select {
		case sh := <-done:
			t.add(users[sh.host], sh.results, errLate)
			delete(users, sh.host)
		case <-ctx.Done():
			late := errLate
			if a.ctx.Err() != nil {
				late = errStopping
			}
			for _, names := range users {
				t.add(names, nil, late)
			}
			return
		}
	}
}

var (
	errLate     = errors.New("the refresh was not done in time; send the name again to be sure")
	errStopping = errors.New("the server is stopping")
)

// add counts one host's results; missing is what is wrong with names that have none.
func (t *tally) add(names []string, results []RefreshResult, missing error) {
	for i, name := range names {
		res := RefreshResult{Result: Failed, Err: missing}
		if i < len(results) {
			res = results[i]
		}
		if res.Result == Failed {
			t.fail(name, res.Err)
		} else {
			t.outcomes[res.Result]++
		}
	}
}
