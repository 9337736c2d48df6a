package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// fileName is the database in the data folder.
const fileName = "rollcall.db"

// How long (ms) a connection waits for a lock of another one. Reading needs none but for moments. Writing does: "rollcall user
// add" writes while the server runs. The one that writes gives up soon because SQLite asks seldom once it has asked a few
// times, and might never meet one of the short moments between the commits of a busy server; inTurn begins anew.
const (
	readBusy  = 5000
	writeBusy = 8
)

// pragmas of every connection.
var pragmas = []string{
	// Readers and the one writer do not wait for each other.
	"journal_mode(WAL)",
	// Each commit reaches the disk before it is reported: nothing acknowledged is lost to a power failure.
	"synchronous(FULL)",
	"foreign_keys(1)",
	// Under load a commit of many messages changes hundreds of pages (4 KiB). With larger steps than SQLite's default a page
	// that is changed by several commits is copied to the database once. The file -wal grows to some 16 MiB, and reading it
	// after a crash takes a moment.
	"wal_autocheckpoint(4000)",
	"cache_size(-8000)", // KiB, for each connection
}

// openSQLite makes s a Store of the database file in dataDir, creating both, or of a database in memory when it is empty.
func (s *Store) openSQLite(ctx context.Context, dataDir string) (engine, error) {
	db, err := sqliteDB(dataDir, max(4, runtime.GOMAXPROCS(0)), readBusy)
	if err != nil {
		return nil, explain(dataDir, err)
	}
	s.db, s.writes, s.turn = db, db, make(chan struct{}, 1)
	if err := patiently(ctx, func() error { return migrate(ctx, db, goose.DialectSQLite3, "migrations/sqlite", 0) }); err != nil {
		return nil, errors.Join(explain(dataDir, err), db.Close())
	}
	if dataDir == "" {
		return &sqliteEngine{s}, nil // its only connection does everything
	}
	if s.writes, err = sqliteDB(dataDir, 1, writeBusy); err != nil {
		return nil, errors.Join(explain(dataDir, err), db.Close())
	}
	return &sqliteEngine{s}, nil
}

// patiently tries again what fails because another process has the database locked: where many open a new one at once, the
// change to journal_mode(WAL) does so without waiting for busy_timeout.
func patiently(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(2 * readBusy * time.Millisecond)
	for {
		err := try()
		if !busy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// sqliteDB opens some connections, each of which waits for locks for busy milliseconds.
func sqliteDB(dataDir string, conns, busy int) (*sql.DB, error) {
	// A transaction that will write asks for the lock at its beginning: one that asks when it has read
	// already cannot wait for another writer, and fails. The driver applies busy_timeout before the other pragmas.
	query := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busy)}, pragmas...),
		"_txlock": {"immediate"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	name := "file::memory:"
	if dataDir != "" {
		path, err := createFile(dataDir)
		if err != nil {
			return nil, err
		}
		// As an URI, so that no character of the path has a meaning of its own.
		u := url.URL{Scheme: "file", Path: uriPath(path)}
		name = u.String()
	} else {
		conns = 1
	}
	c, err := sqlite.NewConnector(name + "?" + query.Encode())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	// A connection is a descriptor, a page cache and the pragmas: kept rather than made again. In memory
	// each connection would be a database of its own, so there is one, which is never given up.
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// createFile makes the folder and an empty database file in it and returns the path of the file. SQLite
// gives the files that it puts beside the database (-wal, -shm) the mode of the database.
func createFile(dataDir string) (string, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot be created: %w", bare(err))
	}
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	return path, f.Close()
}

// uriPath is an absolute path of this system as the path of a file: URI. On Windows that is "/C:/…".
func uriPath(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}

// busy says whether another connection had the lock.
func busy(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_BUSY
}

// explain says of an error on opening what the operator has to look at.
func explain(dataDir string, err error) error {
	if dataDir == "" {
		return fmt.Errorf("store: in memory: %w", err)
	}
	what := "cannot be used"
	var failed *sqlite.Error
	switch {
	case errors.As(err, &failed):
		what = meaning(failed.Code())
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		what = "is not writable"
	case errors.Is(err, syscall.ENOSPC):
		what = "has no space left"
	}
	return fmt.Errorf("store: data_dir %q %s: %w", dataDir, what, bare(err))
}

// meaning is what a result code of SQLite says about the data folder.
func meaning(code int) string {
	switch code & 0xff { // the rest is detail
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return "is not writable"
	case sqlite3.SQLITE_FULL:
		return "has no space left"
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return "has a damaged " + fileName + ", or one that is no database"
	case sqlite3.SQLITE_BUSY:
		return "is in use by a process that does not let go of it"
	}
	return "cannot be used"
}

// bare is an error of the file system without its operation and with the last element of its path: the
// message that it goes into has named the folder.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", filepath.Base(p.Path), p.Err)
	}
	return err
}

const sqliteSize = `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
