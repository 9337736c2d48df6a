package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	defaultConnections = 8
	// callTimeout is the most that a call or a group waits for PostgreSQL, and connectTimeout for a connection to it.
	callTimeout    = 15 * time.Second
	connectTimeout = 5 * time.Second
	// migrateTimeout bounds the wait for another process that is bringing the tables up to date.
	migrateTimeout = 5 * time.Minute
)

// session are settings of each connection. PostgreSQL gives up a statement by itself, so that none that we have given up
// keeps a lock.
var session = map[string]string{
	"application_name":                    "rollcall",
	"statement_timeout":                   "15s",
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "30s",
}

// openPostgres makes s a Store of a PostgreSQL database.
func (s *Store) openPostgres(ctx context.Context, o Options) (engine, error) {
	config, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if err := prepareDatabase(ctx, config); err != nil {
		return nil, explainPostgres(config, err)
	}
	conns := o.Connections
	if conns <= 0 {
		conns = defaultConnections
	}
	s.db, s.remote = stdlib.OpenDB(*config), true
	s.writes = s.db
	s.db.SetMaxOpenConns(conns)
	s.db.SetMaxIdleConns(conns)
	s.db.SetConnMaxIdleTime(5 * time.Minute)
	e, err := newPostgresEngine(ctx, s)
	if err != nil {
		return nil, errors.Join(explainPostgres(config, err), s.db.Close())
	}
	return e, nil
}

// parseURL reads a database URL. Its errors leave the URL out: it may have a password.
func parseURL(text string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New(`store: database.url is no URL like "postgres://user:password@host/database"; ` +
			"write characters other than letters and digits in a password as %XX")
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		reason := err
		if inner := errors.Unwrap(err); inner != nil {
			reason = inner // the outer one repeats the URL
		}
		if _, password := u.User.Password(); password && strings.Contains(reason.Error(), text) {
			reason = errors.New("it has a parameter that is wrong")
		}
		return nil, fmt.Errorf("store: database.url cannot be used: %w", reason)
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectTimeout {
		config.ConnectTimeout = connectTimeout
	}
	for name, value := range session {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// migrationLock is a number that no other program is likely to lock in this database.
const migrationLock = 0x726f6c6c63616c6c // "rollcall"

// prepareDatabase looks at the database and brings its tables up to date, on connections of its own, which have the time for
// it.
func prepareDatabase(ctx context.Context, config *pgx.ConnConfig) (err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	slow := config.Copy()
	slow.RuntimeParams["statement_timeout"] = "0"
	slow.RuntimeParams["lock_timeout"] = "0"
	slow.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*slow)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var encoding, synchronous string
	if err := conn.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_setting('synchronous_commit')`).
		Scan(&encoding, &synchronous); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("its encoding is %s, and must be UTF8; make another one with: createdb --encoding=UTF8 --template=template0 NAME", encoding)
	}
	if synchronous == "off" {
		// Nothing is acknowledged before it is on the disk, whatever other users of this server want.
		config.RuntimeParams["synchronous_commit"] = "on"
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	defer func() {
		// Closing the connection would do, but it goes back to the pool first.
		_, unlocked := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock))
		err = errors.Join(err, unlocked)
	}()
	return migrate(ctx, db, goose.DialectPostgres, "migrations/postgres", 0)
}

// explainPostgres says of an error on opening what the operator has to look at.
func explainPostgres(config *pgx.ConnConfig, err error) error {
	what := "cannot be used"
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &pg):
		if meaning := meaningOfPostgres(pg.Code, config); meaning != "" {
			return fmt.Errorf("store: the database %q at %s %s: %s (%s)", config.Database, config.Host, meaning, pg.Message, pg.Code)
		}
	case errors.As(err, &connect):
		what = "cannot be reached; is PostgreSQL running there?"
	}
	return fmt.Errorf("store: the database %q at %s %s: %w", config.Database, config.Host, what, brief(err))
}

func meaningOfPostgres(code string, config *pgx.ConnConfig) string {
	switch code {
	case "28P01":
		return fmt.Sprintf("refuses the password of user %q; look at database.url", config.User)
	case "28000":
		return fmt.Sprintf("does not let user %q in; look at database.url and the server's pg_hba.conf", config.User)
	case "3D000":
		return fmt.Sprintf("does not exist; make it with: createdb --encoding=UTF8 --template=template0 --owner=%s %s", config.User, config.Database)
	case "42501":
		return fmt.Sprintf("does not let user %q make tables; make the user its owner, or GRANT CREATE ON SCHEMA public", config.User)
	case "53300":
		return "has no connection left; raise its max_connections or lower database.connections"
	case "57P03":
		return "is starting or stopping"
	case "53100":
		return "has no space left on its disk"
	}
	return ""
}

// dropIdle closes the connections that nobody uses: after one that broke the others are likely to be broken, too.
func (s *Store) dropIdle() {
	s.db.SetMaxIdleConns(-1)
	s.db.SetMaxIdleConns(s.db.Stats().MaxOpenConnections)
}

const postgresSize = `SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'`
