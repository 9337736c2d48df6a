package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"rollcall/internal/config"
	"rollcall/internal/server"
)

// A configFlag is the flag of every command that needs the configuration.
type configFlag struct {
	Config string `short:"c" default:"rollcall.toml" placeholder:"FILE" help:"Configuration (default: ${default})."`
}

func (f configFlag) load() (*config.Config, error) { return config.Load(f.Config) }

type serveCmd struct{ configFlag }

func (c *serveCmd) Run(env *environment) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	level.Set(cfg.Log.Level)
	log := newLog(env.stderr, cfg.Log.Format, level)
	s, err := server.New(env.ctx, cfg, server.Options{Log: log, Version: version()})
	if err != nil {
		return err
	}
	stop := onHangup(func() { c.reload(s, log, level) })
	defer stop()
	ctx, cancel := context.WithCancel(env.ctx)
	wait := supervised(ctx, s.Ready(), log)
	defer wait()
	defer cancel()
	return s.Run(ctx)
}

// reload reads the configuration again and hands it to the server. What is wrong with it is said, and changes nothing.
func (c *serveCmd) reload(s *server.Server, log *slog.Logger, level *slog.LevelVar) {
	next, err := c.load()
	if err == nil {
		_, err = s.Reload(next)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			log.Error("configuration not taken over, the one before stays", "error", strings.TrimSpace(line))
		}
		return
	}
	level.Set(next.Log.Level)
}

// onHangup has SIGHUP, by which operators and service managers have a configuration read again, handled one at a time.
func onHangup(handle func()) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-hangup:
				handle()
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(hangup)
		close(done)
		wg.Wait()
	}
}

func newLog(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
