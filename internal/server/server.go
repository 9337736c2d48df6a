// Package server builds a whole rollcall from its configuration, and knows the order in which its parts start and stop.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/certs"
	"rollcall/internal/config"
	"rollcall/internal/feature/contacts"
	"rollcall/internal/feature/pep"
	"rollcall/internal/host"
	"rollcall/internal/metrics"
	"rollcall/internal/roster"
	"rollcall/internal/stanza"
	"rollcall/internal/store"
	"rollcall/internal/xmlstream"
)

// Options is what a server takes from the program that runs it.
type Options struct {
	Log     *slog.Logger
	Version string
	// Mount adds handlers to the HTTP listeners, by pattern (http.ServeMux): the demo's page.
	Mount map[string]http.Handler

	// LeaveMemory leaves the pace of the garbage collector alone: tests have many servers in one process.
	LeaveMemory bool

	// Rosters keeps rosters instead of the data folder: in tests a server is started again and finds what the one before
	// has left. Values keeps what else is an account's, likewise.
	Rosters roster.Store
	Values  store.Values
	// Messages keeps messages, likewise.
	Messages Messages

	// Listen and DialRoster replace the network in tests; nil is the real one. Listen is called with the listener's
	// name ("c2s", "c2s_tls", "http", "https") and its address.
	Listen     func(name, address string) (net.Listener, error)
	DialRoster func(ctx context.Context, network, address string) (net.Conn, error)
}

// Server is one rollcall.
type Server struct {
	cfg  *config.Config
	opts Options
	log  *slog.Logger

	registry  *host.Registry
	directory *contacts.Directory
	personal  *pep.Directory
	hosts     []*virtualHost
	certs     certificates     // nil: no TLS
	acme      *certs.ACME      // the same, when it is an authority that gives them
	turns     *certs.Turns     // of TLS handshakes
	clientCAs *certs.ClientCAs // nil: clients are asked for no certificate
	store     *store.Store
	storeSize atomic.Int64 // bytes, as they were looked at last
	guard     *auth.Guard
	metrics   *metrics.Metrics
	c2s       *c2s.Server
	bosh      *bosh.Manager
	admin     *admin.API
	memory    *allowance
	http      *http.Server
	crowd     *crowd

	registrations *auth.Registrations

	// The three ages of a server: while accepting it takes new connections, while alive its hosts and HTTP handlers
	// work, and what is left ends with the rosters.
	accepting, alive, rosters             context.Context
	stopAccepting, stopAlive, stopRosters context.CancelFunc

	reload sync.Mutex     // held while Reload works
	loaded *config.Config // the last one that was taken over

	ready     chan struct{}
	mu        sync.Mutex
	listeners map[string]net.Listener
	serving   sync.WaitGroup
	failed    chan error // a listener that does not work any more
}

// drainTime bounds a stop in good order.
const drainTime = 25 * time.Second

// New builds a server. ctx gives values to everything the server does; its end is not the server's, Run's is. The
// errors are about the configuration and what it names.
func New(ctx context.Context, cfg *config.Config, o Options) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, loaded: cfg, opts: o, log: o.Log,
		registry: host.NewRegistry(), directory: contacts.NewDirectory(), personal: pep.NewDirectory(),
		metrics: metrics.New(o.Version), memory: newAllowance(cfg.Limits.Memory), turns: certs.NewTurns(),
		ready: make(chan struct{}), listeners: make(map[string]net.Listener), failed: make(chan error, 4),
	}
	ctx = context.WithoutCancel(ctx)
	s.rosters, s.stopRosters = context.WithCancel(ctx)
	s.alive, s.stopAlive = context.WithCancel(s.rosters)
	s.accepting, s.stopAccepting = context.WithCancel(s.alive)
	if err := s.build(ctx); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) build(ctx context.Context) (err error) {
	if err := s.newCertificates(); err != nil {
		return err
	}
	if s.cfg.Admin.ClientCA != "" {
		if s.clientCAs, err = certs.NewClientCAs(s.cfg.Admin.ClientCA, s.log); err != nil {
			return s.cfg.KeyError("admin.client_ca", err)
		}
	}
	if s.cfg.DataDir != "" || s.cfg.Database.URL != "" {
		if s.store, err = OpenStore(ctx, s.cfg); err != nil {
			return err
		}
	}
	if s.store != nil {
		s.metrics.Store(s.storeState)
	}
	s.guard = s.newGuard()
	s.registrations = auth.NewRegistrations(s.cfg.Limits.RegistrationsPerAddress, s.cfg.Limits.Registrations, s.log)
	for i, h := range s.cfg.Hosts {
		if err := s.addHost(ctx, i, h); err != nil {
			return err
		}
	}
	s.c2s = c2s.New(s.accepting, s.streams(s.cfg.Limits))
	s.bosh = bosh.Handler(s.c2s, bosh.Options{
		Origins: s.cfg.HTTP.Origins, Proxies: s.cfg.HTTP.TrustedProxies, WriteStall: s.cfg.Limits.WriteStall, Log: s.log,
	})
	s.admin = s.newAdmin()
	s.http, err = s.newHTTP()
	return err
}

// streams says how clients' streams are negotiated within limits.
func (s *Server) streams(l config.Limits) c2s.Options {
	return c2s.Options{
		Hosts:          c2s.HostsOf(s.registry, s.sasl),
		Domain:         s.cfg.Hosts[0].Name,
		RequireTLS:     s.cfg.TLS.Require,
		ProxiedTLS:     !s.cfg.SignInNeedsTLS("http"),
		PreAuthTimeout: l.PreAuthTimeout,
		PreAuth:        xmlstream.Limits{Bytes: l.PreAuthBytes},
		Limits:         xmlstream.Limits{Bytes: l.StanzaBytes},
		PerAddress:     l.PreAuthPerAddress,
		Pace:           c2s.Pace{Rate: l.Rate, Burst: l.Burst, Exempt: l.RateExempt},
		Full:           s.memory.full.Load,
		Features:       s.streamFeatures,
		Registrar:      s.registrar,
		Log:            s.log,
	}
}

// sasl is the SASL server of a host, nil for one that is not ours.
func (s *Server) sasl(domain string) *auth.Server {
	if h := s.hostNamed(domain); h != nil {
		return h.sasl.Load()
	}
	return nil
}

// OpenStore opens the database of a configuration, for a server or for a program beside it.
func OpenStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	return store.Open(ctx, store.Options{
		DataDir: cfg.DataDir, URL: string(cfg.Database.URL), Connections: cfg.Database.Connections,
	})
}

// Ready is closed when every listener accepts connections.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr gives the address that a listener ("c2s", "c2s_tls", "http", "https") has, once Ready; nil when there is none.
func (s *Server) Addr(listener string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.listeners[listener]; l != nil {
		return l.Addr()
	}
	return nil
}

// Run serves until ctx is done, then stops in good order: no new connections, every stream is told system-shutdown
// and what waits for it is written, HTTP requests are finished. It returns nil after such a stop, and otherwise what
// went wrong. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.release()
	err := s.listen()
	if err == nil {
		err = s.startACME(s.alive)
	}
	if err == nil {
		for _, h := range s.hosts {
			h.host.Start()
		}
		s.serve()
		if !s.opts.LeaveMemory {
			s.serving.Go(func() { keepMemory(s.alive, s.memory, s.log) })
		}
		close(s.ready)
		s.log.Info("ready", "version", s.opts.Version)
		select {
		case <-ctx.Done():
			s.log.Info("stopping")
		case err = <-s.failed:
		}
	}
	s.drain(context.WithoutCancel(ctx))
	return err
}

// drain stops everything, the outermost first.
func (s *Server) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	s.stopAccepting()
	var hosts sync.WaitGroup
	for _, h := range s.hosts {
		hosts.Go(func() {
			h.host.Stop(ctx, &stanza.StreamError{Condition: stanza.SystemShutdown, Text: "the server is stopping"})
		})
	}
	hosts.Wait()
	s.c2s.Wait()
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("HTTP requests were cut off", "error", err)
		if err := s.http.Close(); err != nil {
			s.log.Warn("HTTP listener not closed", "error", err)
		}
	}
	s.stopAlive()
	s.admin.Close()
	s.serving.Wait()
	s.log.Info("stopped")
}

// release ends and closes what New made.
func (s *Server) release() {
	s.stopAccepting()
	s.stopAlive()
	s.stopRosters()
	for _, h := range s.hosts {
		if h.engine != nil {
			h.engine.Stop()
		}
		if h.profiles != nil {
			h.profiles.stop()
		}
		if h.service != nil {
			h.service.close()
		}
	}
	if s.acme != nil {
		s.acme.Stop()
	}
	for _, l := range s.listeners {
		l.Close() // mostly closed already, by those who served them
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Error("database not closed", "error", err)
		}
	}
}

// fail reports that a listener has ended though nobody stopped it.
func (s *Server) fail(name string, err error) {
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return
	}
	s.failed <- fmt.Errorf("listen.%s: %w", name, err)
}
