package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"rollcall/internal/jid"
)

// Keys are what a server keeps of a password for one SCRAM hash (RFC 5802 section 3). Nobody can sign in
// with them, but they let somebody who has them guess passwords at home, and pose as the server.
type Keys struct {
	Salt       []byte
	Iterations int    // of PBKDF2
	StoredKey  []byte // H(ClientKey), as long as the hash
	ServerKey  []byte // as long as the hash
}

// Credentials are the keys of one account for SCRAM-SHA-1 and SCRAM-SHA-256.
type Credentials struct {
	SHA1, SHA256 Keys
}

// What credentials must have to be stored (XEP-0438 v0.2 sections 5.2 and 6). The upper bound is ours: a
// count by mistake must not cost each sign-in minutes.
const (
	MinSalt       = 16 // bytes
	MinIterations = 10_000
	MaxIterations = 10_000_000
)

// An Account is a user who signs in with a password kept here.
type Account struct {
	Host        string // canonical domain
	Username    string // canonical localpart (RFC 7622 section 3.3)
	Credentials Credentials
	Created     time.Time // UTC, to the microsecond
	Changed     time.Time // when the credentials were last set
}

const accountColumns = `host, username,
	sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,
	sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key,
	created, changed`

// AddAccount makes an account; ErrExists when there is one of that name. Host and username must be in
// canonical form, and the credentials as strong as MinSalt and MinIterations ask.
func (s *Store) AddAccount(ctx context.Context, host, username string, c Credentials) error {
	if err := errors.Join(checkName(host, username), c.check()); err != nil {
		return accountError(host, username, "cannot be added", err)
	}
	now := s.now().UnixMicro()
	res, err := s.exec(ctx, `INSERT INTO accounts (`+accountColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		host, username,
		c.SHA1.Salt, c.SHA1.Iterations, c.SHA1.StoredKey, c.SHA1.ServerKey,
		c.SHA256.Salt, c.SHA256.Iterations, c.SHA256.StoredKey, c.SHA256.ServerKey,
		now, now)
	return accountError(host, username, "cannot be added", changed(res, err, ErrExists))
}

// SetCredentials replaces the credentials of an account, that is its password; ErrNotFound when there is
// no such account.
func (s *Store) SetCredentials(ctx context.Context, host, username string, c Credentials) error {
	if err := c.check(); err != nil {
		return accountError(host, username, "cannot be changed", err)
	}
	res, err := s.exec(ctx, `UPDATE accounts SET
		sha1_salt = $3, sha1_iterations = $4, sha1_stored_key = $5, sha1_server_key = $6,
		sha256_salt = $7, sha256_iterations = $8, sha256_stored_key = $9, sha256_server_key = $10,
		changed = $11
		WHERE host = $1 AND username = $2`,
		host, username,
		c.SHA1.Salt, c.SHA1.Iterations, c.SHA1.StoredKey, c.SHA1.ServerKey,
		c.SHA256.Salt, c.SHA256.Iterations, c.SHA256.StoredKey, c.SHA256.ServerKey,
		s.now().UnixMicro())
	return accountError(host, username, "cannot be changed", changed(res, err, ErrNotFound))
}

// RemoveAccount deletes an account with its values and messages, so that nobody inherits them who gets the name later;
// ErrNotFound when there is none.
func (s *Store) RemoveAccount(ctx context.Context, host, username string) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM accounts WHERE host = $1 AND username = $2`, host, username)
		if err := changed(res, err, ErrNotFound); err != nil {
			return err
		}
		for _, table := range []string{"account_values", "messages"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE host = $1 AND username = $2`, host, username); err != nil {
				return err
			}
		}
		return nil
	})
	return accountError(host, username, "cannot be removed", err)
}

// Account finds an account; ErrNotFound when there is none.
func (s *Store) Account(ctx context.Context, host, username string) (Account, error) {
	var a Account
	err := s.read(ctx, func(ctx context.Context) (err error) {
		a, err = scanAccount(s.db.QueryRowContext(ctx, `SELECT `+accountColumns+`
			FROM accounts WHERE host = $1 AND username = $2`, host, username))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Account{}, accountError(host, username, "cannot be read", err)
	}
	return a, nil
}

// accountsPage is how many accounts a listing holds in memory.
const accountsPage = 256

// Accounts lists the accounts of a host in the order of their names, by byte. It reads in pages, so the
// loop may take its time and use the Store; an account that is added or removed meanwhile may or may not
// appear, every other one does exactly once. An error is the last thing it yields.
func (s *Store) Accounts(ctx context.Context, host string) iter.Seq2[Account, error] {
	return func(yield func(Account, error) bool) {
		after := ""
		for {
			page, err := s.accountsAfter(ctx, host, after)
			if err != nil {
				yield(Account{}, fmt.Errorf("store: the accounts of %s cannot be listed: %w", host, err))
				return
			}
			for _, a := range page {
				if !yield(a, nil) {
					return
				}
				after = a.Username
			}
			if len(page) < accountsPage {
				return
			}
		}
	}
}

func (s *Store) accountsAfter(ctx context.Context, host, after string) (page []Account, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		page, err = collect(ctx, s.db, scanAccount, `SELECT `+accountColumns+`
			FROM accounts WHERE host = $1 AND username > $2 ORDER BY username LIMIT $3`, host, after, accountsPage)
		return err
	})
	return page, err
}

// scanAccount reads a row of accountColumns.
func scanAccount(row scanner) (a Account, err error) {
	var created, updated int64
	one, two := &a.Credentials.SHA1, &a.Credentials.SHA256
	err = row.Scan(&a.Host, &a.Username,
		&one.Salt, &one.Iterations, &one.StoredKey, &one.ServerKey,
		&two.Salt, &two.Iterations, &two.StoredKey, &two.ServerKey,
		&created, &updated)
	a.Created, a.Changed = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
	return a, err
}

// checkName refuses a name under which the account could never be found: sign-in looks for the canonical
// form.
func checkName(host, username string) error {
	d, err := jid.Domainpart(host)
	if err != nil {
		return err
	}
	l, err := jid.Localpart(username)
	if err != nil {
		return err
	}
	if d != host || l != username {
		return fmt.Errorf("the name is not in canonical form, which is %s@%s", l, d)
	}
	return nil
}

func (c Credentials) check() error {
	return errors.Join(c.SHA1.check("SHA-1", 20), c.SHA256.check("SHA-256", 32))
}

func (k Keys) check(hash string, size int) error {
	switch {
	case len(k.Salt) < MinSalt:
		return fmt.Errorf("the salt for %s has %d bytes, at least %d are asked for", hash, len(k.Salt), MinSalt)
	case k.Iterations < MinIterations || k.Iterations > MaxIterations:
		return fmt.Errorf("%d iterations for %s, between %d and %d are allowed", k.Iterations, hash, MinIterations, MaxIterations)
	case len(k.StoredKey) != size || len(k.ServerKey) != size:
		return fmt.Errorf("the keys for %s have %d and %d bytes, not %d", hash, len(k.StoredKey), len(k.ServerKey), size)
	}
	return nil
}

// accountError names the account of an error; nil stays nil.
func accountError(host, username, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: the account %s@%s %s: %w", username, host, what, err)
}
