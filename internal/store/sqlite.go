package store

import (
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

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// fileName is the database in the data folder.
const fileName = "rollcall.db"

// pragmas of every connection. The driver applies busy_timeout first, the others after it.
var pragmas = []string{
	// "rollcall user add" writes while the server runs. A writer waits this long (ms) for the other one.
	"busy_timeout(5000)",
	// Readers and the one writer do not wait for each other.
	"journal_mode(WAL)",
	// Each commit reaches the disk before it is reported: nothing acknowledged is lost to a power failure.
	"synchronous(FULL)",
	"foreign_keys(1)",
}

// openSQLite opens the database file in dataDir, creating both, or a database in memory when it is empty.
func openSQLite(dataDir string) (*sql.DB, error) {
	// A transaction that will write asks for the lock at its beginning: one that asks when it has read
	// already cannot wait for another writer, and fails.
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	name, conns := "file::memory:", 1
	if dataDir != "" {
		path, err := createFile(dataDir)
		if err != nil {
			return nil, err
		}
		// As an URI, so that no character of the path has a meaning of its own.
		u := url.URL{Scheme: "file", Path: uriPath(path)}
		name, conns = u.String(), max(4, runtime.GOMAXPROCS(0))
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
