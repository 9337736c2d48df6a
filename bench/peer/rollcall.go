package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"rollcall/bench/client"
	"rollcall/bench/service"
	"rollcall/internal/auth"
	"rollcall/internal/store"
)

// No client is slowed down (limits.rate), or it would be the limit that is measured.
const rollcallConfig = `data_dir = %q
database.url = %q

[listen]
c2s  = %q
http = %q

[tls]
cert = %q
key  = %q
require = false

[limits]
rate = 0

[[host]]
name = %q
auth.method = %q
auth.plain = true
roster.url = %q
roster.batch_url = %q
`

func startRollcall(ctx context.Context, o Options) (*Running, error) {
	if o.Rollcall == "" {
		return nil, fmt.Errorf("no binary: it is built from ./cmd/rollcall, or given with -rollcall")
	}
	addrs, err := freeAddrs(3)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(o.Dir, "rollcall.toml")
	data, method := "", "open"
	if o.Data || o.Accounts {
		data = filepath.Join(o.Dir, "data")
	}
	if o.Accounts {
		method = "accounts"
		if err := addAccounts(ctx, data, o); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf(rollcallConfig, data, o.Database, addrs[0], addrs[1], o.Cert, o.Key, o.Host, method, o.RosterURL, o.BatchURL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(o.Rollcall, "serve", "-c", config)
	if o.Profiled {
		cmd = exec.Command(o.Rollcall, "-c", config, "-pprof", addrs[2])
	}
	p, err := launch(ctx, o, addrs[0], cmd)
	if err != nil {
		return nil, err
	}
	r := running(addrs[0], p)
	if o.Profiled {
		r.Profiler = "http://" + addrs[2]
	}
	r.notifyBy("http://"+addrs[1]+"/roster_admin/refresh", "", o)
	return r, nil
}

// addAccounts writes the users' accounts where the server will find them. All have one password, which is hashed once.
func addAccounts(ctx context.Context, dir string, o Options) (err error) {
	keys, err := auth.MakeCredentials(client.Password)
	if err != nil {
		return err
	}
	accounts, err := store.Open(ctx, store.Options{DataDir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, accounts.Close()) }()
	for i := range o.Graph.Users {
		c := store.Credentials{SHA1: store.Keys(keys.SHA1), SHA256: store.Keys(keys.SHA256)}
		if err := accounts.AddAccount(ctx, o.Host, service.User(i), c); err != nil {
			return err
		}
	}
	return nil
}

func startFloor(ctx context.Context, o Options) (*Running, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	args := []string{"-c2s", addrs[0], "-http", addrs[1], "-host", o.Host, "-roster", o.RosterURL, "-batch", o.BatchURL}
	if o.Cert != "" {
		args = append(args, "-cert", o.Cert, "-key", o.Key)
	}
	p, err := launch(ctx, o, addrs[0], exec.Command(o.Floor, args...))
	if err != nil {
		return nil, err
	}
	r := running(addrs[0], p)
	r.notifyBy("http://"+addrs[1]+"/roster_admin/refresh", "", o)
	return r, nil
}
