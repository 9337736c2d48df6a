package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/proxied"
)

// A crowd bounds the connections over HTTP of one network, so that whoever opens many and says little on them, which each
// for itself may do for minutes, does not take the descriptors of all. Programs on this machine and trusted proxies, who
// stand for many, do not count; nor does WebSocket once it is no longer HTTP: c2s counts who has not signed in.
type crowd struct {
	proxies proxied.Trusted
	log     *slog.Logger

	mu      sync.Mutex
	most    int // of one network
	from    map[netip.Prefix]int
	refused int       // since said
	said    time.Time // when refusals were last logged
}

// bound says how many there may be from now on.
func (c *crowd) bound(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = most
}

// follow is for http.Server.ConnState: every connection is new, and in the end closed or something else than HTTP, once each.
func (c *crowd) follow(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew, http.StateClosed, http.StateHijacked:
	default:
		return
	}
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	addr := tcp.AddrPort().Addr()
	network := c2s.Network(addr)
	if !network.IsValid() || c.proxies.Has(addr) {
		return
	}
	if state != http.StateNew {
		c.leave(network)
	} else if !c.enter(network) {
		_ = conn.Close() // net/http finds that out, and says StateClosed
	}
}

// enter counts a connection, and tells whether there was room for it.
func (c *crowd) enter(from netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == nil {
		c.from = make(map[netip.Prefix]int)
	}
	c.from[from]++
	if c.from[from] <= c.most {
		return true
	}
	c.refused++
	if now := time.Now(); now.Sub(c.said) >= 10*time.Second { // a flood is one line every ten seconds
		c.log.Warn("connections over HTTP refused: too many of one address, see limits.http_per_address", "count", c.refused, "last_from", from)
		c.refused, c.said = 0, now
	}
	return false
}

func (c *crowd) leave(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from[from]--; c.from[from] <= 0 {
		delete(c.from, from)
	}
}
