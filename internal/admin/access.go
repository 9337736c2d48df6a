package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"rollcall/internal/jid"
)

// "Who may" of section 2: Bearer tokens of the admin or of the host; where none is configured, loopback peers.

// How a grant was come by, for the log.
const (
	byToken    = "token"
	byLoopback = "loopback"
)

// A grant is what a caller may do: everything, or what concerns some hosts.
type grant struct {
	by    string
	all   bool
	hosts map[*Host]bool
}

func (g grant) allows(h *Host) bool { return g.all || g.hosts[h] }

// A tokenKey is the hash of a token: comparing hashes takes the same time whatever the tokens' lengths.
type tokenKey struct {
	hash [sha256.Size]byte
	host *Host // nil: every host
}

func tokenKeys(o Options) (keys []tokenKey) {
	for _, t := range o.Tokens {
		keys = append(keys, tokenKey{sha256.Sum256([]byte(t)), nil})
	}
	for i := range o.Hosts {
		for _, t := range o.Hosts[i].Tokens {
			keys = append(keys, tokenKey{sha256.Sum256([]byte(t)), &o.Hosts[i]})
		}
	}
	return keys
}

// access decides what the sender of r may do, before anything else is looked at. Its error is a *refusal.
func (a *API) access(r *http.Request) (grant, error) {
	token, sent := bearer(r)
	if !sent {
		return a.loopback(r)
	}
	g := grant{by: byToken, hosts: map[*Host]bool{}}
	hash := sha256.Sum256([]byte(token))
	for _, k := range a.keys { // all of them: the time taken must not tell which one was near
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			g.all = g.all || k.host == nil
			g.hosts[k.host] = true
		}
	}
	if len(g.hosts) == 0 {
		return grant{}, refuse(http.StatusUnauthorized, "the Bearer token is none of those configured (admin.token, host.admin_token)")
	}
	return g, nil
}

// bearer returns the token of the Authorization header (RFC 6750 section 2.1). Two such headers are a token that
// matches none. Credentials of other schemes are not ours and count as none.
func bearer(r *http.Request) (token string, sent bool) {
	scheme, token, _ := strings.Cut(strings.Join(r.Header.Values("Authorization"), ", "), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// loopback grants the hosts that have no token to programs on this machine.
func (a *API) loopback(r *http.Request) (grant, error) {
	g := grant{by: byLoopback, hosts: map[*Host]bool{}}
	if len(a.opts.Tokens) == 0 {
		for _, h := range a.hosts {
			if len(h.Tokens) == 0 {
				g.hosts[h] = true
			}
		}
	}
	switch {
	case len(g.hosts) == 0:
		return grant{}, refuse(http.StatusUnauthorized, "a token is needed: send the header Authorization: Bearer TOKEN")
	case !isLoopback(r.RemoteAddr):
		return grant{}, refuse(http.StatusUnauthorized,
			"no token is configured, so only programs on the server's own machine may call; set admin.token and send it as Authorization: Bearer TOKEN")
	case forwarded(r.Header) != "":
		return grant{}, refuse(http.StatusUnauthorized,
			"the request came through a proxy (header %s), so the server cannot tell who sent it; set admin.token and send it as Authorization: Bearer TOKEN", forwarded(r.Header))
	case crossSite(r):
		return grant{}, refuse(http.StatusForbidden, "a page of another site may not call; only programs may")
	}
	return g, nil
}

// isLoopback judges the TCP peer, which nobody can forge, never a header.
func isLoopback(peer string) bool {
	addr, err := netip.ParseAddrPort(peer)
	return err == nil && addr.Addr().IsLoopback()
}

// forwarded names the header by which a reverse proxy shows itself, "" when there is none: a proxy on this machine
// makes every peer a loopback one.
func forwarded(h http.Header) string {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if _, ok := h[name]; ok {
			return name
		}
	}
	return ""
}

// crossSite says whether a browser sent r for a page that is not of this server. Browsers cannot leave these headers
// out; other programs do not send them. GET is checked too, for one of ours has an effect, which net/http's
// CrossOriginProtection rightly does not expect.
func crossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none": // none: typed into the address bar
		return false
	case "":
		origin := r.Header.Get("Origin")
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host))
	default:
		return true
	}
}

// ownName says whether the Host header is a name that cannot be another site's: an IP address, localhost, or one of
// our hosts. A page whose own name was made to resolve to 127.0.0.1 (DNS rebinding) shows that name.
func (a *API) ownName(r *http.Request) bool {
	name := hostOf(r)
	if name == "localhost" || a.hosts[name] != nil {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

// hostOf returns the domain of the Host header in canonical form, "" when it is none.
func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if name, err := jid.Domainpart(host); err == nil {
		return name
	}
	return host
}
