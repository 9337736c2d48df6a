package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresEngine commits to PostgreSQL. The statements of a group are sent together, and the answers read afterwards: a
// group costs a few round trips, however many writes it has.
//
// When a connection breaks while a group is being committed, nobody knows what became of it. So each group has a number, and
// its transaction writes it down: a second try that finds the number there knows that the first one succeeded. (PostgreSQL's
// own numbers of transactions do not serve: one that a crash has cut off may be given again.)
type postgresEngine struct {
	s      *Store
	writer int64 // tells this Store from all others
	groups int64 // how many there were
}

func newPostgresEngine(ctx context.Context, s *Store) (*postgresEngine, error) {
	now := s.now()
	_, err := s.exec(ctx, `DELETE FROM group_commits WHERE changed < $1`, now.Add(-forgetWriters).UnixMicro())
	if err != nil {
		return nil, err
	}
	return &postgresEngine{s: s, writer: rand.Int64()}, nil
}

// forgetWriters is when the number of a Store is forgotten that is likely to be closed. It counts for seconds.
const forgetWriters = 7 * 24 * time.Hour

func (e *postgresEngine) commit(ctx context.Context, g *group) error {
	if g.number == 0 {
		e.groups++
		g.number = e.groups
	}
	return e.s.bounded(ctx, func(ctx context.Context) error {
		conn, err := e.s.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close() // one that broke is not used again
		err = conn.Raw(func(driver any) error {
			c := driver.(*stdlib.Conn).Conn()
			return twice(func(careful bool) error { return e.try(ctx, c, g, careful) })
		})
		if broken(err) {
			e.s.dropIdle()
		}
		return err
	})
}

func (e *postgresEngine) try(ctx context.Context, c *pgx.Conn, g *group, careful bool) (err error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	committed, err := e.fill(ctx, tx, g, careful)
	if committed || err != nil {
		if back := tx.Rollback(ctx); back != nil && !errors.Is(back, pgx.ErrTxClosed) && !broken(back) {
			err = errors.Join(err, back)
		}
		return err
	}
	return tx.Commit(ctx)
}

// writeDown waits for a transaction with the same number that is still under way, and changes nothing if it was committed.
const writeDown = `INSERT INTO group_commits (writer, number, changed) VALUES ($1, $2, $3)
	ON CONFLICT (writer) DO UPDATE SET number = excluded.number, changed = excluded.changed
	WHERE group_commits.number < excluded.number`

// fill does everything of a group but the commit. committed: that was done already, by an earlier try.
func (e *postgresEngine) fill(ctx context.Context, tx pgx.Tx, g *group, careful bool) (committed bool, err error) {
	count, floor := e.s.ids(g)
	last := floor
	head := &pgx.Batch{}
	head.Queue(writeDown, e.writer, g.number, floor).Exec(func(tag pgconn.CommandTag) error {
		committed = tag.RowsAffected() == 0
		return nil
	})
	if count > 0 {
		head.Queue(advanceClock, floor, count).QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
	}
	if err := tx.SendBatch(ctx, head).Close(); err != nil || committed {
		return committed, err
	}
	g.assign(count, last)
	if !careful {
		return false, send(ctx, tx, g.writes)
	}
	for _, w := range g.writes {
		one, err := tx.Begin(ctx) // a savepoint
		if err != nil {
			return false, err
		}
		err = send(ctx, one, []*write{w})
		var failed failedStatement
		if errors.As(err, &failed) {
			w.err = failed.error
			err = one.Rollback(ctx)
		} else if err == nil {
			err = one.Commit(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// send runs the statements of writes in one round trip.
func send(ctx context.Context, tx pgx.Tx, writes []*write) error {
	batch := &pgx.Batch{}
	for _, w := range writes {
		for _, st := range w.statements(w.first) {
			batch.Queue(st.query, st.args...).Exec(func(tag pgconn.CommandTag) error {
				return w.check(st, func() (int64, error) { return tag.RowsAffected(), nil })
			})
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return blame(err)
	}
	return nil
}
