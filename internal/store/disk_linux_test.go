package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/store/storetest"
)

// smallDisk mounts a file system of some megabytes. Whoever may not is skipped.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0777", megabytes)); err != nil {
		t.Skipf("a small disk cannot be mounted, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill takes what is left of a disk, but for some kilobytes, and returns the file that does.
func fill(t *testing.T, dir string, leave int) string {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "filler")
	size := int(st.Bavail)*int(st.Bsize) - leave<<10
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// untilFull appends with several goroutines until all have seen a full disk, and returns the ids that were acknowledged.
func untilFull(t *testing.T, s *Store) map[ID]bool {
	t.Helper()
	stanza := make([]byte, 20_000)
	for i := range stanza {
		stanza[i] = byte(rand.IntN(256)) // so that PostgreSQL cannot make it smaller
	}
	var mu sync.Mutex
	acknowledged := map[ID]bool{}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 2_000 {
				got, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true, Undelivered: true, Stanza: stanza})
				if err != nil {
					if !errors.Is(err, ErrFull) {
						t.Errorf("a full disk: %v, want ErrFull", err)
					}
					return
				}
				mu.Lock()
				acknowledged[got[0]] = true
				mu.Unlock()
			}
			t.Error("the disk does not fill")
		})
	}
	wg.Wait()
	return acknowledged
}

// checkArchive says what is lost of what was acknowledged.
func checkArchive(t *testing.T, s *Store, acknowledged map[ID]bool) {
	t.Helper()
	found := 0
	for q := (Query{}); ; {
		p, err := s.Messages(t.Context(), "h", "u", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			if acknowledged[m.ID] {
				found++
			}
			q.After = m.ID
		}
		if !p.More {
			break
		}
	}
	if found != len(acknowledged) || found == 0 {
		t.Errorf("%d of %d acknowledged messages are there", found, len(acknowledged))
	}
}

// A disk that is full loses nothing, says so, and when there is space again everything goes on without a restart.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 24)
	s := open(t, dir)
	if err := s.AddAccount(t.Context(), "h", "u", credentials(1)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		filler := fill(t, dir, 2_000)
		acknowledged := untilFull(t, s)
		checkArchive(t, s, acknowledged)
		big := bytes.Repeat([]byte{byte(round)}, MaxValue) // SQLite does not write what is there already
		for what, err := range map[string]error{
			"SetValue": s.SetValue(t.Context(), Key{"h", "u", "s", ""}, big, 0),
			"SaveRosters": s.SaveRosters(t.Context(), []RosterSave{{Roster: Roster{Host: "h", Username: "u", Document: big,
				Dropped: []byte{}}}}),
		} {
			if !errors.Is(err, ErrFull) {
				t.Errorf("%s: %v, want ErrFull", what, err)
			}
		}
		if _, err := s.Account(t.Context(), "h", "u"); err != nil {
			t.Errorf("reading: %v", err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if _, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true}); err != nil {
			t.Errorf("round %d, there is space again: %v", round, err)
		}
		if err := s.SetValue(t.Context(), Key{"h", "u", "s", ""}, big, 0); err != nil {
			t.Errorf("round %d, there is space again: %v", round, err)
		}
		checkArchive(t, s, acknowledged)
		checkSound(t, s)
		if _, err := s.TrimMessages(t.Context(), "h", "u", time.Time{}, 0); err != nil {
			t.Error(err)
		}
		all, err := s.Waiting(t.Context(), "h", "u", 0, MaxPage)
		for err == nil && len(all.Messages) > 0 {
			s.Delivered("h", "u", ids(all.Messages), nil)
			all, err = s.Waiting(t.Context(), "h", "u", 0, MaxPage)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// The same with PostgreSQL, whose tables are on a small disk.
func TestPostgresDiskFull(t *testing.T) {
	disk := smallDisk(t, 24)
	server := storetest.Start(t, false)
	dir := filepath.Join(disk, "space")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	server.Own(t, dir)
	for parent := disk; parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil { // so that the server's user finds the way
			t.Fatal(err)
		}
	}
	server.Exec(t, `CREATE TABLESPACE small LOCATION '`+dir+`'`)
	server.Exec(t, `CREATE DATABASE small TABLESPACE small`)
	s := openWith(t, Options{URL: server.Database("small")})
	filler := fill(t, disk, 4_000)
	acknowledged := untilFull(t, s)
	checkArchive(t, s, acknowledged)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := appendWait(s, Entry{Host: "h", Username: "u", Archived: true, Stanza: make([]byte, 20_000)}); err != nil {
		t.Errorf("there is space again: %v", err)
	}
	checkArchive(t, s, acknowledged)
	// The tables go before the disk does.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, `DROP DATABASE small`)
	server.Exec(t, `DROP TABLESPACE small`)
}
