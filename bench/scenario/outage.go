package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/measure"
	"rollcall/bench/service"
)

// flapping is how long a service that flaps is well, and then is not.
const flapping = 2500 * time.Millisecond

// outage has some users talk at an even pace while the application notifies of others all the time, in windows in which the roster
// service is well, alternating with windows in which it does not answer, or is down every other 2.5 seconds: what others have of it.
func (r *run) outage(ctx context.Context) error {
	if r.server.Change == nil {
		return errFixedRosters
	}
	all := map[string][]uint32{}
	for range r.Rounds {
		for _, window := range []struct {
			name  string
			moods []service.Mood
		}{
			{"service well", []service.Mood{service.Well}}, {"service silent", []service.Mood{service.Silent}},
			{"service well", []service.Mood{service.Well}}, {"service flapping", []service.Mood{service.Failing, service.Well}},
		} {
			if err := r.during(ctx, window.moods); err != nil {
				return fmt.Errorf("%s: %w", window.name, err)
			}
			some, err := r.collect(ctx)
			if err != nil {
				return err
			}
			all[window.name] = append(all[window.name], some...)
			if err := r.recovered(ctx); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"service well", "service silent", "service flapping"} {
		slices.Sort(all[name])
		for _, p := range []float64{50, 99} {
			r.add("outage", fmt.Sprintf("messages, %s, p%v", name, p), "ms", measure.Percentile(all[name], p)/1000)
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
