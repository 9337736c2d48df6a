package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const rollcallConfig = `data_dir = ""

[listen]
c2s  = %q
http = %q

[tls]
cert = %q
key  = %q
require = false

[[host]]
name = %q
auth.method = "open"
auth.plain = true
roster.url = %q
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
	text := fmt.Sprintf(rollcallConfig, addrs[0], addrs[1], o.Cert, o.Key, o.Host, o.RosterURL)
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

func startFloor(ctx context.Context, o Options) (*Running, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	args := []string{"-c2s", addrs[0], "-http", addrs[1], "-host", o.Host, "-roster", o.RosterURL}
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
