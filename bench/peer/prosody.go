package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"rollcall/bench/client"
	"rollcall/bench/service"
	"rollcall/internal/auth"
)

// The module's own instructions, with s2s left out, any password accepted and the log kept to warnings.
const prosodyConfig = `
run_as_root = true
daemonize = false
data_path = %[1]q
plugin_paths = { %[2]q }
log = { { levels = { min = "warn" }, to = "console" } }
interfaces = { "127.0.0.1" }
c2s_ports = { %[3]s }
http_interfaces = { "127.0.0.1" }
http_ports = { %[4]s }
https_ports = { }
http_default_host = %[5]q
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = %[8]q
insecure_open_authentication = "Yes please, I know what I'm doing!"
modules_enabled = { "disco", "saslauth", "ping", "http", "tls" }
modules_disabled = { "s2s", "roster" }
VirtualHost %[5]q
	modules_enabled = { "http_roster_admin", "block_subscriptions", "storage_memory" }
	modules_disabled = { "roster", "s2s" }
	storage = { roster = "memory" }
	http_roster_url = %[6]q
	%[7]s
`

func startProsody(ctx context.Context, o Options) (*Running, error) {
	if o.ProsodyModules == "" {
		return nil, fmt.Errorf("give the checkout of prosody-modules with -prosody-modules")
	}
	if _, err := os.Stat(filepath.Join(o.ProsodyModules, "mod_http_roster_admin")); err != nil {
		return nil, fmt.Errorf("-prosody-modules: no mod_http_roster_admin there: %w", err)
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	tls := ""
	if o.Cert != "" {
		tls = fmt.Sprintf("ssl = { certificate = %q; key = %q }", o.Cert, o.Key)
	}
	data := filepath.Join(o.Dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	authentication := "insecure"
	if o.Accounts {
		authentication = "internal_hashed"
		if err := writeProsodyAccounts(data, o); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf(prosodyConfig, data, o.ProsodyModules, port(addrs[0]), port(addrs[1]), o.Host, o.RosterURL, tls, authentication)
	config := filepath.Join(o.Dir, "prosody.cfg.lua")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	p, err := launch(ctx, o, addrs[0], exec.Command("prosody", "--config", config, "-F"))
	if err != nil {
		return nil, err
	}
	r := running(addrs[0], p)
	r.notifyBy("http://"+addrs[1]+"/roster_admin/refresh", "", o)
	return r, nil
}

// writeProsodyAccounts writes accounts as Prosody's file storage has them: prosodyctl takes a tenth of a second for each. All
// have one password, which is hashed once.
func writeProsodyAccounts(data string, o Options) error {
	keys, err := auth.MakeCredentials(client.Password)
	if err != nil {
		return err
	}
	k := keys.SHA1
	text := fmt.Sprintf("return {\n\t[\"iteration_count\"] = %d;\n\t[\"salt\"] = %s;\n\t[\"stored_key\"] = \"%x\";\n\t[\"server_key\"] = \"%x\";\n};\n",
		k.Iterations, luaBytes(k.Salt), k.StoredKey, k.ServerKey)
	dir := filepath.Join(data, prosodyEscape(o.Host), "accounts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range o.Graph.Users {
		if err := os.WriteFile(filepath.Join(dir, service.User(i)+".dat"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// luaBytes writes a string of any bytes for Lua.
func luaBytes(b []byte) string {
	s := []byte{'"'}
	for _, c := range b {
		s = fmt.Appendf(s, "\\%03d", c)
	}
	return string(append(s, '"'))
}

// prosodyEscape writes a host as the name of its folder: whatever is no letter or digit as % and two hexadecimal digits.
func prosodyEscape(host string) string {
	var s []byte
	for _, c := range []byte(host) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			s = append(s, c)
		} else {
			s = fmt.Appendf(s, "%%%02x", c)
		}
	}
	return string(s)
}
