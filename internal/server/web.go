package server

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"rollcall/internal/config"
	"rollcall/internal/jid"
	"rollcall/internal/proxied"
	"rollcall/internal/web/console"
	"rollcall/internal/web/files"
	"rollcall/internal/web/hostmeta"
)

const (
	webSocketPath = "/xmpp-websocket"
	boshPath      = "/http-bind"
)

// mountWeb adds what browsers ask for.
func (s *Server) mountWeb(mux *http.ServeMux) error {
	hostmeta.Register(mux, hostmeta.Options{Endpoints: s.endpoints})
	mux.Handle("/console/", http.StripPrefix("/console", console.Handler()))
	mux.Handle("GET /console", http.RedirectHandler("console/", http.StatusMovedPermanently))
	return s.mountFiles(mux)
}

// mountFiles serves the hosts' folders, each at its path for requests to its host.
func (s *Server) mountFiles(mux *http.ServeMux) error {
	byPath := map[string]map[string]http.Handler{} // path, then host
	for i, h := range s.cfg.Hosts {
		if h.Files.Dir == "" {
			continue
		}
		handler, err := files.New(files.Options{
			Dir: h.Files.Dir, Path: h.Files.Path, Index: h.Files.Index, Listing: h.Files.Listing, Policy: h.Files.Policy,
			WriteStall: s.cfg.Limits.WriteStall, Log: s.log.With("host", h.Name),
		})
		if err != nil {
			return s.cfg.KeyError(config.HostKey(i, "files.dir"), err)
		}
		if byPath[h.Files.Path] == nil {
			byPath[h.Files.Path] = map[string]http.Handler{}
		}
		byPath[h.Files.Path][h.Name] = handler
	}
	for path, byHost := range byPath {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			name, _ := s.hostOf(r)
			if handler, ok := byHost[name]; ok {
				handler.ServeHTTP(w, r)
				return
			}
			http.NotFound(w, r)
		})
	}
	return nil
}

// hostOf says which of our hosts a request is to: that of the Host header, else the only one there is.
func (s *Server) hostOf(r *http.Request) (name string, ok bool) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	canonical, err := jid.Domainpart(host)
	for _, h := range s.cfg.Hosts {
		if err == nil && h.Name == canonical {
			return h.Name, true
		}
	}
	if len(s.cfg.Hosts) == 1 {
		return s.cfg.Hosts[0].Name, true
	}
	return "", false
}

// publicBase is the URL below which the sender of r reaches our paths, without a slash at the end: http.public_url, else
// what the request itself says. It is false for a Host header that is none.
func (s *Server) publicBase(r *http.Request, host string) (*url.URL, bool) {
	if configured := s.cfg.HTTP.PublicURL; configured != "" {
		base, err := url.Parse(strings.ReplaceAll(configured, "{host}", host))
		return base, err == nil
	}
	scheme := "http"
	if proxied.Trusted(s.cfg.HTTP.TrustedProxies).Client(r).Secure {
		scheme = "https"
	}
	base, err := url.Parse(scheme + "://" + r.Host)
	if err != nil || base.Host == "" || base.Host != r.Host || base.User != nil {
		return nil, false
	}
	return base, true
}

// endpoints says where clients of the host that r is about connect. Where sign-in needs TLS and the connection would have
// none, there is nowhere.
func (s *Server) endpoints(r *http.Request) (at hostmeta.Endpoints, ok bool) {
	host, ok := s.hostOf(r)
	if !ok {
		return at, false
	}
	base, ok := s.publicBase(r, host)
	if !ok {
		return at, false
	}
	if base.Scheme == "http" && s.cfg.SignInNeedsTLS("http") {
		return at, true
	}
	at.BOSH = base.String() + boshPath
	ws := *base
	ws.Scheme = map[string]string{"http": "ws", "https": "wss"}[base.Scheme]
	at.WebSocket = ws.String() + webSocketPath
	return at, true
}
