// Package store keeps what must outlive the process: accounts, secrets, rosters, small values of accounts, and messages. It
// is one SQL store, with a file for each table and migrations inside the binary.
//
// The database is SQLite (WAL, https://www.sqlite.org/wal.html), so that a server needs no other program, or PostgreSQL. The
// statements are the same for both: numbered placeholders ($1), ON CONFLICT, times as whole numbers, no function of one
// database only. What differs is in sqlite.go and postgres.go, and in two folders of migrations with the same numbers.
//
// Messages and values are written through a queue (writer.go), which makes one transaction of what many goroutines write at
// the same time: a commit waits for the disk, and many share the wait.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Options say where the database is. The zero value is one in memory.
type Options struct {
	// DataDir is the folder of the SQLite database, "rollcall.db"; "" keeps everything in memory. The folder and the file
	// are created when they are missing, for their owner alone (0700 and 0600); what exists keeps its mode.
	DataDir string
	// URL, "postgres://user:password@host/database", is that of a PostgreSQL database, which is used instead. It may hold a
	// password, and is in no error or log.
	URL string
	// Connections is the most that are open to PostgreSQL at a time; 0: 8.
	Connections int
	// Patience is how long a queued write waits for a database that is not there (PostgreSQL is started again) before it
	// fails with ErrUnavailable; 0: 30 s. What may wait is bounded, see QueueBytes. A full disk is not waited for.
	Patience time.Duration
	// QueueWrites and QueueBytes bound the queue of writes; 0: 100,000 and 64 MiB. What comes when it is full fails at once,
	// with ErrUnavailable.
	QueueWrites, QueueBytes int
}

// A Store is an open database. Its methods may be called by any goroutine, and any number of Stores in any number of
// processes may have the same database open. A method that has returned nil has written, unless its comment says otherwise:
// what it did survives a crash of the process and of the machine.
//
// Errors wrap ErrFull when the disk is full and ErrUnavailable when the database cannot be reached or does not answer. Both
// come in bounded time, and both go away by themselves once the reason has.
type Store struct {
	db     *sql.DB
	reads  *reads        // of db
	writes *sql.DB       // for those who write: in SQLite one connection; otherwise db
	remote bool          // PostgreSQL: connections may break
	turn   chan struct{} // held by the one who writes to SQLite, which has one writer at a time; nil: no turns
	writer *writer

	// Tests set these, before anything else is done.
	now     func() time.Time // time.Now
	timeout time.Duration    // callTimeout
}

// Open opens a database and brings its tables up to date. A database in memory is seen by nobody but this Store and is gone
// with Close. ctx bounds the opening.
//
// Its errors name the folder or the database and say what is wrong with it.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{now: time.Now, timeout: callTimeout}
	var e engine
	var err error
	if o.URL != "" {
		e, err = s.openPostgres(ctx, o)
	} else {
		e, err = s.openSQLite(ctx, o.DataDir)
	}
	if err != nil {
		return nil, err
	}
	s.reads = &reads{db: s.db, remote: s.remote, known: make(map[string]*sql.Stmt)}
	s.writer = newWriter(context.WithoutCancel(ctx), e, o)
	return s, nil
}

// Close ends the use of the database: what is queued is written first. Calls that are under way finish first or fail, and
// those that come later fail.
func (s *Store) Close() error {
	s.writer.close()
	err := s.db.Close()
	if s.writes != s.db {
		err = errors.Join(err, s.writes.Close())
	}
	return err
}

// Stats counts what was done since Open.
func (s *Store) Stats() Stats {
	st := s.writer.stats()
	st.Reads = s.reads.count.Load()
	return st
}

// read runs a function that reads with s.db. A connection that broke, because PostgreSQL was started again or a network
// failed, is no reason to fail: on another one it is read once more, so do must begin anew each time.
func (s *Store) read(ctx context.Context, do func(ctx context.Context) error) error {
	s.reads.count.Add(1)
	return s.bounded(ctx, func(ctx context.Context) error {
		err := do(ctx)
		if s.remote && ctx.Err() == nil && broken(err) {
			s.dropIdle()
			err = do(ctx)
		}
		return err
	})
}

// exec runs one statement that writes.
func (s *Store) exec(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	err = s.inTurn(ctx, func(ctx context.Context) (err error) {
		res, err = s.writes.ExecContext(ctx, query, args...)
		return err
	})
	return res, err
}

// inTransaction runs do in a transaction that takes place when do returns nil, and otherwise not at all.
func (s *Store) inTransaction(ctx context.Context, do func(tx *sql.Tx) error) error {
	return s.inTurn(ctx, func(ctx context.Context) error {
		tx, err := s.writes.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return errors.Join(err, rollback(tx))
		}
		return tx.Commit()
	})
}

// rollback ends a transaction that failed. That it has ended already, with its connection or its context, is no news.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) && !broken(err) {
		return err
	}
	return nil
}

// How long inTurn waits for another process that writes to the same SQLite file, and the most between two tries.
const (
	lockPatience = 10 * time.Second
	lockPause    = 3 * time.Millisecond
)

// inTurn runs something that writes when nobody else does; do may be run several times, of which all but the last have
// changed nothing. SQLite has one writer at a time and makes others ask again and again. Those of this process queue instead,
// so that none is left behind; with those of other processes it is asking, at times that do not follow a beat.
func (s *Store) inTurn(ctx context.Context, do func(ctx context.Context) error) error {
	if s.turn == nil {
		return s.bounded(ctx, do)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for began := time.Now(); ; {
		err := s.bounded(ctx, do)
		if !busy(err) || time.Since(began) > lockPatience {
			return err
		}
		select {
		case <-time.After(rand.N(lockPause)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// bounded runs something on the database, in bounded time if that is PostgreSQL, and names the reason of an error.
func (s *Store) bounded(ctx context.Context, do func(ctx context.Context) error) error {
	if !s.remote {
		return classify(do(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := do(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: no answer in %v: %w", ErrUnavailable, s.timeout, err)
	}
	if err != nil && ctx.Err() != nil {
		return err
	}
	return classify(err)
}

// changed turns the result of a statement that should have changed exactly one row into an error: none when it did.
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

// A scanner is a row.
type scanner interface{ Scan(...any) error }

// A querier is a *sql.DB, or reads.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, db querier, scan func(scanner) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
