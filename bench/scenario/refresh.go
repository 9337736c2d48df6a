package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/measure"
)

var errFixedRosters = errors.New("this server's rosters cannot be changed from here (-notify is not given)")

// refresh has the service add one contact to, or remove it from, every user's roster, in posts of Names names, Parallel posts at a
// time; a round ends when every client has its push. Users who are not online are named too, and are not counted.
func (r *run) refresh(ctx context.Context) error {
	if r.server.Change == nil {
		return errFixedRosters
	}
	users := make([]int, r.Graph.Users)
	for i := range users {
		users[i] = i
	}
	before, _ := r.Rosters.Requests()
	stop, err := r.stopwatch(ctx, "refresh")
	if err != nil {
		return err
	}
	for round := range r.Rounds {
		if err := r.refreshRound(ctx, users, round%2 == 0); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	c, err := stop()
	if err != nil {
		return err
	}
	after, _ := r.Rosters.Requests()
	n := len(r.crowd.members)
	r.addCost("refresh", "refresh", c, n*r.Rounds)
	r.add("refresh", "time of a round", "ms", float64(c.took.Milliseconds())/float64(r.Rounds))
	r.add("refresh", "roster fetches for each refresh", "", float64(after-before)/float64(n*r.Rounds))
	if r.Rounds%2 == 0 {
		return nil
	}
	return r.refreshRound(ctx, users, false) // leave the rosters as they were
}

func (r *run) refreshRound(ctx context.Context, users []int, add bool) error {
	pushes := expect(len(r.crowd.members), add)
	r.crowd.pushes.Store(pushes)
	posts, postCtx := errgroup.WithContext(ctx)
	posts.SetLimit(r.Parallel)
	for names := range slices.Chunk(users, r.Names) {
		if postCtx.Err() != nil {
			break
		}
		posts.Go(func() error { return r.server.Change(postCtx, names, add) })
	}
	if err := posts.Wait(); err != nil {
		return err
	}
	return pushes.wait(ctx, "pushes", r.Timeout)
}

// latency changes one user's roster at a time and takes the time from the notification to the push.
func (r *run) latency(ctx context.Context) error {
	if r.server.Change == nil {
		return errFixedRosters
	}
	stop, err := r.stopwatch(ctx, "latency")
	if err != nil {
		return err
	}
	n := len(r.crowd.members)
	samples := make([]time.Duration, r.Samples)
	for i := range samples {
		// Everybody in turn is given the friend; the next time round it is taken again.
		pushes := expect(1, i/n%2 == 0)
		r.crowd.pushes.Store(pushes)
		start := time.Since(r.crowd.base)
		if err := r.server.Change(ctx, []int{i % n}, pushes.added); err != nil {
			return err
		}
		if err := pushes.wait(ctx, "pushes", r.Timeout); err != nil {
			return err
		}
		samples[i] = time.Duration(pushes.last.Load()) - start
	}
	c, err := stop()
	if err != nil {
		return err
	}
	slices.Sort(samples)
	r.add("latency", "notification to push, p50", "ms", measure.Percentile(samples, 50)/float64(time.Millisecond))
	r.add("latency", "notification to push, p99", "ms", measure.Percentile(samples, 99)/float64(time.Millisecond))
	r.add("latency", "server CPU for each refresh alone", "µs", micros(c.server)/float64(len(samples)))
	return nil
}
