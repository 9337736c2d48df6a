// Package storetest runs a PostgreSQL server (https://www.postgresql.org/docs/current/app-postgres.html) for tests: a real
// one, of the Debian package postgresql or whatever is installed, in a folder of its own, on a Unix socket.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// User and Password are those of the databases that URL names; the user may do everything.
const (
	User     = "rollcall"
	Password = "correct horse"
)

// A Server is a PostgreSQL server with a cluster of its own.
type Server struct {
	bin, dir string
	durable  bool
	cred     *syscall.Credential // whom it runs as; nil: as we do. PostgreSQL refuses to be root
	stdin    *os.File            // its end is the end of the server
	cmd      *exec.Cmd
}

var (
	once    sync.Once
	shared  *Server
	failure error
	schemas atomic.Int64
)

// URL is that of a new, empty schema in a server that all tests of a test binary share, and that ends with it. It does not
// wait for its disk. The test is skipped when PostgreSQL is not installed.
func URL(t testing.TB) string {
	t.Helper()
	bin := binaries(t)
	once.Do(func() { shared, failure = start(bin, false) })
	if failure != nil {
		t.Fatal(failure)
	}
	return shared.Schema(t)
}

// Start starts a server for one test or benchmark, which may stop it and start it again; it ends with the test. A durable
// one waits for its disk, as servers do.
func Start(t testing.TB, durable bool) *Server {
	t.Helper()
	s, err := start(binaries(t), durable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.stdin != nil {
			s.Stop(t)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// binaries is the folder of initdb and postgres; a test is skipped when there is none.
func binaries(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Skip("PostgreSQL is not installed (Debian package postgresql; scripts/install-tools.sh)")
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // no number is the oldest
	return n
}

// start makes a cluster and starts a server of it.
func start(bin string, durable bool) (s *Server, err error) {
	s = &Server{bin: bin, durable: durable}
	if s.dir, err = os.MkdirTemp("", "rollcall-pg"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if err := s.becomeSomebody(); err != nil {
		return nil, err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", s.data(), "-U", User, "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr = s.attributes()
	initdb.Dir = s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.start()
}

// becomeSomebody finds a user for the server, if we are root, and gives it the folder.
func (s *Server) becomeSomebody() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

// attributes make a process another user's, in a group of its own, so that Ctrl-C does not reach it before it reaches us.
func (s *Server) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Own gives a folder to the user of the server.
func (s *Server) Own(t testing.TB, dir string) {
	t.Helper()
	if s.cred != nil {
		if err := os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// guard keeps a server as long as it can read: when we end, however that is, so does the pipe, and then the server. The
// shared one takes its folder along.
const guard = `"$@" >>"$0/log" 2>&1 & pid=$!
echo $pid
read -r how
kill -"${how:-INT}" $pid
wait $pid
[ -n "$how" ] || rm -rf "$0"`

// start starts the server and waits until it answers.
func (s *Server) start() (err error) {
	args := []string{"-c", guard, s.dir, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "max_connections=60", "-c", "shared_buffers=64MB"}
	if !s.durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stdin = s.attributes(), s.dir, r
	err = cmd.Start()
	r.Close()
	if err != nil {
		return errors.Join(err, w.Close())
	}
	s.cmd, s.stdin = cmd, w
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.Database("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, log)
		}
		time.Sleep(20 * time.Millisecond) // asking is the only way to know
	}
}

// Start starts a server that was stopped.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server as its administrator does (the mode "fast": connections are cut off) and waits for its end.
func (s *Server) Stop(t testing.TB) { s.stop(t, "INT") }

// Crash ends the server without warning ("immediate") and waits for its end. It recovers when it is started again.
func (s *Server) Crash(t testing.TB) { s.stop(t, "QUIT") }

func (s *Server) stop(t testing.TB, signal string) {
	t.Helper()
	if _, err := s.stdin.WriteString(signal + "\n"); err != nil {
		t.Error(err)
	}
	s.stdin.Close()
	s.stdin = nil
	_ = s.cmd.Wait() // the status is that of a test in the script
}

// Pause stops the server and all of its processes where they are, until Resume: connections are open, and nobody answers.
func (s *Server) Pause(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume lets the server go on.
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

// signal reaches the server and its children, each of which leads a group of its own. The first line of postmaster.pid is
// the server's number.
func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	for _, pid := range s.processes(t) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

func (s *Server) processes(t testing.TB) []int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	all := []int{postmaster}
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	if err != nil {
		t.Skipf("the processes of a server cannot be found here: %v", err)
	}
	for _, child := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	return all
}

// Database is the URL of a database by name. Parameters are names and values, one after the other.
func (s *Server) Database(name string, parameters ...string) string {
	q := url.Values{"host": {s.dir}}
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(User, Password), Path: "/" + name, RawQuery: q.Encode()}
	return u.String()
}

// Schema is the URL of a new, empty schema.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", schemas.Add(1))
	s.Exec(t, "CREATE SCHEMA "+name)
	return s.Database("postgres", "search_path", name)
}

// Exec runs a statement as the administrator.
func (s *Server) Exec(t testing.TB, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, s.Database("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(ctx, statement)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		t.Fatal(err)
	}
}
