// Package config reads rollcall's configuration: one TOML file (TOML 1.0), strict, into values that are ready to use.
//
// keys.go is the list of all keys, with the default and a line of explanation for each; docs/config.md and
// rollcall.example.toml are written from it. Whatever is wrong with a file is reported at once, each
// problem with file, line, column, key and what is allowed.
package config

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

// A Config is a whole configuration. Treat it as immutable once it is handed to a server.
type Config struct {
	// DataDir is the folder of the database: absolute when it comes from a file, "" keeps everything in memory.
	DataDir  string
	Database Database
	Listen   Listen
	TLS      TLS
	Admin    Admin
	HTTP     HTTP
	Limits   Limits
	Log      Log
	Hosts    []Host // in the order of the file; at least one

	source source
}

// Database is a PostgreSQL database, in place of SQLite in DataDir.
type Database struct {
	URL         Secret // "postgres://…", maybe with a password; "": SQLite
	Connections int    // at a time
}

// Listen holds TCP addresses, "host:port"; "" means that there is no such listener.
type Listen struct {
	C2S    string // TCP; STARTTLS where there is a certificate
	C2STLS string // direct TLS
	HTTP   string
	HTTPS  string
	// ProxyProtocol are the proxies in front of C2S and C2STLS that send the PROXY protocol.
	ProxyProtocol []netip.Prefix
}

// TLS is the server's certificate and whether clients must use it.
type TLS struct {
	Cert    string // path of a PEM file with the chain; "" when there is none
	Key     string // path of a PEM file
	Require bool   // see SignInNeedsTLS
	ACME    ACME
}

// HasCertificate says whether there is a certificate, or is going to be one.
func (t TLS) HasCertificate() bool { return t.Cert != "" || t.ACME.Email != "" }

// ACME gets certificates from an authority (RFC 8555), when Email is not "".
type ACME struct {
	Email     string
	Directory string   // URL
	CAFile    string   // path of a PEM file that certifies the authority's own server; "" for the machine's
	Storage   string   // folder; "" is the folder acme in DataDir
	Domains   []string // beside the hosts' names
}

// Admin is who may use the HTTP API, for every host.
type Admin struct {
	Tokens         []Secret // any of them
	WebhookSecrets []Secret // Standard Webhooks secrets, which WebhookKey takes; any of them
	ClientCA       string   // path of a PEM file; "" asks clients for no certificate
	ClientNames    []string // subject alternative names of which a client's certificate must have one; none: any name
	Rate           int      // most requests a second with one credential or of one address; 0: no limit
}

// HTTP is about pages that speak XMPP to us.
type HTTP struct {
	// Origins are the web origins ("https://chat.example.com") whose pages may connect by WebSocket or BOSH, beside pages
	// of the server itself; "*" among them allows every page.
	Origins []string
	// TrustedProxies are the reverse proxies whose word on clients is taken: their address, and that they use TLS.
	TrustedProxies []netip.Prefix
	// PublicURL is where browsers reach our HTTP paths, without the slash at the end; "{host}" in it is the host's
	// name. "" is the scheme and host of the request.
	PublicURL string
}

// Limits bound what one client may cost. Sizes are bytes.
type Limits struct {
	StanzaBytes       int            // one stanza of a signed-in client
	PreAuthBytes      int            // one element of a client that has not signed in
	PreAuthTimeout    time.Duration  // from connection to resource binding
	PreAuthPerAddress int            // connections of one address that have not signed in
	HTTPPerAddress    int            // connections of one address over HTTP
	SessionsPerUser   int            // resources online at a time
	OutboxBytes       int            // waiting to be written to one client
	WriteStall        time.Duration  // how long a client may accept nothing
	Resume            time.Duration  // how long a session may outlive its connection; 0: not at all
	Unacked           int            // stanzas that may wait to be acknowledged, or for a client that is away
	DetachedPerUser   int            // sessions without a connection
	IdleStanzas       int            // that wait for a client at which nobody looks; 0: none
	Rate              int            // bytes that a client may send in a second; 0: as many as it likes
	Burst             int            // bytes at once
	RateExempt        []netip.Prefix // clients that may send as fast as they like
	Memory            int64          // bytes that the server may use; 0: what the system allows
	FailedSignIns     int            // of one address, or for one account, in ten minutes; 0: no limit

	Registrations           int // tries to make an account of one host, in an hour; 0: no limit
	RegistrationsPerAddress int // of one address; likewise
}

// Log is how the server logs, on standard error.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Ways for users to sign in: the values of host.auth.method.
const (
	AuthAccounts  = "accounts"  // accounts made by `rollcall user add`
	AuthOpen      = "open"      // any name with any password, on loopback listeners only
	AuthAnonymous = "anonymous" // SASL ANONYMOUS: a random name for each session
	AuthHTTP      = "http"      // an application says whether a password is right
	AuthJWT       = "jwt"       // signed tokens say who somebody is
)

// A Host is one virtual host.
type Host struct {
	Name                string   // canonical domainpart
	AdminTokens         []Secret // may use the HTTP API for this host, beside Admin.Tokens
	AdminWebhookSecrets []Secret // the same for signatures
	Auth                Auth
	Admins              []string // canonical localparts of users who may administer the host
	Roster              Roster
	Profile             Profile
	Offline             Offline
	Archive             Archive
	Files               Files
	Contact             map[string][]string // URIs by what they are for, one of ContactPurposes
	Webhooks            Webhooks
}

// Offline says what waits for users who are offline.
type Offline struct {
	MaxMessages int // for one user; 0: none
}

// Archive says what is kept of users' messages for good.
type Archive struct {
	Default     string        // whose messages, where users have not said it: one of the constants
	MaxAge      time.Duration // how long; 0: for ever
	MaxMessages int           // of one user
}

// Values of host.archive.default.
const (
	ArchiveAlways = "always"
	ArchiveNever  = "never"
	ArchiveRoster = "roster"
)

// Webhooks tell the application of a host what happens.
type Webhooks struct {
	URL    string // where events are posted; "" posts none
	Secret Secret // "whsec_" and base64, which WebhookKey takes
	Events []string
	Bodies bool          // what messages say is told as well
	MaxAge time.Duration // how old an event may be when it is told
}

// The events: values of host.webhooks.events.
const (
	EventUserOnline     = "user.online"
	EventUserOffline    = "user.offline"
	EventMessageOffline = "message.offline"
	EventRosterApplied  = "roster.applied"
	EventSignInFailures = "sign_in.failures"
	EventServerStarted  = "server.started"
)

// Events lists them.
var Events = []string{EventUserOnline, EventUserOffline, EventMessageOffline, EventRosterApplied, EventSignInFailures, EventServerStarted}

// Files are served over HTTP.
type Files struct {
	Dir     string   // folder; "" serves none
	Path    string   // of the URL, with a slash at both ends
	Index   []string // names of files that stand for their folder, the first that exists
	Listing bool     // a folder without such a file is answered with a list
	Policy  string   // the header Content-Security-Policy; "" sends none
}

// Auth is how users of a host sign in.
type Auth struct {
	Method         string // one of the Auth constants
	Plain          bool   // offer SASL PLAIN inside TLS, beside SCRAM
	ChannelBinding bool   // offer the -PLUS forms of SCRAM inside TLS
	// DowngradeProtection is XEP-0474 in SCRAM, which some old clients fail on.
	DowngradeProtection bool
	Iterations          int      // of PBKDF2, for new passwords
	PasswordMin         int      // characters that a new password has at least
	ClientCA            string   // path of a PEM file: CAs whose certificates sign users in; "" asks clients for none
	ClientNames         string   // "xmpp" or "email": which names of such a certificate are users'
	FAST                bool     // give clients tokens to sign in again with (XEP-0484), with the method accounts
	Removal             bool     // users may remove their own accounts
	Registration        bool     // and make them, with the method accounts
	ReservedNames       []string // canonical localparts that nobody gets so
	HTTP                AuthService
	JWT                 AuthTokens
}

// AuthService is an application that knows passwords, with AuthHTTP.
type AuthService struct {
	URL         string // authhttp checks it
	Style       string // "mongooseim" or "basic"
	Credentials Secret // "name:password" for the application; "" sends none
	SCRAM       bool   // it gives keys for SCRAM
	Timeout     time.Duration
	Cache       time.Duration // how long a right password need not be asked about again
	Concurrency int           // requests at a time
}

// AuthTokens are signed tokens, with AuthJWT. One of Secret, KeyFile and URL is set, or Discovery.
type AuthTokens struct {
	Secret      Secret
	KeyFile     string // path
	URL         string // of a JWK Set
	Discovery   bool   // Issuer has a discovery document (OpenID Connect)
	Algorithms  []string
	Issuer      string
	Audience    string
	Claim       string // that names the user
	EndSessions bool   // when the token ends
}

// Roster is where the rosters of a host come from. Sizes are bytes.
type Roster struct {
	URL         string // template; rosterhttp checks it
	BatchURL    string // template without a user; "" for none; rosterhttp checks it
	BatchSize   int    // users in one request to BatchURL
	Token       Secret // sent as a Bearer token; "" sends none
	Timeout     time.Duration
	MaxAge      time.Duration // how long a copy is used without asking, when the service does not say
	LoginWait   time.Duration // how long a client waits for the service when an older copy can be served
	MaxBytes    int64
	MaxItems    int
	Concurrency int  // requests at a time
	Mutual      bool // show presence between local users only when both rosters say so
	ClientEdits string
	Guard       bool // hold a fetched roster that would remove most of the contacts until a later one says the same
}

// Profile is where the names and pictures of a host's users come from.
type Profile struct {
	URL           string // template; rosterhttp checks it; "": users write their own vCards
	Token         Secret // sent as a Bearer token; "" sends none
	Timeout       time.Duration
	MaxAge        time.Duration // how long a copy is used without asking, when the service does not say
	Concurrency   int           // requests at a time
	AvatarBytes   int
	AvatarOrigins []string // where pictures may come from, beside the origin of URL
}

// Asks says whether there is a service to ask for rosters.
func (r Roster) Asks() bool { return r.URL != "" || r.BatchURL != "" }

// Answers to a client's own roster change: the values of host.roster.client_edits, each a stanza error.
const (
	EditsServiceUnavailable = "service-unavailable"
	EditsNotAllowed         = "not-allowed"
)

// Default returns the configuration of an empty file, which has no host yet. Its DataDir is relative to the working
// directory.
func Default() *Config { return defaults("") }

func defaults(dir string) *Config {
	c := &Config{}
	applyDefaults(target{Config: c, dir: dir}, rootKeys())
	return c
}

// DefaultHost returns a host with that canonical name and roster.url and every other value at its default.
func DefaultHost(name, rosterURL string) Host {
	var h Host
	applyDefaults(target{host: &h}, hostKeys())
	h.Name, h.Roster.URL = name, rosterURL
	return h
}

// Host gives the host of a name, in canonical form; nil when there is none.
func (c *Config) Host(name string) *Host {
	i := slices.IndexFunc(c.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Hosts[i]
}

// SignInNeedsTLS says whether clients of a listener that speaks no TLS by itself, "c2s" or "http", must have TLS
// before they sign in. With tls.require they must, except
//
//   - on c2s, when there is no certificate: Check then allows loopback addresses only;
//   - on http, when it listens on loopback: a proxy in front adds the TLS, or the client is on this machine.
func (c *Config) SignInNeedsTLS(listener string) bool {
	switch {
	case !c.TLS.Require:
		return false
	case listener == "http":
		return !Loopback(c.Listen.HTTP)
	default:
		return c.TLS.HasCertificate() || !Loopback(c.Listen.C2S)
	}
}

// Loopback says whether nobody but this machine can reach addr, a listen address "host:port". A name other than
// localhost may resolve to anything, so it does not count.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
