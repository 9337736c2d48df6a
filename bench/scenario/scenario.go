package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"rollcall/bench/client"
	"rollcall/bench/measure"
	"rollcall/bench/peer"
	"rollcall/bench/service"
)

// Options is the size of what is measured.
type Options struct {
	Graph    *service.Graph
	Client   client.Config // Addr is the server's
	Rosters  *service.Service
	Parallel int           // sign-ins and notifications at a time
	Names    int           // users in one notification
	Rounds   int           // of refresh and of presence
	Samples  int           // of latency
	Window   int           // unanswered messages of a pair
	Duration time.Duration // of chat
	Settle   time.Duration // before memory is read
	Timeout  time.Duration // for anything that is waited for
	Profiles string        // start of the names of profiles, "" for none
	Storm    Storm
}

// Result is one number.
type Result struct {
	Scenario string  `json:"scenario"`
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Value    float64 `json:"value"`
}

// Names lists the scenarios in the order in which they run. The first two always do: the others need users. The last two run only where
// they are asked for: one takes minutes, and the other restarts the server.
var Names = []string{"login", "idle", "refresh", "latency", "presence", "chat", "outage", "storm"}

// Usual are the scenarios that run unless others are asked for.
var Usual = Names[:len(Names)-2]

// run is one server and its users while they are measured.
type run struct {
	Options
	server  *peer.Running
	crowd   *crowd
	results []Result
}

// Run signs the users in at a server and plays the scenarios that are asked for.
func Run(ctx context.Context, server *peer.Running, o Options, wanted map[string]bool) ([]Result, error) {
	o.Client.Addr = server.Addr
	r := &run{Options: o, server: server}
	r.crowd = newCrowd(o.Graph, &r.Client)
	err := r.signIn(ctx)
	steps := map[string]func(context.Context) error{"refresh": r.refresh, "latency": r.latency, "presence": r.presence, "chat": r.chat, "outage": r.outage, "storm": r.storm}
	for _, name := range Names {
		step := steps[name]
		if err != nil || step == nil || !wanted[name] {
			continue
		}
		if err = step(ctx); err == nil {
			err = r.crowd.trouble()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	return r.results, errors.Join(err, r.crowd.close())
}

// cost is what an operation took.
type cost struct {
	server, generator time.Duration
	took              time.Duration
}

// stopwatch begins the measurement of a scenario; the function that it returns ends it.
func (r *run) stopwatch(ctx context.Context, scenario string) (func() (cost, error), error) {
	profiled, err := r.profile(ctx, scenario)
	if err != nil {
		return nil, err
	}
	before, err := measure.CPU(r.server.PIDs...)
	if err != nil {
		return nil, err
	}
	own, err := measure.CPU(os.Getpid())
	if err != nil {
		return nil, err
	}
	start := time.Now()
	return func() (cost, error) {
		took := time.Since(start)
		after, err := measure.CPU(r.server.PIDs...)
		if err != nil {
			return cost{}, err
		}
		ownAfter, err := measure.CPU(os.Getpid())
		if err != nil {
			return cost{}, err
		}
		return cost{server: after - before, generator: ownAfter - own, took: took}, profiled()
	}, nil
}

func (r *run) add(scenario, metric, unit string, value float64) {
	r.results = append(r.results, Result{scenario, metric, unit, value})
}

// addCost adds the cost of n operations, called what.
func (r *run) addCost(scenario, what string, c cost, n int) {
	r.add(scenario, "server CPU for each "+what, "µs", micros(c.server)/float64(n))
	r.add(scenario, "generator CPU for each "+what, "µs", micros(c.generator)/float64(n))
	r.add(scenario, "rate", "1/s", float64(n)/c.took.Seconds())
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// pause waits for d, or until the run is given up.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
