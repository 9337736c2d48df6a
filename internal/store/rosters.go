package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Roster is the last known roster of one user, as the roster engine keeps it: see the migration that makes the table.
type Roster struct {
	Host         string // canonical domain
	Username     string // canonical localpart
	Version      int64  // of Document
	Tag          string // of Version
	Document     []byte
	Source       string
	ETag         string
	AsOf         time.Time
	StaleIfError time.Duration // less than 0: for ever
	Dropped      []byte
	Held         []byte // nil for none
	HeldSince    time.Time
}

// A RosterChange is what one version of a roster changed.
type RosterChange struct {
	Version int64
	Tag     string
	Contact string // bare JID; "" in the first version
	Before  []byte // the contact as it was, nil when it was not there
	At      time.Time
}

// A RosterSave is a roster to be written, with the versions since it was written last.
type RosterSave struct {
	Roster
	Reset   bool // these changes are all there are: older ones are deleted
	Changes []RosterChange
}

// SaveRosters writes rosters, each over what there was of the same user, and adds to their journals: all of it or none.
// A version that is in the journal already is written over: it was written by a call of which nobody knows how it ended.
func (s *Store) SaveRosters(ctx context.Context, saves []RosterSave) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error { return saveRosters(ctx, tx, saves) })
	if err != nil {
		return fmt.Errorf("store: %d rosters cannot be saved: %w", len(saves), err)
	}
	return nil
}

func saveRosters(ctx context.Context, tx *sql.Tx, saves []RosterSave) error {
	row, err := tx.PrepareContext(ctx, `INSERT INTO rosters (host, username, version, tag, document, source, etag, as_of,
			stale_if_error, dropped, held, held_since) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (host, username) DO UPDATE SET version = excluded.version, tag = excluded.tag,
			document = excluded.document, source = excluded.source, etag = excluded.etag, as_of = excluded.as_of,
			stale_if_error = excluded.stale_if_error, dropped = excluded.dropped, held = excluded.held,
			held_since = excluded.held_since`)
	if err != nil {
		return err
	}
	defer row.Close()
	change, err := tx.PrepareContext(ctx, `INSERT INTO roster_journal (host, username, version, tag, contact, before, at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (host, username, version) DO UPDATE SET tag = excluded.tag, contact = excluded.contact,
			before = excluded.before, at = excluded.at`)
	if err != nil {
		return err
	}
	defer change.Close()
	for i := range saves {
		r := &saves[i]
		if r.Reset {
			if _, err := tx.ExecContext(ctx, `DELETE FROM roster_journal WHERE host = $1 AND username = $2`, r.Host, r.Username); err != nil {
				return err
			}
		}
		var heldSince int64
		if r.Held != nil {
			heldSince = r.HeldSince.UnixMicro()
		}
		if _, err := row.ExecContext(ctx, r.Host, r.Username, r.Version, r.Tag, r.Document, r.Source, r.ETag, r.AsOf.UnixMicro(),
			int64(r.StaleIfError), bytesOrEmpty(r.Dropped), r.Held, heldSince); err != nil {
			return err
		}
		for _, c := range r.Changes {
			if _, err := change.ExecContext(ctx, r.Host, r.Username, c.Version, c.Tag, c.Contact, c.Before, c.At.UnixMicro()); err != nil {
				return err
			}
		}
	}
	return nil
}

// bytesOrEmpty is b for a column that is not null.
func bytesOrEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Roster reads the last known roster of a user; ErrNotFound when there is none.
func (s *Store) Roster(ctx context.Context, host, username string) (Roster, error) {
	r := Roster{Host: host, Username: username}
	var asOf, stale, heldSince int64
	err := s.read(ctx, func(ctx context.Context) error {
		return s.reads.QueryRowContext(ctx, `SELECT version, tag, document, source, etag, as_of, stale_if_error, dropped, held, held_since
			FROM rosters WHERE host = $1 AND username = $2`, host, username).
			Scan(&r.Version, &r.Tag, &r.Document, &r.Source, &r.ETag, &asOf, &stale, &r.Dropped, &r.Held, &heldSince)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Roster{}, fmt.Errorf("store: the roster of %s@%s: %w", username, host, err)
	}
	r.AsOf = time.UnixMicro(asOf).UTC()
	r.StaleIfError = time.Duration(stale)
	if r.Held != nil {
		r.HeldSince = time.UnixMicro(heldSince).UTC()
	}
	return r, nil
}

// RosterJournal reads what a user's roster has changed from a version on, that one included, in order.
func (s *Store) RosterJournal(ctx context.Context, host, username string, from int64) ([]RosterChange, error) {
	var all []RosterChange
	err := s.read(ctx, func(ctx context.Context) (err error) {
		all, err = collect(ctx, s.reads, scanRosterChange, `SELECT version, tag, contact, before, at FROM roster_journal
			WHERE host = $1 AND username = $2 AND version >= $3 ORDER BY version`, host, username, from)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: the journal of %s@%s: %w", username, host, err)
	}
	return all, nil
}

func scanRosterChange(row scanner) (c RosterChange, err error) {
	var at int64
	err = row.Scan(&c.Version, &c.Tag, &c.Contact, &c.Before, &at)
	c.At = time.UnixMicro(at).UTC()
	return c, err
}

// TrimRosterJournals deletes, at one host, what is older than a time and not among the newest keep changes of its user,
// and whatever is beyond the newest most. It tells how many changes are left.
func (s *Store) TrimRosterJournals(ctx context.Context, host string, before time.Time, keep, most int) (left int, err error) {
	var all []rosterJournal
	err = s.read(ctx, func(ctx context.Context) (err error) {
		all, err = collect(ctx, s.db, scanRosterJournal,
			`SELECT username, COUNT(*) FROM roster_journal WHERE host = $1 GROUP BY username`, host)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store: the journals of %s: %w", host, err)
	}
	for _, j := range all {
		left += j.changes
	}
	for _, l := range all {
		if l.changes <= keep {
			continue
		}
		gone, err := s.trimJournal(ctx, host, l.username, before, keep, most)
		if err != nil {
			return left, fmt.Errorf("store: the journal of %s@%s cannot be trimmed: %w", l.username, host, err)
		}
		left -= gone
	}
	return left, nil
}

type rosterJournal struct {
	username string
	changes  int
}

func scanRosterJournal(row scanner) (j rosterJournal, err error) {
	err = row.Scan(&j.username, &j.changes)
	return j, err
}

// trimJournal deletes from one journal. Versions are numbered without gaps, so that the newest so many are found by
// their number; and only a beginning is deleted, whatever the clock said meanwhile, so that none appear.
func (s *Store) trimJournal(ctx context.Context, host, username string, before time.Time, keep, most int) (gone int, err error) {
	var first, last int64
	var young sql.NullInt64
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `SELECT MIN(version), MAX(version), MIN(CASE WHEN at >= $3 THEN version END)
			FROM roster_journal WHERE host = $1 AND username = $2`, host, username, before.UnixMicro()).Scan(&first, &last, &young)
	})
	if err != nil {
		return 0, err
	}
	until := last - int64(keep) // the last one to go
	if young.Valid {
		until = min(until, young.Int64-1)
	}
	until = max(until, last-int64(most))
	if until < first {
		return 0, nil
	}
	res, err := s.exec(ctx, `DELETE FROM roster_journal WHERE host = $1 AND username = $2 AND version <= $3`, host, username, until)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// TrimRosters deletes, at one host, the rosters that were confirmed longest ago, with their journals, until no more than
// most are left.
func (s *Store) TrimRosters(ctx context.Context, host string, most int) (gone int, err error) {
	err = s.inTransaction(ctx, func(tx *sql.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM rosters WHERE host = $1`, host).Scan(&have); err != nil {
			return err
		}
		if have <= most {
			return nil
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM rosters WHERE host = $1 AND username IN
			(SELECT username FROM rosters WHERE host = $1 ORDER BY as_of LIMIT $2)`, host, have-most)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		gone = int(n)
		_, err = tx.ExecContext(ctx, `DELETE FROM roster_journal WHERE host = $1 AND username NOT IN
			(SELECT username FROM rosters WHERE host = $1)`, host)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store: the rosters of %s cannot be trimmed: %w", host, err)
	}
	return gone, nil
}
