// Package peer starts the servers that are compared, each with a configuration written to a folder that the run
// throws away, listening on loopback only and accepting any password, unless accounts are asked for.
package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rollcall/bench/measure"
	"rollcall/bench/service"
)

// Options is what a server is started with.
type Options struct {
	Dir       string         // where its configuration, data and log go
	Host      string         // the virtual host
	RosterURL string         // template of the roster service, with %s
	BatchURL  string         // where many rosters are asked for at once; "" when one at a time is asked for
	Graph     *service.Graph // for servers that keep rosters themselves
	Patch     bool           // changes are sent along instead of being fetched
	Data      bool           // rollcall keeps what it knows on disk
	Database  string         // the URL of PostgreSQL, "" for SQLite
	Accounts  bool           // users have accounts with hashed passwords, to sign in with SCRAM
	Parallel  int            // notifications at a time
	Cert, Key string         // PEM files for STARTTLS; "" for none

	Rollcall, Floor string // binaries
	Profiled        bool   // Rollcall is bench/profiled, which has a profiler's door
	ProsodyModules  string // checkout of prosody-modules
	Existing        Existing
}

// Existing describes a server that is running already.
type Existing struct {
	Addr      string // host:port for clients
	PID       int    // whose cost is measured
	NotifyURL string // POST of names; "" when rosters cannot be changed
	Token     string // bearer token for NotifyURL
}

// Running is a server that takes clients.
type Running struct {
	Name string
	Addr string // host:port for clients
	PIDs []int  // whose cost is measured

	// Profiler is the URL of bench/profiled's door, "" when the server has none.
	Profiler string

	// Change gives each of the users one friend more, or takes it, and returns when the server says that it is done. It is nil
	// when this server's rosters cannot be changed from outside.
	Change func(ctx context.Context, users []int, add bool) error

	// Restart ends the server with a signal and starts it again with the same configuration; it returns the time from the signal until it
	// takes connections again. It is nil when the server was not started here.
	Restart func(ctx context.Context, sig syscall.Signal) (time.Duration, error)

	stop func() error
}

// running describes a server whose process was started here.
func running(addr string, p *process) *Running {
	r := &Running{Addr: addr, PIDs: []int{p.cmd.Process.Pid}, stop: p.stop}
	r.Restart = func(ctx context.Context, sig syscall.Signal) (time.Duration, error) {
		start := time.Now()
		err := p.restart(ctx, sig)
		r.PIDs = []int{p.cmd.Process.Pid}
		return time.Since(start), err
	}
	return r
}

// Stop ends the server, when it was started here.
func (r *Running) Stop() error {
	if r.stop == nil {
		return nil
	}
	return r.stop()
}

// starters are the servers by the name that -server takes.
var starters = map[string]func(context.Context, Options) (*Running, error){
	"rollcall": startRollcall,
	"floor":    startFloor,
	"prosody":  startProsody,
	"ejabberd": startEjabberd,
	"addr":     attach,
}

// Known says whether Start knows a server of that name.
func Known(name string) bool { return starters[name] != nil }

// Installed returns the servers that can be started here: the floor and rollcall always, Prosody when its modules are given too.
func Installed(o Options) []string {
	names := []string{"floor", "rollcall"}
	if _, err := exec.LookPath("prosody"); err == nil && o.ProsodyModules != "" {
		names = append(names, "prosody")
	}
	if _, err := ejabberdCode(); err == nil {
		names = append(names, "ejabberd")
	}
	return names
}

// Start starts the server of that name and waits until it takes connections.
func Start(ctx context.Context, name string, o Options) (*Running, error) {
	start := starters[name]
	if start == nil {
		return nil, fmt.Errorf("no server is called %q", name)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	r, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.Name = name
	return r, nil
}

func attach(_ context.Context, o Options) (*Running, error) {
	x := o.Existing
	if x.Addr == "" || x.PID == 0 {
		return nil, fmt.Errorf("give -addr and -pid of the server that is running")
	}
	r := &Running{Addr: x.Addr, PIDs: []int{x.PID}}
	if x.NotifyURL != "" {
		r.notifyBy(x.NotifyURL, x.Token, o)
	}
	return r, nil
}

// notifyBy has changes made by the roster service, which then notifies the server, or sends it the change.
func (r *Running) notifyBy(url, token string, o Options) {
	if o.Patch {
		url = strings.TrimSuffix(url, "refresh") + "rosters"
	}
	n := service.NewNotifier(url, o.Host, token, o.Parallel)
	r.Change = func(ctx context.Context, users []int, add bool) error {
		for _, u := range users {
			o.Graph.SetExtra(u, add)
		}
		if o.Patch {
			return n.Patch(ctx, o.Graph, users, add)
		}
		return n.Notify(ctx, users)
	}
	stop := r.stop
	r.stop = func() error {
		n.Close()
		if stop == nil {
			return nil
		}
		return stop()
	}
}

// process is a server's process and its log.
type process struct {
	cmd    *exec.Cmd
	addr   string // what it listens on once it is ready
	log    string
	exited chan struct{}
}

// launch starts a program with its output in the log file of o.Dir, and waits until something listens on addr.
func launch(ctx context.Context, o Options, addr string, cmd *exec.Cmd) (*process, error) {
	cmd.Dir = o.Dir
	p := &process{addr: addr, log: filepath.Join(o.Dir, "log")}
	return p, p.start(ctx, cmd)
}

// start starts a command and waits until it listens.
func (p *process) start(ctx context.Context, cmd *exec.Cmd) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// A server must not outlive the generator, whatever ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := measure.OnFirst(cmd.Start); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended shows in the log; that it ended is what matters here
	}()
	if err := p.await(ctx, p.addr); err != nil {
		return fmt.Errorf("%w\n%s", err, p.tail())
	}
	return nil
}

// restart ends the process with a signal and starts the same command again.
func (p *process) restart(ctx context.Context, sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(restartTimeout):
		return fmt.Errorf("runs on %v after signal %v\n%s", restartTimeout, sig, p.tail())
	}
	return p.start(ctx, &exec.Cmd{Path: p.cmd.Path, Args: p.cmd.Args, Env: p.cmd.Env, Dir: p.cmd.Dir})
}

const (
	startTimeout   = 30 * time.Second
	stopTimeout    = 20 * time.Second
	restartTimeout = time.Minute // with 10,000 clients to say goodbye to
)

func (p *process) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("ended before it listened on %s", addr)
		case <-ctx.Done():
			return fmt.Errorf("does not listen on %s: %w", addr, p.stop())
		case <-retry.C:
		}
	}
}

func (p *process) stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("had ended by itself\n%s", p.tail())
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		return p.cmd.Process.Kill()
	}
}

// tail returns the end of the log.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// freeAddrs returns n addresses on loopback that nothing listened on a moment ago.
func freeAddrs(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until all are known, so that they differ
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}

// port returns the port of an address of freeAddrs.
func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // freeAddrs made it
	}
	return p
}
