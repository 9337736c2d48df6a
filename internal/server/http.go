package server

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"rollcall/internal/admin"
	"rollcall/internal/c2s/websocket"
	"rollcall/internal/config"
	"rollcall/internal/fault"
)

// newHTTP makes the HTTP server of both listeners: the admin API, WebSocket, BOSH, what browsers ask for, and what the
// program mounts.
func (s *Server) newHTTP() (*http.Server, error) {
	mux := http.NewServeMux()
	s.admin.Register(mux)
	mux.Handle(webSocketPath, s.guardOpen(websocket.Handler(s.c2s, websocket.Options{
		Origins: s.cfg.HTTP.Origins, Proxies: s.cfg.HTTP.TrustedProxies, WriteStall: s.cfg.Limits.WriteStall, Log: s.log,
	})))
	web := s.guardOpen(s.bosh)
	mux.Handle(boshPath, web)
	mux.Handle(boshPath+"/", web) // as some clients are configured
	if err := s.mountWeb(mux); err != nil {
		return nil, err
	}
	for pattern, h := range s.opts.Mount {
		mux.Handle(pattern, h)
	}
	s.crowd = &crowd{proxies: s.cfg.HTTP.TrustedProxies, log: s.log, most: s.cfg.Limits.HTTPPerAddress}
	return &http.Server{
		Handler:           s.recovered(closeChunked(boundBodies(s.answerChallenges(mux)))),
		TLSConfig:         s.httpsConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      answerTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    10 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 100, WriteByteTimeout: s.cfg.Limits.WriteStall},
		ConnState:         s.crowd.follow,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}, nil
}

// answerTime is how long an answer may take from its request on: a client that reads nothing holds its connection no longer. It is
// more than anybody waits before an answer begins; what takes longer, such as events, says so by deadlines of its own.
const answerTime = 3 * time.Minute

// recovered has a fault of ours end the request that met it, with its connection. net/http does the same, and logs what the panic was given.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p != http.ErrAbortHandler {
				fault.Log(s.log, "answering a request over HTTP", p)
			}
			panic(http.ErrAbortHandler)
		}()
		next.ServeHTTP(w, r)
	})
}

// closeChunked uses no connection again on which a body came in chunks. Such a request may have had a Content-Length
// as well, which net/http drops without a word: "the server MUST close the connection after responding to such a request to
// avoid the potential attacks" (RFC 9112 section 6.1), in which a proxy takes the rest for another request.
func closeChunked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// bodyTime is how long a body may take to come where nothing says less.
const bodyTime = 30 * time.Second

// boundBodies gives every body its time, whether somebody wants it or not: net/http reads what is left of one, up to 256 KiB, before
// it sends the answer, and would wait for it for ever.
func boundBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // a connection that has none was not made by a listener
		bounded := *r                                         // net/http looks at its own
		bounded.Body = &boundBody{r.Body, control}
		next.ServeHTTP(w, &bounded)
	})
}

// A boundBody frees its connection of the deadline at its end: the answer may take longer, and net/http reads meanwhile to see whether
// the client is there.
type boundBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *boundBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// guardOpen keeps pages of other sites from a server that takes any password. Such a server listens on loopback, but a
// site whose name was made to point there (DNS rebinding) is in the reach of the user's browser, and counts as the same
// origin; it cannot send another Host than its own name.
func (s *Server) guardOpen(next http.Handler) http.Handler {
	if !slices.ContainsFunc(s.cfg.Hosts, func(h config.Host) bool { return h.Auth.Method == config.AuthOpen }) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.Loopback(r.Host) && !config.Loopback(net.JoinHostPort(strings.Trim(r.Host, "[]"), "80")) {
			http.Error(w, "This server takes any password, so it answers only to localhost.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// newAdmin makes the API for the service and for operators.
func (s *Server) newAdmin() *admin.API {
	o := s.callers(s.cfg)
	o.ClientCertificates = s.cfg.Admin.ClientCA != ""
	o.Database = s.databaseStatus
	o.Ready, o.Metrics, o.Version, o.Log = s.isReady, s.metrics.Handler(), s.opts.Version, s.log
	for i, h := range s.hosts {
		to := &o.Hosts[i]
		to.Rosters, to.MaxBytes = rosters{h.engine, h.service != nil}, h.cfg.Roster.MaxBytes
		if h.users != nil {
			to.Users = h.users
		}
		to.Sessions, to.Status, to.Prebind = sessions{h.host, s.registry}, h.status, s.prebind(h.cfg.Name)
		to.MakeToken, to.RevokeTokens = s.makeToken(h), s.revokeTokens(h)
		if h.profiles != nil {
			to.Profiles = h.profiles
		}
	}
	return admin.New(s.accepting, o)
}

// callers says who may call the API, and how often. For a host that c has no more, which takes a restart to go, it is who might before.
func (s *Server) callers(c *config.Config) admin.Options {
	o := admin.Options{Tokens: c.Admin.Tokens, WebhookSecrets: c.Admin.WebhookSecrets, ClientNames: c.Admin.ClientNames, Rate: c.Admin.Rate}
	for _, h := range s.hosts {
		of := admin.Host{Name: h.cfg.Name, Tokens: h.cfg.AdminTokens, WebhookSecrets: h.cfg.AdminWebhookSecrets}
		if now := c.Host(of.Name); now != nil {
			of.Tokens, of.WebhookSecrets = now.AdminTokens, now.AdminWebhookSecrets
		}
		o.Hosts = append(o.Hosts, of)
	}
	return o
}

func (s *Server) isReady() bool {
	select {
	case <-s.ready:
		return s.accepting.Err() == nil
	default:
		return false
	}
}

// status is what operators see of a host.
func (h *virtualHost) status() admin.HostStatus {
	c := h.engine.Counts()
	return admin.HostStatus{
		Users: c.Online, Sessions: h.host.SessionCount(),
		Rosters: admin.RosterCounts{Known: c.Online - c.Unknown, Stale: c.Stale, Unknown: c.Unknown, Kept: c.Kept, Held: c.Held},
		Service: h.serviceStatus(), Services: h.services.statuses(), Messages: h.messageStatus(),
	}
}

func (h *virtualHost) serviceStatus() admin.ServiceStatus {
	if h.service == nil {
		return admin.ServiceStatus{State: "none"}
	}
	health := h.service.client().Health()
	s := admin.ServiceStatus{
		Fetches: health.Fetches, Failures: health.Failures, InFlight: health.InFlight, Breaker: health.Breaker,
		LastSuccess: health.LastSuccess, LastFailure: health.LastFailure,
	}
	s.State = serviceState(s, health.ConsecutiveFailures)
	if s.State != "ok" {
		s.LastError = health.LastError
	}
	return s
}
