package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"rollcall/bench/client"
	"rollcall/bench/service"
)

// ejabberd keeps accounts and rosters itself (Mnesia); both are made, and rosters changed, with its HTTP API.
const ejabberdConfig = `
hosts: [%[1]q]
loglevel: warning
auth_method: internal
auth_password_format: %[5]s
s2s_access: none
api_permissions:
  "generator":
    from: [mod_http_api]
    who: all
    what: "*"
listen:
  - {port: %[2]s, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, access: all, shaper: none, backlog: 1024%[4]s}
  - {port: %[3]s, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {"/api": mod_http_api}}
modules:
  mod_admin_extra: {}
  mod_disco: {}
  mod_http_api: {}
  mod_ping: {}
  mod_roster: {}
`

func startEjabberd(ctx context.Context, o Options) (*Running, error) {
	ebin, err := ejabberdCode()
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	tls := ""
	if o.Cert != "" {
		tls = fmt.Sprintf(", starttls: true, certfile: %q", o.Cert)
	}
	format := "plain"
	if o.Accounts {
		format = "scram"
	}
	text := fmt.Sprintf(ejabberdConfig, o.Host, port(addrs[0]), port(addrs[1]), tls, format)
	config := filepath.Join(o.Dir, "ejabberd.yml")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	// Without a node name nothing but the two listeners is opened. +Q is the number of sockets, +P of Erlang processes.
	cmd := exec.Command("erl", "-noinput", "+Q", "65536", "+P", "500000", "-pa", ebin,
		"-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(o.Dir, "mnesia")), "-s", "ejabberd")
	cmd.Env = append(os.Environ(), "EJABBERD_CONFIG_PATH="+config, "EJABBERD_LOG_PATH="+filepath.Join(o.Dir, "ejabberd.log"),
		"HOME="+o.Dir, "SPOOL_DIR="+o.Dir)
	p, err := launch(ctx, o, addrs[0], cmd)
	if err != nil {
		return nil, err
	}
	api := &ejabberdAPI{base: "http://" + addrs[1] + "/api/", host: o.Host,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.Parallel}}}
	r := running(addrs[0], p)
	r.stop = func() error { api.client.CloseIdleConnections(); return p.stop() }
	r.Change = func(ctx context.Context, users []int, add bool) error {
		for _, u := range users {
			if err := api.setItem(ctx, service.User(u), o.Graph.Extra(u), "A new friend", add); err != nil {
				return err
			}
		}
		return nil
	}
	if err := api.populate(ctx, o.Graph, o.Parallel); err != nil {
		return nil, fmt.Errorf("%w (and %v)", err, r.stop())
	}
	return r, nil
}

// ejabberdCode finds ejabberd's compiled code, which Debian keeps in a folder named by version.
func ejabberdCode() (string, error) {
	for _, pattern := range []string{"/usr/lib/*/ejabberd*/ebin", "/usr/lib/ejabberd*/ebin", "/usr/lib/*/ejabberd*/lib/ejabberd*/ebin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, dir := range found {
			if _, err := os.Stat(filepath.Join(dir, "ejabberd.app")); err == nil {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("not found: install Debian's package ejabberd")
}

type ejabberdAPI struct {
	base, host string
	client     *http.Client
}

func (a *ejabberdAPI) call(ctx context.Context, command string, args map[string]any) error {
	body, err := json.Marshal(args)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+command, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ejabberd's %s: %d: %.200s", command, resp.StatusCode, answer)
	}
	return nil
}

func (a *ejabberdAPI) setItem(ctx context.Context, user, contact, name string, add bool) error {
	local, _, _ := strings.Cut(contact, "@")
	args := map[string]any{"localuser": user, "localhost": a.host, "user": local, "host": a.host}
	if !add {
		return a.call(ctx, "delete_rosteritem", args)
	}
	args["nick"], args["group"], args["subs"] = name, "Friends", "both"
	return a.call(ctx, "add_rosteritem", args)
}

// populate makes the accounts and rosters of a graph.
func (a *ejabberdAPI) populate(ctx context.Context, g *service.Graph, parallel int) error {
	return inParallel(ctx, g.Users, parallel, func(ctx context.Context, i int) error {
		account := map[string]any{"user": service.User(i), "host": a.host, "password": client.Password}
		if err := a.call(ctx, "register", account); err != nil {
			return err
		}
		for k := range g.Contacts {
			other := service.User(g.Contact(i, k))
			if err := a.setItem(ctx, service.User(i), other+"@"+a.host, "User "+other[1:], true); err != nil {
				return err
			}
		}
		for k := range g.Offline {
			contact := g.OfflineContact(i, k)
			local, _, _ := strings.Cut(contact, "@")
			if err := a.setItem(ctx, service.User(i), contact, "Somebody "+local[1:], true); err != nil {
				return err
			}
		}
		return nil
	})
}
