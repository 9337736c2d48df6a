package xmpptest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/config"
	"rollcall/internal/server"
)

// Options says what a World's server is.
type Options struct {
	Hosts      []string // localhost when there is none
	Config     []string // lines of the configuration outside hosts
	HostConfig []string // lines of the configuration of every host
}

// World is a whole server with a roster service, on a network in memory. It lives in a bubble of testing/synctest.
type World struct {
	t       *testing.T
	options Options
	service *Service
	log     syncBuffer

	c2s, http, app *PipeListener
	appServer      *http.Server
	serving        sync.WaitGroup
	cancel         context.CancelFunc
	done           chan error
}

// Start starts a world and returns when its server takes connections.
func Start(t *testing.T, service *Service, o Options) (*World, error) {
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"localhost"}
	}
	w := &World{t: t, options: o, service: service, done: make(chan error, 1),
		c2s: NewPipeListener(5222), http: NewPipeListener(5280), app: NewPipeListener(80)}
	cfg, err := config.Parse("the dialogue's configuration", w.toml())
	if err != nil {
		return nil, err
	}
	srv, err := server.New(t.Context(), cfg, server.Options{
		Log:     slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "test",
		Listen: func(name, _ string) (net.Listener, error) {
			return map[string]net.Listener{"c2s": w.c2s, "http": w.http}[name], nil
		},
		DialRoster: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.app.Dial(ctx) },
	})
	if err != nil {
		return nil, err
	}
	w.appServer = &http.Server{Handler: service, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	w.serving.Go(func() {
		if err := w.appServer.Serve(w.app); err != http.ErrServerClosed {
			t.Errorf("the service ended with: %v", err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() { w.done <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
		return w, nil
	case err := <-w.done:
		return nil, fmt.Errorf("the server does not start: %w", err)
	}
}

func (w *World) toml() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "data_dir = ''\n%s\n", strings.Join(w.options.Config, "\n"))
	for _, h := range w.options.Hosts {
		fmt.Fprintf(&b, "[[host]]\nname = '%s'\nauth.method = 'open'\nroster.url = 'http://app/contacts/%%s'\n%s\n",
			h, strings.Join(w.options.HostConfig, "\n"))
	}
	return b.Bytes()
}

// Host gives the name of the first host.
func (w *World) Host() string { return w.options.Hosts[0] }

// Connect signs a user of the first host in.
func (w *World) Connect(ctx context.Context, user, resource string) (*Client, error) {
	return Connect(ctx, w.c2s, user, w.Host(), resource)
}

// SignIn signs a user of the first host in without a resource.
func (w *World) SignIn(ctx context.Context, user string) (*Client, error) {
	return SignIn(ctx, w.c2s, user, w.Host())
}

// Notify posts a body to the refresh endpoint, with an HTTP Host header ("": the first host) and a ?query.
func (w *World) Notify(host, query, body string) (status int, answer []byte, err error) {
	if host == "" {
		host = w.Host()
	}
	return w.Ask(http.MethodPost, "http://"+host+"/roster_admin/refresh"+query, body)
}

// Ask sends a request to the HTTP API, from this machine. A PATCH is a merge patch.
func (w *World) Ask(method, url, body string) (status int, answer []byte, err error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return w.http.Dial(ctx) },
	}}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// DialHTTP connects to the HTTP listener.
func (w *World) DialHTTP(ctx context.Context) (net.Conn, error) { return w.http.Dial(ctx) }

// DialC2S connects to the listener for clients.
func (w *World) DialC2S(ctx context.Context) (net.Conn, error) { return w.c2s.Dial(ctx) }

// Log gives what the server has logged.
func (w *World) Log() string { return w.log.String() }

// Stop tells the server to stop in good order; Close waits for it.
func (w *World) Stop() { w.cancel() }

// Close stops what still runs; clients must have been closed, or the server closes them.
func (w *World) Close() {
	w.service.Release()
	w.cancel()
	if err := <-w.done; err != nil {
		w.t.Errorf("the server ended with: %v", err)
	}
	if err := w.appServer.Close(); err != nil {
		w.t.Errorf("the service does not close: %v", err)
	}
	w.serving.Wait()
}

// syncBuffer collects the server's log.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
