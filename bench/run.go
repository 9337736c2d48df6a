package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"rollcall/bench/client"
	"rollcall/bench/measure"
	"rollcall/bench/peer"
	"rollcall/bench/scenario"
	"rollcall/bench/service"
)

// run measures the servers in turn, as often as asked, and prints and writes the report.
func run(ctx context.Context, s *settings) (err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	if s.keep {
		fmt.Fprintln(os.Stderr, "bench: configurations and logs are kept in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := s.build(ctx, dir); err != nil {
		return err
	}
	if s.pin {
		if err := measure.PinApart(); err != nil {
			return fmt.Errorf("-pin: %w", err)
		}
	}
	clients, err := s.clients(dir)
	if err != nil {
		return err
	}
	if len(s.sweep.values) > 0 {
		return s.runSweep(ctx, dir, clients)
	}
	rep, err := s.repeat(ctx, dir, clients)
	if err != nil {
		return err
	}
	return rep.finish(s.output)
}

// repeat measures all servers as often as asked.
func (s *settings) repeat(ctx context.Context, dir string, clients client.Config) (*report, error) {
	rep := newReport(s)
	for i := range s.reps {
		for _, name := range s.servers {
			fmt.Fprintf(os.Stderr, "bench: %s, repetition %d of %d\n", name, i+1, s.reps)
			results, err := s.measure(ctx, name, filepath.Join(dir, fmt.Sprintf("%s-%d", name, i)), clients)
			rep.add(name, results)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				rep.fail(name, err)
			}
		}
		for _, also := range s.also {
			if err := s.besides(ctx, rep, variants[also], filepath.Join(dir, fmt.Sprintf("%s-%d", also, i)), clients); err != nil {
				return nil, err
			}
		}
	}
	rep.Machine.LoadAfter = load()
	return rep, nil
}

// besides measures a variant of each server that has it.
func (s *settings) besides(ctx context.Context, rep *report, v *variant, dir string, clients client.Config) error {
	for _, name := range s.servers {
		p := s.with(v, name)
		if p == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s with %s\n", name, v.name)
		results, err := p.measure(ctx, name, dir+"-"+name, clients)
		rep.add(name, v.rows(results))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			rep.fail(name, fmt.Errorf("with %s: %w", v.name, err))
		}
	}
	return nil
}

// build makes the binaries that are ours and not given, for the servers that need them.
func (s *settings) build(ctx context.Context, dir string) error {
	programs := []struct {
		server, source string
		binary         *string
	}{
		{"rollcall", "rollcall/cmd/rollcall", &s.peers.Rollcall},
		{"floor", "rollcall/bench/floor", &s.peers.Floor},
	}
	if s.profiles != "" {
		s.peers.Profiled = true
		programs[0].source = "rollcall/bench/profiled"
		if err := os.MkdirAll(s.profiles, 0o755); err != nil {
			return err
		}
	}
	for _, p := range programs {
		if *p.binary != "" || !slices.Contains(s.servers, p.server) {
			continue
		}
		*p.binary = filepath.Join(dir, p.server)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", *p.binary, p.source)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go build %s (run bench from the source tree, or give the binary with a flag): %w", p.source, err)
		}
	}
	return nil
}

// clients returns what all clients of the run share, and has a certificate made when they encrypt.
func (s *settings) clients(dir string) (client.Config, error) {
	cfg := client.Config{Domain: s.host, Resource: "bench", TLS: client.TLSMode(s.tls), Mechanism: s.mechanism, Timeout: s.timeout}
	if s.sources > 1 {
		for i := range s.sources {
			cfg.Sources = append(cfg.Sources, net.IPv4(127, 0, 0, byte(i+1)))
		}
	}
	if cfg.TLS == client.Plain {
		return cfg, nil
	}
	var err error
	s.peers.Cert, s.peers.Key, cfg.TLSConfig, err = peer.Certificate(dir, s.host)
	if slices.Contains(s.servers, "addr") {
		// A server that runs already has a certificate of its own, which says nothing about its speed.
		cfg.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return cfg, err
}

// measure starts one server with a fresh roster service, and plays the scenarios.
func (s *settings) measure(ctx context.Context, name, dir string, clients client.Config) (_ []scenario.Result, err error) {
	graph, err := service.NewGraph(s.users, s.contacts, s.host)
	if err != nil {
		return nil, err
	}
	if err := graph.Resize(s.online, s.offline); err != nil {
		return nil, err
	}
	rosters, err := service.Serve(s.service, graph, s.delay)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rosters.Close()) }()
	o := s.peers
	o.Dir, o.Host, o.RosterURL, o.Graph, o.Parallel = dir, s.host, rosters.URL(), graph, s.parallel
	o.Accounts = s.mechanism != "PLAIN"
	if s.batch {
		o.BatchURL = rosters.BatchURL()
	}
	clients.Mechanism = s.mechanism
	server, err := peer.Start(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	wanted := make(map[string]bool)
	for _, w := range s.scenarios {
		wanted[w] = true
	}
	sizes := scenario.Options{Graph: graph, Client: clients, Rosters: rosters, Storm: s.storm, Parallel: s.parallel, Names: s.names, Rounds: s.rounds,
		Samples: s.samples, Window: s.window, Duration: s.duration, Settle: s.settle, Timeout: s.timeout}
	if s.profiles != "" {
		sizes.Profiles = filepath.Join(s.profiles, filepath.Base(dir)+"-")
	}
	results, err := scenario.Run(ctx, server, sizes, wanted)
	total, most := rosters.Requests()
	fmt.Fprintf(os.Stderr, "bench: %s: %d roster fetches, at most %d at a time\n", name, total, most)
	return results, err
}
