package main

import (
	"io"
	"log/slog"

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
	s, err := server.New(env.ctx, cfg, server.Options{Log: newLog(env.stderr, cfg.Log), Version: version()})
	if err != nil {
		return err
	}
	return s.Run(env.ctx)
}

func newLog(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
