package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// An Event is what an application is to be told, once: it stays until RemoveEvents.
type Event struct {
	ID       ID        // given by AddEvent; later events have greater ones
	Host     string    // canonical domain
	Username string    // canonical localpart of whom it is about
	Kind     string    // at most MaxSpace bytes
	At       time.Time // to the microsecond; it must be set
	Body     []byte    // at most MaxValue bytes; do not change it before AddEvent's done
}

// AddEvent stores an event, unless its host has most of them already (0: any number): then the error is ErrLimit. It does not
// wait. done is called as that of Append is.
func (s *Store) AddEvent(e Event, most int, done func(ID, error)) {
	if err := errors.Join(checkOwner(e.Host, e.Username), checkText("the kind", e.Kind, MaxSpace), checkValue(e.Body)); err != nil {
		done(0, fmt.Errorf("store: an event of %s@%s: %w", e.Username, e.Host, err))
		return
	}
	s.writer.add(&write{
		ids: 1, size: len(e.Body) + len(e.Host) + len(e.Username) + writeCost,
		statements: func(first ID) []statement {
			args := []any{int64(first), e.Host, e.Username, e.Kind, e.At.UnixMicro(), bytesOrEmpty(e.Body)}
			const insert = `INSERT INTO events (id, host, username, kind, at, body) `
			if most <= 0 {
				return []statement{{query: insert + `VALUES ($1, $2, $3, $4, $5, $6)`, args: args}}
			}
			return []statement{{query: insert + `SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM
				(SELECT 1 FROM events WHERE host = $2 LIMIT $7) AS counted) < $7`, args: append(args, most), needs: ErrLimit}}
		},
		done: func(first ID, err error) {
			if err != nil {
				err = fmt.Errorf("store: an event of %s@%s: %w", e.Username, e.Host, err)
			}
			done(first, err)
		},
	})
}

// Events lists events of a host in their order, from after an id on (0: from the first), at most limit.
func (s *Store) Events(ctx context.Context, host string, after ID, limit int) (page []Event, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		page, err = collect(ctx, s.db, scanEvent, `SELECT id, host, username, kind, at, body FROM events
			WHERE host = $1 AND id > $2 ORDER BY id LIMIT $3`, host, int64(after), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: the events of %s: %w", host, err)
	}
	return page, nil
}

func scanEvent(row scanner) (e Event, err error) {
	var at int64
	err = row.Scan((*int64)(&e.ID), &e.Host, &e.Username, &e.Kind, &at, &e.Body)
	e.At = time.UnixMicro(at).UTC()
	return e, err
}

// CountEvents counts those of a host.
func (s *Store) CountEvents(ctx context.Context, host string) (n int, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM events WHERE host = $1`, host).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("store: the events of %s: %w", host, err)
	}
	return n, nil
}

// RemoveEvents deletes events; ids that are not there do not matter. It does not wait, and is written a moment later, with
// other writes: after a crash they may be there still.
func (s *Store) RemoveEvents(ids []ID, done func(error)) {
	s.writer.add(&write{
		lazy: true, size: len(ids) * writeCost,
		statements: func(ID) []statement {
			all := make([]statement, len(ids))
			for i, id := range ids {
				all[i] = statement{query: `DELETE FROM events WHERE id = $1`, args: []any{int64(id)}}
			}
			return all
		},
		done: func(_ ID, err error) {
			if err != nil {
				err = fmt.Errorf("store: %d events: %w", len(ids), err)
			}
			done(err)
		},
	})
}
