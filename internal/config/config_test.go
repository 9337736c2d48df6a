package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const testSecret = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"

const minimal = "[[host]]\nname = 'localhost'\nroster.url = 'http://127.0.0.1:9099/contacts/%s'\n"

func TestTwoLinesAreComplete(t *testing.T) {
	c, err := Parse("/etc/rollcall/rollcall.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DataDir = "/etc/rollcall/data"
	want.Hosts = []Host{DefaultHost("localhost", "http://127.0.0.1:9099/contacts/%s")}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEveryKeyIsTaken(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("from-file\n\n  second \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROLLCALL_TEST_TOKEN", " from-env\n")
	t.Setenv("ROLLCALL_TEST_SECRET", testSecret)
	t.Setenv("ROLLCALL_TEST_DATABASE", "postgres://u:p%40@h/d\n")
	c, err := Parse(filepath.Join(dir, "c.toml"), []byte(`
data_dir = "/var/lib/rollcall"
database = { url_env = "ROLLCALL_TEST_DATABASE", connections = 3 }
listen = { c2s = ":5222", c2s_tls = "[::]:5223", http = "localhost:80", https = "localhost:81", proxy_protocol = ["10.0.0.7", "2001:DB8::1/32"] }
[tls]
cert = "tls/chain.pem"
key = "/etc/key.pem"
require = false
acme = { directory = "https://ca.example/dir", ca_file = "ca.pem", storage = "acme", domains = ["www.example.com"] }
[admin]
token_file = "token"
webhook_secret_env = "ROLLCALL_TEST_SECRET"
client_ca = "clients.pem"
client_names = ["app.example.com"]
rate = 50
[http]
origins = ["https://app.example.com", "http://localhost:8080", "*"]
trusted_proxies = ["::ffff:192.0.2.1"]
public_url = "https://{host}/chat/"
[limits]
stanza_bytes = 300000
pre_auth_bytes = "16 KiB"
pre_auth_timeout = "1m"
pre_auth_per_address = 7
http_per_address = 8
failed_sign_ins = 44
registrations = 45
registrations_per_address = 46
sessions_per_user = 3
outbox_bytes = "2MB"
write_stall = "1m30s"
resume = "1m"
unacked = 50
detached_per_user = 2
idle_stanzas = 30
rate = 0
burst = "100 kB"
rate_exempt = []
memory = "2 GiB"
[log]
level = "debug"
format = "json"

[[host]]
name = "Chat.Example.COM"
admin_token = ["one", " two ", ""]
admin_webhook_secret = "`+testSecret+`"
auth.method = "anonymous"
auth.plain = true
auth.removal = true
auth.password_min = 8
auth.reserved_names = ["ceo"]
auth.iterations = 20_000
[host.roster]
url = "https://app.example.com/contacts/{user}"
batch_url = "https://app.example.com/contacts"
batch_size = 20
token_env = "ROLLCALL_TEST_TOKEN"
timeout = "1s"
max_age = "0s"
login_wait = "2s"
max_bytes = "1 MiB"
max_items = 50
concurrency = 4
mutual = true
guard = false
client_edits = "not-allowed"
[host.profile]
url = "https://app.example.com/profiles/%s"
token = "canary"
timeout = "2s"
max_age = "30m"
concurrency = 3
avatar_bytes = "8 KiB"
avatar_origins = ["https://cdn.example.com"]
[host.files]
dir = "www"
path = "/web"
index = ["start.html"]
listing = true
csp = ""

[host.contact]
admin = ["mailto:admin@example.com", "xmpp:john@chat.example.com"]
status = ["https://status.example.com"]
[host.offline]
max_messages = 7
[host.archive]
default = "roster"
max_age = "720h"
max_messages = 5
[host.webhooks]
url = "https://app.example.com/hooks"
secret = "`+testSecret+`"
events = ["user.online"]
bodies = true
max_age = "1h"

[[host]]
name = "b.example"
roster.url = "http://b/%s"
admins = ["john", "marie"]
`))
	if err != nil {
		t.Fatal(err)
	}
	second := DefaultHost("b.example", "http://b/%s")
	second.Admins = []string{"john", "marie"}
	want := &Config{
		DataDir:  "/var/lib/rollcall",
		Database: Database{"postgres://u:p%40@h/d", 3},
		Listen:   Listen{":5222", "[::]:5223", "localhost:80", "localhost:81", []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("2001:db8::/32")}},
		TLS: TLS{filepath.Join(dir, "tls/chain.pem"), "/etc/key.pem", false,
			ACME{"", "https://ca.example/dir", filepath.Join(dir, "ca.pem"), filepath.Join(dir, "acme"), []string{"www.example.com"}}},
		Admin: Admin{Tokens: []Secret{"from-file", "second"}, WebhookSecrets: []Secret{testSecret},
			ClientCA: filepath.Join(dir, "clients.pem"), ClientNames: []string{"app.example.com"}, Rate: 50},
		HTTP: HTTP{[]string{"https://app.example.com", "http://localhost:8080", "*"}, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, "https://{host}/chat"},
		Limits: Limits{300000, 16384, time.Minute, 7, 8, 3, 2_000_000, 90 * time.Second, time.Minute, 50, 2, 30,
			0, 100_000, nil, 2 << 30, 44, 45, 46},
		Log: Log{slog.LevelDebug, "json"},
		Hosts: []Host{{
			"chat.example.com", []Secret{"one", "two"}, []Secret{testSecret}, Auth{Method: "anonymous", Plain: true, ChannelBinding: true, DowngradeProtection: true, Iterations: 20_000, PasswordMin: 8, ClientNames: "xmpp", FAST: true, Removal: true, ReservedNames: []string{"ceo"},
				HTTP: AuthService{Style: "mongooseim", Timeout: 5 * time.Second, Cache: 30 * time.Second, Concurrency: 32}, JWT: AuthTokens{Claim: "sub"}}, nil,
			Roster{"https://app.example.com/contacts/{user}", "https://app.example.com/contacts", 20, "from-env", time.Second, 0, 2 * time.Second, 1 << 20, 50, 4, true, "not-allowed", false},
			Profile{"https://app.example.com/profiles/%s", "canary", 2 * time.Second, 30 * time.Minute, 3, 8 << 10, []string{"https://cdn.example.com"}},
			Offline{7}, Archive{ArchiveRoster, 720 * time.Hour, 5},
			Files{filepath.Join(dir, "www"), "/web/", []string{"start.html"}, true, ""},
			map[string][]string{"admin": {"mailto:admin@example.com", "xmpp:john@chat.example.com"}, "status": {"https://status.example.com"}},
			Webhooks{"https://app.example.com/hooks", testSecret, []string{"user.online"}, true, time.Hour},
		}, second},
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestErrors has a line for each kind of mistake. The first part of a message is its place, which is part of the test.
func TestErrors(t *testing.T) {
	inHost := func(lines string) string { return minimal + lines }
	global := func(lines string) string { return lines + "\n" + minimal }
	for _, c := range []struct{ name, toml, want string }{
		{"syntax", "a = \n", "c.toml:1:5: "},
		{"a key twice", global("data_dir = 'a'\ndata_dir = 'b'"), "c.toml:2:1: "},
		{"unknown, near", global("[listen]\n  c2ss = ''"), "c.toml:2:3: listen.c2ss: is unknown; did you mean c2s?; allowed in [listen]: c2s, c2s_tls, http, https, proxy_protocol"},
		{"unknown, letters swapped", inHost("roster.toekn = ''"), "c.toml:4:1: host.roster.toekn: is unknown; did you mean token?; allowed in roster of [[host]]: url, batch_url, batch_size, timeout"},
		{"unknown, another table", global("token = 'x'"), "c.toml:1:1: token: is unknown; did you mean admin.token or host.profile.token or host.roster.token?; allowed outside tables: data_dir, database, listen"},
		{"unknown, a global key in a host", inHost("listen.c2s = ''"), "c.toml:4:1: host.listen: is unknown; allowed in [[host]]: name, auth"},
		{"unknown, no idea", global("zzz = 1"), "c.toml:1:1: zzz: is unknown; allowed outside tables"},
		{"unknown table", "[hosts]\nname='x'\n" + minimal, "c.toml:1:2: hosts: is unknown; did you mean host?"},
		{"unknown empty table", "[foo]\n" + minimal, "c.toml:1:2: foo: is unknown; allowed"},
		{"a quoted key with a dot", global(`"data.dir" = 'x'`), `c.toml:1:1: "data.dir": is unknown; did you mean data_dir?`},
		{"unknown in an inline table", inHost("auth = { method = 'open', plan = true }"), "c.toml:4:27: host.auth.plan: is unknown; did you mean plain?"},
		{"a table given a value", global("listen = ':5222'"), "c.toml:1:1: listen: is text; it is a table with the keys c2s, c2s_tls, http, https, proxy_protocol"},
		{"a value given a table", global("[data_dir]\nx = 1"), "c.toml:1:2: data_dir: is a table; write a path in quotes"},
		{"one bracket", "[host]\nname = 'x'\n", "c.toml:1:2: host: is a table; write [[host]], with two brackets on each side, for each host"},
		{"a host that is no table", "host = ['x']\n", "c.toml:1:1: host: has text in its list; write [[host]] for each host"},
		{"no host", "", "c.toml: host: is missing; write at least [[host]]"},
		{"no name", "[[host]]\nroster.url = 'http://x/%s'\n", "c.toml:1:3: host.name: is missing"},
		{"a name that is no domain", inHost("[[host]]\nname = 'a b'\nroster.url = 'x'"), "c.toml:5:1: host.name: is no domain: "},
		{"a name with an @", inHost("[[host]]\nname = 'a@b'\nroster.url = 'x'"), "c.toml:5:1: host.name: is no domain: "},
		{"a name twice", inHost("[[host]]\nname = 'LocalHost'\nroster.url = 'x'"), `c.toml:5:1: host.name: is "localhost" a second time`},
		{"text for a number", global("limits.sessions_per_user = '10'"), "c.toml:1:1: limits.sessions_per_user: is text; write a whole number, without quotes"},
		{"a fraction", global("limits.sessions_per_user = 1.5"), "c.toml:1:1: limits.sessions_per_user: is a number; write a whole number"},
		{"zero", global("limits.sessions_per_user = 0"), "c.toml:1:1: limits.sessions_per_user: is 0; allowed is 1 to 10000"},
		{"a number for text", inHost("[[host]]\nname = 3\nroster.url = 'x'"), "c.toml:5:1: host.name: is a number; write a domain in quotes"},
		{"a number for a path", global("data_dir = 3"), "c.toml:1:1: data_dir: is a number; write a path in quotes"},
		{"text for true", global("tls.require = 'false'"), "c.toml:1:1: tls.require: is text; write true or false, without quotes"},
		{"a bare duration", global("limits.write_stall = 30"), `c.toml:1:1: limits.write_stall: is a number; write a duration in quotes, such as "10s"`},
		{"a bad duration", global("limits.write_stall = '30 s'"), `c.toml:1:1: limits.write_stall: is "30 s", which is no duration`},
		{"a negative duration", global("limits.write_stall = '-30s'"), "c.toml:1:1: limits.write_stall: is -30s; allowed is 1s to 1h0m0s"},
		{"a date", inHost("roster.timeout = 1979-05-27"), "c.toml:4:1: host.roster.timeout: is a date or time; write a duration"},
		{"a bad size", global("limits.outbox_bytes = '1 mb'"), `c.toml:1:1: limits.outbox_bytes: is "1 mb", which is no size`},
		{"a size that overflows", global("limits.outbox_bytes = '9999999999999999999GiB'"), `c.toml:1:1: limits.outbox_bytes: is "9999999999999999999GiB", which is no size`},
		{"a small size", global("limits.outbox_bytes = -1"), "c.toml:1:1: limits.outbox_bytes: is -1 bytes; allowed is 16384 to 1073741824"},
		{"a size that is a list", global("limits.outbox_bytes = []"), "c.toml:1:1: limits.outbox_bytes: is a list; write a number of bytes"},
		{"a port alone", global("listen.c2s = '5222'"), `c.toml:1:1: listen.c2s: is "5222", which is no host:port`},
		{"a port that is none", global("listen.c2s = ':xmpp'"), `c.toml:1:1: listen.c2s: is ":xmpp", whose port is not a number`},
		{"a bad choice", global("log.level = 'inof'"), `c.toml:1:1: log.level: is "inof"; allowed is one of "debug", "info", "warn", "error"; did you mean info?`},
		{"http without a place", inHost("auth.method = 'http'"), `c.toml:4:1: host.auth.method: is "http", which needs auth.url`},
		{"SCRAM of an application that gives no keys", inHost("auth = { method = 'http', url = 'http://app/', style = 'basic', scram = true }"), `c.toml:4:65: host.auth.scram: is true, but in the style "basic"`},
		{"tokens without keys", inHost("auth.method = 'jwt'"), `c.toml:4:1: host.auth.method: is "jwt", which needs one of auth.jwt.secret`},
		{"tokens with two sorts of keys", inHost("auth.method = 'jwt'\nauth.jwt.url = 'https://a/'\nauth.jwt.secret = 'x'"), `c.toml:4:1: host.auth.method: is "jwt", which needs one of`},
		{"discovery of nobody", inHost("auth.method = 'jwt'\nauth.jwt.discovery = true"), `c.toml:5:1: host.auth.jwt.discovery: needs auth.jwt.issuer`},
		{"no algorithm", inHost("auth.jwt.algorithms = ['none']"), `c.toml:4:1: host.auth.jwt.algorithms: has "none", which is no algorithm`},
		{"tokens of nobody", inHost("auth.method = 'jwt'\nauth.jwt.url = 'https://a/'\nauth.jwt.claim = ''"), `c.toml:6:1: host.auth.jwt.claim: is ""`},
		{"an unknown auth method", inHost("auth.method = 'acounts'"), `c.toml:4:1: host.auth.method: is "acounts"; allowed is one of "accounts", "http", "jwt", "open", "anonymous"; did you mean accounts?`},
		{"an origin with a path", global("http.origins = ['https://a.example/']"), `c.toml:1:1: http.origins: has "https://a.example/", which is no origin`},
		{"origins that are text", global("http.origins = '*'"), `c.toml:1:1: http.origins: is text; write a list`},
		{"a proxy by name", global("http.trusted_proxies = ['localhost']"), `c.toml:1:1: http.trusted_proxies: has "localhost", which is no address or network; write one such as "127.0.0.1"`},
		{"a network that is none", global("listen.proxy_protocol = ['10.0.0.0/33']"), `c.toml:1:1: listen.proxy_protocol: has "10.0.0.0/33", which is no address`},
		{"a proxy without a list", global("http.trusted_proxies = '127.0.0.1'"), `c.toml:1:1: http.trusted_proxies: is text; write a list`},
		{"a number among origins", global("http.origins = [1]"), `c.toml:1:1: http.origins: has a number in its list`},

		{"an account that is no address", global("tls.acme.email = 'me'"), `c.toml:1:1: tls.acme.email: is "me", which is no address for mail`},
		{"ACME beside a certificate", global("tls = { cert = 'a', key = 'b', acme.email = 'a@example.com', acme.directory = 'https://ca.example/' }"), "c.toml:1:32: tls.acme.email: is set, and tls.cert too"},
		{"ACME in memory", global("tls.acme = { email = 'a@example.com', directory = 'https://ca.example/' }\ndata_dir = ''") + "auth.method = 'anonymous'\n", `c.toml:1:1: tls.acme.storage: is missing, and data_dir is ""`},
		{"ACME without a listener", global("tls.acme = { email = 'a@example.com', directory = 'https://ca.example/' }\nlisten.http = ''"), "c.toml:1:14: tls.acme.email: needs listen.https, listen.c2s_tls or listen.http"},
		{"ACME for localhost", global("tls.acme.email = 'a@example.com'"), `c.toml:3:1: host.name: is "localhost", for which Let's Encrypt gives no certificate`},
		{"a directory without TLS", global("tls.acme.directory = 'http://ca.example/'"), `c.toml:1:1: tls.acme.directory: is "http://ca.example/", which is no https URL`},
		{"no domain among ACME's", global("tls.acme.domains = ['a b']"), `c.toml:1:1: tls.acme.domains: has "a b", which is no domain`},
		{"a public URL without scheme", global("http.public_url = 'chat.example.com'"), `c.toml:1:1: http.public_url: is "chat.example.com"; write scheme and host`},
		{"a public URL with a query", global("http.public_url = 'https://chat.example.com/?x'"), `c.toml:1:1: http.public_url: is "https://chat.example.com/?x"; write`},
		{"files where the API is", inHost("files.path = '/admin/x/'"), `c.toml:4:1: host.files.path: is "/admin/x/", which the server itself uses`},
		{"files without a slash", inHost("files.path = 'files'"), `c.toml:4:1: host.files.path: is "files"; write the path of a URL`},
		{"files with dots", inHost("files.path = '/a/../admin/'"), `c.toml:4:1: host.files.path: is "/a/../admin/"; write the path`},
		{"an index in a folder", inHost("files.index = ['a/b']"), `c.toml:4:1: host.files.index: has "a/b", which is no file's name`},
		{"a policy in two lines", inHost("files.csp = \"a\\nb\""), `c.toml:4:1: host.files.csp: has a character that cannot be in a header`},

		{"token twice", global("[admin]\ntoken = 'x'\ntoken_env = 'X'"), "c.toml:3:1: admin.token_env: is set, and admin.token too; keep one of them"},
		{"token file missing", global("admin.token_file = 'nope'"), "c.toml:1:1: admin.token_file: can't be read: stat "},
		{"token file is a folder", global("admin.token_file = '.'"), "c.toml:1:1: admin.token_file: names "},
		{"token env empty", inHost("admin_token_env = 'ROLLCALL_TEST_UNSET'"), "c.toml:4:1: host.admin_token_env: names the environment variable ROLLCALL_TEST_UNSET, which is not set"},
		{"token with a line break", inHost(`roster.token = "a\r\nX: y"`), "c.toml:4:1: host.roster.token: has a space, a control character or a letter outside ASCII at position 2"},
		{"token with a space", global("admin.token = 'two words'"), "c.toml:1:1: admin.token: has a space"},
		{"two tokens for the service", inHost("roster.token = ['a', 'b']"), "c.toml:4:1: host.roster.token: has 2 tokens; a request carries one"},
		{"token of a wrong type", global("admin.token = 5"), "c.toml:1:1: admin.token: is a number; write the token in quotes, or a list of tokens"},

		{"secret of another form", global("admin.webhook_secret = 'sesame'"), `c.toml:1:1: admin.webhook_secret: is no secret for webhooks: it is "whsec_" and the base64 of 24 to 64 random bytes`},
		{"short secret", inHost("admin_webhook_secret = ['" + testSecret + "', 'whsec_c2hvcnQ=']"), "c.toml:4:1: host.admin_webhook_secret: is no secret for webhooks"},
		{"webhooks without a secret", inHost("webhooks.url = 'http://app/'"), "c.toml:4:1: host.webhooks.url: needs webhooks.secret"},
		{"pictures from everywhere", inHost("profile.avatar_origins = ['*']"), `c.toml:4:1: host.profile.avatar_origins: has "*": pictures come from where you say`},
		{"webhooks to nowhere", inHost("webhooks.url = '/hooks'"), "c.toml:4:1: host.webhooks.url: is no URL to post to"},
		{"unknown event", inHost("webhooks.events = ['user.onlin']"), `c.toml:4:1: host.webhooks.events: has "user.onlin", which is no event; allowed is one of`},
		{"secret twice", global("[admin]\nwebhook_secret = '" + testSecret + "'\nwebhook_secret_env = 'X'"), "c.toml:3:1: admin.webhook_secret_env: is set, and admin.webhook_secret too"},
		{"names without a CA", global("admin.client_names = ['x']"), "c.toml:1:1: admin.client_names: needs admin.client_ca"},
		{"an empty name", global("admin.client_names = ['']"), "c.toml:1:1: admin.client_names: has an empty name"},
		{"certificates without https", global("admin.client_ca = 'x'"), "c.toml:1:1: admin.client_ca: needs listen.https"},
		{"users' certificates without TLS", inHost("auth.client_ca = 'x'"), "c.toml:4:1: host.auth.client_ca: needs TLS"},
		{"a negative rate", global("admin.rate = -1"), "c.toml:1:1: admin.rate: is -1; allowed is 0 to 1000000"},

		{"a database URL of another kind", global("database.url = 'mysql://u:hunter2@h/d'"), `c.toml:1:1: database.url: is no URL like "postgres://`},
		{"a database URL that is none", global("database.url = 'postgres://u:100%@h/d'"), `c.toml:1:1: database.url: is no URL like "postgres://`},
		{"two databases", global("database.url = ['postgres://a/b', 'postgres://c/d']"), "c.toml:1:1: database.url: is a list; write text in quotes"},
		{"one connection", global("database.connections = 1"), "c.toml:1:1: database.connections: is 1; allowed is 2 to 1000"},

		{"nothing to listen on", global("[listen]\nc2s = ''\nhttp = ''"), "c.toml:1:2: listen: has no address"},
		{"an address twice", global("listen.c2s = '127.0.0.1:5280'"), `c.toml:1:1: listen.http: is "127.0.0.1:5280", as listen.c2s is`},
		{"certificate without key", global("tls.cert = 'a'"), "c.toml:1:1: tls.key: is missing; tls.cert needs its private key"},
		{"key without certificate", global("tls.key = 'a'"), "c.toml:1:1: tls.cert: is missing; tls.key needs its certificate"},
		{"direct TLS without certificate", global("listen.c2s_tls = '127.0.0.1:5223'"), "c.toml:1:1: listen.c2s_tls: needs a certificate; set tls.cert and tls.key"},
		{"https without certificate", global("listen.https = '127.0.0.1:5281'"), "c.toml:1:1: listen.https: needs a certificate"},
		{"sign-in from elsewhere without certificate", global("listen.c2s = ':5222'"), `c.toml:1:1: listen.c2s: is ":5222", which other machines can reach, but clients could not sign in without TLS`},
		{"accounts in memory", global("data_dir = ''"), `c.toml:1:1: data_dir: is "", so there can be no accounts, and nobody could sign in to host "localhost"`},
		{"accounts of their own making elsewhere", global("") + "auth.method = 'http'\nauth.url = 'http://a/'\nauth.registration = true\n", `c.toml:7:1: host.auth.registration: is true, but users have accounts here only with auth.method = "accounts"`},
		{"administrators of a host that anybody is let in to", global("") + "auth.method = 'open'\nadmins = ['john']\n", `c.toml:6:1: host.admins: names administrators, but with auth.method = "open" nobody proves`},
		{"administrators without names", global("") + "auth.method = 'anonymous'\nadmins = ['john']\n", `c.toml:6:1: host.admins: names administrators`},
		{"an administrator of another host", inHost("admins = ['john@a.example']"), `c.toml:4:1: host.admins: has "john@a.example"; write the name alone, "john"`},
		{"an administrator whose name cannot be one", inHost("admins = ['John']"), `c.toml:4:1: host.admins: has "John"; as a username that is "john"`},
		{"open to everybody", global("listen.c2s = '192.0.2.1:5222'\ntls.require = false") + "auth.method = 'open'\n", `c.toml:6:1: host.auth.method: is "open", which lets anybody in as anybody, but listen.c2s = "192.0.2.1:5222"`},
		{"open behind http", global("listen.http = ':5280'\nadmin.token = 'x'") + "auth.method = 'open'\n", `c.toml:6:1: host.auth.method: is "open"`},
		{"unprotected notifications", global("listen.http = ':5280'"), `c.toml:1:1: listen.http: is ":5280", which other machines can reach, but nothing protects the notifications for host "localhost"`},
		{"a host unprotected", global("listen.http = ':5280'") + "admin_token = 'x'\n[[host]]\nname = 'b'\nroster.url = 'x'\n", `c.toml:1:1: listen.http: is ":5280", which other machines can reach, but nothing protects the notifications for host "b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("c.toml", []byte(c.toml))
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("error is %v", err)
			}
			if len(all) != 1 || !strings.HasPrefix(all[0].Error(), c.want) {
				t.Errorf("got\n%v\nwant one error that begins\n%s", err, c.want)
			}
		})
	}
}

func TestAllErrorsAtOnceInOrder(t *testing.T) {
	_, err := Parse("c.toml", []byte("data_dirr = 1\n[log]\nformat = 'xml'\n[[host]]\nname = 'x'\nroster.url = 3\nauth.method = 'http'\n"+
		"[[host]]\nname = 'y'\nroster = { url = 'z', timeout = 5 }\n"))
	var got []string
	for line := range strings.Lines(fmt.Sprint(err)) {
		place, _, _ := strings.Cut(line, ": is")
		place, _, _ = strings.Cut(place, ": \"")
		got = append(got, place)
	}
	want := []string{"c.toml:1:1: data_dirr", "c.toml:3:1: log.format", "c.toml:6:1: host.roster.url",
		"c.toml:7:1: host.auth.method", "c.toml:10:23: host.roster.timeout"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%v", diff, err)
	}
}

func TestKeyErrorFindsTheLine(t *testing.T) {
	c, err := Parse("c.toml", []byte(minimal+"[[host]]\nname = 'b'\n\nroster.url = 'x'\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		HostKey(1, "roster.url"):   "c.toml:7:1: host.roster.url: bad",
		HostKey(0, "roster.url"):   "c.toml:3:1: host.roster.url: bad",
		HostKey(1, "roster.token"): "c.toml:7:1: host.roster.token: bad", // its table begins there
		HostKey(1, "auth.method"):  "c.toml:4:3: host.auth.method: bad",
		"tls.cert":                 "c.toml: tls.cert: bad",
	} {
		if got := c.KeyError(key, errors.New("bad")).Error(); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

func TestCheckOfAConfigMadeByAProgram(t *testing.T) {
	c := Default()
	c.Hosts = []Host{DefaultHost("localhost", "http://x/%s")}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Hosts[0].Auth.Method = AuthOpen
	c.Listen.HTTP = ":0"
	err := c.Check()
	if got := strings.Count(fmt.Sprint(err), "\n") + 1; got != 2 || !strings.HasPrefix(err.Error(), "host.auth.method: is \"open\"") {
		t.Errorf("want errors for open and for the missing token, got %v", err)
	}
	c.Listen = Listen{C2S: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	if err := c.Check(); err != nil {
		t.Errorf("the same ephemeral port twice: %v", err)
	}
}

// Each credential protects a listener that others can reach.
func TestProtectedListeners(t *testing.T) {
	const open = "listen.http = ':5280'\n"
	tls := "listen.https = ':5281'\ntls.cert = 'c'\ntls.key = 'k'\n"
	for name, text := range map[string]string{
		"token": open + "admin.token = 'x'\n" + minimal, "the host's token": open + minimal + "admin_token = 'x'\n",
		"secret": open + "admin.webhook_secret = '" + testSecret + "'\n" + minimal, "the host's secret": open + minimal + "admin_webhook_secret = '" + testSecret + "'\n",
		"CA": open + tls + "admin.client_ca = 'ca'\n" + minimal,
	} {
		if _, err := Parse("c.toml", []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// a secret that is no good is one error, not two
	_, err := Parse("c.toml", []byte(open+"admin.webhook_secret = 'x'\n"+minimal))
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 0 {
		t.Errorf("%v", err)
	}
}

func TestLoadNamesTheMissingFile(t *testing.T) {
	_, err := Load("/nonexistent/rollcall.toml")
	if want := "/nonexistent/rollcall.toml: can't be read: no such file or directory; write one, of two lines at least (docs/config.md), or say which with -c FILE"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.9.1:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "192.168.0.1:1": false, "localhost.example.com:1": false,
		"127.1:1": false, "127.0.0.1": false, "": false,
	} {
		if got := Loopback(addr); got != want {
			t.Errorf("Loopback(%q) = %v", addr, got)
		}
	}
}

func TestSignInNeedsTLS(t *testing.T) {
	for _, c := range []struct {
		what      string
		listen    Listen
		tls       TLS
		c2s, http bool
	}{
		{"defaults", Listen{C2S: "127.0.0.1:1", HTTP: "127.0.0.1:2"}, TLS{Require: true}, false, false},
		{"certificate", Listen{C2S: "127.0.0.1:1", HTTP: "127.0.0.1:2"}, TLS{Cert: "c", Require: true}, true, false},
		{"everywhere", Listen{C2S: ":1", HTTP: ":2"}, TLS{Cert: "c", Require: true}, true, true},
		{"ACME", Listen{C2S: "127.0.0.1:1", HTTP: "127.0.0.1:2"}, TLS{ACME: ACME{Email: "a@example.com"}, Require: true}, true, false},
		{"proxy", Listen{C2S: ":1", HTTP: ":2"}, TLS{Cert: "c"}, false, false},
	} {
		cfg := &Config{Listen: c.listen, TLS: c.tls}
		if got := cfg.SignInNeedsTLS("c2s"); got != c.c2s {
			t.Errorf("%s: c2s %v", c.what, got)
		}
		if got := cfg.SignInNeedsTLS("http"); got != c.http {
			t.Errorf("%s: http %v", c.what, got)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	const canary = "canary-token"
	c, err := Parse("c.toml", []byte("admin.token = '"+canary+"'\nadmin.webhook_secret = '"+testSecret+"'\n"+minimal+"roster.token = '"+canary+"'\nadmin_token = ['"+canary+"']\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Hosts[0].Roster.Token
	if string(s) != canary {
		t.Fatalf("the token is lost")
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, s, c.Hosts[0], c.Admin)
	}
	fmt.Fprintf(&out, "%+v", c.Hosts)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", s, "admin", c.Admin, "host", c.Hosts[0])
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", s, "admin", c.Admin, "host", c.Hosts[0])
	if strings.Contains(out.String(), "whsec") || strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("a secret shows: %s", out.String())
	}
	if !strings.Contains(out.String(), "[secret]") || Secret("").String() != "" {
		t.Error("a secret does not say that it is one")
	}
}

// FuzzParse: whatever the file, an answer comes, and each error says which file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(sample()))
	f.Add([]byte("host = [{name = 'x', auth = {plan = [1, {a.b = 2}]}}]\n[[limits]]\n[a.\"b.c\".d]\nx = 1979-05-27T07:32:00Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := Parse("c.toml", b)
		if err == nil {
			return
		}
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("%T %v", err, err)
		}
		for _, e := range all {
			if e.File != "c.toml" || e.Line < 0 || e.Err == nil {
				t.Errorf("%+v", e)
			}
		}
	})
}
