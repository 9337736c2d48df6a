package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/store/storetest"
)

func TestMain(m *testing.M) {
	otherProcess()
	goleak.VerifyTestMain(m)
}

// open opens a store for a test; every error of it is fatal.
func open(t testing.TB, dir string) *Store {
	t.Helper()
	return openWith(t, Options{DataDir: dir})
}

func openWith(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// everyKind runs a test on a file, in memory, and on PostgreSQL.
func everyKind(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("file", func(t *testing.T) { test(t, open(t, t.TempDir())) })
	t.Run("memory", func(t *testing.T) { test(t, open(t, "")) })
	t.Run("postgres", func(t *testing.T) { test(t, openWith(t, Options{URL: storetest.URL(t)})) })
}

func TestOpenCreatesForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	s := open(t, dir)
	if err := s.AddAccount(t.Context(), "localhost", "john", credentials(1)); err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{
		dir:                                   0o700,
		filepath.Join(dir, fileName):          0o600,
		filepath.Join(dir, "rollcall.db-wal"): 0o600, // there because of journal_mode(WAL)
		filepath.Join(dir, "rollcall.db-shm"): 0o600,
	}
	for path, want := range modes {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestOpenKeepsTheModeOfWhatExists(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o750 {
		t.Errorf("the folder has mode %o now", got)
	}
}

// No character of a path may mean something in the URI that SQLite gets.
func TestOpenStrangePaths(t *testing.T) {
	for _, name := range []string{"with space", "a?mode=memory", "a#b", "100%", "%41", "a&b=c;d", "'\"", "日本", ":memory:", "file:x"} {
		dir := filepath.Join(t.TempDir(), name)
		open(t, dir)
		if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(dir, fileName)); err == nil && info.Size() == 0 {
			t.Errorf("%q: the tables are somewhere else", name)
		}
	}
}

func TestOpenRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	open(t, "data")
	if _, err := os.Stat(filepath.Join("data", fileName)); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	file := func(t *testing.T, content string, elem ...string) string {
		dir := t.TempDir()
		path := filepath.Join(append([]string{dir}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	tests := map[string]struct {
		dir  func(t *testing.T) string
		want string
	}{
		"a file in place of the folder": {
			func(t *testing.T) string { return filepath.Join(file(t, "", "data"), "data") },
			"cannot be used: cannot be created: data: not a directory"},
		"a folder in place of the file": {
			func(t *testing.T) string { return file(t, "", fileName, "x") },
			"cannot be used: rollcall.db: is a directory"},
		"another file in place of the database": {
			func(t *testing.T) string { return file(t, strings.Repeat("no database ", 1000), fileName) },
			"has a damaged rollcall.db, or one that is no database: "},
		"read-only": {readOnly, "is not writable: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := test.dir(t)
			s, err := Open(t.Context(), Options{DataDir: dir})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if want := "store: data_dir \"" + dir + "\" " + test.want; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %s\nwant %s…", err, want)
			}
		})
	}
}

// readOnly is a folder that this process cannot write to.
func readOnly(t *testing.T) string {
	if os.Geteuid() != 0 {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	// Nothing keeps root out of a folder of the disk. /sys refuses new files to everybody.
	if info, err := os.Stat("/sys/kernel"); err != nil || !info.IsDir() {
		t.Skip("root, and no /sys: nowhere to be refused")
	}
	return "/sys/kernel"
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := Open(ctx, Options{DataDir: t.TempDir()})
	if err == nil {
		t.Fatal("opened", s.Close())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// A database of a later version is left alone: what its tables mean is not known here.
func TestOpenNewerDatabase(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), Options{DataDir: dir})
	if err == nil {
		t.Fatal("opened", again.Close())
	}
	if want := "version 9999, made by a newer rollcall"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want …%s…", err, want)
	}
}

// Several processes may be the first at the same time: "rollcall user add" while the server starts.
func TestOpenAtOnce(t *testing.T) {
	const stores = 6
	dir := t.TempDir()
	var wg sync.WaitGroup
	start := make(chan struct{})
	opened := make([]*Store, stores)
	for i := range stores {
		wg.Go(func() {
			<-start
			var err error
			if opened[i], err = Open(t.Context(), Options{DataDir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	for _, s := range opened {
		if s == nil {
			continue
		}
		if _, err := s.Account(t.Context(), "localhost", "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the tables are not there: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMemoryIsPrivate(t *testing.T) {
	one, two := open(t, ""), open(t, "")
	if err := one.AddAccount(t.Context(), "localhost", "john", credentials(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Account(t.Context(), "localhost", "john"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the other store answers %v, want ErrNotFound", err)
	}
	// And nothing was written to a file named like the database.
	if _, err := os.Stat(":memory:"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file :memory: : %v", err)
	}
}

// A call that is given up must not take the database in memory with it.
func TestMemorySurvivesCancelledCalls(t *testing.T) {
	s := open(t, "")
	if err := s.AddAccount(t.Context(), "localhost", "john", credentials(1)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				wg.Go(cancel)
				// Either outcome is right; that the account is there afterwards is what counts.
				_, err := s.Account(ctx, "localhost", "john")
				if err != nil && !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "interrupted") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := s.Account(t.Context(), "localhost", "john"); err != nil {
		t.Error(err)
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	one := open(t, dir)
	first, err := one.Secret(t.Context(), "salts")
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != secretSize {
		t.Errorf("%d bytes, want %d", len(first), secretSize)
	}
	other, err := one.Secret(t.Context(), "else")
	if err != nil {
		t.Fatal(err)
	}
	if string(other) == string(first) {
		t.Error("two names have one secret")
	}
	again, err := open(t, dir).Secret(t.Context(), "salts")
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(first) {
		t.Error("the secret is another one in another store of the same folder")
	}
}

// Whoever asks first decides, and everybody gets that one.
func TestSecretAtOnce(t *testing.T) {
	everyKind(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		got := make([]string, 8)
		for i := range got {
			wg.Go(func() {
				secret, err := s.Secret(t.Context(), "salts")
				if err != nil {
					t.Error(err)
				}
				got[i] = string(secret)
			})
		}
		wg.Wait()
		for _, secret := range got {
			if secret != got[0] || secret == "" {
				t.Fatal("different secrets")
			}
		}
	})
}
