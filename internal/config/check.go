package config

import (
	"errors"
	"fmt"
)

// A problem is a contradiction between keys.
type problem struct {
	keys []string // full keys it comes from; the first is to blame
	err  error
}

// about says whether p may only follow from an error in one of those keys, or in a table around them.
func (p problem) about(failed map[string]bool) bool {
	for _, k := range p.keys {
		for ; k != ""; k = parent(k) {
			if failed[k] {
				return true
			}
		}
	}
	return false
}

// Check says what contradicts itself in c: what Parse checks across keys, for a Config that was made or changed by a
// program. Its error is Errors.
func (c *Config) Check() error {
	var errs Errors
	for _, p := range c.problems() {
		errs = append(errs, c.source.at(p.keys[0], p.err))
	}
	return errs.sorted()
}

func (c *Config) problems() []problem {
	ps := c.listenProblems()
	ps = append(ps, c.tlsProblems()...)
	ps = append(ps, c.hostProblems()...)
	return append(ps, c.adminProblems()...)
}

// A listener is a key of [listen] with its value.
type listener struct{ key, addr string }

func (c *Config) listeners() []listener {
	return []listener{
		{"listen.c2s", c.Listen.C2S}, {"listen.c2s_tls", c.Listen.C2STLS},
		{"listen.http", c.Listen.HTTP}, {"listen.https", c.Listen.HTTPS},
	}
}

func (c *Config) listenProblems() (ps []problem) {
	taken := map[string]string{}
	for _, l := range c.listeners() {
		if l.addr == "" {
			continue
		}
		if other, ok := taken[l.addr]; ok && !ephemeral(l.addr) {
			ps = append(ps, problem{[]string{l.key, other}, fmt.Errorf("is %q, as %s is; each needs its own port", l.addr, other)})
		}
		taken[l.addr] = l.key
	}
	if len(taken) == 0 {
		ps = append(ps, problem{[]string{"listen"}, errors.New(
			"has no address; set at least one of c2s, c2s_tls, http, https")})
	}
	return ps
}

func ephemeral(addr string) bool { return len(addr) > 2 && addr[len(addr)-2:] == ":0" }

func (c *Config) tlsProblems() (ps []problem) {
	keys := []string{"tls.key", "tls.cert"}
	switch {
	case c.TLS.Cert != "" && c.TLS.Key == "":
		ps = append(ps, problem{keys, errors.New("is missing; tls.cert needs its private key")})
	case c.TLS.Cert == "" && c.TLS.Key != "":
		keys = []string{"tls.cert", "tls.key"}
		ps = append(ps, problem{keys, errors.New("is missing; tls.key needs its certificate")})
	case c.TLS.ACME.Email != "":
		return c.acmeProblems()
	case c.TLS.Cert != "":
		return nil
	}
	for _, l := range []listener{{"listen.c2s_tls", c.Listen.C2STLS}, {"listen.https", c.Listen.HTTPS}} {
		if l.addr != "" && c.TLS.Cert == "" {
			ps = append(ps, problem{append([]string{l.key, "tls.acme.email"}, keys...), errors.New(
				"needs a certificate; set tls.cert and tls.key, or tls.acme.email")})
		}
	}
	if c.Listen.C2S != "" && c.TLS.Cert == "" && c.TLS.Require && !Loopback(c.Listen.C2S) {
		ps = append(ps, problem{append([]string{"listen.c2s", "tls.require", "tls.acme.email"}, keys...), fmt.Errorf(
			"is %q, which other machines can reach, but clients could not sign in without TLS; set tls.cert and tls.key, "+
				`or tls.acme.email, or listen on "127.0.0.1:5222", or set tls.require = false where something in front adds TLS`, c.Listen.C2S)})
	}
	return ps
}

func (c *Config) hostProblems() (ps []problem) {
	for i, h := range c.Hosts {
		if h.Auth.ClientCA != "" && c.TLS.Cert == "" && c.TLS.ACME.Email == "" {
			ps = append(ps, problem{[]string{HostKey(i, "auth.client_ca"), "tls.cert"}, errors.New(
				"needs TLS: set tls.cert and tls.key, or tls.acme.email")})
		}
	}
	if len(c.Hosts) == 0 {
		return []problem{{[]string{"host"}, errors.New("is missing; write at least [[host]], " +
			`name = "chat.example.com" and roster.url = "http://127.0.0.1:9099/contacts/%s"`)}}
	}
	first := map[string]int{}
	for i, h := range c.Hosts {
		name := HostKey(i, "name")
		switch j, twice := first[h.Name]; {
		case h.Name == "":
			ps = append(ps, problem{[]string{name}, errors.New(`is missing; write name = "chat.example.com"`)})
		case twice:
			ps = append(ps, problem{[]string{name, HostKey(j, "name")}, fmt.Errorf("is %q a second time; each host has one [[host]]", h.Name)})
		default:
			first[h.Name] = i
		}
		if h.Auth.Method == AuthAccounts && c.DataDir == "" && c.Database.URL == "" {
			ps = append(ps, problem{[]string{"data_dir", HostKey(i, "auth.method")}, fmt.Errorf(
				`is "", so there can be no accounts, and nobody could sign in to host %q; name a folder, or use another auth.method`, h.Name)})
		}
		if h.Webhooks.URL != "" && h.Webhooks.Secret == "" {
			ps = append(ps, problem{[]string{HostKey(i, "webhooks.url"), HostKey(i, "webhooks.secret")}, errors.New(
				`needs webhooks.secret, so that your application can tell our events from others': echo "whsec_$(openssl rand -base64 32)"`)})
		}
		if len(h.Admins) > 0 && (h.Auth.Method == AuthOpen || h.Auth.Method == AuthAnonymous) {
			ps = append(ps, problem{[]string{HostKey(i, "admins"), HostKey(i, "auth.method")}, fmt.Errorf(
				"names administrators, but with auth.method = %q nobody proves to be one of them; use another one", h.Auth.Method)})
		}
		ps = append(ps, h.Auth.problems(i)...)
		if h.Auth.Method != AuthOpen {
			continue
		}
		for _, l := range c.listeners() {
			if l.addr != "" && !Loopback(l.addr) {
				ps = append(ps, problem{[]string{HostKey(i, "auth.method"), l.key}, fmt.Errorf(
					`is "open", which lets anybody in as anybody, but %s = %q can be reached from other machines; `+
						`use "accounts", or listen on 127.0.0.1 only`, l.key, l.addr)})
			}
		}
	}
	return ps
}

// adminProblems: "With none configured only loopback peers may call, and the server refuses to start an unprotected
// listener on another address" (roster-http.md section 2, "Who may").
func (c *Config) adminProblems() (ps []problem) {
	if len(c.Admin.ClientNames) > 0 && c.Admin.ClientCA == "" {
		ps = append(ps, problem{[]string{"admin.client_names", "admin.client_ca"}, errors.New(
			"needs admin.client_ca, the CAs whose certificates may have these names")})
	}
	if c.Admin.ClientCA != "" && c.Listen.HTTPS == "" {
		ps = append(ps, problem{[]string{"admin.client_ca", "listen.https"}, errors.New(
			"needs listen.https: there is no other listener that asks for certificates")})
	}
	if len(c.Admin.Tokens)+len(c.Admin.WebhookSecrets) > 0 || c.Admin.ClientCA != "" {
		return ps
	}
	for i, h := range c.Hosts {
		for _, l := range []listener{{"listen.http", c.Listen.HTTP}, {"listen.https", c.Listen.HTTPS}} {
			if l.addr == "" || Loopback(l.addr) || len(h.AdminTokens)+len(h.AdminWebhookSecrets) > 0 {
				continue
			}
			ps = append(ps, problem{adminKeys(i, l.key), fmt.Errorf(
				"is %q, which other machines can reach, but nothing protects the notifications for host %q; "+
					"set admin.token (or admin_token in each [[host]]), or listen on 127.0.0.1", l.addr, h.Name)})
		}
	}
	return ps
}

// adminKeys lists the keys that together leave a host unprotected on a listener.
func adminKeys(host int, listener string) []string {
	keys := []string{listener, HostKey(host, "name"), "admin.client_ca"}
	for _, end := range []string{"", "_file", "_env"} {
		keys = append(keys, "admin.token"+end, "admin.webhook_secret"+end,
			HostKey(host, "admin_token"+end), HostKey(host, "admin_webhook_secret"+end))
	}
	return keys
}
