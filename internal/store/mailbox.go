package store

import (
	"context"
	"fmt"
)

// Waiting lists messages of an account's mailbox in their order, from after an id on (0: from the first). A page has at most
// limit messages (0: 100) and, but for a single one, no more than pageBytes of them; the next begins after its last id. Messages of which
// Delivered was told before are not there.
func (s *Store) Waiting(ctx context.Context, host, username string, after ID, limit int) (Page, error) {
	// What is delivered already is better taken out first. If that fails, a client gets a message twice.
	_ = s.writer.settle(ctx)
	q := `SELECT ` + messageColumns + ` FROM messages WHERE host = $1 AND username = $2 AND undelivered = 1 AND id > $3
		ORDER BY id LIMIT $4`
	limit = pageSize(limit)
	page, err := s.page(ctx, s.reads, q, []any{host, username, int64(after), limit + 1}, bounds{messages: limit}, false)
	if err != nil {
		return Page{}, fmt.Errorf("store: the mailbox of %s@%s: %w", username, host, err)
	}
	return page, nil
}

// CountWaiting counts the messages of an account's mailbox, up to a number.
func (s *Store) CountWaiting(ctx context.Context, host, username string, most int) (n int, err error) {
	_ = s.writer.settle(ctx)
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM
			(SELECT 1 FROM messages WHERE host = $1 AND username = $2 AND undelivered = 1 LIMIT $3) AS counted`,
			host, username, most).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("store: the mailbox of %s@%s: %w", username, host, err)
	}
	return n, nil
}

// CountMailboxes counts the messages in a host's mailboxes, and the users for whom they wait. It reads an index.
func (s *Store) CountMailboxes(ctx context.Context, host string) (messages, users int, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `SELECT COUNT(*), COUNT(DISTINCT username) FROM messages
			WHERE host = $1 AND undelivered = 1`, host).Scan(&messages, &users)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("store: the mailboxes of %s: %w", host, err)
	}
	return messages, users, nil
}

// Delivered takes messages out of an account's mailbox: a client has acknowledged them. Those that are in the archive stay
// there; ids that are not in the mailbox do not matter. It does not wait, and is written a moment later, with other writes:
// after a crash they may be in the mailbox still. done, if it is not nil, is called as that of Append is.
func (s *Store) Delivered(host, username string, ids []ID, done func(error)) {
	s.writer.add(&write{
		lazy: true, size: len(ids) * writeCost,
		statements: func(ID) []statement { return deliveries(host, username, ids) },
		done: func(_ ID, err error) {
			if err != nil {
				err = fmt.Errorf("store: the mailbox of %s@%s: %w", username, host, err)
			}
			if done != nil {
				done(err)
			}
		},
	})
}

func deliveries(host, username string, ids []ID) []statement {
	all := make([]statement, 0, 2*len(ids))
	for _, id := range ids {
		args := []any{host, username, int64(id)}
		all = append(all,
			statement{query: `DELETE FROM messages WHERE id = $3 AND host = $1 AND username = $2 AND undelivered = 1 AND archived = 0`, args: args},
			statement{query: `UPDATE messages SET undelivered = 0 WHERE id = $3 AND host = $1 AND username = $2 AND undelivered = 1`, args: args})
	}
	return all
}
