package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// A Key names a value of an account.
type Key struct {
	Host     string // canonical domain
	Username string // canonical localpart
	Space    string // whose values these are: a feature's name, at most MaxSpace bytes
	Name     string // within the space, at most MaxName bytes; "" is a name. Hash what may be longer, such as an address
}

// A NamedValue is one of a listing.
type NamedValue struct {
	Name  string
	Value []byte
}

// Bounds of values, in bytes.
const (
	MaxSpace = 64
	MaxName  = 512 // an index of PostgreSQL has no room for more, beside the longest username and host
	MaxValue = 1 << 20
)

func (k Key) check() error {
	return errors.Join(checkOwner(k.Host, k.Username), checkText("the space", k.Space, MaxSpace), checkText("the name", k.Name, MaxName))
}

// fail names the value of an error; nil stays nil.
func (k Key) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: the value %q of %s@%s %s: %w", k.Space, k.Username, k.Host, what, err)
}

// Value reads a value; ErrNotFound when there is none.
func (s *Store) Value(ctx context.Context, k Key) (value []byte, err error) {
	if err = k.check(); err == nil {
		err = s.read(ctx, func(ctx context.Context) error {
			return s.reads.QueryRowContext(ctx, `SELECT value FROM account_values
				WHERE host = $1 AND username = $2 AND space = $3 AND key = $4`, k.Host, k.Username, k.Space, k.Name).Scan(&value)
		})
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, k.fail("cannot be read", err)
	}
	return value, nil
}

// SetValue writes a value of at most MaxValue bytes, over what there was. A new name is refused with ErrLimit when the
// account's space has limit names already; limit 0: any number.
func (s *Store) SetValue(ctx context.Context, k Key, value []byte, limit int) error {
	st, err := s.setValue(k, value, limit)
	if err == nil {
		err = s.writeValue(ctx, len(value), st)
	}
	return k.fail("cannot be written", err)
}

func (s *Store) setValue(k Key, value []byte, limit int) (statement, error) {
	if err := errors.Join(k.check(), checkValue(value)); err != nil {
		return statement{}, err
	}
	args := []any{k.Host, k.Username, k.Space, k.Name, bytesOrEmpty(value), s.now().UnixMicro()}
	const over = ` ON CONFLICT (host, username, space, key) DO UPDATE SET value = excluded.value, changed = excluded.changed`
	if limit <= 0 {
		return statement{query: insertValue + `VALUES ($1, $2, $3, $4, $5, $6)` + over, args: args}, nil
	}
	return statement{query: insertValue + `SELECT $1, $2, $3, $4, $5, $6` + roomForValue + over, args: append(args, limit), needs: ErrLimit}, nil
}

const (
	insertValue = `INSERT INTO account_values (host, username, space, key, value, changed) `
	// roomForValue: the name is there already, or there are fewer than $7.
	roomForValue = ` WHERE EXISTS (SELECT 1 FROM account_values WHERE host = $1 AND username = $2 AND space = $3 AND key = $4)
		OR (SELECT COUNT(*) FROM (SELECT 1 FROM account_values WHERE host = $1 AND username = $2 AND space = $3 LIMIT $7) AS counted) < $7`
)

func checkValue(value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrInvalid, len(value), MaxValue)
	}
	return nil
}

// writeValue runs one statement through the queue.
func (s *Store) writeValue(ctx context.Context, size int, st statement) error {
	_, err := s.writer.do(ctx, &write{size: size, statements: func(ID) []statement { return []statement{st} }})
	return err
}

// RemoveValue deletes a value; ErrNotFound when there is none.
func (s *Store) RemoveValue(ctx context.Context, k Key) error {
	err := k.check()
	if err == nil {
		err = s.writeValue(ctx, 0, statement{query: `DELETE FROM account_values
			WHERE host = $1 AND username = $2 AND space = $3 AND key = $4`,
			args: []any{k.Host, k.Username, k.Space, k.Name}, needs: ErrNotFound})
	}
	return k.fail("cannot be removed", err)
}

// updates is how often UpdateValue begins anew before it gives up. Each time somebody else has succeeded.
const updates = 100

var (
	// errChanged: somebody else has written the value meanwhile.
	errChanged = errors.New("it was changed at the same time")
	// errNotAdded: that, or there is no room for another name.
	errNotAdded = errors.New("it was not added")
)

// UpdateValue changes a value by what it is: change gets it, nil when there is none, and returns what it is to be, nil for
// none. Nobody else's write comes in between; where one does, change is called again with what is there then, so it must
// have no other effect. Its error ends it and is returned. limit is as in SetValue.
func (s *Store) UpdateValue(ctx context.Context, k Key, limit int, change func(old []byte) ([]byte, error)) error {
	for range updates {
		old, err := s.Value(ctx, k)
		if errors.Is(err, ErrNotFound) {
			old, err = nil, nil
		} else if old == nil {
			old = []byte{}
		}
		if err != nil {
			return err
		}
		fresh, err := change(bytes.Clone(old))
		if err != nil {
			return err
		}
		if (fresh == nil) == (old == nil) && bytes.Equal(fresh, old) {
			return nil
		}
		st, err := s.swapValue(k, old, fresh, limit)
		if err == nil {
			err = s.writeValue(ctx, len(fresh), st)
		}
		if errors.Is(err, errNotAdded) {
			if _, err := s.Value(ctx, k); errors.Is(err, ErrNotFound) {
				return k.fail("cannot be changed", ErrLimit)
			}
			continue
		}
		if !errors.Is(err, errChanged) {
			return k.fail("cannot be changed", err)
		}
	}
	return k.fail("cannot be changed", fmt.Errorf("%w: %w", ErrUnavailable, errChanged))
}

// swapValue writes fresh if the value is old.
func (s *Store) swapValue(k Key, old, fresh []byte, limit int) (statement, error) {
	if err := checkValue(fresh); err != nil {
		return statement{}, err
	}
	key := []any{k.Host, k.Username, k.Space, k.Name}
	const same = ` WHERE host = $1 AND username = $2 AND space = $3 AND key = $4 AND value = $5`
	switch {
	case fresh == nil:
		return statement{query: `DELETE FROM account_values` + same, args: append(key, old), needs: errChanged}, nil
	case old != nil:
		return statement{query: `UPDATE account_values SET value = $6, changed = $7` + same,
			args: append(key, old, fresh, s.now().UnixMicro()), needs: errChanged}, nil
	}
	args := append(key, fresh, s.now().UnixMicro())
	if limit <= 0 {
		return statement{query: insertValue + `VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, args: args, needs: errChanged}, nil
	}
	return statement{query: insertValue + `SELECT $1, $2, $3, $4, $5, $6` + roomForValue + ` ON CONFLICT DO NOTHING`,
		args: append(args, limit), needs: errNotAdded}, nil
}

// valuesPage is how many values a listing holds in memory.
const valuesPage = 32

// Values lists the values of a space whose names begin with prefix, in the order of their names, by byte. It reads in pages,
// as Accounts does. An error is the last thing it yields.
func (s *Store) Values(ctx context.Context, host, username, space, prefix string) iter.Seq2[NamedValue, error] {
	k := Key{Host: host, Username: username, Space: space, Name: prefix}
	return func(yield func(NamedValue, error) bool) {
		if err := k.check(); err != nil {
			yield(NamedValue{}, k.fail("cannot be listed", err))
			return
		}
		from, compare := k, ">="
		for {
			page, err := s.valuesFrom(ctx, from, compare)
			if err != nil {
				yield(NamedValue{}, k.fail("cannot be listed", err))
				return
			}
			for _, v := range page {
				// What begins with the prefix stands together, and nothing before it.
				if !strings.HasPrefix(v.Name, prefix) || !yield(v, nil) {
					return
				}
				from.Name = v.Name
			}
			if compare = ">"; len(page) < valuesPage {
				return
			}
		}
	}
}

func (s *Store) valuesFrom(ctx context.Context, k Key, compare string) (page []NamedValue, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		page, err = collect(ctx, s.db, scanValue, `SELECT key, value FROM account_values
			WHERE host = $1 AND username = $2 AND space = $3 AND key `+compare+` $4 ORDER BY key LIMIT $5`,
			k.Host, k.Username, k.Space, k.Name, valuesPage)
		return err
	})
	return page, err
}

func scanValue(row scanner) (v NamedValue, err error) {
	err = row.Scan(&v.Name, &v.Value)
	return v, err
}
