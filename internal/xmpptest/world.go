package xmpptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/roster"
	"rollcall/internal/server"
	"rollcall/internal/store"
)

// Options says what a World's server is.
type Options struct {
	Hosts      []string // localhost when there is none
	Config     []string // lines of the configuration outside hosts
	HostConfig []string // lines of the configuration of every host; auth.method among them is in place of that of the other options
	PushOnly   bool     // there is no roster.url
	Accounts   []string // users who have accounts, with the password "secret"; none: anybody with any password
	DataDir    string   // a folder for the accounts

	Disk *Disk        // where rosters and values are kept; nil: nowhere
	Log  slog.Handler // nil: what Log gives
}

// TB is what a World needs of a test.
type TB interface {
	Context() context.Context
	Errorf(format string, args ...any)
}

// World is a whole server with a roster service, on a network in memory. It lives in a bubble of testing/synctest.
type World struct {
	t       TB
	options Options
	service *Service
	log     syncBuffer

	app       *PipeListener
	appServer *http.Server
	serving   sync.WaitGroup

	// Of the server that is running:
	mu        sync.Mutex // of the listeners and options: requests are sent while it is restarted, or takes others over
	c2s, http *PipeListener
	srv       *server.Server
	cancel    context.CancelFunc
	done      chan error
}

// Start starts a world and returns when its server takes connections.
func Start(t TB, service *Service, o Options) (*World, error) {
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"localhost"}
	}
	w := &World{t: t, options: o, service: service, app: NewPipeListener(80)}
	if w.options.Log == nil {
		w.options.Log = slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	err := w.addAccounts()
	if err == nil {
		err = w.boot()
	}
	if err != nil {
		return nil, err
	}
	w.appServer = &http.Server{Handler: service, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	w.serving.Go(func() {
		if err := w.appServer.Serve(w.app); err != http.ErrServerClosed {
			t.Errorf("the service ended with: %v", err)
		}
	})
	return w, nil
}

// accountsToken is the credential of the HTTP API where there are accounts, which are a matter of credentials.
const accountsToken = "canary-admin"

func (w *World) addAccounts() error {
	if len(w.options.Accounts) == 0 {
		return nil
	}
	ctx := w.t.Context()
	s, err := store.Open(ctx, store.Options{DataDir: w.options.DataDir})
	if err != nil {
		return err
	}
	keys, err := auth.MakeCredentials("secret")
	for _, user := range w.options.Accounts {
		if err == nil {
			err = s.AddAccount(ctx, w.Host(), user, store.Credentials{SHA1: store.Keys(keys.SHA1), SHA256: store.Keys(keys.SHA256)})
		}
	}
	return errors.Join(err, s.Close())
}

// boot starts the server.
func (w *World) boot() error {
	cfg, err := w.options.parse()
	if err != nil {
		return err
	}
	listeners := map[string]net.Listener{}
	w.mu.Lock()
	w.c2s, w.http = NewPipeListener(5222), NewPipeListener(5280)
	listeners["c2s"], listeners["http"] = w.c2s, w.http
	w.mu.Unlock()
	var rosters roster.Store
	var values store.Values
	var messages server.Messages
	if w.options.Disk != nil {
		rosters, values, messages = w.options.Disk.attach(), w.options.Disk.attachValues(), w.options.Disk.attachMessages()
	}
	srv, err := server.New(w.t.Context(), cfg, server.Options{
		Log:         slog.New(w.options.Log),
		Version:     "test",
		Rosters:     rosters,
		Values:      values,
		Messages:    messages,
		LeaveMemory: true,
		Listen:      func(name, _ string) (net.Listener, error) { return listeners[name], nil },
		DialRoster:  func(ctx context.Context, _, _ string) (net.Conn, error) { return w.app.Dial(ctx) },
	})
	if err != nil {
		return err
	}
	w.srv = srv
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cancel, w.done = cancel, make(chan error, 1)
	done := w.done
	go func() { done <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
		return nil
	case err := <-done:
		return fmt.Errorf("the server does not start: %w", err)
	}
}

func (o *Options) parse() (*config.Config, error) {
	return config.Parse("the dialogue's configuration", o.toml())
}

// Reload has the server read another configuration, as on SIGHUP, and gives the keys that took effect.
func (w *World) Reload(o Options) (live []string, err error) {
	next := w.options
	next.Config, next.HostConfig, next.PushOnly = o.Config, o.HostConfig, o.PushOnly
	if len(o.Hosts) > 0 {
		next.Hosts = o.Hosts
	}
	cfg, err := next.parse()
	if err != nil {
		return nil, err
	}
	if live, err = w.srv.Reload(cfg); err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.options = next
	}
	return live, err
}

func (o *Options) toml() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "data_dir = '%s'\n%s\n", o.DataDir, strings.Join(o.Config, "\n"))
	method := "auth.method = 'open'"
	if len(o.Accounts) > 0 {
		fmt.Fprintf(&b, "admin.token = '%s'\n", accountsToken)
		method = "auth.method = 'accounts'\nauth.plain = true"
	}
	if slices.ContainsFunc(o.HostConfig, func(line string) bool { return strings.HasPrefix(line, "auth.method") }) {
		method = ""
	}
	url := "roster.url = 'http://app/contacts/%s'"
	if o.PushOnly {
		url = ""
	}
	for _, h := range o.Hosts {
		fmt.Fprintf(&b, "[[host]]\nname = '%s'\n%s\n%s\n%s\n",
			h, method, url, strings.Join(o.HostConfig, "\n"))
	}
	return b.Bytes()
}

// Host gives the name of the first host.
func (w *World) Host() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.options.Hosts[0]
}

// Connect signs a user of the first host in.
func (w *World) Connect(ctx context.Context, user, resource string) (*Client, error) {
	return Connect(ctx, w.c2s, user, w.Host(), resource)
}

// SignIn signs a user of the first host in without a resource.
func (w *World) SignIn(ctx context.Context, user string) (*Client, error) {
	return SignIn(ctx, w.c2s, user, w.Host())
}

// Open opens a stream to the first host without signing in.
func (w *World) Open(ctx context.Context) (*Client, error) { return Open(ctx, w.c2s, w.Host()) }

// ConnectBy signs a user of the first host in by a route, with a resource unless it is "".
func (w *World) ConnectBy(ctx context.Context, r *Route, over Carrier, user, resource string) (*Client, error) {
	w.mu.Lock()
	listener := w.c2s
	if over != TCP {
		listener = w.http
	}
	w.mu.Unlock()
	return connect(ctx, over.to(r.To(listener)), user, signInAs(user, w.Host(), resource))
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
	w.mu.Lock()
	listener, accounts := w.http, len(w.options.Accounts) > 0
	w.mu.Unlock()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.Dial(ctx) },
	}}
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	if accounts {
		req.Header.Set("Authorization", "Bearer "+accountsToken)
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

// DialHTTPFrom does so from an address.
func (w *World) DialHTTPFrom(ctx context.Context, from string) (net.Conn, error) {
	return w.http.DialFrom(ctx, net.ParseIP(from))
}

// DialC2S connects to the listener for clients.
func (w *World) DialC2S(ctx context.Context) (net.Conn, error) { return w.c2s.Dial(ctx) }

// Log gives what the server has logged.
func (w *World) Log() string { return w.log.String() }

// Stop tells the server to stop in good order; Close waits for it.
func (w *World) Stop() { w.cancel() }

// Restart stops the server in good order and starts it again. Clients must connect anew.
func (w *World) Restart() error {
	w.cancel()
	if err := <-w.done; err != nil {
		return fmt.Errorf("the server ended with: %w", err)
	}
	return w.boot()
}

// Crash ends the server as if its process had died, and starts it again: what it has not written is lost. Clients must
// have been closed, so that they hear nothing of it.
func (w *World) Crash() error {
	if w.options.Disk != nil {
		w.options.Disk.cut()
	}
	return w.Restart()
}

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
