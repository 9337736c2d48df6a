package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Query says which messages of an archive are meant: those for which everything that it says is true. The zero Query means
// all of them, in pages.
type Query struct {
	With       string    // bare JID of the other side; "": any
	Resource   string    // of the other side; "": any
	Start, End time.Time // not earlier, not later; zero: any
	After      ID        // later than this one; 0: any
	Before     ID        // earlier than this one; 0: any
	IDs        []ID      // among these, at most MaxIDs; nil: any
	Mask, Bits int64     // message.Kind & Mask == Bits

	Limit int  // messages in a page; 0: 100; never more than MaxPage
	Bytes int  // of their stanzas in a page, unless it is a single one; 0 and more than 4 MiB: 4 MiB
	Last  bool // the last of those that match, rather than the first; in their order all the same
}

// Bounds of queries and their answers.
const (
	MaxPage   = 1_000
	MaxIDs    = 1_000
	pageBytes = 4 << 20
)

// A Page is messages in the order of their ids.
type Page struct {
	Messages []Message
	More     bool // there are others that match: after these or, with Query.Last, before
}

// A Mark is a message without its content.
type Mark struct {
	ID ID
	At time.Time
}

// Messages reads a page of an account's archive. It has as many messages as the query asks for, fewer when there are no more
// (More is false then) or when they have more bytes than it allows.
func (s *Store) Messages(ctx context.Context, host, username string, q Query) (Page, error) {
	c, err := q.conditions(host, username)
	if err != nil {
		return Page{}, archiveError(host, username, err)
	}
	limit := pageSize(q.Limit)
	order := ` ORDER BY id LIMIT `
	if q.Last {
		order = ` ORDER BY id DESC LIMIT `
	}
	page, err := s.page(ctx, s.db, `SELECT `+messageColumns+c.from()+order+c.arg(limit+1), c.args, bounds{limit, q.Bytes}, q.Last)
	return page, archiveError(host, username, err)
}

func pageSize(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, MaxPage)
}

// bounds are those of a page. bytes 0 is pageBytes.
type bounds struct{ messages, bytes int }

// page reads a page within bounds, of a query that asks for one message more.
func (s *Store) page(ctx context.Context, db querier, query string, args []any, most bounds, reverse bool) (Page, error) {
	var page Page
	if most.bytes <= 0 || most.bytes > pageBytes {
		most.bytes = pageBytes
	}
	err := s.read(ctx, func(ctx context.Context) (err error) {
		page = Page{}
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for size := 0; rows.Next(); {
			m, err := scanMessage(rows)
			if err != nil {
				return err
			}
			size += len(m.Stanza) + writeCost
			if len(page.Messages) == most.messages || len(page.Messages) > 0 && size > most.bytes {
				page.More = true
				break
			}
			page.Messages = append(page.Messages, m)
		}
		return rows.Err()
	})
	if err != nil {
		return Page{}, err
	}
	if reverse {
		slices.Reverse(page.Messages)
	}
	return page, nil
}

// CountMessages counts the messages that a query means, beyond its page.
func (s *Store) CountMessages(ctx context.Context, host, username string, q Query) (n int, err error) {
	c, err := q.conditions(host, username)
	if err == nil {
		err = s.read(ctx, func(ctx context.Context) error {
			return s.db.QueryRowContext(ctx, `SELECT COUNT(*)`+c.from(), c.args...).Scan(&n)
		})
	}
	return n, archiveError(host, username, err)
}

// MessageBounds tells the first and the last message of an account's archive; ErrNotFound when it is empty.
func (s *Store) MessageBounds(ctx context.Context, host, username string) (first, last Mark, err error) {
	const end = `SELECT id, at FROM messages WHERE host = $1 AND username = $2 AND archived = 1 ORDER BY id `
	read := func(m *Mark, query string) func(context.Context) error {
		return func(ctx context.Context) error {
			var at int64
			err := s.db.QueryRowContext(ctx, query, host, username).Scan((*int64)(&m.ID), &at)
			m.At = time.UnixMicro(at).UTC()
			return err
		}
	}
	err = s.read(ctx, read(&first, end+`LIMIT 1`))
	if err == nil {
		err = s.read(ctx, read(&last, end+`DESC LIMIT 1`))
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Mark{}, Mark{}, archiveError(host, username, err)
	}
	return first, last, nil
}

// trimPage is how many messages are taken out of an archive in one transaction, so that others get their turn.
const trimPage = 500

// TrimMessages takes the first messages out of an account's archive: those before the first one that is not older than a time
// (zero: none), and all but the newest keep (less than 0: none). So what is left has no gaps (XEP-0313 section 3.2), even where
// the clock was set back. What waits in the mailbox stays there. It tells how many it took.
func (s *Store) TrimMessages(ctx context.Context, host, username string, before time.Time, keep int) (gone int, err error) {
	const these = `SELECT id FROM messages WHERE host = $1 AND username = $2 AND archived = 1 AND id <= $3 ORDER BY id LIMIT $4`
	until, err := s.lastToGo(ctx, host, username, keep)
	if err == nil && !before.IsZero() {
		var old int64
		old, err = s.lastOld(ctx, host, username, before)
		until = max(until, old)
	}
	if err != nil {
		return 0, archiveError(host, username, err)
	}
	for {
		taken := 0
		err := s.inTransaction(ctx, func(tx *sql.Tx) error {
			args := []any{host, username, until, trimPage}
			kept, err := rowsAffected(tx.ExecContext(ctx, `UPDATE messages SET archived = 0 WHERE undelivered = 1 AND id IN (`+these+`)`, args...))
			if err != nil {
				return err
			}
			deleted, err := rowsAffected(tx.ExecContext(ctx, `DELETE FROM messages WHERE undelivered = 0 AND id IN (`+these+`)`, args...))
			taken = kept + deleted
			return err
		})
		if err != nil {
			return gone, archiveError(host, username, err)
		}
		if gone += taken; taken < trimPage {
			return gone, nil
		}
	}
}

// lastToGo is the id of the message before the newest keep of an archive; 0 when there is none.
func (s *Store) lastToGo(ctx context.Context, host, username string, keep int) (id int64, err error) {
	if keep < 0 {
		return 0, nil
	}
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `SELECT id FROM messages WHERE host = $1 AND username = $2 AND archived = 1
			ORDER BY id DESC LIMIT 1 OFFSET $3`, host, username, keep).Scan(&id)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// lastOld is the id of the message before the first of an archive that is not older than a time; 0 when there is none.
func (s *Store) lastOld(ctx context.Context, host, username string, before time.Time) (id int64, err error) {
	const archive = ` FROM messages WHERE host = $1 AND username = $2 AND archived = 1 `
	last := func(id *int64, query string, args ...any) error {
		err := s.read(ctx, func(ctx context.Context) error {
			return s.db.QueryRowContext(ctx, query, append([]any{host, username}, args...)...).Scan(id)
		})
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	}
	first := int64(math.MaxInt64)
	err = last(&first, `SELECT id`+archive+`AND at >= $3 ORDER BY id LIMIT 1`, micros(before, true))
	if err == nil {
		err = last(&id, `SELECT id`+archive+`AND id < $3 ORDER BY id DESC LIMIT 1`, first)
	}
	return id, err
}

func rowsAffected(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// Archives lists the usernames of a host that have an archive, in order, by byte; for retention. An error is the last thing
// it yields.
func (s *Store) Archives(ctx context.Context, host string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last, compare := "", ` >= $2 `
		for {
			var username string
			err := s.read(ctx, func(ctx context.Context) error {
				return s.db.QueryRowContext(ctx, `SELECT username FROM messages WHERE host = $1 AND username`+compare+
					`AND archived = 1 ORDER BY username LIMIT 1`, host, last).Scan(&username)
			})
			if errors.Is(err, sql.ErrNoRows) {
				return
			}
			if err != nil {
				yield("", fmt.Errorf("store: the archives of %s: %w", host, err))
				return
			}
			if !yield(username, nil) {
				return
			}
			last, compare = username, ` > $2 `
		}
	}
}

// conditions are those of a WHERE, with their arguments.
type conditions struct {
	text []string
	args []any
}

// arg adds an argument and returns its placeholder.
func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *conditions) add(text string, v any) { c.text = append(c.text, text+c.arg(v)) }

// from is the part of a SELECT after its columns.
func (c *conditions) from() string { return ` FROM messages WHERE ` + strings.Join(c.text, " AND ") }

func (q *Query) conditions(host, username string) (*conditions, error) {
	if len(q.IDs) > MaxIDs {
		return nil, fmt.Errorf("%w: %d ids are asked for, %d are allowed", ErrInvalid, len(q.IDs), MaxIDs)
	}
	if err := errors.Join(checkOwner(host, username), checkText("the other side", q.With, maxJID), checkText("the resource", q.Resource, maxPart)); err != nil {
		return nil, err
	}
	c := &conditions{}
	c.add("host = ", host)
	c.add("username = ", username)
	c.text = append(c.text, "archived = 1") // as it stands, so that the index is used
	if q.With != "" {
		c.add("peer_key = ", hash(q.With))
		c.add("peer = ", q.With)
	}
	if q.Resource != "" {
		c.add("resource = ", q.Resource)
	}
	if !q.Start.IsZero() {
		// No id is less than its message's time, so the index finds where to begin.
		c.add("at >= ", micros(q.Start, true))
		c.add("id >= ", micros(q.Start, true))
	}
	if !q.End.IsZero() {
		c.add("at <= ", micros(q.End, false))
	}
	if q.After > 0 {
		c.add("id > ", int64(q.After))
	}
	if q.Before > 0 {
		c.add("id < ", int64(q.Before))
	}
	if q.Mask != 0 {
		c.text = append(c.text, "(kind & "+c.arg(q.Mask)+") = "+c.arg(q.Bits))
	}
	if q.IDs != nil {
		c.text = append(c.text, c.among(q.IDs))
	}
	return c, nil
}

// among is the condition that a message is one of ids.
func (c *conditions) among(ids []ID) string {
	if len(ids) == 0 {
		return "1 = 0"
	}
	places := make([]string, len(ids))
	for i, id := range ids {
		places[i] = c.arg(int64(id))
	}
	return "id IN (" + strings.Join(places, ", ") + ")"
}

// micros is a time as it is stored. A time between two microseconds is the later one for a start, and the earlier for an end.
func micros(t time.Time, up bool) int64 {
	n := t.UnixMicro()
	if up && t.Nanosecond()%1000 != 0 {
		n++
	}
	return n
}

// archiveError names the archive of an error; nil stays nil.
func archiveError(host, username string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: the archive of %s@%s: %w", username, host, err)
}
