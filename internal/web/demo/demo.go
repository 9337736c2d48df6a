// Package demo is what `rollcall demo` shows: a page with two chat windows and, beside them, the application that owns
// everybody's contacts.
//
// The application here is a sample service as somebody else would write it. It keeps the contacts of four people in
// memory, answers fetches as section 1 of the contract says (docs/roster-http.md), and after a change it notifies
// rollcall as section 2 says: with a real POST over HTTP, although both live in one process. Nothing in this package
// reaches into the server, so what the visitor sees is what a foreign application gets.
//
// The page is written without a build step and without dependencies; it speaks XMPP over WebSocket (RFC 7395). Browser
// tests find its elements by data attributes, which are listed at the top of assets/index.html.
package demo

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"rollcall/internal/web/page"
)

// Options is what the demo needs from its surroundings.
type Options struct {
	// Host is the XMPP domain of the four people; "localhost" when empty.
	Host string
	// NotifyURL gives the URL of rollcall's refresh endpoint. It is a function because the port may be known only
	// once the server listens.
	NotifyURL func() string
	// Log gets what the feed on the page does not tell; slog.Default() when nil.
	Log *slog.Logger
}

// Service is the sample application: its data, its API for the page, its answers to rollcall and its notifications.
type Service struct {
	host     string
	log      *slog.Logger
	book     *book
	feed     *feed
	notifier *notifier
	assets   page.Assets

	mu      sync.Mutex
	mode    mode
	changed chan struct{} // closed and replaced when mode changes

	held    chan struct{} // one slot for each fetch that a silent service leaves waiting
	readers chan struct{} // one slot for each reader of the feed

	stop sync.Once
	done chan struct{} // closed when Run ends; what waits in a handler gives up
}

// New makes the sample service in its first state. Nothing runs until Run is called.
func New(o Options) *Service {
	if o.Host == "" {
		o.Host = "localhost"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	f := newFeed()
	return &Service{
		host:     o.Host,
		log:      o.Log,
		book:     newBook(),
		feed:     f,
		notifier: newNotifier(o.NotifyURL, f, o.Log),
		assets:   page.Load(assetFiles, "assets"),
		mode:     modeOn,
		changed:  make(chan struct{}),
		held:     make(chan struct{}, maxHeld),
		readers:  make(chan struct{}, maxReaders),
		done:     make(chan struct{}),
	}
}

// Run sends the notifications until ctx ends; call it once. When it returns, the feeds and held fetches that are still
// open have been told to end, so it should be stopped before the HTTP server is asked to shut down.
func (s *Service) Run(ctx context.Context) error {
	defer s.stop.Do(func() { close(s.done) })
	s.notifier.run(ctx)
	return ctx.Err()
}

// Handler answers for the page and its assets (/), the page's API (/app/) and the contract (/contacts/).
//
// Only requests that name a loopback host are answered. The demo has no passwords, and another site whose name was made
// to point at 127.0.0.1 (DNS rebinding) would otherwise count as the same origin. Changes must also come from the page
// itself: a request that a browser marks as cross-site is refused.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /contacts/{user}", s.contacts)
	mux.HandleFunc("GET /app/state", s.showState)
	mux.HandleFunc("GET /app/feed", s.showFeed)
	mux.HandleFunc("POST /app/add", action(s.add))
	mux.HandleFunc("POST /app/remove", action(s.remove))
	mux.HandleFunc("POST /app/change", action(s.change))
	mux.HandleFunc("POST /app/mode", action(s.setMode))
	mux.HandleFunc("POST /app/reset", action(s.reset))
	mux.Handle("GET /", s.assets)
	return loopbackOnly(http.NewCrossOriginProtection().Handler(mux))
}

// loopbackOnly refuses requests whose Host header is not a name of this machine's loopback interface.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, "The demo answers only to localhost: open it as http://localhost with its port.",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil { // no port
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
