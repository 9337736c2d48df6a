// Package websocket carries client streams over WebSocket (RFC 7395).
package websocket

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/c2s"
	"rollcall/internal/proxied"
)

// Subprotocol is the name of XMPP among the subprotocols of WebSocket (RFC 7395 section 3.1).
const Subprotocol = "xmpp"

// Options says how connections are treated.
type Options struct {
	// Origins lists the origins whose pages may connect, as c2s.OriginAllowed takes them.
	Origins []string
	// Proxies are the reverse proxies that are believed.
	Proxies proxied.Trusted
	// WriteStall is how long a write may wait for the peer to read; 30 s.
	WriteStall time.Duration
	// Ping is how long a client may be silent until it is asked whether it is there, and how long it has to answer
	// that; 30 s.
	Ping time.Duration
	Log  *slog.Logger
}

// Handler answers the requests that open a WebSocket. The connections run on srv and are its to wait for.
func Handler(srv *c2s.Server, o Options) http.Handler {
	if o.WriteStall <= 0 {
		o.WriteStall = 30 * time.Second
	}
	if o.Ping <= 0 {
		o.Ping = 30 * time.Second
	}
	return &handler{srv, o}
}

type handler struct {
	srv  *c2s.Server
	opts Options
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := h.opts.Proxies.Client(r)
	switch {
	case !hasToken(r.Header, "Upgrade", "websocket", strings.EqualFold):
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "This is where XMPP clients connect by WebSocket (RFC 7395).", http.StatusUpgradeRequired)
		return
	case !c2s.OriginAllowed(r, h.opts.Origins):
		h.opts.Log.Info("WebSocket refused: pages of this origin may not connect",
			"origin", r.Header.Get("Origin"), "remote", client.Name)
		http.Error(w, "Pages of this origin may not connect here. The server's administrator can allow it.",
			http.StatusForbidden)
		return
	case !hasToken(r.Header, "Sec-WebSocket-Protocol", Subprotocol, func(a, b string) bool { return a == b }):
		http.Error(w, "Offer the subprotocol "+Subprotocol+" (RFC 7395 section 3.1).", http.StatusBadRequest)
		return
	}
	tk, err := h.srv.Admit(client.IP)
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "The server takes no more connections now.", http.StatusServiceUnavailable)
		return
	}
	hw := &hijacker{ResponseWriter: w}
	ws, err := websocket.Accept(hw, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // the origin was checked
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil { // and answered
		tk.Release()
		h.opts.Log.Debug("WebSocket handshake failed", "remote", client.Name, "error", err)
		return
	}
	h.srv.Start(tk, newTransport(ws, hw.conn, r, client, &h.opts))
}

// hijacker remembers the connection that a WebSocket takes over.
type hijacker struct {
	http.ResponseWriter
	conn *conn
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &conn{Conn: c}
	return h.conn, rw, nil
}

// hasToken tells whether a header of comma-separated tokens has one of them.
func hasToken(h http.Header, name, token string, equal func(a, b string) bool) bool {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if equal(strings.Trim(t, " \t"), token) {
				return true
			}
		}
	}
	return false
}
