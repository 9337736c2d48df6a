package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What the functions of the tables return, beside errors of the database. Compare with errors.Is.
var (
	ErrExists   = errors.New("it exists already")
	ErrNotFound = errors.New("there is none")
	// ErrLimit: there is as much as there may be, and nothing was written.
	ErrLimit = errors.New("the limit is reached")
	// ErrInvalid: what was given can never be stored, and trying again does not help.
	ErrInvalid = errors.New("it cannot be stored")
	// ErrFull: the disk of the database is full, and nothing was written. It is worth another try later.
	ErrFull = errors.New("the disk of the database is full")
	// ErrUnavailable: the database cannot be reached, does not answer, or has too much to do. It is worth another try later.
	// Where a connection broke at the wrong moment, it may have written all the same.
	ErrUnavailable = errors.New("the database is not available")
)

// Passes says whether an error goes away by itself once its reason has: the disk is full, the database is not there or did not
// answer in time.
func Passes(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// classify adds ErrFull or ErrUnavailable to an error of a database that is one of them.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrFull) || errors.Is(err, ErrUnavailable) {
		return err
	}
	var lite *sqlite.Error
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	kind := error(nil)
	switch {
	case errors.As(err, &lite):
		kind = kindOfSQLite(lite.Code())
	case errors.As(err, &connect):
		kind = ErrUnavailable // whatever the server said: it was about the connection
	case errors.As(err, &pg):
		kind = kindOfPostgres(pg.Code)
	case errors.Is(err, syscall.ENOSPC):
		kind = ErrFull
	case broken(err):
		kind = ErrUnavailable
	}
	if kind == nil {
		return err
	}
	return fmt.Errorf("%w: %w", kind, brief(err))
}

// brief is an error of a connection to PostgreSQL without the list of every address that was tried, on a line each.
func brief(err error) error {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return err
	}
	var network *net.OpError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return briefError{pg.Message, err}
	case errors.As(err, &network):
		return briefError{network.Error(), err}
	}
	return briefError{strings.Join(strings.Fields(connect.Unwrap().Error()), " "), err}
}

type briefError struct {
	text string
	error
}

func (b briefError) Error() string { return b.text }
func (b briefError) Unwrap() error { return b.error }

// kindOfSQLite is what a result code (https://www.sqlite.org/rescode.html) means to a caller; nil: a mistake of ours.
func kindOfSQLite(code int) error {
	if code == sqlite3.SQLITE_IOERR_SHMSIZE {
		return ErrFull // the file -shm could not grow
	}
	switch code & 0xff {
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_PERM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return ErrUnavailable
	}
	return nil
}

// kindOfPostgres is what an error code (PostgreSQL, appendix A) means to a caller; nil: a mistake of ours.
func kindOfPostgres(code string) error {
	switch code {
	case "53100": // disk_full
		return ErrFull
	case "57014", // query_canceled: a timeout
		"57P01", "57P02", "57P03", // admin_shutdown, crash_shutdown, cannot_connect_now
		"57P05", "25P03", "25P04", // timeouts of idle sessions and of transactions
		"55P03", "40001", "40P01", // locks that others have
		"25006",                   // read_only_sql_transaction: a standby
		"58000", "58030", "XX000": // errors of its system, its disk, itself
		return ErrUnavailable
	}
	switch {
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "28"):
		return ErrUnavailable // connections; memory and other resources; sign-in
	}
	return nil
}

// broken says whether an error comes from a connection to PostgreSQL that is no more, or never was.
func broken(err error) bool {
	if err == nil || errors.Is(err, sql.ErrNoRows) || errors.Is(err, sql.ErrTxDone) {
		return false
	}
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect):
		return true
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return pgconn.SafeToRetry(err) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// checkText refuses text that one of the databases does not take. most is in bytes.
func checkText(what, s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("%w: %s has %d bytes, %d are allowed", ErrInvalid, what, len(s), most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: %s has a NUL", ErrInvalid, what)
	}
	return nil
}

// The longest parts of an address (RFC 7622 sections 3.2 to 3.4).
const (
	maxPart = 1023
	maxJID  = 3*maxPart + 2
)

func checkOwner(host, username string) error {
	return errors.Join(checkText("the host", host, maxPart), checkText("the username", username, maxPart))
}
