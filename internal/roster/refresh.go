package roster

import (
	"context"
	"errors"
	"time"

	"rollcall/internal/metrics"
	"rollcall/internal/rosterdoc"
)

// Result says what a notification came to for one user.
type Result struct {
	Kind                    ResultKind
	Added, Removed, Changed int                 // contacts; with OnHold what would be
	Version                 string              // of the roster as it is known now, "" when it is not
	Dropped                 []rosterdoc.Dropped // of a document that was written
	Err                     error               // with Failed and OnHold
}

// ResultKind is the outcome in a word.
type ResultKind uint8

// The outcomes.
const (
	Changed   ResultKind = iota // the new roster is applied and its pushes are queued
	Unchanged                   // the service was asked and the roster is what it was
	Offline                     // nobody is there; the copy, if any, will not be used before the service was asked
	Failed                      // the service could not be asked, or its answer was no good
	OnHold                      // the guard holds what the service has answered
)

// String gives the word that the contract's section 2 has for the outcome.
func (k ResultKind) String() string {
	return [...]string{"changed", "unchanged", "offline", "error", "held"}[k]
}

const (
	refreshTries = 3
	refreshWait  = 25 * time.Second // the contract promises an answer within 30 s
)

// Refresh acts on a notification that the rosters of these users have changed: names are canonical localparts. It
// returns one result for each, in order, when all are applied. Every fetch it counts began after the call.
func (e *Engine) Refresh(ctx context.Context, names []string) []Result {
	results := make([]Result, len(names))
	defer func() { e.countResults(results) }()
	if e.opts.Source == nil {
		for i := range results {
			results[i] = Result{Kind: Failed, Err: ErrNoService}
		}
		return results
	}
	began := time.Now()
	// All copies are marked before the first is fetched: what comes later in the list is out of date from now on,
	// not from when its turn comes.
	jobs := make([]refreshing, 0, len(names))
	for i, name := range names {
		u := e.lookup(name)
		if u == nil {
			results[i].Kind = Offline
			continue
		}
		ticket := u.want(notified)
		if !e.pinOnline(u) { // looked at after the mark: who comes between is served nothing older
			results[i].Kind = Offline
			continue
		}
		jobs = append(jobs, refreshing{index: i, user: u, ticket: ticket})
	}
	e.await(ctx, jobs, func(index int, res Result) {
		results[index] = res
		if res.Kind == Changed {
			e.opts.Metrics.PushLag(time.Since(began))
		}
	})
	return results
}

// refreshing is a user whose roster is refreshed.
type refreshing struct {
	index  int // in the names of the notification
	user   *User
	ticket uint64 // the first fetch that will do
	over   bool
}

// await lets the users of a notification wait for their fetches, opts.Waiting at a time, calls done with each result,
// and unpins them.
func (e *Engine) await(ctx context.Context, jobs []refreshing, done func(index int, res Result)) {
	finish := func(j *refreshing, res Result) {
		j.over = true
		done(j.index, res)
		e.unpin(j.user)
	}
	type answer struct {
		job *refreshing
		Outcome
	}
	answers := make(chan answer, len(jobs)) // some may come when nobody waits any more
	begun, left := 0, len(jobs)
	for err := ctx.Err(); left > 0; {
		for err == nil && begun < len(jobs) && begun-(len(jobs)-left) < e.opts.Waiting {
			j := &jobs[begun]
			begun++
			j.user.refresh(j.ticket, func(o Outcome) { answers <- answer{j, o} })
		}
		if err != nil {
			for i := range jobs {
				if j := &jobs[i]; !j.over {
					j.user.fly() // nobody waits any more, but what was told stays true
					finish(j, Result{Kind: Failed, Err: err})
				}
			}
			return
		}
		select {
		case a := <-answers:
			left--
			finish(a.job, a.result(nil))
		case <-ctx.Done():
			err = ctx.Err()
		case <-e.ctx.Done():
			err = e.ctx.Err()
		}
	}
}

// countResults counts what became of notifications.
func (e *Engine) countResults(results []Result) {
	var n [OnHold + 1]int
	for i := range results {
		n[results[i].Kind]++
	}
	for kind, label := range map[ResultKind]metrics.Notification{Changed: metrics.Changed, Unchanged: metrics.Unchanged,
		Offline: metrics.Offline, Failed: metrics.Failed, OnHold: metrics.Held} {
		e.opts.Metrics.Notified(label, n[kind])
	}
}

// ErrNoService: a host without a roster.url is told rosters, it does not ask for them.
var ErrNoService = errors.New("this host has no roster.url to ask: send the roster with PUT or PATCH /roster_admin/rosters/USER")

// refresh calls done, once, when a fetch of at least that number is applied, or when it takes too long.
func (u *User) refresh(ticket uint64, done func(Outcome)) {
	u.Post(func() {
		u.whenLoaded(func(error) {
			if u.appliedSince(ticket) { // by a fetch that somebody else wished for
				done(Outcome{Known: u.Current()})
				return
			}
			u.wait(ticket, refreshTries, refreshWait, done)
		})
	})
}

func (u *User) appliedSince(ticket uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fetch.applied >= ticket
}

func (o Outcome) result(dropped []rosterdoc.Dropped) Result {
	r := Result{Kind: Unchanged, Dropped: dropped, Err: o.Err}
	if o.Known != nil {
		r.Version = o.Known.Ver()
	}
	switch {
	case o.Held != nil:
		r.Kind, r.Added, r.Removed, r.Changed = OnHold, o.Held.Added, o.Held.Removed, o.Held.Changed
	case o.Err != nil:
		r.Kind = Failed
	case o.First:
		r.Kind, r.Added = Changed, o.Known.Roster.Len()
	case len(o.Changes) > 0:
		r.Kind = Changed
		r.Added, r.Removed, r.Changed = count(o.Changes)
	}
	return r
}
