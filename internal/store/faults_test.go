package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"rollcall/internal/store/storetest"
)

func checkSound(t *testing.T, s *Store) {
	t.Helper()
	var sound string
	if err := s.db.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
		t.Errorf("integrity_check: %q, %v", sound, err)
	}
}

// appender appends numbered messages until it is killed, for several users, and says of each that it was acknowledged.
func appender(o Options, host string) int {
	s, err := Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for user := range 8 {
		wg.Go(func() {
			for i := int64(1); ; i++ {
				e := Entry{Host: host, Username: fmt.Sprint(user), Kind: i, Archived: true, Undelivered: true, Stanza: make([]byte, 500)}
				copied := Entry{Host: host, Username: fmt.Sprint("copy", user), Kind: i, Archived: true}
				_, err := appendWait(s, copied, e)
				mu.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("%d %d\n", user, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return 1
}

// Another process is killed while it commits, again and again: what it was told to be stored is there, in order, once, and
// both entries of it or none.
func TestKilledWhileItCommits(t *testing.T) {
	for kind, test := range map[string]struct {
		kills   int
		options func(t *testing.T) Options
	}{
		"sqlite":   {50, func(t *testing.T) Options { return Options{DataDir: t.TempDir()} }},
		"postgres": {20, func(t *testing.T) Options { return Options{URL: storetest.URL(t)} }},
	} {
		t.Run(kind, func(t *testing.T) {
			o := test.options(t)
			s := openWith(t, o)
			total := 0
			for round := range test.kills {
				host := fmt.Sprintf("h%d", round)
				acknowledged := killed(t, o, host, rand.IntN(200))
				for user := range 8 {
					said := acknowledged[user]
					total += int(said)
					for _, name := range []string{fmt.Sprint(user), fmt.Sprint("copy", user)} {
						p, err := s.Messages(t.Context(), host, name, Query{Limit: MaxPage})
						if err != nil || p.More {
							t.Fatal(len(p.Messages), err)
						}
						// One may have been committed and not said.
						if n := int64(len(p.Messages)); n != said && n != said+1 {
							t.Errorf("round %d, %s: %d acknowledged, %d there", round, name, said, n)
						}
						for i, m := range p.Messages {
							if m.Kind != int64(i)+1 {
								t.Errorf("round %d, %s: number %d at %d", round, name, m.Kind, i)
							}
						}
					}
					both, err := s.CountMessages(t.Context(), host, fmt.Sprint("copy", user), Query{})
					waiting, err2 := s.CountWaiting(t.Context(), host, fmt.Sprint(user), MaxPage)
					if both != waiting || err != nil || err2 != nil {
						t.Errorf("round %d: %d copies, %d waiting, %v %v", round, both, waiting, err, err2)
					}
				}
			}
			if !s.remote {
				checkSound(t, s)
			}
			t.Logf("%d messages acknowledged", total)
			if total < 10*test.kills {
				t.Error("too few to say anything")
			}
		})
	}
}

// killed runs an appender, kills it after it has said some lines, and returns the last number of each user that it said.
func killed(t *testing.T, o Options, host string, lines int) (acknowledged [8]int64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+o.DataDir, childEnv+"_URL="+o.URL, childEnv+"_HOST="+host)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for i := 0; ; i++ {
		if i == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line that the kill has cut says nothing
		}
		var user, n int64
		if _, err := fmt.Sscan(line, &user, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		acknowledged[user] = max(acknowledged[user], n)
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("the other process ended by itself: %s", &stderr)
	}
	return acknowledged
}

// PostgreSQL is stopped: callers hear of it, and when it is back everything goes on.
func TestPostgresStops(t *testing.T) {
	server := storetest.Start(t, false)
	url := server.Schema(t)
	impatient := openWith(t, Options{URL: url, Patience: time.Millisecond})
	patient := openWith(t, Options{URL: url})
	entry := Entry{Host: "h", Username: "u", Archived: true}
	for _, s := range []*Store{impatient, patient} {
		if err := s.AddAccount(t.Context(), "h", fmt.Sprintf("user%p", s), credentials(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := appendWait(s, entry); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		server.Stop(t)
		calls := map[string]error{}
		_, calls["Append"] = appendWait(impatient, entry)
		_, calls["Account"] = impatient.Account(t.Context(), "h", "u")
		calls["AddAccount"] = impatient.AddAccount(t.Context(), "h", "u", credentials(1))
		calls["SetValue"] = impatient.SetValue(t.Context(), Key{"h", "u", "s", ""}, nil, 0)
		calls["SaveRosters"] = impatient.SaveRosters(t.Context(), []RosterSave{{Roster: aRoster("u", 1)}})
		_, calls["Messages"] = impatient.Messages(t.Context(), "h", "u", Query{})
		_, calls["Waiting"] = impatient.Waiting(t.Context(), "h", "u", 0, 1)
		for what, err := range calls {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v, want ErrUnavailable", what, err)
			}
		}
		// What waits is written when it is back.
		told := make(chan error, 1)
		patient.Append([]Entry{entry}, func(_ []ID, err error) { told <- err })
		server.Start(t)
		if err := <-told; err != nil {
			t.Errorf("round %d: what waited: %v", round, err)
		}
		for _, s := range []*Store{impatient, patient} {
			// The first call after it may meet connections that are broken: it must not show.
			if _, err := s.Account(t.Context(), "h", fmt.Sprintf("user%p", s)); err != nil {
				t.Errorf("round %d: reading again: %v", round, err)
			}
			if _, err := appendWait(s, entry); err != nil {
				t.Errorf("round %d: writing again: %v", round, err)
			}
		}
	}
}

// PostgreSQL does not answer, though its connections are open: calls end all the same.
func TestPostgresHangs(t *testing.T) {
	server := storetest.Start(t, false)
	s := openWith(t, Options{URL: server.Schema(t), Patience: time.Millisecond, Connections: 2})
	s.timeout = 300 * time.Millisecond
	entry := Entry{Host: "h", Username: "u", Archived: true}
	if _, err := appendWait(s, entry); err != nil {
		t.Fatal(err)
	}
	server.Pause(t)
	resume := sync.OnceFunc(func() { server.Resume(t) })
	defer resume()
	for range 2 { // the second time there is no connection any more
		if _, err := appendWait(s, entry); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Append: %v, want ErrUnavailable", err)
		}
		if _, err := s.Messages(t.Context(), "h", "u", Query{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Messages: %v, want ErrUnavailable", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Messages(ctx, "h", "u", Query{}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		t.Errorf("a caller with a deadline of its own: %v", err)
	}
	resume()
	s.timeout = callTimeout
	if _, err := appendWait(s, entry); err != nil {
		t.Errorf("it goes on: %v", err)
	}
	if _, err := s.Messages(t.Context(), "h", "u", Query{}); err != nil {
		t.Errorf("it goes on: %v", err)
	}
}

// PostgreSQL crashes again and again under writers who have patience: every message is written, in order, and none twice, the
// ones among them whose commit was cut off.
func TestPostgresCrashesUnderLoad(t *testing.T) {
	const users, crashes = 20, 8
	server := storetest.Start(t, false)
	s := openWith(t, Options{URL: server.Schema(t)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written := make([]int64, users)
	progress := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for user := range users {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := appendWait(s, Entry{Host: "h", Username: fmt.Sprint(user), Archived: true, Kind: written[user] + 1}); err != nil {
					t.Error(err)
					return
				}
				written[user]++
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, _, err := s.MessageBounds(ctx, "h", "0"); err != nil && ctx.Err() == nil &&
				!errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNotFound) {
				t.Errorf("reading: %v", err)
			}
		}
	})
	for range crashes {
		for range 10 + rand.IntN(50) {
			<-progress
		}
		server.Crash(t)
		server.Start(t)
	}
	<-progress
	cancel()
	wg.Wait()
	for user, n := range written {
		var got []int64
		for q := (Query{Limit: MaxPage}); ; {
			p, err := s.Messages(t.Context(), "h", fmt.Sprint(user), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range p.Messages {
				got = append(got, m.Kind)
				q.After = m.ID
			}
			if !p.More {
				break
			}
		}
		for i, kind := range got {
			if kind != int64(i)+1 {
				t.Fatalf("user %d: number %d at %d", user, kind, i)
			}
		}
		if int64(len(got)) != n {
			t.Errorf("user %d: %d are there, %d were acknowledged", user, len(got), n)
		}
	}
	t.Logf("%+v", s.Stats())
}

// otherProcess makes a test binary the other process of a test, if the environment says so.
func otherProcess() {
	dir, ours := os.LookupEnv(childEnv)
	if host, ok := os.LookupEnv(childEnv + "_HOST"); ok {
		os.Exit(appender(Options{DataDir: dir, URL: os.Getenv(childEnv + "_URL")}, host))
	}
	if ours {
		os.Exit(child(dir))
	}
}
