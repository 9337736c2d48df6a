package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"

	"rollcall/internal/config"
	"rollcall/internal/server"
	"rollcall/internal/web/demo"
)

type demoCmd struct {
	Listen  string `placeholder:"ADDRESS" help:"Loopback address and port for the page (default: ${demo_http}, or a free port)."`
	Port    int    `short:"p" help:"Port for the page, on 127.0.0.1."`
	C2S     string `name:"c2s" placeholder:"ADDRESS" help:"Loopback address and port for other XMPP clients (default: ${demo_c2s}, or a free port)."`
	Open    bool   `default:"true" negatable:"" help:"Open the page in the browser, when there is a desktop."`
	Verbose bool   `short:"v" help:"Show the server's log."`
}

func (c *demoCmd) Run(env *environment) error {
	cfg, page, err := c.config()
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := newLog(env.stderr, "text", level)
	app := demo.New(demo.Options{NotifyURL: func() string { return page + "roster_admin/refresh" }, Log: log})
	s, err := server.New(env.ctx, cfg, server.Options{
		Log: log, Version: version(), Mount: map[string]http.Handler{"/": app.Handler()},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(env.ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := app.Run(ctx); err != nil && ctx.Err() == nil {
			log.Error("the sample application has ended", "error", err)
		}
	})
	running.Go(func() {
		select {
		case <-s.Ready():
			c.welcome(env, page, s.Addr("c2s"))
		case <-ctx.Done():
		}
	})
	err = s.Run(ctx)
	cancel()
	running.Wait()
	return err
}

// config is that of the demo, with the URL of its page.
func (c *demoCmd) config() (cfg *config.Config, page string, err error) {
	if c.Port != 0 {
		if c.Listen != "" {
			return nil, "", usage("--listen and --port are both given; --listen has a port already")
		}
		c.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port))
	}
	httpAddr, err := chosenOrFree(c.Listen, demo.DefaultHTTP)
	if err != nil {
		return nil, "", err
	}
	c2sAddr, err := chosenOrFree(c.C2S, demo.DefaultC2S)
	if err != nil {
		return nil, "", err
	}
	toml, err := demo.Config(httpAddr, c2sAddr)
	if err != nil {
		return nil, "", usageError{err}
	}
	cfg, err = config.Parse("demo", toml)
	return cfg, "http://" + httpAddr + "/", err
}

// chosenOrFree returns what the user asked for, else the usual address, else one with another port.
func chosenOrFree(chosen, usual string) (string, error) {
	if chosen != "" {
		return chosen, nil
	}
	return demo.FreeAddress(usual)
}

func (c *demoCmd) welcome(env *environment, page string, c2s net.Addr) {
	fmt.Fprintf(env.stdout, `Two people chat; beside them, the application decides who knows whom:

    %s

Your own XMPP client may join them: any name @localhost, any password, server %s, no TLS.
Ctrl-C ends it; nothing is kept.
`, page, c2s)
	if c.Open && isTerminal(os.Stdout) {
		openBrowser(page)
	}
}

// openBrowser shows url where there is a desktop. That it fails is no matter: the URL was printed.
func openBrowser(url string) {
	command := "xdg-open"
	switch runtime.GOOS {
	case "darwin":
		command = "open"
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return
		}
	}
	// The browser may live longer than the demo, so nobody waits for it.
	_ = exec.Command(command, url).Start()
}
