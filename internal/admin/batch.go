package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// What notifications and writes have in common: whom they name, a share of the memory budget, an answer in time, a line
// in the log, and an event for the feed.

// prepare refuses what can be refused without the body.
func (a *API) prepare(c *call) (choice, error) {
	if !a.opts.Ready() || a.ctx.Err() != nil {
		return choice{}, a.stopping()
	}
	ch, err := a.chooseHost(c.r)
	if err == nil && ch.host != nil && !c.grant.allows(ch.host) && c.r.URL.Query().Has("host") {
		err = refuse(http.StatusForbidden, "the credential is not valid for host %q", ch.host.Name)
	}
	return ch, err
}

func (a *API) stopping() error {
	no := refuse(http.StatusServiceUnavailable, "the server is starting or stopping; try again")
	no.retryAfter = 5 * time.Second
	return no
}

func busy(message string) error {
	no := refuse(http.StatusServiceUnavailable, "%s", message)
	no.retryAfter = time.Second
	return no
}

// A slot is a request's share of the memory budget. It is given back when the answer is written and all Rosters have
// returned, whichever comes last.
type slot struct {
	holders atomic.Int32
	release func()
}

// enter takes a share for a request whose body has at most limit bytes; copies is how often it is held in memory.
func (a *API) enter(c *call, limit, copies int64) (*slot, error) {
	size := c.r.ContentLength // -1: not said
	if size < 0 || size > limit {
		size = limit
	}
	weight := min(baseWeight+copies*size, memoryBudget)
	if !a.room.TryAcquire(weight) {
		return nil, busy("too many notifications are waiting; try again")
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

// A target is a user as a request names it.
type target struct {
	user
	name string
}

// A job is what a request asks for, and then what came of it.
type job struct {
	what       string // for log and feed: "refresh", "put", "patch", "confirm"
	do         func(ctx context.Context, h *Host, users []target) []RosterResult
	each       func(name string, r RosterResult) // called with each result; may be nil
	targets    map[*Host][]target
	peer       string
	by         string
	credential string
	arrived    time.Time
	unknown    int // names of no host of ours
	forbidden  int // names of hosts that the credential is not for
	firstNames []string
	reason     string // why the first name failed
	tally
}

// A tally counts results.
type tally struct {
	names                   int // distinct
	errors                  int
	outcomes                map[Outcome]int
	added, removed, changed int
}

// namesInLog is how many names an event and a line of the log have.
const namesInLog = 10

func (j *job) fail(name string, err error) {
	j.errors++
	if j.reason == "" {
		j.reason = fmt.Sprintf("%.80q: %v", name, err)
	}
	if j.each != nil {
		j.each(name, RosterResult{Result: Failed, Err: err})
	}
}

func (a *API) newJob(c *call, what string) *job {
	return &job{what: what, peer: c.r.RemoteAddr, by: c.grant.by, credential: c.grant.name, arrived: c.arrived,
		targets: map[*Host][]target{}, tally: tally{outcomes: map[Outcome]int{}}}
}

// sort finds out whom the names mean, each counted once. Its error is a *refusal; then nothing is to be done.
func (a *API) sort(c *call, j *job, ch choice, names []string) error {
	seen := make(map[user]bool, len(names))
	for _, name := range names {
		u, err := a.resolve(c.grant, ch, name)
		if errors.Is(err, errNoChoice) {
			return refuse(http.StatusBadRequest, "%.80q %v, and there are several; add ?host=DOMAIN to the URL, or write bare JIDs as names", name, err)
		}
		key := u
		if err != nil {
			key = user{local: name}
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		j.names++
		if len(j.firstNames) < namesInLog {
			j.firstNames = append(j.firstNames, name)
		}
		switch {
		case err == nil:
			if len(j.targets) == 0 { // mostly all are of one host
				j.targets[u.host] = make([]target, 0, len(names)-j.names+1)
			}
			j.targets[u.host] = append(j.targets[u.host], target{u, name})
			continue
		case errors.Is(err, errUnknownHost):
			j.unknown++
		case errors.Is(err, errForbidden):
			j.forbidden++
		}
		j.fail(name, err)
	}
	if j.names == 0 || j.unknown+j.forbidden < j.names {
		return nil
	}
	no := refuse(http.StatusNotFound, "no name is of a host that is served here; %s", j.reason)
	if j.forbidden > 0 {
		no = refuse(http.StatusForbidden, "the credential is not valid for what was asked; %s", j.reason)
	}
	no.errors = j.errors
	return no
}

// finish does what the job asks for and answers with what came of it, or, where the sender prefers that (RFC 7240),
// answers first. users are filled by the job, and nil when nobody asked for them.
func (a *API) finish(c *call, j *job, s *slot, users map[string]userResult) *reply {
	if !respondAsync(c.r) || len(j.targets) == 0 {
		a.perform(a.ctx, j, s)
		c.undone = j.names > 0 && j.errors == j.names
		done := j.answer()
		done.Users = users
		return &reply{body: done}
	}
	now := j.answer()
	now.Status, now.Message = "ok", j.subject()+" update accepted"
	j.each = nil
	s.holders.Add(1)
	a.wg.Go(func() {
		defer s.leave()
		a.perform(a.late, j, s)
	})
	return &reply{status: http.StatusAccepted, body: now, header: http.Header{"Preference-Applied": {"respond-async"}}}
}

func respondAsync(r *http.Request) bool {
	for _, p := range strings.Split(strings.Join(r.Header.Values("Prefer"), ","), ",") {
		name, _, _ := strings.Cut(p, ";")
		if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
			return true
		}
	}
	return false
}

func (j *job) answer() answer {
	if j.names > 0 && j.errors == j.names {
		return answer{Status: "error", Message: j.reason, Errors: j.errors}
	}
	done := j.names - j.errors
	for _, targets := range j.targets { // not done yet
		done -= len(targets)
	}
	return answer{Status: "ok", Message: j.subject() + " update complete", Updated: done, Errors: j.errors}
}

// perform does what the job asks for and tells log and feed.
func (a *API) perform(ctx context.Context, j *job, s *slot) {
	a.run(ctx, j, s)
	took := time.Since(j.arrived)
	a.opts.Log.Info(j.title(), "peer", j.peer, "by", j.by, "credential", j.credential, "names", j.names,
		"users", abridged(j.firstNames, j.names),
		"changed", j.outcomes[Changed], "unchanged", j.outcomes[Unchanged], "offline", j.outcomes[Offline],
		"held", j.outcomes[Held], "errors", j.errors, "items_added", j.added, "items_removed", j.removed,
		"items_changed", j.changed, "reason", j.reason, "took", took.Round(time.Microsecond))
}

// subject is what is updated: "roster update complete" are the module's words.
func (j *job) subject() string {
	if j.what == whatProfile {
		return "profile"
	}
	return "roster"
}

func (j *job) title() string {
	switch j.what {
	case whatRefresh:
		return "notification"
	case whatProfile:
		return "profile notification"
	}
	return "roster " + j.what
}

// abridged joins the first of some names for the log, with how many more there are.
func abridged(first []string, all int) string {
	var b strings.Builder
	for i, name := range first {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name[:min(len(name), 80)])
	}
	if all > len(first) {
		fmt.Fprintf(&b, " and %d more", all-len(first))
	}
	return b.String()
}

// run lets the Rosters of all hosts work at a time and counts what they say. It returns in time even if they do not.
// The sender may hang up meanwhile: what it told is still true.
func (a *API) run(parent context.Context, j *job, s *slot) {
	type share struct {
		host    *Host
		results []RosterResult
	}
	if len(j.targets) == 0 {
		e := j.event(j.tally, j.reason)
		e.Users = j.firstNames
		a.feed.publish(e)
		return
	}
	ctx, cancel := context.WithDeadline(parent, j.arrived.Add(answerTime))
	defer cancel()
	done := make(chan share, len(j.targets))
	for h, targets := range j.targets {
		s.holders.Add(1)
		a.wg.Go(func() {
			defer s.leave()
			ctx, cancel := context.WithDeadline(parent, j.arrived.Add(refreshTime))
			defer cancel()
			done <- share{h, j.do(ctx, h, targets)}
		})
	}
	for len(j.targets) > 0 {
		select {
		case sh := <-done:
			a.count(j, sh.host, sh.results, errLate)
		case <-ctx.Done():
			late := errLate
			if parent.Err() != nil {
				late = errStopping
			}
			for h := range j.targets {
				a.count(j, h, nil, late)
			}
			return
		}
	}
}

var (
	errLate     = errors.New("it was not done in time; send it again to be sure")
	errStopping = errors.New("the server is stopping")
	errHeld     = errors.New("held: so many contacts would go that a later fetch must say the same, or an operator confirm it")
)

// count takes in one host's results; missing is what is wrong with names that have none.
func (a *API) count(j *job, h *Host, results []RosterResult, missing error) {
	targets := j.targets[h]
	delete(j.targets, h)
	here := tally{names: len(targets), outcomes: map[Outcome]int{}}
	reason := ""
	for i, t := range targets {
		res := RosterResult{Result: Failed, Err: missing}
		if i < len(results) {
			res = results[i]
		}
		if res.Result == Held {
			here.outcomes[Held]++
			res.Err = cmp.Or(res.Err, errHeld)
		}
		if res.Err != nil || res.Result == Failed { // "updated" are rosters that are as the service has them; "errors the rest"
			here.errors++
			if reason == "" {
				reason = fmt.Sprintf("%.80q: %v", t.name, res.Err)
			}
		} else {
			here.outcomes[res.Result]++
			here.added += res.Added
			here.removed += res.Removed
			here.changed += res.Changed
		}
		if j.each != nil {
			j.each(t.name, res)
		}
	}
	j.errors += here.errors
	j.reason = cmp.Or(j.reason, reason)
	j.added, j.removed, j.changed = j.added+here.added, j.removed+here.removed, j.changed+here.changed
	for o, n := range here.outcomes {
		j.outcomes[o] += n
	}
	e := j.event(here, reason)
	e.Host, e.host = h.Name, h
	for _, t := range targets[:min(len(targets), namesInLog)] {
		e.Users = append(e.Users, t.local)
	}
	a.feed.publish(e)
}

// details collects results by name, where ?detail=1 asks for them.
func details(c *call, j *job, write bool) (users map[string]userResult) {
	if !slices.Contains([]string{"1", "true"}, c.r.URL.Query().Get("detail")) {
		return nil
	}
	users = map[string]userResult{}
	j.each = func(name string, r RosterResult) {
		u := userResult{Result: r.Result, Added: r.Added, Removed: r.Removed, Changed: r.Changed}
		if r.Err != nil {
			u.Error = r.Err.Error()
		}
		if write {
			u.Version, u.Dropped = r.Version, r.Dropped
		}
		users[name] = u
	}
	return users
}
