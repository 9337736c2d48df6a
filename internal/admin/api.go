// Package admin is the HTTP API for the service and for operators: notifications as in section 2 of
// docs/roster-http.md ("Roster over HTTP: the contract"), the server's state, and whether it is ready.
//
//	POST /roster_admin/refresh         an array of names: their rosters have changed
//	GET  /roster_admin/refresh/{user}  the same for one, as mod_http_roster_admin has it
//	GET  /admin/status                 what `rollcall status` shows
//	GET  /healthz                      200 when ready to take clients, for everybody
//
// Each request passes one gate (access.go) before its path, method or body is looked at, so that no spelling of a path
// leads around it; /healthz, spelled exactly so, is the only exception.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"rollcall/internal/config"
)

// A Refresher acts on notifications for the users of one host. It is called by several goroutines.
type Refresher interface {
	// Refresh fetches and applies the rosters of users, canonical localparts, and returns one result for each, in
	// the same order. It returns soon after ctx is done.
	Refresh(ctx context.Context, users []string) []RefreshResult
}

// A RefreshResult is what a notification came to for one user.
type RefreshResult struct {
	Result Outcome
	Err    error // with Failed: a sentence that an operator can act on
}

// An Outcome is the result in a word.
type Outcome string

// The outcomes.
const (
	Changed   Outcome = "changed"   // the new roster is applied and its pushes are queued
	Unchanged Outcome = "unchanged" // the service was asked and the roster is what it was
	Offline   Outcome = "offline"   // nobody is there; the copy, if any, is marked stale
	Failed    Outcome = "error"     // the service could not be asked, or its answer was no good
)

// A Host is a virtual host as the API sees it.
type Host struct {
	Name    string          // canonical domain
	Tokens  []config.Secret // Bearer tokens for this host, beside Options.Tokens
	Rosters Refresher
	Status  func() HostStatus // for any goroutine
}

// Options make an API.
type Options struct {
	Hosts   []Host
	Tokens  []config.Secret // Bearer tokens for every host
	Ready   func() bool     // whether clients are taken: false before the start is complete, and while stopping
	Version string
	Log     *slog.Logger
}

// Limits of section 2.
const (
	maxBody  = 1 << 20
	maxNames = 10_000

	// All from the arrival of the head: "The answer never waits longer than 30 s".
	bodyTime    = 10 * time.Second // the body must be here
	refreshTime = 27 * time.Second // Refreshers give up
	answerTime  = 29 * time.Second // Refreshers that have not given up are not waited for
)

// What notifications may hold in memory at a time: each weighs what its body may be, and something for being there.
// That is room for some 4,000 of one name, or for 60 of ten thousand.
const (
	memoryBudget = 64 << 20
	baseWeight   = 16 << 10
)

// An API is the http.Handler.
type API struct {
	opts    Options
	hosts   map[string]*Host
	keys    []tokenKey
	started time.Time

	ctx    context.Context // done when notifications are to be given up
	cancel context.CancelFunc
	room   *semaphore.Weighted
	wg     sync.WaitGroup // notifications under way
}

// New makes an API; notifications under way are given up when ctx is done. Call Close in the end.
func New(ctx context.Context, o Options) *API {
	a := &API{opts: o, hosts: make(map[string]*Host, len(o.Hosts)), started: time.Now(), room: semaphore.NewWeighted(memoryBudget)}
	for i := range o.Hosts {
		a.hosts[o.Hosts[i].Name] = &o.Hosts[i]
	}
	a.keys = tokenKeys(o)
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// Close gives up what is under way and waits for it. The http.Server must have been shut down before.
func (a *API) Close() {
	a.cancel()
	a.wg.Wait()
}

// Register adds the API to a mux, with everything below its two folders.
func (a *API) Register(mux *http.ServeMux) {
	mux.Handle("/healthz", a)
	mux.Handle("/admin/", a)
	mux.Handle("/roster_admin/", a)
}

// ServeHTTP answers each request once: with what the route returns, or with its error.
//
// "The server MUST close the connection after responding to such a request" with both Transfer-Encoding and
// Content-Length (RFC 9112 section 6.1): what follows may have been smuggled past a proxy. net/http does not tell such
// requests from others that are chunked, so the connection ends after any of these.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close")
	}
	body, err := a.serve(w, r)
	var no *refusal
	switch {
	case err == nil:
		write(w, http.StatusOK, body)
	case errors.As(err, &no):
		a.logRefusal(r, no)
		no.write(w)
	default:
		a.opts.Log.Error("admin request failed", "path", r.URL.Path, "error", err)
		(&refusal{status: http.StatusInternalServerError, message: "internal error; the server's log has it"}).write(w)
	}
}

// logRefusal writes one line for each refused request; the handler of slog quotes what could break it in two. Probes of
// a server that is starting are no news.
func (a *API) logRefusal(r *http.Request, no *refusal) {
	level := slog.LevelWarn
	if r.URL.Path == healthPath {
		level = slog.LevelDebug
	}
	a.opts.Log.Log(r.Context(), level, "admin request refused",
		"peer", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "status", no.status, "reason", no.message)
}

const (
	healthPath  = "/healthz"
	statusPath  = "/admin/status"
	refreshPath = "/roster_admin/refresh"
)

// serve decides by the path as it was sent, percent-encoding included: no other spelling is known.
func (a *API) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	path := r.URL.EscapedPath()
	if path == healthPath {
		return a.health(r)
	}
	g, err := a.access(r)
	if err != nil {
		return nil, err
	}
	user, single := strings.CutPrefix(path, refreshPath+"/")
	switch {
	case path == refreshPath:
		return allow(r, http.MethodPost, func() (any, error) { return a.refreshMany(w, r, g) })
	case single && user != "" && !strings.Contains(user, "/"):
		name, err := url.PathUnescape(user)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "the user's name in the path has a stray %%")
		}
		return allow(r, http.MethodGet, func() (any, error) { return a.refreshOne(r, g, name) })
	case path == statusPath:
		return allow(r, http.MethodGet, func() (any, error) { return a.status(r, g) })
	default:
		return nil, refuse(http.StatusNotFound, "there is nothing at this path; notifications go to POST %s", refreshPath)
	}
}

func allow(r *http.Request, method string, handle func() (any, error)) (any, error) {
	if r.Method != method {
		no := refuse(http.StatusMethodNotAllowed, "%s is not for this path; use %s", r.Method, method)
		no.allow = method
		return nil, no
	}
	return handle()
}
