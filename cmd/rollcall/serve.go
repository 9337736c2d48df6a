package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
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
	log := newLog(env.stderr, cfg.Log)
	s, err := server.New(env.ctx, cfg, server.Options{Log: log, Version: version()})
	if err != nil {
		return err
	}
	stop := ignoreHangup(log)
	defer stop()
	return s.Run(env.ctx)
}

// ignoreHangup says what SIGHUP does here: nothing. Scripts made for other servers send it after they have renewed a
// certificate, and it must not end the process as it would by default.
func ignoreHangup(log *slog.Logger) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-hangup:
				log.Info("SIGHUP ignored: a renewed certificate is found without it, a changed configuration takes a restart")
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

func newLog(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
