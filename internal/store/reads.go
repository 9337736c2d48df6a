package store

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
)

// reads are the queries of a fixed text that every sign-in makes. In SQLite to prepare one takes longer than to run it, so each is
// prepared once for a connection. PostgreSQL's driver does so by itself.
type reads struct {
	db     *sql.DB
	remote bool

	count atomic.Uint64 // of all that was read, those included whose text is not fixed

	mu    sync.RWMutex
	known map[string]*sql.Stmt // by query; closed with db
}

// statement gives a query as it is prepared; nil where it has to be run as it is, which also tells what is wrong with it.
func (r *reads) statement(ctx context.Context, query string) *sql.Stmt {
	if r.remote {
		return nil
	}
	r.mu.RLock()
	st := r.known[query]
	r.mu.RUnlock()
	if st != nil {
		return st
	}
	st, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.known[query]; other != nil { // somebody was faster
		st.Close() // nobody has used it, so nothing is lost
		return other
	}
	r.known[query] = st
	return st
}

// QueryRowContext is sql.DB's.
func (r *reads) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if st := r.statement(ctx, query); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return r.db.QueryRowContext(ctx, query, args...)
}

// QueryContext is sql.DB's.
func (r *reads) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if st := r.statement(ctx, query); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return r.db.QueryContext(ctx, query, args...)
}
