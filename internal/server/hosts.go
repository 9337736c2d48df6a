package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/config"
	"rollcall/internal/feature/archive"
	"rollcall/internal/feature/lease"
	"rollcall/internal/feature/pep"
	"rollcall/internal/host"
	"rollcall/internal/metrics"
	"rollcall/internal/roster"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/webhook"
)

// virtualHost is a host with what belongs to it alone.
type virtualHost struct {
	cfg      config.Host // as it was at the start
	host     *host.Host
	log      *slog.Logger
	engine   *roster.Engine
	service  *service // nil when nobody is asked
	metrics  *metrics.Instruments
	services *services
	sasl     atomic.Pointer[auth.Server]
	profiles *profiles       // nil when users write their own vCards
	avatars  *pep.PEP        // where their pictures are shown; nil: nowhere else
	webhooks *webhook.Sender // nil when nobody is told
	leases   *lease.Leases
	members  *members
	counted  *counted
	uids     *host.UIDs // of archived messages; nil when there are none
	archives *archive.Archives
	users    *users // nil where users have no accounts here
	roles    roles
}

// keptBytes is the memory that a host keeps for rosters of users who are offline; the store has them all.
const keptBytes = 64 << 20

// storedRosters is how many rosters a host keeps in the store, when it can ask for those that it forgets.
const storedRosters = 1_000_000

// addHost builds the host that is number i in the configuration.
func (s *Server) addHost(ctx context.Context, i int, c config.Host) error {
	log := s.log.With("host", c.Name)
	h := &virtualHost{cfg: c, log: log, counted: &counted{store: s.store, host: c.Name, log: log, size: &s.storeSize}}
	h.metrics = s.metrics.Host(c.Name, h.state())
	h.services = newServices(h.metrics)
	s.hosts = append(s.hosts, h)
	if err := s.addProfiles(h, i); err != nil {
		return err
	}
	if err := s.addWebhooks(h, i); err != nil {
		return err
	}
	if err := s.addEngine(h, i, log); err != nil {
		return err
	}
	sasl, err := s.newAuth(ctx, h, s.cfg, i)
	if err != nil {
		return err
	}
	h.sasl.Store(sasl)
	h.leases = s.newLeases(h)
	h.members = s.newMembers(h)
	h.roles.names.Store(&c.Admins)
	if c.Auth.Method == config.AuthAccounts {
		h.users = s.newUsers(h)
		h.users.rules.Store(&c.Auth)
		h.roles.accounts = &h.users.accounts
	}
	if h.uids, err = s.uids(ctx, h); err != nil {
		return err
	}
	features, err := s.features(h)
	if err != nil {
		return err
	}
	h.host, err = host.New(s.alive, s.registry, host.Options{
		Name: c.Name, Features: features, SessionsPerUser: s.cfg.Limits.SessionsPerUser,
		OutboxBytes: s.cfg.Limits.OutboxBytes, StanzaBytes: s.cfg.Limits.StanzaBytes,
		Resume: resume(s.cfg.Limits, c), Unacked: s.cfg.Limits.Unacked, DetachedPerUser: s.cfg.Limits.DetachedPerUser,
		Idle: s.cfg.Limits.IdleStanzas, Mail: s.mail(h), Log: s.log, Metrics: h.metrics,
	})
	return err
}

// resume is how long a session may outlive its connection. Nobody comes back as the same anonymous user.
func resume(limits config.Limits, c config.Host) time.Duration {
	if c.Auth.Method == config.AuthAnonymous {
		return 0
	}
	return limits.Resume
}

// addEngine makes a host's roster engine, and the client of its service.
func (s *Server) addEngine(h *virtualHost, i int, log *slog.Logger) error {
	c := h.cfg
	o := roster.Options{
		Host:      c.Name,
		Documents: rosterdoc.Options{MaxItems: c.Roster.MaxItems, MaxBytes: int(c.Roster.MaxBytes)},
		MaxAge:    c.Roster.MaxAge, LoginWait: c.Roster.LoginWait, Guard: c.Roster.Guard,
		Waiting: waiting(c.Roster), KeepBytes: keptBytes, Stored: storedRosters, Log: log, Metrics: h.metrics,
		Applied: h.rosterTold(),
	}
	switch {
	case s.opts.Rosters != nil:
		o.Store = s.opts.Rosters
	case s.store != nil:
		o.Store = s.store
	case !c.Roster.Asks():
		o.KeepBytes = 0 // what is in memory is all there is
	}
	if !c.Roster.Asks() {
		log.Info("no roster.url: nobody is asked for rosters, they are what the application sends")
		h.engine = roster.New(s.rosters, o)
		return nil
	}
	client, err := s.newClient(h, s.cfg, i)
	if err != nil {
		return err
	}
	h.service = &service{newReplaceable(client)}
	o.Source = h.service
	h.engine = roster.New(s.rosters, o)
	return nil
}

// waiting is how many users of one refresh wait for their fetch at a time: as many as can be under way, and no more than
// a bound, for each waits in a goroutine.
func waiting(c config.Roster) int {
	const most = 4096
	if c.BatchURL == "" {
		return c.Concurrency
	}
	return min(most, c.Concurrency*c.BatchSize)
}

// newAuth makes the SASL server of a host, which is number i in the configuration that from is.
func (s *Server) newAuth(ctx context.Context, h *virtualHost, from *config.Config, i int) (*auth.Server, error) {
	a, err := authConfig(ctx, from, i, outside{store: s.store, version: s.opts.Version, log: h.log,
		dial: s.opts.DialRoster, services: h.services})
	if err != nil {
		return nil, err
	}
	a.AllowUnencrypted = unencrypted(s.cfg) // listeners stay as they were at the start
	a.Guard, a.Observe, a.Log = s.guard, h.metrics.SignIn, h.log
	if a.Certificates, err = s.clientCertificates(h); err != nil {
		return nil, err
	}
	return auth.New(a)
}

// unencrypted tells whether some connections may do without TLS.
func unencrypted(c *config.Config) bool { return !c.SignInNeedsTLS("c2s") || !c.SignInNeedsTLS("http") }

// authConfig says how users of a host sign in. Where only some connections may do without TLS, as WebSockets from this
// machine do, it allows that, and c2s asks each connection for what it must have.
func authConfig(ctx context.Context, cfg *config.Config, i int, o outside) (auth.Config, error) {
	c, st := cfg.Hosts[i], o.store
	a := auth.Config{Host: c.Name, AllowUnencrypted: unencrypted(cfg),
		OmitDowngradeHash: !c.Auth.DowngradeProtection, Iterations: c.Auth.Iterations}
	if st != nil {
		secret, err := st.Secret(ctx, "auth:"+c.Name)
		if err != nil {
			return a, err
		}
		a.Secret, a.Tokens = secret, tokens{st, c.Name}
	}
	switch c.Auth.Method {
	case config.AuthOpen:
		a.Method = auth.Open{}
	case config.AuthAnonymous:
		a.Method = auth.Anonymous{}
	case config.AuthAccounts:
		if c.Auth.FAST {
			a.FAST = clientTokens{st, c.Name}
		}
		known := accounts{st, c.Name}
		a.Method = auth.Accounts{Source: known, Kept: true, Unbound: !c.Auth.ChannelBinding, Plain: c.Auth.Plain}
	case config.AuthHTTP:
		var err error
		if a.Method, err = o.http(cfg, i); err != nil {
			return a, err
		}
	case config.AuthJWT:
		var err error
		if a.Method, err = o.jwt(cfg, i); err != nil {
			return a, err
		}
	default:
		return a, fmt.Errorf("host %s: there is no auth.method %q", c.Name, c.Auth.Method)
	}
	return a, nil
}
