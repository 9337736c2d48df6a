// Package admin is the HTTP API for the service and for operators: sections 2 and 3 of docs/roster-http.md ("Roster over
// HTTP: the contract"), the server's state, its sessions, and whether it is ready. openapi.json describes it, and the
// tests hold it to that; docs/http-api.md is for people.
//
// Each request passes one gate (access.go) before anything is done about it, so that no spelling of a path leads around
// it; /healthz, spelled exactly so, is the only exception. routes.go has the list of what there is.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"rollcall/internal/config"
)

// A Host is a virtual host as the API sees it.
type Host struct {
	Name           string          // canonical domain
	Tokens         []config.Secret // Bearer tokens for this host, beside Options.Tokens
	WebhookSecrets []config.Secret // the same for signatures
	Rosters        Refresher       // a Rosters, for the routes of section 3
	MaxBytes       int64           // of one roster document; 0 is 4 MiB
	Profiles       Refresher       // nil: the host has no profile.url
	Sessions       Sessions        // nil: it shows none
	Users          Users           // nil: it has no accounts
	Status         func() HostStatus
	// Prebind makes a BOSH session of a user. The error is ErrSessions, ErrBusy, that of ctx, or a fault of ours.
	Prebind func(ctx context.Context, p Prebind) (Prebound, error)
	// MakeToken makes a one-use token of a user, and RevokeTokens takes back the one with an id, or with "" all, with the sessions
	// that were opened with them. The error is ErrNoTokens, ErrBusy, that of ctx, or a fault of ours.
	MakeToken    func(ctx context.Context, user string, ttl time.Duration) (Token, error)
	RevokeTokens func(ctx context.Context, user, id string) (Revoked, error)
}

// Options make an API. Functions and interfaces in it are called by any goroutine.
type Options struct {
	Hosts          []Host
	Tokens         []config.Secret // Bearer tokens for every host
	WebhookSecrets []config.Secret // Standard Webhooks secrets for every host: "whsec_" and base64
	// ClientCertificates says that certificates which the TLS listener has verified are for this API. Where there are
	// ClientNames, one of a certificate's subject alternative names must be among them.
	ClientCertificates bool
	ClientNames        []string
	Rate               int                    // most requests a second with one credential, or of one address; 0: no limit
	Ready              func() bool            // whether clients are taken: false before the start is complete, and while stopping
	Metrics            http.Handler           // answers GET /metrics; nil: there is no such path
	Database           func() *DatabaseStatus // nil, or gives nil: there is none
	Version            string
	Log                *slog.Logger
}

// Limits of sections 2 and 3.
const (
	maxBody    = 1 << 20  // of a notification
	maxPatches = 16 << 20 // of patches for many users
	maxNames   = 10_000
	maxRoster  = 4 << 20 // Host.MaxBytes when it is 0

	// All from the arrival of the head: "The answer never waits longer than 30 s".
	bodyTime    = 10 * time.Second // the body must be here
	refreshTime = 27 * time.Second // Rosters give up
	answerTime  = 29 * time.Second // Rosters that have not given up are not waited for

	// grace is how long Close lets work go on that was answered with 202 already.
	grace = 5 * time.Second
)

// What requests may hold in memory at a time: each weighs what its body may be, and something for being there.
// That is room for some 4,000 notifications of one name, or for 60 of ten thousand. Bodies that must be read before it is
// known who sent them have a room of their own.
const (
	memoryBudget   = 64 << 20
	strangerBudget = 32 << 20
	baseWeight     = 16 << 10
)

// An API is the http.Handler.
type API struct {
	opts    Options
	hosts   map[string]*Host
	who     atomic.Pointer[who]
	started time.Time

	seen     webhookIDs
	requests buckets // by credential or address
	failures buckets // by address
	lanes    lanes
	feed     feed

	ctx    context.Context // done when what is under way is to be given up
	cancel context.CancelFunc
	// late is done when what was answered with 202 is to be given up as well.
	late       context.Context
	cancelLate context.CancelFunc
	room       *semaphore.Weighted
	strangers  *semaphore.Weighted
	wg         sync.WaitGroup // notifications and writes under way
}

// New makes an API; what is under way is given up when ctx is done. Call Close in the end.
func New(ctx context.Context, o Options) *API {
	a := &API{
		opts: o, hosts: make(map[string]*Host, len(o.Hosts)), started: time.Now(),
		room: semaphore.NewWeighted(memoryBudget), strangers: semaphore.NewWeighted(strangerBudget),
		requests: newBuckets(float64(o.Rate), o.Rate), failures: newBuckets(float64(maxFailures)/60, maxFailures),
	}
	for i := range o.Hosts {
		h := &a.opts.Hosts[i]
		if h.MaxBytes == 0 {
			h.MaxBytes = maxRoster
		}
		a.hosts[h.Name] = h
	}
	a.Allow(o)
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.late, a.cancelLate = context.WithCancel(context.WithoutCancel(ctx))
	return a
}

// Close gives up what is under way and waits for it. The http.Server must have been shut down before.
func (a *API) Close() {
	a.cancel()
	after := time.AfterFunc(grace, a.cancelLate)
	a.wg.Wait()
	after.Stop()
	a.cancelLate()
}

// Register adds the API to a mux, with everything below its two folders.
func (a *API) Register(mux *http.ServeMux) {
	mux.Handle(healthPath, a)
	mux.Handle(metricsPath, a)
	mux.Handle("/admin/", a)
	mux.Handle("/roster_admin/", a)
	mux.Handle("/profile_admin/", a)
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
	c := &call{w: w, r: r, arrived: time.Now()}
	rep, err := a.serve(c)
	var no *refusal
	switch {
	case err == nil && rep.stream != nil:
		rep.stream.ServeHTTP(w, r)
		return
	case err == nil:
		rep.write(w)
	case errors.As(err, &no):
		level := a.judge(c.r, no)
		a.opts.Log.Log(r.Context(), level, "admin request refused",
			"peer", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "status", no.status, "reason", no.message)
		no.write(w)
	default:
		a.opts.Log.Error("admin request failed", "path", r.URL.Path, "error", err)
		no = &refusal{status: http.StatusInternalServerError, message: "internal error; the server's log has it"}
		no.write(w)
	}
	if c.undone || no != nil {
		a.seen.forget(c.grant.id)
	}
}

// judge counts a refusal and says at which level it is logged: one line for each refused request; the handler of slog
// quotes what could break it in two. Probes of a server that is starting are no news, and neither is more of the same.
func (a *API) judge(r *http.Request, no *refusal) slog.Level {
	switch {
	case no.status == http.StatusUnauthorized:
		if wait := a.failures.take(addressOf(r.RemoteAddr)); wait > 0 {
			no.status, no.retryAfter = http.StatusTooManyRequests, wait
			return slog.LevelDebug
		}
	case r.URL.Path == healthPath:
		return slog.LevelDebug
	case no.status == http.StatusTooManyRequests:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
