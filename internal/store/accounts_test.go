package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// credentials are valid ones, different for each n.
func credentials(n int) Credentials {
	keys := func(size, iterations int) Keys {
		return Keys{
			Salt:       fmt.Appendf(nil, "salt %011d", n),
			Iterations: iterations,
			StoredKey:  bytes.Repeat([]byte{byte(n), 0}, size/2),
			ServerKey:  bytes.Repeat([]byte{byte(n), 1}, size/2),
		}
	}
	return Credentials{SHA1: keys(20, MinIterations), SHA256: keys(32, MinIterations+n)}
}

// list is the whole listing of a host.
func list(ctx context.Context, t interface{ Fatal(...any) }, s *Store, host string) (all []Account) {
	for a, err := range s.Accounts(ctx, host) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func TestAccountLife(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		clock := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.FixedZone("", 3600))
		s.now = func() time.Time { return clock }
		if err := s.AddAccount(ctx, "localhost", "john", credentials(1)); err != nil {
			t.Fatal(err)
		}
		want := Account{Host: "localhost", Username: "john", Credentials: credentials(1),
			Created: time.Date(2024, 2, 29, 11, 0, 0, 123456000, time.UTC),
			Changed: time.Date(2024, 2, 29, 11, 0, 0, 123456000, time.UTC), Role: RoleUser}
		check := func() {
			t.Helper()
			got, err := s.Account(ctx, "localhost", "john")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("account (-want +got):\n%s", d)
			}
			if d := cmp.Diff([]Account{want}, list(ctx, t, s, "localhost")); d != "" {
				t.Errorf("listing (-want +got):\n%s", d)
			}
		}
		check()

		if err := s.AddAccount(ctx, "localhost", "john", credentials(2)); !errors.Is(err, ErrExists) {
			t.Errorf("adding it again: %v, want ErrExists", err)
		}
		check() // the first password stands

		clock = clock.Add(time.Hour)
		if err := s.SetCredentials(ctx, "localhost", "john", credentials(3)); err != nil {
			t.Fatal(err)
		}
		want.Credentials, want.Changed = credentials(3), want.Changed.Add(time.Hour)
		check()

		if err := s.RemoveAccount(ctx, "localhost", "john"); err != nil {
			t.Fatal(err)
		}
		_, err := s.Account(ctx, "localhost", "john")
		for what, err := range map[string]error{
			"Account":        err,
			"RemoveAccount":  s.RemoveAccount(ctx, "localhost", "john"),
			"SetCredentials": s.SetCredentials(ctx, "localhost", "john", credentials(1)),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s of a removed account: %v, want ErrNotFound", what, err)
			} else if !strings.Contains(err.Error(), "john@localhost") {
				t.Errorf("%s: %q does not name the account", what, err)
			}
		}
	})
}

func TestAddAccountRefuses(t *testing.T) {
	tests := map[string]struct {
		host, username string
		change         func(*Credentials)
		want           string
	}{
		"upper case":        {"localhost", "John", nil, "not in canonical form, which is john@localhost"},
		"host upper case":   {"LocalHost", "john", nil, "not in canonical form, which is john@localhost"},
		"no name":           {"localhost", "", nil, "jid: "},
		"no host":           {"", "john", nil, "jid: "},
		"a whole address":   {"localhost", "john@localhost", nil, "jid: "},
		"short salt":        {"localhost", "john", func(c *Credentials) { c.SHA1.Salt = c.SHA1.Salt[:15] }, "the salt for SHA-1 has 15 bytes"},
		"few iterations":    {"localhost", "john", func(c *Credentials) { c.SHA256.Iterations = 4096 }, "4096 iterations for SHA-256"},
		"one too few":       {"localhost", "john", func(c *Credentials) { c.SHA1.Iterations = 9_999 }, "9999 iterations for SHA-1"},
		"years of work":     {"localhost", "john", func(c *Credentials) { c.SHA1.Iterations = 1 << 40 }, "iterations for SHA-1"},
		"keys of the other": {"localhost", "john", func(c *Credentials) { c.SHA1, c.SHA256 = c.SHA256, c.SHA1 }, "the keys for SHA-1 have 32 and 32 bytes, not 20"},
		"no server key":     {"localhost", "john", func(c *Credentials) { c.SHA256.ServerKey = nil }, "the keys for SHA-256 have 32 and 0 bytes, not 32"},
		"none":              {"localhost", "john", func(c *Credentials) { *c = Credentials{} }, "the salt for SHA-1 has 0 bytes"},
	}
	s := open(t, "")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := credentials(1)
			if test.change != nil {
				test.change(&c)
			}
			err := s.AddAccount(t.Context(), test.host, test.username, c)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("AddAccount: %v, want …%s…", err, test.want)
			}
			if test.change == nil {
				return
			}
			if err := s.SetCredentials(t.Context(), "localhost", "john", c); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("SetCredentials: %v, want …%s…", err, test.want)
			}
		})
	}
	if all := list(t.Context(), t, s, "localhost"); len(all) != 0 {
		t.Errorf("stored all the same: %v", all)
	}
}

// fewer makes a model test shorter than rapid does.
func fewer(t *testing.T) {
	t.Helper()
	// A statement of SQLite in Go takes milliseconds under the race detector. -rapid.checks asks for more.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("15"); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is done to accounts, the store has what a map would have.
func TestAccountsModel(t *testing.T) {
	fewer(t)
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		rapid.Check(t, func(r *rapid.T) {
			model := map[string]Credentials{} // of one host that no other run has used
			host := fmt.Sprintf("h%d.example", hosts.Add(1))
			name := rapid.SampledFrom([]string{"a", "ab", "a-b", "b", "é", "z", "日本", "x%_;--"})
			password := rapid.IntRange(0, 99)
			expect := func(err error, known bool, otherwise error) bool {
				if known && err != nil || !known && !errors.Is(err, otherwise) {
					r.Fatalf("got %v, want success %v, otherwise %v", err, known, otherwise)
				}
				return known
			}
			r.Repeat(map[string]func(*rapid.T){
				"add": func(r *rapid.T) {
					n, c := name.Draw(r, "name"), credentials(password.Draw(r, "password"))
					_, known := model[n]
					if expect(s.AddAccount(ctx, host, n, c), !known, ErrExists) {
						model[n] = c
					}
				},
				"set": func(r *rapid.T) {
					n, c := name.Draw(r, "name"), credentials(password.Draw(r, "password"))
					_, known := model[n]
					if expect(s.SetCredentials(ctx, host, n, c), known, ErrNotFound) {
						model[n] = c
					}
				},
				"remove": func(r *rapid.T) {
					n := name.Draw(r, "name")
					_, known := model[n]
					expect(s.RemoveAccount(ctx, host, n), known, ErrNotFound)
					delete(model, n)
				},
				"": func(r *rapid.T) {
					var names []string
					for _, a := range list(ctx, r, s, host) {
						names = append(names, a.Username)
						if d := cmp.Diff(model[a.Username], a.Credentials); d != "" {
							r.Fatalf("%s (-want +got):\n%s", a.Username, d)
						}
					}
					if want := slices.Sorted(maps.Keys(model)); !slices.Equal(names, want) {
						r.Fatalf("listed %q, want %q", names, want)
					}
				},
			})
		})
	})
}

var hosts atomic.Int64

func TestAccountsInPages(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		for _, count := range []int{0, 1, accountsPage, accountsPage + 1} {
			host := fmt.Sprintf("h%d.example", count)
			for i := range count {
				if err := s.AddAccount(ctx, host, fmt.Sprintf("user%04d", i), credentials(i)); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(list(ctx, t, s, host)); n != count {
				t.Errorf("listed %d of %d", n, count)
			}
			n := 0
			for a, err := range s.Accounts(ctx, host) {
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("user%04d", n); a.Username != want {
					t.Fatalf("%s at %d, want %s", a.Username, n, want)
				}
				// The loop may use the store, also where there is one connection only.
				if err := s.RemoveAccount(ctx, host, a.Username); err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != count {
				t.Errorf("listed %d of %d", n, count)
			}
		}
	})
}

func TestAccountsEndsEarly(t *testing.T) {
	s := open(t, "")
	for i := range 3 {
		if err := s.AddAccount(t.Context(), "localhost", fmt.Sprintf("user%d", i), credentials(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range s.Accounts(t.Context(), "localhost") {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for _, err := range s.Accounts(ctx, "localhost") {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
	if n != 1 {
		t.Errorf("yielded %d times, want the error once", n)
	}
}

// Two Stores of one file are what two processes have. Each name is asked for by both at about the same
// time: one of them gets it, and nobody is told that the database is locked.
func TestTwoStoresOneFile(t *testing.T) {
	const names, workers = 40, 2
	dir := t.TempDir()
	stores := []*Store{open(t, dir), open(t, dir)}
	var added, refused atomic.Int32
	var wg sync.WaitGroup
	for _, s := range stores {
		for range workers {
			wg.Go(func() {
				for i := range names {
					err := s.AddAccount(t.Context(), "localhost", fmt.Sprintf("user%02d", i), credentials(i))
					switch {
					case err == nil:
						added.Add(1)
					case errors.Is(err, ErrExists):
						refused.Add(1)
					default:
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if a, r := added.Load(), refused.Load(); a != names || r != names*(2*workers-1) {
		t.Errorf("%d added, %d refused; want %d and %d", a, r, names, names*(2*workers-1))
	}
	for i, s := range stores {
		if n := len(list(t.Context(), t, s, "localhost")); n != names {
			t.Errorf("store %d lists %d accounts, want %d", i, n, names)
		}
	}
	// A change by one is seen by the other at once: a new password counts at the next sign-in.
	if err := stores[0].SetCredentials(t.Context(), "localhost", "user00", credentials(77)); err != nil {
		t.Fatal(err)
	}
	got, err := stores[1].Account(t.Context(), "localhost", "user00")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(credentials(77), got.Credentials); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// childEnv makes the test binary another process that uses the folder it names.
const childEnv = "ROLLCALL_STORE_TEST_CHILD"

// child adds accounts until it is killed, and says each name on a line when the store has said yes.
func child(dir string) int {
	ctx := context.Background()
	s, err := Open(ctx, Options{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("child%06d", i)
		if err := s.AddAccount(ctx, "localhost", name, credentials(i)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(name)
	}
}

// Another process writes at the same time and is killed in the middle of it: what it was told to be stored
// is there, the file is sound, and the writes of this process succeeded all along.
func TestTwoProcessesAndKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := open(t, dir)
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said []string
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			said = append(said, lines.Text())
			if i < 20 {
				if err := s.AddAccount(t.Context(), "localhost", fmt.Sprintf("own%d-%d", round, i), credentials(i)); err != nil {
					t.Error(err)
				}
			} else if i == 20 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the other process ended by itself: %s", &stderr)
		}
		for _, name := range said {
			// A line that the kill has cut is no name.
			if len(name) != len("child000000") {
				continue
			}
			if _, err := s.Account(t.Context(), "localhost", name); err != nil {
				t.Errorf("acknowledged and lost: %v", err)
			}
		}
		if len(said) <= 20 {
			t.Errorf("the other process said only %d names", len(said))
		}
		for _, a := range list(t.Context(), t, s, "localhost") {
			if strings.HasPrefix(a.Username, "child") {
				if err := s.RemoveAccount(t.Context(), "localhost", a.Username); err != nil {
					t.Error(err)
				}
			}
		}
		var sound string
		if err := s.db.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
			t.Errorf("integrity_check: %q, %v", sound, err)
		}
	}
}

func BenchmarkAccount(b *testing.B) {
	s, err := Open(b.Context(), Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	for i := range 1000 {
		if err := s.AddAccount(b.Context(), "localhost", fmt.Sprintf("user%d", i), credentials(i)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Account(b.Context(), "localhost", "user500"); err != nil {
			b.Fatal(err)
		}
	}
}
