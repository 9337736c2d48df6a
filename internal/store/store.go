// Package store keeps what must outlive the process: accounts and secrets. It is one SQL store, with a
// file for each table and migrations inside the binary.
//
// The database is SQLite (WAL, https://www.sqlite.org/wal.html), so that a server needs no other program.
// The statements are written for two dialects, though: numbered placeholders ($1), ON CONFLICT, times as
// whole numbers, no function of one database only. PostgreSQL needs another open function, another folder
// of migrations (BYTEA and BIGINT for BLOB and INTEGER; COLLATE "C" where names are ordered, which SQLite
// does by itself) and nothing in the files of the tables.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// What the functions of the tables return, beside errors of the database. Compare with errors.Is.
var (
	ErrExists   = errors.New("it exists already")
	ErrNotFound = errors.New("there is none")
)

// A Store is an open database. Its methods may be called by any goroutine, and any number of Stores in
// any number of processes may have the same file open. A method that has returned nil has written: what
// it did survives a crash of the process and of the machine.
type Store struct {
	db  *sql.DB
	now func() time.Time // time.Now; tests set it
}

// Open opens the database file of a data folder, "rollcall.db", and brings its tables up to date. The
// folder and the file are created when they are missing, for their owner alone (0700 and 0600); what
// exists keeps its mode. With an empty dataDir everything is kept in memory, seen by nobody but this Store
// and gone with Close.
//
// Its errors name the folder and say what is wrong with it.
func Open(ctx context.Context, dataDir string) (*Store, error) {
	db, err := openSQLite(dataDir)
	if err != nil {
		return nil, explain(dataDir, err)
	}
	s := &Store{db: db, now: time.Now}
	if err := migrate(ctx, db, goose.DialectSQLite3, "migrations/sqlite"); err != nil {
		return nil, errors.Join(explain(dataDir, err), s.Close())
	}
	return s, nil
}

// Close ends the use of the database. Calls that are under way finish first or fail.
func (s *Store) Close() error { return s.db.Close() }

//go:embed migrations
var migrations embed.FS

// migrate applies what is missing. Another process may be doing the same at this moment: SQLite lets one
// of the two have a migration, and the other, which then finds the table there already, looks again.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, folder string) error {
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	for err == nil && have < want {
		_, failure := p.Up(ctx)
		before := have
		if have, want, err = p.GetVersions(ctx); err == nil && have == before {
			// Nobody made progress, so it was no race that was lost.
			return fmt.Errorf("cannot bring the tables up to date: %w", failure)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot read the version of the tables: %w", err)
	}
	if have > want {
		return fmt.Errorf("the tables are of version %d, made by a newer rollcall; this one knows %d", have, want)
	}
	return nil
}

// inTransaction runs do in a transaction that takes place when do returns nil, and otherwise not at all.
func (s *Store) inTransaction(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// changed turns the result of a statement that should have changed exactly one row into an error: none
// when it did.
func changed(res sql.Result, err error, otherwise error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return otherwise
	}
	return nil
}
