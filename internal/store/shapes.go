package store

import (
	"context"
	"iter"
	"time"
)

// What features need of a store, by the shape of the data. A feature takes the shape that it uses rather than a *Store; a map
// and a slice make a fake of each.

// Values are small things of an account, by key.
type Values interface {
	Value(ctx context.Context, k Key) ([]byte, error)
	SetValue(ctx context.Context, k Key, value []byte, limit int) error
	RemoveValue(ctx context.Context, k Key) error
	UpdateValue(ctx context.Context, k Key, limit int, change func(old []byte) ([]byte, error)) error
	Values(ctx context.Context, host, username, space, prefix string) iter.Seq2[NamedValue, error]
}

// Archive is the log of an account: what is appended with Entry.Archived.
type Archive interface {
	Append(entries []Entry, done func(ids []ID, err error))
	Messages(ctx context.Context, host, username string, q Query) (Page, error)
	CountMessages(ctx context.Context, host, username string, q Query) (int, error)
	MessageBounds(ctx context.Context, host, username string) (first, last Mark, err error)
	TrimMessages(ctx context.Context, host, username string, before time.Time, keep int) (gone int, err error)
	Archives(ctx context.Context, host string) iter.Seq2[string, error]
}

// Mailbox is what an account's clients have not acknowledged: what is appended with Entry.Undelivered.
type Mailbox interface {
	Append(entries []Entry, done func(ids []ID, err error))
	Waiting(ctx context.Context, host, username string, after ID, limit int) (Page, error)
	CountWaiting(ctx context.Context, host, username string, most int) (int, error)
	Delivered(host, username string, ids []ID, done func(error))
}

var (
	_ Values  = (*Store)(nil)
	_ Archive = (*Store)(nil)
	_ Mailbox = (*Store)(nil)
)
