// Command bench compares chat servers: it starts each in turn, plays its users and its roster service over real sockets, and
// takes what it costs from /proc. README.md beside it says what is measured and how to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"rollcall/bench/client"
	"rollcall/bench/peer"
	"rollcall/bench/scenario"
)

// settings is the command line.
type settings struct {
	servers   []string
	scenarios []string
	users     int
	contacts  int
	online    int
	offline   int
	reps      int
	rounds    int
	names     int
	parallel  int
	samples   int
	window    int
	duration  time.Duration
	settle    time.Duration
	timeout   time.Duration
	delay     time.Duration
	sources   int
	tls       string
	mechanism string
	host      string
	service   string
	output    string
	peers     peer.Options
	profiles  string
	keep      bool
	pin       bool
	storm     scenario.Storm
	sweep     sweep
	also      []string
	database  string
	batch     bool // rosters are fetched many at a time
	entries   int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// quick is what -quick stands for; flags that are given beside it win.
var quick = map[string]string{"server": "floor,rollcall", "n": "200", "c": "20", "reps": "3", "rounds": "10", "duration": "2s",
	"settle": "1s", "samples": "200"}

func parse(args []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	servers := f.String("server", "floor,rollcall", "servers, in the order of running: floor, rollcall, prosody, ejabberd, addr (one that runs already), or installed; the first is what the others are compared with")
	scenarios := f.String("scenario", strings.Join(scenario.Usual, ","), "scenarios, also outage and storm; login and idle are measured always")
	f.IntVar(&s.users, "n", 500, "users, an even number")
	f.IntVar(&s.contacts, "c", 50, "contacts of each user, an even number")
	f.IntVar(&s.online, "online", 0, "how many of the users sign in, an even number; 0 for all")
	f.IntVar(&s.offline, "offline", 0, "contacts of each user more, who never sign in")
	f.Func("sweep", "one size, measured at several values, with a plot: contacts=10,50,200, sessions=…, or roster=… (contacts in all, of which -c may be online)", s.sweep.parse)
	f.IntVar(&s.entries, "peer-entries", 40_000, "of -sweep: Prosody and ejabberd are left out where all rosters together have more contacts than this, because they take minutes")
	f.IntVar(&s.reps, "reps", 3, "repetitions, each with fresh servers; medians are printed")
	f.IntVar(&s.rounds, "rounds", 10, "rounds of refresh, presence and outage in a repetition")
	f.IntVar(&s.names, "names", 20, "names in one notification")
	f.IntVar(&s.parallel, "parallel", 16, "sign-ins, and notifications, at a time")
	f.IntVar(&s.samples, "samples", 500, "notifications of the latency scenario")
	f.IntVar(&s.window, "window", 8, "unanswered messages of a pair")
	f.DurationVar(&s.duration, "duration", 5*time.Second, "of chat, and of a window of outage")
	f.DurationVar(&s.settle, "settle", 2*time.Second, "wait before resident memory is read")
	f.DurationVar(&s.timeout, "timeout", time.Minute, "for anything that a scenario waits for")
	f.DurationVar(&s.delay, "service-delay", 0, "what the roster service takes for an answer")
	f.IntVar(&s.sources, "sources", 1, "loopback addresses that clients come from (127.0.0.1, 127.0.0.2, …)")
	f.StringVar(&s.tls, "tls", "none", "none, starttls; with -server addr also direct")
	f.StringVar(&s.mechanism, "sasl", "PLAIN", "PLAIN, SCRAM-SHA-1 or SCRAM-SHA-256; with -server addr for users u0, u1, … with the password "+client.Password)
	also := f.String("also", "", "measured besides, for the servers that can, each with fresh ones: scram (login with SCRAM-SHA-1), batch (refresh and latency with batch fetch), patch (the same with the change in hand), stored (refresh and chat with rosters and messages on disk), postgres (the same in -database)")
	f.StringVar(&s.host, "host", "localhost", "the virtual host")
	f.StringVar(&s.service, "service", "127.0.0.1:0", "where the roster service listens")
	f.StringVar(&s.output, "o", "", "write FILE.md and FILE.json")
	f.StringVar(&s.peers.Rollcall, "rollcall", "", "rollcall binary; built from ./cmd/rollcall when not given")
	f.StringVar(&s.peers.Floor, "floor", "", "floor binary; built when not given")
	f.StringVar(&s.peers.ProsodyModules, "prosody-modules", "", "checkout of prosody-modules, with mod_http_roster_admin")
	f.StringVar(&s.peers.Existing.Addr, "addr", "", "of -server addr: where it takes clients")
	f.IntVar(&s.peers.Existing.PID, "pid", 0, "of -server addr: its process")
	f.StringVar(&s.peers.Existing.NotifyURL, "notify", "", "of -server addr: URL of roster_admin/refresh")
	f.StringVar(&s.peers.Existing.Token, "token", "", "of -server addr: bearer token for -notify")
	f.BoolVar(&s.peers.Data, "data", false, "rollcall keeps rosters in a folder, as it does by default, and serves them after a restart")
	f.StringVar(&s.database, "database", "", "of -also postgres: a database of rollcall's own, postgres://…; it is written to")
	f.StringVar(&s.profiles, "profile", "", "folder for rollcall's CPU, allocation and heap profiles of each scenario; costs a little, so its numbers are not for the record")
	f.BoolVar(&s.pin, "pin", false, "the server has a core of its own, and this program the others")
	f.BoolVar(&s.keep, "keep", false, "keep the folder with configurations and logs")
	f.IntVar(&s.storm.Parallel, "storm", 1000, "of the storm scenario: how many come back at a time")
	f.IntVar(&s.storm.Talkers, "talkers", 20, "of the storm scenario: users who are back first and talk meanwhile, an even number; of outage: users who talk")
	f.DurationVar(&s.storm.Pause, "pause", 50*time.Millisecond, "of the storm and outage scenarios: between two messages of a talker")
	signal := f.String("signal", "KILL", "of the storm scenario: what ends the server, KILL or TERM")
	short := f.Bool("quick", false, "less than two minutes: small, floor and rollcall")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: everything is a flag", f.Arg(0))
	}
	if *short {
		if err := shorten(f); err != nil {
			return nil, err
		}
	}
	s.servers, s.scenarios = strings.Split(*servers, ","), strings.Split(*scenarios, ",")
	if *servers == "installed" {
		s.servers = peer.Installed(s.peers)
	}
	if *also != "" {
		s.also = strings.Split(*also, ",")
	}
	s.storm.Signal = map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM}[*signal]
	if s.storm.Signal == 0 {
		return nil, fmt.Errorf("-signal %s: KILL or TERM", *signal)
	}
	return s, s.check()
}

func shorten(f *flag.FlagSet) error {
	given := make(map[string]bool)
	f.Visit(func(x *flag.Flag) { given[x.Name] = true })
	for name, value := range quick {
		if given[name] {
			continue
		}
		if err := f.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) check() error {
	for _, name := range s.servers {
		if !peer.Known(name) {
			return fmt.Errorf("-server %s: not known; choose from floor, rollcall, prosody, ejabberd, addr", name)
		}
		if name != "addr" && s.tls == string(client.Direct) {
			return fmt.Errorf("-server %s: servers that are started here take STARTTLS only", name)
		}
		if s.mechanism != "PLAIN" && !canScram(name, s.mechanism) {
			return fmt.Errorf("-server %s: cannot sign in with %s", name, s.mechanism)
		}
	}
	for _, name := range s.also {
		if variants[name] == nil {
			return fmt.Errorf("-also %s: not known; choose from scram, batch, patch, stored, postgres", name)
		}
	}
	if slices.Contains(s.also, "postgres") && s.database == "" {
		return errors.New("-also postgres: give the database with -database")
	}
	for _, name := range s.scenarios {
		if !slices.Contains(scenario.Names, name) {
			return fmt.Errorf("-scenario %s: not known; choose from %s", name, strings.Join(scenario.Names, ", "))
		}
	}
	if !slices.Contains([]string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"}, s.mechanism) {
		return fmt.Errorf("-sasl %s: not known", s.mechanism)
	}
	if !slices.Contains([]client.TLSMode{client.Plain, client.StartTLS, client.Direct}, client.TLSMode(s.tls)) {
		return fmt.Errorf("-tls %s: not known", s.tls)
	}
	for name, n := range map[string]int{"reps": s.reps, "rounds": s.rounds, "names": s.names, "parallel": s.parallel,
		"samples": s.samples, "window": s.window, "sources": s.sources, "storm": s.storm.Parallel, "talkers": s.storm.Talkers} {
		if n < 1 {
			return fmt.Errorf("-%s %d: give at least 1", name, n)
		}
	}
	if s.storm.Talkers%2 != 0 || s.storm.Pause < time.Millisecond {
		return fmt.Errorf("-talkers %d -pause %v: give an even number, for they talk in pairs, and at least 1 ms", s.storm.Talkers, s.storm.Pause)
	}
	if s.sources > 254 {
		return fmt.Errorf("-sources %d: at most 254", s.sources)
	}
	return nil
}
