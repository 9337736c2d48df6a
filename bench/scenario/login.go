package scenario

import (
	"context"
	"net/http"
	"slices"
	"time"

	"rollcall/bench/measure"
)

// signIn is the scenarios login and idle: everybody signs in, Parallel at a time, until each sees all contacts online.
func (r *run) signIn(ctx context.Context) error {
	n := len(r.crowd.members)
	if err := pause(ctx, r.Settle); err != nil {
		return err
	}
	rss, err := measure.RSS(r.server.PIDs...)
	if err != nil {
		return err
	}
	everyone := expect(r.Graph.Deliveries(), true)
	r.crowd.presences.Store(everyone)
	stop, err := r.stopwatch(ctx, "login")
	if err != nil {
		return err
	}
	took, err := r.crowd.login(ctx, r.crowd.members, r.Parallel)
	if err != nil {
		return err
	}
	if err := everyone.wait(ctx, "presences of contacts", r.Timeout); err != nil {
		return err
	}
	c, err := stop()
	if err != nil {
		return err
	}
	slices.Sort(took)
	r.addCost("login", "login", c, n)
	r.add("login", "p50", "ms", measure.Percentile(took, 50)/float64(time.Millisecond))
	r.add("login", "p99", "ms", measure.Percentile(took, 99)/float64(time.Millisecond))
	if err := pause(ctx, r.Settle); err != nil {
		return err
	}
	after, err := measure.RSS(r.server.PIDs...)
	if err != nil {
		return err
	}
	r.add("idle", "resident memory of a session", "KiB", float64(after-rss)/1024/float64(n))
	r.add("idle", "resident memory before login", "MiB", float64(rss)/(1<<20))
	if err := r.save(ctx, http.MethodGet, "heap", "idle.heap"); err != nil {
		return err
	}
	return r.crowd.trouble()
}
