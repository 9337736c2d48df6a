// Command profiled is `rollcall serve` with a door to its profiler, for bench -profile: POST /start begins a CPU profile, POST /stop
// ends it and answers with it, GET /allocs answers with what was allocated so far, GET /heap with what is live. The real
// binary has no such door.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"

	"rollcall/internal/config"
	"rollcall/internal/server"
)

func main() {
	file := flag.String("c", "rollcall.toml", "configuration")
	addr := flag.String("pprof", "", "address of the profiler's door")
	flag.Parse()
	if err := serve(*file, *addr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(file, addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, cfg, server.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "profiled"})
	if err != nil {
		return err
	}
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, new(profiler).handler()))
		stop()
	}()
	return s.Run(ctx)
}

// profiler takes one CPU profile at a time.
type profiler struct {
	mu  sync.Mutex
	cpu bytes.Buffer
}

func (p *profiler) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cpu.Reset()
		// More than the usual 100 Hz, for scenarios are short; kernels may not count faster. That StartCPUProfile cannot set its own rate then is logged, and meant.
		runtime.SetCPUProfileRate(250)
		if err := pprof.StartCPUProfile(&p.cpu); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		pprof.StopCPUProfile()
		reply(w, p.cpu.WriteTo)
	})
	for _, name := range []string{"allocs", "heap"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			if name == "heap" {
				runtime.GC() // so that what is garbage does not count as live
			}
			var b bytes.Buffer
			if err := pprof.Lookup(name).WriteTo(&b, 0); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			reply(w, b.WriteTo)
		})
	}
	return mux
}

func reply(w http.ResponseWriter, writeTo func(io.Writer) (int64, error)) {
	if _, err := writeTo(w); err != nil {
		fmt.Fprintln(os.Stderr, "profile not sent:", err)
	}
}
