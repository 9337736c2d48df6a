package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/measure"
	"rollcall/bench/service"
)

// flapping is how long a service that flaps is well, and then is not.
const flapping = 2500 * time.Millisecond

// The windows of a round of outage. The second is as the first: how far those two are apart is what chance and the machine do, and another
// kind that is no further from the first shows nothing.
var kinds = []struct {
	name  string
	moods []service.Mood
}{
	{"service well", []service.Mood{service.Well}}, {"service well, again", []service.Mood{service.Well}},
	{"service silent", []service.Mood{service.Silent}}, {"service flapping", []service.Mood{service.Failing, service.Well}},
}

// outage has some users talk at an even pace while the application notifies of others all the time, in windows in which the roster
// service is well, does not answer, or is down every other 2.5 seconds, in an order by chance: what others have of it.
func (r *run) outage(ctx context.Context) error {
	if r.server.Change == nil {
		return errFixedRosters
	}
	all := make([][]measure.Times, len(kinds)) // a window for each round
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range r.Rounds {
		for _, k := range chance.Perm(len(kinds)) {
			if err := r.during(ctx, kinds[k].moods); err != nil {
				return fmt.Errorf("%s: %w", kinds[k].name, err)
			}
			some, err := r.collect(ctx)
			if err != nil {
				return err
			}
			all[k] = append(all[k], measure.NewTimes(some))
			if err := r.recovered(ctx); err != nil {
				return err
			}
		}
	}
	for k, kind := range kinds {
		for _, p := range []float64{50, 99} {
			r.add("outage", fmt.Sprintf("messages, %s, p%v", kind.name, p), "ms", measure.Pooled(all[k], p)/1000)
		}
	}
	for k, kind := range kinds[1:] {
		for _, p := range []float64{50, 99} {
			ratio, low, high := measure.Ratio(all[k+1], all[0], p)
			what := fmt.Sprintf("messages, %s, p%v as a multiple of service well", kind.name, p)
			r.add("outage", what, "", ratio)
			r.add("outage", what+", 95 % from", "", low)
			r.add("outage", what+", to", "", high)
		}
	}
	return nil
}

// during has the talkers talk for the duration, while the service changes its mood and the application notifies.
func (r *run) during(ctx context.Context, moods []service.Mood) error {
	window, end := context.WithTimeout(ctx, r.Duration)
	defer end()
	defer r.Rosters.SetMood(service.Well)
	var beside errgroup.Group
	beside.Go(func() error {
		for i := 0; window.Err() == nil; i++ {
			r.Rosters.SetMood(moods[i%len(moods)])
			_ = pause(window, flapping) // the window's end ends it
		}
		return nil
	})
	beside.Go(func() error { return r.notifyAll(window) })
	err := r.talk(window, min(r.Storm.Talkers, len(r.crowd.members)))
	end()
	if other := beside.Wait(); err == nil {
		err = other
	}
	return err
}

// notifyAll notifies of everybody in turn, in posts of Names names, ten a second while the server answers them, until ctx is done.
// Nothing has changed, and what the service's mood does to an answer is no matter here.
func (r *run) notifyAll(ctx context.Context) error {
	var posts errgroup.Group
	posts.SetLimit(r.Parallel)
	for i := 0; ctx.Err() == nil; i += r.Names {
		names := make([]int, r.Names)
		for k := range names {
			names[k] = (i + k) % r.Graph.Users
		}
		posts.TryGo(func() error {
			_ = r.server.Change(ctx, names, false)
			return nil
		})
		_ = pause(ctx, 100*time.Millisecond)
	}
	return posts.Wait()
}

// recovered waits until the server fetches everybody's roster again.
func (r *run) recovered(ctx context.Context) error {
	users := make([]int, r.Names)
	for i := range users {
		users[i] = i % r.Graph.Users
	}
	deadline := time.Now().Add(r.Timeout)
	for {
		err := r.server.Change(ctx, users, false)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("rosters are not fetched again: %w", err)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}
