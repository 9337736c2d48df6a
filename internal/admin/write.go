package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Section 3: rosters that are told rather than asked for.

const (
	whatPut     = "put"
	whatPatch   = "patch"
	whatConfirm = "confirm"

	// writers is how many users' patches of one request are applied at a time, at most; there is one for each few users,
	// because most writes take no longer than it takes to begin a goroutine.
	writers        = 32
	usersPerWriter = 8
)

// rosters gives the part of a host that section 3 is about.
func (h *Host) rosters() (Rosters, error) {
	if r, ok := h.Rosters.(Rosters); ok {
		return r, nil
	}
	return nil, refuse(http.StatusNotFound, "the rosters of host %q are fetched, and neither taken nor shown here", h.Name)
}

// one finds the roster that a path names.
func (a *API) one(c *call) (target, Rosters, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return target{}, nil, err
	}
	u, err := a.resolve(c.grant, ch, c.param)
	if err != nil {
		status := http.StatusBadRequest
		switch {
		case errors.Is(err, errUnknownHost):
			status = http.StatusNotFound
		case errors.Is(err, errForbidden):
			status = http.StatusForbidden
		case errors.Is(err, errNoChoice):
			err = fmt.Errorf("%w, and there are several; add ?host=DOMAIN to the URL, or write user@DOMAIN", err)
		}
		no := refuse(status, "%.80q %v", c.param, err)
		no.errors = 1
		return target{}, nil, no
	}
	r, err := u.host.rosters()
	return target{u, c.param}, r, err
}

// putRoster is PUT /roster_admin/rosters/{user}.
func (a *API) putRoster(c *call) (*reply, error) {
	t, rosters, err := a.one(c)
	if err != nil {
		return nil, err
	}
	if err := wantDocument(c.r); err != nil {
		return nil, err
	}
	return a.writeOne(c, t, whatPut, `the whole roster, such as {"marie@example.com": {"name": "Marie"}}`, rosters.Put)
}

// patchRoster is PATCH /roster_admin/rosters/{user}.
func (a *API) patchRoster(c *call) (*reply, error) {
	t, rosters, err := a.one(c)
	if err != nil {
		return nil, err
	}
	if err := wantPatch(c.r); err != nil {
		return nil, err
	}
	return a.writeOne(c, t, whatPatch, `what changes, such as {"marie@example.com": {"name": "Marie"}, "michael@example.com": null}`, rosters.Patch)
}

// writeOne reads a document and lets op have it.
func (a *API) writeOne(c *call, t target, what, example string,
	op func(ctx context.Context, user string, doc []byte, ifMatch string) RosterResult) (*reply, error) {
	match, err := ifMatch(c.r)
	if err != nil {
		return nil, err
	}
	s, err := a.enter(c, t.host.MaxBytes, 2) // as bytes, and as what they mean
	if err != nil {
		return nil, err
	}
	defer s.leave()
	doc, err := readDocument(c, t.host.MaxBytes, example)
	if err != nil {
		return nil, err
	}
	return a.single(c, t, what, s, func(ctx context.Context) RosterResult { return op(ctx, t.local, doc, match) })
}

// confirmRoster is POST /roster_admin/rosters/{user}/confirm.
func (a *API) confirmRoster(c *call) (*reply, error) {
	t, rosters, err := a.one(c)
	if err != nil {
		return nil, err
	}
	s, err := a.enter(c, 0, 1)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	return a.single(c, t, whatConfirm, s, func(ctx context.Context) RosterResult { return rosters.Confirm(ctx, t.local) })
}

// single does one write for one user and answers with a status of its own for each thing that can be wrong.
func (a *API) single(c *call, t target, what string, s *slot, op func(ctx context.Context) RosterResult) (*reply, error) {
	j := a.newJob(c, what)
	var res RosterResult
	users := details(c, j, true)
	detail := j.each
	j.each = func(name string, r RosterResult) {
		res = r
		if detail != nil {
			detail(name, r)
		}
	}
	j.names, j.firstNames = 1, []string{t.name}
	j.targets[t.host] = []target{t}
	j.do = a.inOrder(j, func(ctx context.Context, _ target) RosterResult { return op(ctx) })
	rep := a.finish(c, j, s, users)
	if rep.status == http.StatusAccepted {
		return rep, nil
	}
	if res.Result == Failed {
		return nil, failure(what, j.reason, res)
	}
	if res.Version != "" {
		rep.header = http.Header{"Etag": {`"` + res.Version + `"`}}
	}
	n := 0
	for _, d := range res.Dropped {
		if !d.Warning {
			n++
		}
	}
	if all, ok := rep.body.(answer); ok && n > 0 && users == nil {
		all.Message += fmt.Sprintf("; left out: %d (add ?detail=1 to see which and why)", n)
		rep.body = all
	}
	return rep, nil
}

// failure is the answer to a write that was not done.
func failure(what, reason string, res RosterResult) *refusal {
	no := refuse(http.StatusServiceUnavailable, "%s", reason)
	no.errors = 1
	switch {
	case errors.Is(res.Err, ErrPrecondition):
		no.status = http.StatusPreconditionFailed
	case errors.Is(res.Err, ErrDocument):
		no.status = http.StatusBadRequest
	case errors.Is(res.Err, ErrNoRoster) && what == whatConfirm:
		no.status = http.StatusNotFound
	case errors.Is(res.Err, ErrNoRoster), errors.Is(res.Err, ErrNoService):
		no.status = http.StatusConflict
	case errors.Is(res.Err, ErrBusy):
		no.retryAfter = time.Second
	default:
		no.retryAfter = 5 * time.Second
	}
	return no
}

// patchMany is PATCH /roster_admin/rosters.
func (a *API) patchMany(c *call) (*reply, error) {
	ch, err := a.prepare(c)
	if err != nil {
		return nil, err
	}
	if err := wantPatch(c.r); err != nil {
		return nil, err
	}
	if c.r.Header.Get("If-Match") != "" {
		return nil, refuse(http.StatusBadRequest, "If-Match has the version of one user's roster; use PATCH %s/USER", rostersPath)
	}
	s, err := a.enter(c, maxPatches, 2)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	body, err := readBody(c, maxPatches)
	if err != nil {
		return nil, err
	}
	patches, err := decodePatches(body)
	if err != nil {
		return nil, err
	}
	j := a.newJob(c, whatPatch)
	users := details(c, j, true)
	names := make([]string, len(patches))
	byName := make(map[string]patch, len(patches))
	for i, p := range patches {
		names[i], byName[p.name] = p.name, p
	}
	if err := a.sort(c, j, ch, names); err != nil {
		return nil, err
	}
	if j.names < len(patches) {
		return nil, refuse(http.StatusBadRequest, "two members of the object name the same user; put what is to change into one")
	}
	j.do = a.inOrder(j, func(ctx context.Context, t target) RosterResult {
		p := byName[t.name]
		rosters, err := t.host.rosters()
		if err == nil {
			err = p.err
		}
		if n := t.host.MaxBytes; err == nil && int64(len(p.doc)) > n {
			err = fmt.Errorf("%w: it is larger than %d bytes", ErrDocument, n)
		}
		if err != nil {
			return RosterResult{Result: Failed, Err: err}
		}
		return rosters.Patch(ctx, t.local, p.doc, "")
	})
	return a.finish(c, j, s, users), nil
}

// inOrder makes a job's work of what is to be done for each user: some at a time, but for each of them after the writes
// that arrived before ("Writes for one user apply in the order of arrival"). It is called when the request has arrived,
// and what it returns must be called once for each host.
func (a *API) inOrder(j *job, do func(ctx context.Context, t target) RosterResult) func(context.Context, *Host, []target) []RosterResult {
	turns := a.lanes.enter(j.targets)
	arrived := time.Now()
	return func(ctx context.Context, _ *Host, targets []target) []RosterResult {
		ctx = context.WithValue(ctx, arrival{}, arrived)
		results := make([]RosterResult, len(targets))
		var next atomic.Int64
		work := func() {
			for i := next.Add(1) - 1; i < int64(len(targets)); i = next.Add(1) - 1 {
				t := targets[i]
				results[i] = a.take(ctx, t.user, turns[t.user], func() RosterResult { return do(ctx, t) })
			}
		}
		var others sync.WaitGroup
		for range min(writers, len(targets)/usersPerWriter) {
			others.Go(work)
		}
		work()
		others.Wait()
		return results
	}
}

type arrival struct{}

// Arrival tells when the write arrived whose context it is: it may have waited for others since, while what the service
// says was fetched anew.
func Arrival(ctx context.Context) time.Time {
	t, _ := ctx.Value(arrival{}).(time.Time)
	return t
}

// lanes keep the order of writes for each user.
type lanes struct {
	mu   sync.Mutex
	last map[user]chan struct{} // closed when the last write that arrived is done
}

// A turn is a write's place in a lane: it waits for before, which is nil when there is nothing, and closes done.
type turn struct{ before, done chan struct{} }

// enter gives the writes of one request their places, all at once: so no two requests wait for each other.
func (l *lanes) enter(all map[*Host][]target) map[user]turn {
	turns := map[user]turn{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[user]chan struct{}{}
	}
	for _, targets := range all {
		for _, t := range targets {
			done := make(chan struct{})
			turns[t.user] = turn{l.last[t.user], done}
			l.last[t.user] = done
		}
	}
	return turns
}

func (l *lanes) leave(u user, t turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(t.done)
	if l.last[u] == t.done {
		delete(l.last, u)
	}
}

// take waits for a write's turn and does it. One whose time is over is not done, and lets nobody pass those before it.
func (a *API) take(ctx context.Context, u user, t turn, do func() RosterResult) RosterResult {
	if t.before != nil {
		select {
		case <-t.before:
		case <-ctx.Done():
			a.wg.Go(func() {
				<-t.before
				a.lanes.leave(u, t)
			})
			return RosterResult{Result: Failed, Err: errLate}
		}
	}
	defer a.lanes.leave(u, t)
	return do()
}
