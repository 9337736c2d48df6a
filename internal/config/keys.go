package config

import (
	"net/netip"
	"time"
)

// A key is one row of the documentation and one line of the sample configuration, and knows how to take its value.
type key struct {
	name string // "listen.c2s"; keys of a host are relative to it: "roster.url"
	def  any    // string, int, bool or []string, as in the file; nil when the key must be given
	kind string // what a value looks like, for the documentation
	doc  string
	set  func(t target, v any) error // v as go-toml decodes into any; the error says what is allowed
}

// A target is what keys are set on: host is nil for keys outside [[host]], Config for keys inside.
type target struct {
	*Config
	host *Host
	dir  string              // what relative paths start from
	text map[string][]string // values of keys that are resolved together, by key: see tokens.go
}

// A table is a heading of the documentation.
type table struct{ name, doc string }

var tables = []table{
	{"", "The whole server"},
	{"database", "PostgreSQL in place of SQLite in data_dir"},
	{"listen", "Addresses to listen on, host:port. Without a host (\":5222\") every interface is meant, \"\" is off"},
	{"tls", "The certificate, for every host"},
	{"admin", "Who may use the HTTP API (notifications, status) for every host: whoever has one of the credentials here. " +
		"Without any only programs on this machine may"},
	{"http", "Web pages that speak XMPP"},
	{"limits", "What one client may cost"},
	{"log", "Logs go to standard error"},
	{"host", "A virtual host: the part after the @ in its users' addresses. Repeat [[host]] for each"},
}

func rootKeys() []key {
	keys := []key{
		path("data_dir", "data", func(t target) *string { return &t.DataDir },
			`Folder of the database, from the folder of this file; "" keeps everything in memory`),

		count("database.connections", 8, func(t target) *int { return &t.Database.Connections }, 2, 1_000,
			"Connections to PostgreSQL at a time"),

		address("listen.c2s", "127.0.0.1:5222", func(t target) *string { return &t.Listen.C2S },
			"XMPP clients; STARTTLS is offered when [tls] has a certificate"),
		address("listen.c2s_tls", "", func(t target) *string { return &t.Listen.C2STLS },
			`XMPP clients, TLS from the first byte, usually ":5223"`),
		address("listen.http", "127.0.0.1:5280", func(t target) *string { return &t.Listen.HTTP },
			"Notifications, WebSocket, BOSH, health"),
		address("listen.https", "", func(t target) *string { return &t.Listen.HTTPS },
			`The same with TLS, usually ":5281"`),
		networks("listen.proxy_protocol", nil, func(t target) *[]netip.Prefix { return &t.Listen.ProxyProtocol },
			"Proxies in front of c2s and c2s_tls that send the PROXY protocol (1 or 2), by address or network. From them it is required; others connect without it"),

		path("tls.cert", "", func(t target) *string { return &t.TLS.Cert },
			"PEM file: the certificate, then its chain; read again when it changes"),
		path("tls.key", "", func(t target) *string { return &t.TLS.Key },
			"PEM file: the private key"),
		boolean("tls.require", true, func(t target) *bool { return &t.TLS.Require },
			"false lets clients sign in without TLS from other machines too (behind a proxy that adds TLS). "+
				"On a loopback address TLS is asked for once there is a certificate, over HTTP never"),
		checked("tls.acme.email", "", func(t target) *string { return &t.TLS.ACME.Email }, checkEmail,
			"Instead of tls.cert: get certificates by ACME and renew them. The address of your account; with it you agree to the authority's terms. "+
				"What comes to port 443 must reach listen.https or listen.c2s_tls, or what comes to port 80 listen.http"),
		checked("tls.acme.directory", "https://acme-v02.api.letsencrypt.org/directory", func(t target) *string { return &t.TLS.ACME.Directory },
			checkDirectory, "The authority; the default is Let's Encrypt"),
		path("tls.acme.ca_file", "", func(t target) *string { return &t.TLS.ACME.CAFile },
			"PEM file that certifies the authority's own server, for one in your own network"),
		path("tls.acme.storage", "", func(t target) *string { return &t.TLS.ACME.Storage },
			`Folder of account, keys and certificates; "" is the folder acme in data_dir`),
		list("tls.acme.domains", func(t target) *[]string { return &t.TLS.ACME.Domains }, checkDomain,
			"More names to get certificates for, beside those of the hosts"),

		list("http.origins", func(t target) *[]string { return &t.HTTP.Origins }, checkOrigin,
			`Sites whose pages may connect by WebSocket or BOSH, such as "https://app.example.com", beside the server's own; "*" is every site`),
		networks("http.trusted_proxies", []string{"127.0.0.1", "::1"}, func(t target) *[]netip.Prefix { return &t.HTTP.TrustedProxies },
			"Reverse proxies that are believed who a client is (X-Forwarded-For, Forwarded) and that it uses TLS (X-Forwarded-Proto), by address or network"),
		checked("http.public_url", "", func(t target) *string { return &t.HTTP.PublicURL }, checkPublicURL,
			`Where browsers reach this server, when a reverse proxy stands before it: "https://chat.example.com" or "https://www.example.com/chat"; `+
				`{host} in it is the host's name. "" is what each request says`),

		path("admin.client_ca", "", func(t target) *string { return &t.Admin.ClientCA },
			"PEM file of CAs: over https, a client with a certificate of theirs may do what admin.token may; read again when it changes"),
		list("admin.client_names", func(t target) *[]string { return &t.Admin.ClientNames }, checkName,
			"Which of these certificates: one of the names here must be a subject alternative name. None allows all of them"),
		count("admin.rate", 10_000, func(t target) *int { return &t.Admin.Rate }, 0, 1_000_000,
			"Most requests a second with one credential, or without one from one address, before they are answered 429; 0 is no limit"),

		size("limits.stanza_bytes", "256 KiB", func(t target) *int { return &t.Limits.StanzaBytes }, 10_000, 64<<20,
			"Largest stanza"),
		size("limits.pre_auth_bytes", 10_000, func(t target) *int { return &t.Limits.PreAuthBytes }, 4_096, 1<<20,
			"Largest element before sign-in"),
		duration("limits.pre_auth_timeout", "30s", func(t target) *time.Duration { return &t.Limits.PreAuthTimeout },
			time.Second, time.Hour, "Time to sign in"),
		count("limits.pre_auth_per_address", 1_000, func(t target) *int { return &t.Limits.PreAuthPerAddress }, 1, 1_000_000,
			"Connections of one address that have not signed in"),
		count("limits.http_per_address", 2_000, func(t target) *int { return &t.Limits.HTTPPerAddress }, 1, 1_000_000,
			"Connections of one address (IPv6: a /64) over HTTP, whatever they are for, but WebSocket once it has begun; this machine's and those of http.trusted_proxies do not count"),
		count("limits.failed_sign_ins", 30, func(t target) *int { return &t.Limits.FailedSignIns }, 0, 100_000,
			"Failed tries to sign in, in ten minutes, of one address (IPv6: a /64) before more are refused, and for one account before more have to wait; 0 is no limit"),
		count("limits.registrations_per_address", 10, func(t target) *int { return &t.Limits.RegistrationsPerAddress }, 0, 1_000_000,
			"Accounts that clients of one address (IPv6: a /64) may make in an hour, on hosts with auth.registration; a try with a name that is taken counts as well. 0 is no limit"),
		count("limits.registrations", 200, func(t target) *int { return &t.Limits.Registrations }, 0, 1_000_000,
			"The same, for each host and all addresses together"),
		count("limits.sessions_per_user", 10, func(t target) *int { return &t.Limits.SessionsPerUser }, 1, 10_000,
			"Clients of one user online at a time"),
		size("limits.outbox_bytes", "1 MiB", func(t target) *int { return &t.Limits.OutboxBytes }, 16<<10, 1<<30,
			"What may wait for a client that reads slowly, before its session ends"),
		duration("limits.write_stall", "30s", func(t target) *time.Duration { return &t.Limits.WriteStall },
			time.Second, time.Hour, "How long a client may accept nothing, before its session ends, or the sending of a file"),

		sizeOrZero("limits.rate", "16 KiB", func(t target) *int { return &t.Limits.Rate }, 1<<10, 1<<30,
			"What a client may send in a second, in the long run; one that sends more is read more slowly. A stanza counts as 1/64 of it at least, a presence for all contacts as all of it. 0 is no limit"),
		size("limits.burst", "64 KiB", func(t target) *int { return &t.Limits.Burst }, 4<<10, 1<<30,
			"What it may send at once, after it has been silent"),
		networks("limits.rate_exempt", []string{"127.0.0.0/8", "::1"}, func(t target) *[]netip.Prefix { return &t.Limits.RateExempt },
			"Clients that may send as fast as they like, by address or network: programs on this machine. With a proxy here that does not tell who its clients are, let it be empty"),
		sizeOrZero("limits.memory", 0, func(t target) *int64 { return &t.Limits.Memory }, 64<<20, 1<<50,
			"Memory that the server may use: beyond 80 % of it no client is let in any more, and GOMEMLIMIT, unless the environment sets it, is 90 % of it. 0 is what the control group allows (MemoryMax of systemd, a container's limit), or what the machine has"),

		duration("limits.resume", "10m", func(t target) *time.Duration { return &t.Limits.Resume },
			0, 24*time.Hour, "How long a client that has lost its connection may come back to its session (XEP-0198); 0 is not at all"),
		count("limits.unacked", 500, func(t target) *int { return &t.Limits.Unacked }, 10, 100_000,
			"Stanzas that may wait for a client that has lost its connection, or does not acknowledge them, before its session ends"),
		count("limits.detached_per_user", 10, func(t target) *int { return &t.Limits.DetachedPerUser }, 1, 10_000,
			"Sessions of one user that wait for their clients to come back; the oldest gives way"),

		count("limits.idle_stanzas", 200, func(t target) *int { return &t.Limits.IdleStanzas }, 0, 10_000,
			"Presence and chat states that wait for a client that says nobody looks at it (XEP-0352), before all of them are sent; 0 lets nothing wait"),

		level("log.level", "info", "How much to log: debug, info, warn or error"),
		choice("log.format", "text", func(t target) *string { return &t.Log.Format }, nil, []string{"text", "json"},
			"How a line looks: text or json"),
	}
	keys = append(keys, secretKeys("database.url", "string",
		`The database, such as "postgres://rollcall:password@localhost/rollcall", in UTF-8; "" is SQLite`, false)...)
	keys = append(keys, tokenKeys("admin.token", "string or list", "Bearer token for every host; a list of tokens while you change it")...)
	return append(keys, tokenKeys("admin.webhook_secret", "string or list",
		`Secret for requests signed as Standard Webhooks, for every host: "whsec_" and base64 of 24 to 64 bytes; also a list`)...)
}

func hostKeys() []key {
	keys := []key{
		domain("name", func(t target) *string { return &t.host.Name },
			"Domain of the users' addresses"),
		choice("auth.method", AuthAccounts, func(t target) *string { return &t.host.Auth.Method },
			nil, []string{AuthAccounts, AuthHTTP, AuthJWT, AuthOpen, AuthAnonymous},
			"accounts: those made with rollcall user add; http: your application says whether a password is right; jwt: signed tokens say who somebody is "+
				"(docs/sign-in.md); open: any name with any password, for trying out, on loopback listeners only; anonymous: a random name for each session"),
		boolean("auth.channel_binding", true, func(t target) *bool { return &t.host.Auth.ChannelBinding },
			"Offer the -PLUS forms of SCRAM inside TLS; false for slixmpp before 1.8.5 (Debian 12), which fails on them with TLS 1.3"),
		boolean("auth.downgrade_protection", true, func(t target) *bool { return &t.host.Auth.DowngradeProtection },
			"Tell SCRAM clients what was offered (XEP-0474); false for strophe.js before 1.6.3 (Converse.js before 10.1.7), which fails on it"),
		count("auth.iterations", 10_000, func(t target) *int { return &t.host.Auth.Iterations }, 10_000, 10_000_000,
			"How often a new password is hashed (PBKDF2). More makes guessing from a stolen database dearer, and signing in too; a password that was hashed less often is hashed anew when its user signs in with PLAIN"),
		count("auth.password_min", 1, func(t target) *int { return &t.host.Auth.PasswordMin }, 1, 128,
			"Characters that a new password has at least, by whatever way it is set; those that there are, and those that are imported, stay as they are. NIST SP 800-63B recommends 8 and more"),
		path("auth.client_ca", "", func(t target) *string { return &t.host.Auth.ClientCA },
			"File with the CAs, in PEM, whose certificates sign users in (SASL EXTERNAL, XEP-0178) on listen.c2s and listen.c2s_tls; \"\" asks clients for none"),
		choice("auth.client_names", "xmpp", func(t target) *string { return &t.host.Auth.ClientNames }, nil, []string{"xmpp", "email"},
			"Which names in the subjectAltName of such a certificate are users' addresses: id-on-xmppAddr, or email addresses"),
		boolean("auth.fast", true, func(t target) *bool { return &t.host.Auth.FAST },
			"Give clients tokens to sign in again with, in one round trip (XEP-0484): for three weeks, or until the password changes. Method accounts only"),
		boolean("auth.registration", false, func(t target) *bool { return &t.host.Auth.Registration },
			"Whoever can connect may make an account, from a client (XEP-0077), inside TLS where PLAIN would ask for it. Method accounts only. docs/accounts.md says what to think of first"),
		listOf("auth.reserved_names", reservedNames, func(t target) *[]string { return &t.host.Auth.ReservedNames }, checkReserved,
			"Names that nobody gets in that way"),
		boolean("auth.removal", false, func(t target) *bool { return &t.host.Auth.Removal },
			"Users of accounts may remove their own account, from their client (XEP-0077)"),
		boolean("auth.plain", false, func(t target) *bool { return &t.host.Auth.Plain },
			"Offer the mechanism PLAIN, inside TLS, to clients that know no SCRAM (open always does)"),
		listOf("admins", []string{}, func(t target) *[]string { return &t.host.Admins }, checkAdmin,
			"Names of users who may administer this host from their clients, beside those whose accounts have the role (docs/accounts.md): [\"john\"]. Nobody gets such a name by auth.registration"),
		text("roster.url", "", func(t target) *string { return &t.host.Roster.URL },
			"The service: %s or {user} is the user's name, {host} the domain, {jid} the address, %% a percent sign. "+
				"Without it and roster.batch_url nobody is asked: rosters are what PUT and PATCH send, and live in data_dir"),
		text("roster.batch_url", "", func(t target) *string { return &t.host.Roster.BatchURL },
			`The service, asked by POST for many users together; {host} is the domain, %% a percent sign; "" asks for each by itself`),
		count("roster.batch_size", 100, func(t target) *int { return &t.host.Roster.BatchSize }, 1, 10_000,
			"Most users in one request to roster.batch_url"),
		duration("roster.timeout", "5s", func(t target) *time.Duration { return &t.host.Roster.Timeout },
			10*time.Millisecond, 5*time.Minute, "For one whole request to the service"),
		duration("roster.max_age", "10m", func(t target) *time.Duration { return &t.host.Roster.MaxAge },
			0, 365*24*time.Hour, "How long a copy is used without asking, unless the service says it with Cache-Control"),
		duration("roster.login_wait", "2s", func(t target) *time.Duration { return &t.host.Roster.LoginWait },
			0, 20*time.Second, "How long a client waits for the service when an older copy can be served instead"),
		size("roster.max_bytes", "4 MiB", func(t target) *int64 { return &t.host.Roster.MaxBytes }, 1<<10, 1<<30,
			"Largest roster document, after decompression"),
		count("roster.max_items", 10_000, func(t target) *int { return &t.host.Roster.MaxItems }, 1, 1_000_000,
			"Most contacts of a user"),
		count("roster.concurrency", 32, func(t target) *int { return &t.host.Roster.Concurrency }, 1, 10_000,
			"Requests to the service at a time"),
		boolean("roster.guard", true, func(t target) *bool { return &t.host.Roster.Guard },
			"Hold a fetched roster that would remove more than half of the contacts and more than 20, until a later fetch says the same"),
		boolean("roster.mutual", false, func(t target) *bool { return &t.host.Roster.Mutual },
			"true shows presence between two local users only when the rosters of both say so"),
		choice("roster.client_edits", EditsServiceUnavailable, func(t target) *string { return &t.host.Roster.ClientEdits }, nil,
			[]string{EditsServiceUnavailable, EditsNotAllowed}, "The error for a client that tries to change its roster: service-unavailable or not-allowed"),
	}
	keys = append(keys, profileKeys()...)
	keys = append(keys, messageKeys()...)
	keys = append(keys, authKeys()...)
	keys = append(keys, fileKeys()...)
	keys = append(keys, contactKeys()...)
	keys = append(keys, webhookKeys()...)
	keys = append(keys, tokenKeys("roster.token", "string", "Bearer token to send to the service")...)
	keys = append(keys, tokenKeys("admin_token", "string or list", "Bearer token for the HTTP API of this host alone, beside admin.token; also a list")...)
	return append(keys, tokenKeys("admin_webhook_secret", "string or list", "Secret for signed requests about this host alone, beside admin.webhook_secret; also a list")...)
}

func messageKeys() []key {
	return []key{
		count("offline.max_messages", 100, func(t target) *int { return &t.host.Offline.MaxMessages }, 0, 100_000,
			"Messages that may wait for a user who is offline; more are refused. They are kept in data_dir or database.url, and in memory when there is neither. 0: none wait"),
		choice("archive.default", ArchiveAlways, func(t target) *string { return &t.host.Archive.Default }, nil, []string{ArchiveAlways, ArchiveNever, ArchiveRoster},
			"Whose messages are kept in a user's archive (docs/messages.md), unless the user says it: everybody's, nobody's, or those of the user's contacts. There are archives where there is data_dir or database.url"),
		duration("archive.max_age", "0s", func(t target) *time.Duration { return &t.host.Archive.MaxAge },
			0, 100*365*24*time.Hour, `How long archives keep a message, such as "720h"; 0 is as long as there is room by archive.max_messages`),
		count("archive.max_messages", 100_000, func(t target) *int { return &t.host.Archive.MaxMessages }, 1, 100_000_000,
			"Messages in one user's archive; the oldest go, within an hour"),
	}
}

// authKeys are those of auth.method "http" and "jwt".
func authKeys() []key {
	keys := []key{
		text("auth.url", "", func(t target) *string { return &t.host.Auth.HTTP.URL },
			"With method http: your application. In the style mongooseim what stands before /check_password, in the style basic the URL to ask, with {user} and {host} where they are wanted"),
		choice("auth.style", "mongooseim", func(t target) *string { return &t.host.Auth.HTTP.Style }, nil, []string{"mongooseim", "basic"},
			"mongooseim: GET check_password as MongooseIM, ejabberd_auth_http and mod_auth_http; basic: the user's own Basic credentials, as mod_auth_http_async"),
		boolean("auth.scram", false, func(t target) *bool { return &t.host.Auth.HTTP.SCRAM },
			"Your application answers get_password with keys for SCRAM (style mongooseim): offer SCRAM, and PLAIN with auth.plain only"),
		duration("auth.timeout", "5s", func(t target) *time.Duration { return &t.host.Auth.HTTP.Timeout },
			10*time.Millisecond, 25*time.Second, "For one whole request to auth.url"),
		duration("auth.cache", "30s", func(t target) *time.Duration { return &t.host.Auth.HTTP.Cache },
			0, time.Hour, "How long a password that was right is taken without asking again; 0 is not at all"),
		count("auth.concurrency", 32, func(t target) *int { return &t.host.Auth.HTTP.Concurrency }, 1, 10_000,
			"Requests to auth.url at a time"),

		path("auth.jwt.key_file", "", func(t target) *string { return &t.host.Auth.JWT.KeyFile },
			"With method jwt: PEM file of a public key or certificate, a JWK, or a JWK Set"),
		text("auth.jwt.url", "", func(t target) *string { return &t.host.Auth.JWT.URL },
			"Or a JWK Set at a URL, asked for when a token comes, each hour, and for keys that are new"),
		boolean("auth.jwt.discovery", false, func(t target) *bool { return &t.host.Auth.JWT.Discovery },
			"Or that of the discovery document (OpenID Connect) of auth.jwt.issuer"),
		list("auth.jwt.algorithms", func(t target) *[]string { return &t.host.Auth.JWT.Algorithms }, checkAlgorithm,
			"Allowed for signatures; none is HS256 with a secret, else RS256, ES256 and EdDSA"),
		text("auth.jwt.issuer", "", func(t target) *string { return &t.host.Auth.JWT.Issuer },
			`What iss must be; "" is anything`),
		text("auth.jwt.audience", "", func(t target) *string { return &t.host.Auth.JWT.Audience },
			`What must be in aud; "" is anything`),
		text("auth.jwt.claim", "sub", func(t target) *string { return &t.host.Auth.JWT.Claim },
			"The claim that names the user: the part before the @, or the address"),
		boolean("auth.jwt.end_sessions", false, func(t target) *bool { return &t.host.Auth.JWT.EndSessions },
			"End sessions when the token that they were opened with has expired"),
	}
	keys = append(keys, secretKeys("auth.credentials", "string", `"name:password" for your application, in the style mongooseim`, false)...)
	return append(keys, secretKeys("auth.jwt.secret", "string", "Or the secret that tokens are signed with, 32 bytes at least", false)...)
}

func fileKeys() []key {
	return []key{
		path("files.dir", "", func(t target) *string { return &t.host.Files.Dir },
			"Folder to serve over HTTP, such as that of your web client"),
		checked("files.path", "/files/", func(t target) *string { return &t.host.Files.Path }, checkFilesPath,
			`Where: "/files/" means http://HOST:5280/files/; "/" is everything that is nothing else`),
		listOf("files.index", []string{"index.html", "index.htm"}, func(t target) *[]string { return &t.host.Files.Index }, checkFileName,
			"Files that stand for their folder: the first that exists"),
		boolean("files.listing", false, func(t target) *bool { return &t.host.Files.Listing },
			"List folders that have no such file"),
		checked("files.csp", "object-src 'none'; base-uri 'self'; frame-ancestors 'self'", func(t target) *string { return &t.host.Files.Policy }, checkHeader,
			`The header Content-Security-Policy of every file; "" sends none`),
	}
}

// ContactPurposes lists what the addresses of host.contact are for (XEP-0157).
var ContactPurposes = []string{"abuse", "admin", "feedback", "sales", "security", "status", "support"}

// contactKeys are whom to turn to. Anybody can ask for them, so all are off by default.
func contactKeys() (keys []key) {
	const doc = `Whom clients may turn to (XEP-0157): URIs such as "mailto:abuse@example.com", "xmpp:john@chat.example.com" or "https://example.com/help"`
	for i, purpose := range ContactPurposes {
		text := "The same, for " + purpose
		if i == 0 {
			text = doc + ", about abuse"
		}
		keys = append(keys, key{"contact." + purpose, []string{}, "list", text, func(t target, v any) error {
			uris, err := stringList(v, `a list such as ["mailto:admin@example.com"]`)
			for _, s := range uris {
				if err == nil {
					err = checkContact(s)
				}
			}
			if err != nil || len(uris) == 0 {
				return err
			}
			if t.host.Contact == nil {
				t.host.Contact = map[string][]string{}
			}
			t.host.Contact[purpose] = uris
			return nil
		}})
	}
	return keys
}

func profileKeys() []key {
	return append([]key{
		text("profile.url", "", func(t target) *string { return &t.host.Profile.URL },
			`Where your application answers with a user's name and picture (docs/profile-http.md), such as "http://127.0.0.1:9099/profiles/%s"; `+
				`placeholders as in roster.url; "" lets users write their own vCards`),
		duration("profile.timeout", "5s", func(t target) *time.Duration { return &t.host.Profile.Timeout },
			10*time.Millisecond, 15*time.Second, "For one whole request"),
		duration("profile.max_age", "1h", func(t target) *time.Duration { return &t.host.Profile.MaxAge },
			0, 365*24*time.Hour, "How long a copy is used without asking, unless the application says it with Cache-Control"),
		count("profile.concurrency", 8, func(t target) *int { return &t.host.Profile.Concurrency }, 1, 10_000,
			"Requests at a time, and as many for pictures"),
		size("profile.avatar_bytes", "64 KiB", func(t target) *int { return &t.host.Profile.AvatarBytes }, 1<<10, 128<<10,
			"Largest picture; clients get it a third larger, in one stanza"),
		listOf("profile.avatar_origins", []string{}, func(t target) *[]string { return &t.host.Profile.AvatarOrigins }, checkImageOrigin,
			`Where pictures may be fetched from, beside the origin of profile.url: ["https://cdn.example.com"]`),
	}, tokenKeys("profile.token", "string", "Bearer token to send to profile.url, and to pictures of the same origin")...)
}

func webhookKeys() []key {
	return append([]key{
		checked("webhooks.url", "", func(t target) *string { return &t.host.Webhooks.URL }, checkWebhookURL,
			`Where your application is told of events, by POST (docs/webhooks.md): "https://app.example.com/hooks"; "" tells nobody`),
		listOf("webhooks.events", Events, func(t target) *[]string { return &t.host.Webhooks.Events }, checkEvent,
			"Which events"),
		boolean("webhooks.bodies", false, func(t target) *bool { return &t.host.Webhooks.Bodies },
			"true tells what a message for a user who is offline says, and not only whom it is from"),
		duration("webhooks.max_age", "24h", func(t target) *time.Duration { return &t.host.Webhooks.MaxAge },
			time.Minute, 30*24*time.Hour, "How long an event waits for an application that does not take it, before it is dropped"),
	}, secretKeys("webhooks.secret", "string", "Secret that events are signed with, as Standard Webhooks: \"whsec_\" and base64 of 24 to 64 bytes", false)...)
}

// applyDefaults sets every key that has a default. A default that its own key refuses is a mistake in this file.
func applyDefaults(t target, keys []key) {
	for _, k := range keys {
		if k.def == nil {
			continue
		}
		if err := k.set(t, tomlValue(k.def)); err != nil {
			panic("config: default of " + k.name + " " + err.Error())
		}
	}
}

// tomlValue returns a default as go-toml would decode it from a file.
func tomlValue(def any) any {
	switch def := def.(type) {
	case int:
		return int64(def)
	case []string:
		values := make([]any, len(def))
		for i, s := range def {
			values[i] = s
		}
		return values
	default:
		return def
	}
}
