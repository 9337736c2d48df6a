package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/internal/config"
	"rollcall/internal/jid"
	"rollcall/internal/webhook"
)

// "Who may" of section 2: Bearer tokens, signatures (signature.go) and client certificates of the admin or of the host;
// where none is configured, loopback peers.

// How a grant was come by, for the log.
const (
	byToken       = "token"
	bySignature   = "signature"
	byCertificate = "certificate"
	byLoopback    = "loopback"
)

// A grant is what a caller may do: everything, or what concerns some hosts.
type grant struct {
	by    string
	name  string // which of several: the key of the configuration, or a name in the certificate; never a secret
	all   bool
	hosts map[*Host]bool
	id    webhookID // of a signature
}

func (g grant) allows(h *Host) bool { return g.all || g.hosts[h] }

// key is what the rate of requests is counted by.
func (g grant) key(r *http.Request) string {
	if g.by == byLoopback {
		return addressOf(r.RemoteAddr)
	}
	return g.by + " " + g.name
}

// who is who may call: the credentials that are configured.
type who struct {
	tokens      []tokenKey
	secrets     []secretKey
	clientNames []string
	open        map[*Host]bool // hosts that nothing protects
}

// Allow says anew who may call: by the credentials of o and of its hosts, which are those that the API was made with; and how
// often, by o.Rate. Whatever else o says is not looked at. Requests that were let in before go on.
func (a *API) Allow(o Options) {
	w := &who{clientNames: o.ClientNames, open: map[*Host]bool{}}
	w.tokens, w.secrets = a.tokenKeys(o), a.secretKeys(o)
	for _, h := range o.Hosts {
		if len(o.Tokens)+len(o.WebhookSecrets)+len(h.Tokens)+len(h.WebhookSecrets) == 0 && !a.opts.ClientCertificates {
			w.open[a.hosts[h.Name]] = true
		}
	}
	a.who.Store(w)
	a.requests.set(float64(o.Rate), o.Rate)
}

// A tokenKey is the hash of a token: comparing hashes takes the same time whatever the tokens' lengths.
type tokenKey struct {
	hash [sha256.Size]byte
	credential
}

// A credential says which one of the configuration it is, and what it is for.
type credential struct {
	name string
	host *Host // nil: every host
}

// add grants what the credential is for.
func (g *grant) add(c credential) {
	if g.hosts == nil {
		g.hosts, g.name = map[*Host]bool{}, c.name
	}
	g.all = g.all || c.host == nil
	g.hosts[c.host] = true
}

// credentials lists the secrets of all hosts and those of each: key is the name of their key in the configuration.
func (a *API) credentials(o Options, key string, all []config.Secret, ofHost func(*Host) []config.Secret) (list []credential, secrets []config.Secret) {
	add := func(name string, h *Host, of []config.Secret) {
		for i, s := range of {
			c := credential{name, h}
			if len(of) > 1 {
				c.name = fmt.Sprintf("%s %d", name, i+1)
			}
			list, secrets = append(list, c), append(secrets, s)
		}
	}
	add("admin."+key, nil, all)
	for i := range o.Hosts {
		h := &o.Hosts[i]
		add("admin_"+key+" of "+h.Name, a.hosts[h.Name], ofHost(h))
	}
	return list, secrets
}

func (a *API) tokenKeys(o Options) (keys []tokenKey) {
	list, secrets := a.credentials(o, "token", o.Tokens, func(h *Host) []config.Secret { return h.Tokens })
	for i, c := range list {
		keys = append(keys, tokenKey{sha256.Sum256([]byte(secrets[i])), c})
	}
	return keys
}

// access decides what the sender of the request may do, before anything else is looked at. limit bounds the body where a
// signature makes it necessary to read it. Its error is a *refusal.
func (a *API) access(c *call, limit int64) (err error) {
	token, sent := bearer(c.r)
	switch {
	case sent:
		c.grant, err = a.token(token)
	case c.r.Header.Get(webhook.HeaderSignature) != "":
		c.grant, err = a.signature(c, limit)
	case a.opts.ClientCertificates && c.r.TLS != nil && len(c.r.TLS.VerifiedChains) > 0:
		c.grant, err = a.certificate(c.r)
	default:
		c.grant, err = a.loopback(c.r)
	}
	return err
}

func (a *API) token(token string) (grant, error) {
	g := grant{by: byToken}
	hash := sha256.Sum256([]byte(token))
	for _, k := range a.who.Load().tokens { // all of them: the time taken must not tell which one was near
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			g.add(k.credential)
		}
	}
	if g.hosts == nil {
		return grant{}, refuse(http.StatusUnauthorized, "the Bearer token is none of those configured (admin.token, host.admin_token)")
	}
	return g, nil
}

// certificate grants everything to a client whose certificate the listener has verified. A browser sends it for any page,
// so pages of other sites must be kept out.
func (a *API) certificate(r *http.Request) (grant, error) {
	leaf := r.TLS.PeerCertificates[0]
	names := namesOf(leaf)
	name := leaf.Subject.CommonName // for the log alone
	if len(names) > 0 {
		name = names[0]
	}
	if allowed := a.who.Load().clientNames; len(allowed) > 0 {
		i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(allowed, n) })
		if i < 0 {
			return grant{}, refuse(http.StatusUnauthorized, "the client certificate has none of the names in admin.client_names")
		}
		name = names[i]
	}
	switch {
	case time.Now().After(leaf.NotAfter): // since the handshake
		return grant{}, refuse(http.StatusUnauthorized, "the client certificate has expired")
	case crossSite(r):
		return grant{}, refuse(http.StatusForbidden, "a page of another site may not call; only programs may")
	}
	return grant{by: byCertificate, name: name, all: true}, nil
}

// bearer returns the token of the Authorization header (RFC 6750 section 2.1). Two such headers are a token that
// matches none. Credentials of other schemes are not ours and count as none.
func bearer(r *http.Request) (token string, sent bool) {
	scheme, token, _ := strings.Cut(strings.Join(r.Header.Values("Authorization"), ", "), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// namesOf gives the subject alternative names of a certificate. The common name is none (RFC 9525 section 2).
func namesOf(cert *x509.Certificate) []string {
	names := slices.Concat(cert.DNSNames, cert.EmailAddresses)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// loopback grants the hosts that are open to programs on this machine.
func (a *API) loopback(r *http.Request) (grant, error) {
	g := grant{by: byLoopback, all: true, hosts: map[*Host]bool{}}
	open := a.who.Load().open
	for _, h := range a.hosts {
		if open[h] {
			g.hosts[h] = true
		} else {
			g.all = false
		}
	}
	switch {
	case len(g.hosts) == 0:
		return grant{}, refuse(http.StatusUnauthorized, "%s", a.needed())
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

// needed says which credential to send.
func (a *API) needed() string {
	w := a.who.Load()
	switch {
	case len(w.tokens) > 0:
		return "a token is needed: send the header Authorization: Bearer TOKEN"
	case len(w.secrets) > 0:
		return "a signature is needed: send the headers webhook-id, webhook-timestamp and webhook-signature (Standard Webhooks)"
	default:
		return "a client certificate is needed, over https"
	}
}

// here refuses a page whose own name was made to resolve to this machine (DNS rebinding), where a grant came from the
// peer's address alone. Notifications of programs do without: COMPAT, services sent them with any Host, and all they do is
// ask the service.
func (a *API) here(c *call, rt *route) error {
	notification := strings.HasPrefix(rt.path, refreshPath) || rt.path == profilesPath
	if c.grant.by == byLoopback && (!notification || c.r.Header.Get("Origin") != "") && !a.ownName(c.r) {
		return refuse(http.StatusForbidden, "the Host header %q is not a name of this server; use its IP address, localhost, or set admin.token", c.r.Host)
	}
	return nil
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
