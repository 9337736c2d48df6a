package scenario

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/measure"
)

// Storm is the size of the scenario of that name.
type Storm struct {
	Signal   syscall.Signal // what ends the server: SIGKILL or SIGTERM
	Parallel int            // how many come back at a time
	Talkers  int            // users who are back first, and talk meanwhile; an even number
	Pause    time.Duration  // between two messages of a talker
}

// storm restarts the server under everybody. A few users come back first and talk at an even pace; then all others
// come back at once. It fails when the service was asked for anybody's roster twice.
func (r *run) storm(ctx context.Context) error {
	if r.server.Restart == nil {
		return fmt.Errorf("this server was not started here, so it cannot be started again")
	}
	n := len(r.crowd.members)
	talkers := min(r.Storm.Talkers, n)
	if err := r.talkFor(ctx, talkers, r.Duration); err != nil {
		return err
	}
	if err := r.addLatencies(ctx, "storm", "messages before it, "); err != nil {
		return err
	}
	if err := r.restart(ctx); err != nil {
		return err
	}
	everyone := expect(r.Graph.Deliveries(), true)
	r.crowd.presences.Store(everyone)
	if _, err := r.crowd.login(ctx, r.crowd.members[:talkers], r.Parallel); err != nil {
		return err
	}
	if err := r.comeBack(ctx, talkers, everyone); err != nil {
		return err
	}
	if err := r.addLatencies(ctx, "storm", "messages of the first meanwhile, "); err != nil {
		return err
	}
	r.add("storm", "messages of before, delivered again", "", float64(r.crowd.total((*member).repeatedMessages)))
	return r.addRequests()
}

// restart ends the server, starts it again, and replaces the crowd by one of the same users who are not signed in.
func (r *run) restart(ctx context.Context) error {
	for _, m := range r.crowd.members {
		m.Lose()
	}
	down, err := r.server.Restart(ctx, r.Storm.Signal)
	if err != nil {
		return err
	}
	if err := r.crowd.close(); err != nil {
		return err
	}
	r.add("storm", "from the signal until it listens again", "ms", float64(down.Milliseconds()))
	r.Rosters.Forget()
	r.crowd = newCrowd(r.Graph, &r.Client)
	r.crowd.patient = true
	return nil
}

// comeBack has all but the talkers sign in, while those talk, until everybody sees all contacts online.
func (r *run) comeBack(ctx context.Context, talkers int, everyone *expectation) error {
	stop, err := r.stopwatch(ctx, "storm")
	if err != nil {
		return err
	}
	talk, hush := context.WithCancel(ctx)
	defer hush()
	group, _ := errgroup.WithContext(ctx)
	group.Go(func() error { return r.talk(talk, talkers) })
	others := r.crowd.members[talkers:]
	start := time.Now()
	took, err := r.crowd.login(ctx, others, r.Storm.Parallel)
	in := time.Since(start)
	if err == nil {
		err = everyone.wait(ctx, "presences of contacts", r.Timeout)
	}
	if err != nil {
		return err
	}
	c, err := stop()
	hush()
	if talkErr := group.Wait(); err == nil {
		err = talkErr
	}
	if err != nil {
		return err
	}
	slices.Sort(took)
	repeats, tries := 0, 0
	for _, m := range r.crowd.members {
		repeats += m.Repeats()
		tries += m.tries
	}
	r.add("storm", "until all have their roster", "s", in.Seconds())
	r.add("storm", "until all see all contacts online", "s", c.took.Seconds())
	r.add("storm", "sign-in with the roster, p50", "ms", measure.Percentile(took, 50)/float64(time.Millisecond))
	r.add("storm", "sign-in with the roster, p99", "ms", measure.Percentile(took, 99)/float64(time.Millisecond))
	r.add("storm", "turned away before sign-in, came again", "times", float64(tries))
	r.add("storm", "told to wait for the roster, asked again", "times", float64(repeats))
	r.add("storm", "server CPU for each user", "µs", micros(c.server)/float64(len(others)))
	r.add("storm", "generator CPU for each user", "µs", micros(c.generator)/float64(len(others)))
	return nil
}

// talkFor has the first members talk for a time.
func (r *run) talkFor(ctx context.Context, talkers int, d time.Duration) error {
	talk, hush := context.WithTimeout(ctx, d)
	defer hush()
	if err := r.talk(talk, talkers); err != nil {
		return err
	}
	return ctx.Err()
}

// talk has each of the first members send its partner a message every Storm.Pause, evenly spread, until ctx is done.
func (r *run) talk(ctx context.Context, talkers int) error {
	c := &conversation{}
	c.recording.Store(true)
	r.crowd.chat.Store(c)
	tick := time.NewTicker(r.Storm.Pause / time.Duration(talkers))
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % talkers {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		m := r.crowd.members[i]
		if err := m.Send(m.appendMessage(nil, int64(time.Since(r.crowd.base)))); err != nil {
			return err
		}
	}
}

// addRequests reports what the roster service was asked since the restart.
func (r *run) addRequests() error {
	total, most := r.Rosters.Requests()
	times, user := r.Rosters.MostForOne()
	r.add("storm", "roster fetches for each user", "", float64(total)/float64(r.Graph.Online))
	r.add("storm", "roster fetches for one user, at most", "", float64(times))
	r.add("storm", "roster fetches at a time, at most", "", float64(most))
	rss, err := measure.RSS(r.server.PIDs...)
	if err != nil {
		return err
	}
	r.add("storm", "resident memory right after it", "MiB", float64(rss)/(1<<20))
	if times > 1 {
		return fmt.Errorf("the roster of %s was fetched %d times after the restart; once is enough", user, times)
	}
	return nil
}
