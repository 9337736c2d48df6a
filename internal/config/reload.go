package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// live lists the keys whose change takes effect when the file is read again (SIGHUP), without a restart: those of a running
// server that are rotated or moved. A secret stands for its three keys.
var live = []string{
	"admin.token", "admin.webhook_secret", "admin.client_names", "admin.rate",
	"limits.pre_auth_timeout", "limits.pre_auth_per_address", "limits.http_per_address", "limits.failed_sign_ins",
	"limits.registrations", "limits.registrations_per_address", "limits.sessions_per_user", "limits.detached_per_user", "limits.rate", "limits.burst", "limits.rate_exempt",
	"log.level",
	"host.admin_token", "host.admin_webhook_secret", "host.admins",
	"host.roster.url", "host.roster.batch_url", "host.roster.batch_size", "host.roster.timeout", "host.roster.concurrency", "host.roster.token",
	"host.roster.max_age", "host.roster.login_wait", "host.roster.guard",
	"host.profile.url", "host.profile.timeout", "host.profile.concurrency", "host.profile.avatar_origins", "host.profile.token",
	"host.auth.channel_binding", "host.auth.downgrade_protection", "host.auth.iterations", "host.auth.fast", "host.auth.plain",
	"host.auth.registration", "host.auth.reserved_names", "host.auth.removal", "host.auth.password_min",
	"host.auth.url", "host.auth.style", "host.auth.scram", "host.auth.timeout", "host.auth.cache", "host.auth.concurrency", "host.auth.credentials",
	"host.auth.jwt.secret", "host.auth.jwt.key_file", "host.auth.jwt.url", "host.auth.jwt.discovery", "host.auth.jwt.algorithms",
	"host.auth.jwt.issuer", "host.auth.jwt.audience", "host.auth.jwt.claim", "host.auth.jwt.end_sessions",
	"host.archive.default", "host.archive.max_age", "host.archive.max_messages",
	"host.webhooks.url", "host.webhooks.secret", "host.webhooks.max_age",
}

// isLive says whether a key is among them, by its name in the documentation: "admin.token_file", "host.roster.url".
func isLive(name string) bool {
	for _, suffix := range []string{"", "_file", "_env"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && slices.Contains(live, base) {
			return true
		}
	}
	return false
}

// A Change is a key that has one value in a configuration and another in the next.
type Change struct {
	Host string // whose key it is; "" for keys outside [[host]]
	Key  string // "admin.token", "host.roster.url"; "host" when the host itself has come or gone
	Live bool   // a running server can take it over
}

// String names the key for people.
func (c Change) String() string {
	if c.Host == "" {
		return c.Key
	}
	return c.Key + " of " + c.Host
}

// Changes lists what is different in next, in order. What a file names that holds secrets or keys (token_file,
// auth.jwt.key_file) counts by what is in it; certificates do not count, for they are read again whenever they change.
func (c *Config) Changes(next *Config) (all []Change) {
	old, fresh := c.fingerprints(), next.fingerprints()
	for k := range fresh {
		if _, known := old[k]; !known {
			old[k] = fingerprint{}
		}
	}
	for k, was := range old {
		of := hostKeyName{k.host, "host"}
		if fresh[k] != was && (k == of || fresh[of] == old[of]) { // of a host that has come or gone that is all there is to say
			all = append(all, Change{Host: k.host, Key: k.key, Live: isLive(k.key)})
		}
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.Host+" "+a.Key, b.Host+" "+b.Key) })
	return all
}

// A fingerprint stands for the value of a key that is not at its default. It is a hash, for some values are secrets.
type fingerprint [sha256.Size]byte

func fingerprintOf(v any) fingerprint { return sha256.Sum256(fmt.Appendf(nil, "%#v", v)) }

// note keeps the fingerprint of a value as the file has it.
func (s source) noteValue(full string, k *key, v any) {
	if k.def == nil || !reflect.DeepEqual(v, tomlValue(k.def)) {
		s.values[full] = fingerprintOf(v)
	}
}

// noteSecret keeps that of a secret, wherever it came from, in place of those of its three keys.
func (s source) noteSecret(full string, values []Secret) {
	for _, suffix := range []string{"", "_file", "_env"} {
		delete(s.values, full+suffix)
	}
	if len(values) > 0 {
		plain := make([]string, len(values))
		for i, v := range values {
			plain[i] = string(v)
		}
		s.values[full] = fingerprintOf(plain)
	}
}

// maxKeyFile is how much of a file counts, in bytes.
const maxKeyFile = 1 << 20

// noteFile has a key count by what is in the file that it names. A file that cannot be read counts by its name: whoever
// needs it says what is wrong.
func (s source) noteFile(full, path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return
	}
	if b, err := os.ReadFile(path); err == nil {
		s.values[full] = fingerprintOf([]string{path, string(b)})
	}
}

type hostKeyName struct{ host, key string }

// fingerprints gives those of all keys, by the name of their host rather than by its place in the file.
func (c *Config) fingerprints() map[hostKeyName]fingerprint {
	all := make(map[hostKeyName]fingerprint, len(c.source.values))
	prefixes := make(map[string]string, len(c.Hosts))
	for i, h := range c.Hosts {
		prefixes[fmt.Sprintf("host[%d]", i)] = h.Name
		all[hostKeyName{h.Name, "host"}] = fingerprintOf(h.Name)
	}
	for full, f := range c.source.values {
		name := hostKeyName{key: plainKey(full)}
		if head, _, ok := strings.Cut(full, "."); ok {
			name.host = prefixes[head]
		}
		if name.key != "host.name" { // in "host" as it was understood
			all[name] = f
		}
	}
	return all
}
