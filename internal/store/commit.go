package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// The clock gives ids to the messages of a group: as many as it has, above all that were given before. In PostgreSQL its row
// is locked until the transaction ends, so that ids become visible in their order, whoever writes them.
const advanceClock = `UPDATE message_clock
	SET last = CASE WHEN last >= $1 THEN last + $2 ELSE $1 + $2 END
	WHERE one = 1 RETURNING last`

// ids is how many a group needs, and what none of them may be less than: the time now, so that they say when a message
// came unless the clock was set back, and the times of the messages.
func (s *Store) ids(g *group) (count, floor int64) {
	floor = s.now().UnixMicro()
	for _, w := range g.writes {
		count += int64(w.ids)
		floor = max(floor, w.floor)
	}
	return count, floor
}

// assign gives each write its ids, of which last is the last.
func (g *group) assign(count, last int64) {
	next := last - count + 1
	for _, w := range g.writes {
		w.first, w.err = 0, nil
		if w.ids > 0 {
			w.first = ID(next)
			next += int64(w.ids)
		}
	}
}

// A failedStatement is an error of one statement, for which the others are not to blame.
type failedStatement struct{ error }

func (f failedStatement) Unwrap() error { return f.error }

// blame makes an error of a statement a failedStatement, unless it is about the whole database.
func blame(err error) error {
	err = classify(err)
	if errors.Is(err, ErrFull) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return failedStatement{err}
}

// twice tries a group as it is, and when a statement fails a second time, with a savepoint before each write: that costs
// more, and saves the others.
func twice(try func(careful bool) error) error {
	err := try(false)
	var failed failedStatement
	if errors.As(err, &failed) {
		err = try(true)
	}
	return err
}

// sqliteEngine commits to SQLite.
type sqliteEngine struct{ s *Store }

func (e *sqliteEngine) commit(ctx context.Context, g *group) error {
	// A context that may end costs a goroutine for each statement. These end by themselves: the time to wait for a lock is
	// bounded (pragmas).
	ctx = context.WithoutCancel(ctx)
	return e.s.inTurn(ctx, func(ctx context.Context) error {
		return twice(func(careful bool) error { return e.try(ctx, g, careful) })
	})
}

func (e *sqliteEngine) try(ctx context.Context, g *group, careful bool) (err error) {
	tx, err := e.s.writes.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.fill(ctx, tx, g, careful); err != nil {
		return errors.Join(err, rollback(tx))
	}
	return tx.Commit()
}

func (e *sqliteEngine) fill(ctx context.Context, tx *sql.Tx, g *group, careful bool) error {
	count, floor := e.s.ids(g)
	last := floor
	if count > 0 {
		if err := tx.QueryRowContext(ctx, advanceClock, floor, count).Scan(&last); err != nil {
			return fmt.Errorf("the clock of messages: %w", err)
		}
	}
	g.assign(count, last)
	run := prepared{tx: tx, known: map[string]*sql.Stmt{}}
	for _, w := range g.writes {
		if careful {
			if err := run.exec(ctx, `SAVEPOINT one`); err != nil {
				return err
			}
		}
		err := run.write(ctx, w)
		if err == nil && careful {
			err = run.exec(ctx, `RELEASE one`)
		}
		var failed failedStatement
		if errors.As(err, &failed) && careful {
			w.err = failed.error
			err = errors.Join(run.exec(ctx, `ROLLBACK TO one`), run.exec(ctx, `RELEASE one`))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prepared runs statements in a transaction, of which many are the same.
type prepared struct {
	tx    *sql.Tx
	known map[string]*sql.Stmt // closed with the transaction
}

func (p prepared) exec(ctx context.Context, query string) error {
	_, err := p.tx.ExecContext(ctx, query)
	return err
}

func (p prepared) write(ctx context.Context, w *write) error {
	for _, st := range w.statements(w.first) {
		stmt := p.known[st.query]
		if stmt == nil {
			var err error
			if stmt, err = p.tx.PrepareContext(ctx, st.query); err != nil {
				return blame(err)
			}
			p.known[st.query] = stmt
		}
		res, err := stmt.ExecContext(ctx, st.args...)
		if err != nil {
			return blame(err)
		}
		if err := w.check(st, res.RowsAffected); err != nil {
			return err
		}
	}
	return nil
}

// check notes that a statement did not find what it needs.
func (w *write) check(st statement, affected func() (int64, error)) error {
	if st.needs == nil || w.err != nil {
		return nil
	}
	n, err := affected()
	if n == 0 && err == nil {
		w.err = st.needs
	}
	return err
}
