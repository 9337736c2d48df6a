package store

import (
	"cmp"
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

	// What was made by another server may be weaker: RFC 5802 section 5.1 asks for 4,096 iterations. It cannot be made stronger
	// by who does not know the password.
	MinImportedSalt       = 8
	MinImportedIterations = 4096
)

// An Account is a user who signs in with a password kept here.
type Account struct {
	Host        string // canonical domain
	Username    string // canonical localpart (RFC 7622 section 3.3)
	Credentials Credentials
	Created     time.Time // UTC, to the microsecond
	Changed     time.Time // when the password was last set: later for each one
	Disabled    bool      // the user may not sign in
	Role        Role
}

// A Role is what a user may do for others.
type Role string

// The roles. One that is not known here is worth no more than RoleUser.
const (
	RoleUser  Role = "user"  // nothing
	RoleAdmin Role = "admin" // administers the host of the account
)

// Known tells whether there is such a role.
func (r Role) Known() bool { return r == RoleUser || r == RoleAdmin }

// check refuses what is no role.
func (r Role) check() error {
	if !r.Known() {
		return fmt.Errorf("there is no role %.40q, only %q and %q", string(r), RoleUser, RoleAdmin)
	}
	return nil
}

const accountColumns = `host, username,
	sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,
	sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key,
	created, changed, disabled, role`

// signIns are the tables with what signs a user in beside the password, by host and username: whoever keeps such things adds
// theirs. What is in them goes when the password changes (revoke).
var signIns = []string{"tokens"}

// data are the other tables that have something of an account's.
var data = []string{"account_values", "messages"}

// AddAccount makes an account of a user without a role; ErrExists when there is one of that name. Host and username must be in
// canonical form, and the credentials as strong as MinSalt and MinIterations ask.
func (s *Store) AddAccount(ctx context.Context, host, username string, c Credentials) error {
	return s.AddAccountAs(ctx, host, username, RoleUser, c)
}

// AddAccountAs is AddAccount for a user with a role.
func (s *Store) AddAccountAs(ctx context.Context, host, username string, r Role, c Credentials) error {
	if err := errors.Join(checkAccount(host, username, c), r.check()); err != nil {
		return accountError(host, username, "cannot be added", err)
	}
	now := s.now().UnixMicro()
	res, err := s.exec(ctx, insertAccount+` ON CONFLICT DO NOTHING`, append(accountArgs(host, username, c), now, now, 0, string(r))...)
	return accountError(host, username, "cannot be added", changed(res, err, ErrExists))
}

func checkAccount(host, username string, c Credentials) error {
	return errors.Join(checkName(host, username), c.check())
}

// Check tells why an account cannot be imported. Keys for one of the two hashes may be absent.
func (a *ImportedAccount) Check() error {
	err := checkName(a.Host, a.Username)
	one, two := a.Credentials.SHA1, a.Credentials.SHA256
	if one.absent() && two.absent() {
		return errors.Join(err, errors.New("there are no keys"))
	}
	if !one.absent() {
		err = errors.Join(err, one.checkWith("SHA-1", 20, MinImportedSalt, MinImportedIterations))
	}
	if !two.absent() {
		err = errors.Join(err, two.checkWith("SHA-256", 32, MinImportedSalt, MinImportedIterations))
	}
	if a.Role != "" {
		err = errors.Join(err, a.Role.check())
	}
	return err
}

func (k Keys) absent() bool {
	return len(k.Salt) == 0 && k.Iterations == 0 && len(k.StoredKey) == 0 && len(k.ServerKey) == 0
}

const insertAccount = `INSERT INTO accounts (` + accountColumns + `)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

// accountArgs are those of the first ten accountColumns.
func accountArgs(host, username string, c Credentials) []any {
	some := func(b []byte) []byte { return append([]byte{}, b...) } // nil would be NULL
	one, two := c.SHA1, c.SHA256
	return []any{host, username,
		some(one.Salt), one.Iterations, some(one.StoredKey), some(one.ServerKey),
		some(two.Salt), two.Iterations, some(two.StoredKey), some(two.ServerKey)}
}

const setKeys = `UPDATE accounts SET
	sha1_salt = $3, sha1_iterations = $4, sha1_stored_key = $5, sha1_server_key = $6,
	sha256_salt = $7, sha256_iterations = $8, sha256_stored_key = $9, sha256_server_key = $10`

// revoke takes away what signs a user in beside the password. It is done in the transaction of every change after which only
// the new password may.
func revoke(ctx context.Context, tx *sql.Tx, host, username string) error {
	return removeRows(ctx, tx, signIns, host, username)
}

func removeRows(ctx context.Context, tx *sql.Tx, tables []string, host, username string) error {
	for _, table := range tables {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE host = $1 AND username = $2`, host, username); err != nil {
			return err
		}
	}
	return nil
}

// SetCredentials replaces the credentials of an account, that is its password, and takes away whatever else signs the user in;
// ErrNotFound when there is no such account.
func (s *Store) SetCredentials(ctx context.Context, host, username string, c Credentials) error {
	if err := c.check(); err != nil {
		return accountError(host, username, "cannot be changed", err)
	}
	return s.changeAccount(ctx, host, username, setKeys+`, changed = CASE WHEN changed < $11 THEN $11 ELSE changed + 1 END
		WHERE host = $1 AND username = $2`, append(accountArgs(host, username, c), s.now().UnixMicro()), true)
}

// UpgradeCredentials replaces the credentials of an account by others of the same password, if its key for SCRAM-SHA-256 is
// still storedKey; ErrNotFound otherwise. Whatever else signs the user in stays.
func (s *Store) UpgradeCredentials(ctx context.Context, host, username string, storedKey []byte, c Credentials) error {
	if err := c.check(); err != nil {
		return accountError(host, username, "cannot be changed", err)
	}
	return s.changeAccount(ctx, host, username, setKeys+` WHERE host = $1 AND username = $2 AND sha256_stored_key = $11`,
		append(accountArgs(host, username, c), storedKey), false)
}

// SetDisabled says whether the user of an account may not sign in, and if so takes away what signs the user in beside the
// password; ErrNotFound when there is no such account.
func (s *Store) SetDisabled(ctx context.Context, host, username string, disabled bool) error {
	return s.changeAccount(ctx, host, username, `UPDATE accounts SET disabled = $3 WHERE host = $1 AND username = $2`,
		[]any{host, username, asInt(disabled)}, disabled)
}

// SetRole gives a user a role; ErrNotFound when there is no such account. What signs the user in stays.
func (s *Store) SetRole(ctx context.Context, host, username string, r Role) error {
	if err := r.check(); err != nil {
		return accountError(host, username, "cannot be changed", err)
	}
	return s.changeAccount(ctx, host, username, `UPDATE accounts SET role = $3 WHERE host = $1 AND username = $2`,
		[]any{host, username, string(r)}, false)
}

func (s *Store) changeAccount(ctx context.Context, host, username, query string, args []any, revokes bool) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err := changed(res, err, ErrNotFound); err != nil || !revokes {
			return err
		}
		return revoke(ctx, tx, host, username)
	})
	return accountError(host, username, "cannot be changed", err)
}

// RemoveAccount deletes an account with all that is its own, so that nobody inherits it who gets the name later; ErrNotFound when
// there is none. The roster stays: it is the application's.
func (s *Store) RemoveAccount(ctx context.Context, host, username string) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM accounts WHERE host = $1 AND username = $2`, host, username)
		if err := changed(res, err, ErrNotFound); err != nil {
			return err
		}
		if err := revoke(ctx, tx, host, username); err != nil {
			return err
		}
		return removeRows(ctx, tx, data, host, username)
	})
	return accountError(host, username, "cannot be removed", err)
}

// RemoveLeftovers deletes what is left of an account that has been removed, written by sessions that ended with it. Where there is
// an account of that name again, everything stays.
func (s *Store) RemoveLeftovers(ctx context.Context, host, username string) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM accounts WHERE host = $1 AND username = $2`, host, username).Scan(&n); err != nil || n > 0 {
			return err
		}
		return errors.Join(revoke(ctx, tx, host, username), removeRows(ctx, tx, data, host, username))
	})
	return accountError(host, username, "cannot be removed", err)
}

// importTimeout bounds an import to PostgreSQL.
const importTimeout = 10 * time.Minute

// An ImportedAccount is one that comes from another server. It may have keys for one of the two hashes only.
type ImportedAccount struct {
	Host, Username string
	Credentials    Credentials
	Disabled       bool
	Role           Role // "": that of the account there is, or RoleUser
}

// ImportAccounts adds accounts, all of them or none. With replace one that exists already gets the new credentials, as by
// SetCredentials; otherwise it is an error, ErrExists. An error names the account.
func (s *Store) ImportAccounts(ctx context.Context, accounts []ImportedAccount, replace bool) error {
	for _, a := range accounts {
		if err := a.Check(); err != nil {
			return accountError(a.Host, a.Username, "cannot be added", err)
		}
	}
	var failed error
	patient := *s
	patient.timeout = importTimeout
	err := patient.inTransaction(ctx, func(tx *sql.Tx) error {
		failed = nil
		for _, a := range accounts {
			if err := s.importAccount(ctx, tx, a, replace); err != nil {
				failed = accountError(a.Host, a.Username, "cannot be added", err)
				return err
			}
		}
		return nil
	})
	if err != nil && failed != nil && errors.Is(failed, ErrExists) {
		return failed
	}
	return err
}

func (s *Store) importAccount(ctx context.Context, tx *sql.Tx, a ImportedAccount, replace bool) error {
	now := s.now().UnixMicro()
	query := insertAccount + ` ON CONFLICT DO NOTHING`
	if replace {
		query = insertAccount + ` ON CONFLICT (host, username) DO UPDATE SET
			sha1_salt = $3, sha1_iterations = $4, sha1_stored_key = $5, sha1_server_key = $6,
			sha256_salt = $7, sha256_iterations = $8, sha256_stored_key = $9, sha256_server_key = $10, disabled = $13,
			changed = CASE WHEN accounts.changed < $12 THEN $12 ELSE accounts.changed + 1 END`
		if a.Role != "" {
			query += `, role = $14`
		}
		if err := revoke(ctx, tx, a.Host, a.Username); err != nil {
			return err
		}
	}
	res, err := tx.ExecContext(ctx, query, append(accountArgs(a.Host, a.Username, a.Credentials), now, now, asInt(a.Disabled), string(cmp.Or(a.Role, RoleUser)))...)
	return changed(res, err, ErrExists)
}

// Account finds an account; ErrNotFound when there is none.
func (s *Store) Account(ctx context.Context, host, username string) (Account, error) {
	var a Account
	err := s.read(ctx, func(ctx context.Context) (err error) {
		a, err = scanAccount(s.reads.QueryRowContext(ctx, `SELECT `+accountColumns+`
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

// AccountsAfter lists accounts of a host in the order of their names, by byte: those behind a name ("": all), and limit at most.
func (s *Store) AccountsAfter(ctx context.Context, host, after string, limit int) ([]Account, error) {
	page, err := s.accountsAfter(ctx, host, after, limit)
	if err != nil {
		return nil, fmt.Errorf("store: the accounts of %s cannot be listed: %w", host, err)
	}
	return page, nil
}

// CountAccounts tells how many accounts a host has.
func (s *Store) CountAccounts(ctx context.Context, host string) (n int, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		return s.reads.QueryRowContext(ctx, `SELECT count(*) FROM accounts WHERE host = $1`, host).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("store: the accounts of %s cannot be counted: %w", host, err)
	}
	return n, nil
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
			page, err := s.accountsAfter(ctx, host, after, accountsPage)
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

func (s *Store) accountsAfter(ctx context.Context, host, after string, limit int) (page []Account, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		page, err = collect(ctx, s.db, scanAccount, `SELECT `+accountColumns+`
			FROM accounts WHERE host = $1 AND username > $2 ORDER BY username LIMIT $3`, host, after, limit)
		return err
	})
	return page, err
}

// scanAccount reads a row of accountColumns.
func scanAccount(row scanner) (a Account, err error) {
	var created, updated, disabled int64
	one, two := &a.Credentials.SHA1, &a.Credentials.SHA256
	err = row.Scan(&a.Host, &a.Username,
		&one.Salt, &one.Iterations, &one.StoredKey, &one.ServerKey,
		&two.Salt, &two.Iterations, &two.StoredKey, &two.ServerKey,
		&created, &updated, &disabled, &a.Role)
	a.Disabled = disabled != 0
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
	return k.checkWith(hash, size, MinSalt, MinIterations)
}

func (k Keys) checkWith(hash string, size, salt, iterations int) error {
	switch {
	case len(k.Salt) < salt:
		return fmt.Errorf("the salt for %s has %d bytes, at least %d are asked for", hash, len(k.Salt), salt)
	case k.Iterations < iterations || k.Iterations > MaxIterations:
		return fmt.Errorf("%d iterations for %s, between %d and %d are allowed", k.Iterations, hash, iterations, MaxIterations)
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

func asInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
