package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Token signs its user in once. Nobody can find it from what is kept of it, for it is random.
type Token struct {
	ID          string      // a hash of the token
	Expires     time.Time   // UTC, to the microsecond
	Credentials Credentials // its keys for SCRAM; keys without a salt where it is not for SCRAM
}

const tokenColumns = `id, expires,
	sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,
	sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key`

// maxTokenID is the longest ID, in bytes.
const maxTokenID = 128

// AddToken keeps a token of a user, who need not have an account; the oldest give way, so that there are keep at most. What has
// expired goes, whoever's it is.
func (s *Store) AddToken(ctx context.Context, host, username string, t Token, keep int) error {
	err := errors.Join(checkName(host, username), checkText("the token's id", t.ID, maxTokenID))
	if err == nil {
		err = s.inTransaction(ctx, func(tx *sql.Tx) error { return s.addToken(ctx, tx, host, username, t, keep) })
	}
	return tokenError(host, username, "cannot be added", err)
}

func (s *Store) addToken(ctx context.Context, tx *sql.Tx, host, username string, t Token, keep int) error {
	now := s.now().UnixMicro()
	if _, err := tx.ExecContext(ctx, `DELETE FROM tokens WHERE expires <= $1`, now); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM tokens WHERE host = $1 AND username = $2 AND id NOT IN
		(SELECT id FROM tokens WHERE host = $1 AND username = $2 ORDER BY created DESC, id LIMIT $3)`,
		host, username, keep-1); err != nil {
		return err
	}
	one, two := t.Credentials.SHA1, t.Credentials.SHA256
	_, err := tx.ExecContext(ctx, `INSERT INTO tokens (host, username, created, `+tokenColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		host, username, now, t.ID, t.Expires.UnixMicro(),
		bytesOrEmpty(one.Salt), one.Iterations, bytesOrEmpty(one.StoredKey), bytesOrEmpty(one.ServerKey),
		bytesOrEmpty(two.Salt), two.Iterations, bytesOrEmpty(two.StoredKey), bytesOrEmpty(two.ServerKey))
	return err
}

// Tokens lists the tokens of a user that have not expired, the newest first, and no more than most.
func (s *Store) Tokens(ctx context.Context, host, username string, most int) (all []Token, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		all, err = collect(ctx, s.reads, scanToken, `SELECT `+tokenColumns+` FROM tokens
			WHERE host = $1 AND username = $2 AND expires > $3 ORDER BY created DESC, id LIMIT $4`,
			host, username, s.now().UnixMicro(), most)
		return err
	})
	return all, tokenError(host, username, "cannot be read", err)
}

// UseToken takes a token of a user away, for whoever shows it; ErrNotFound when there is none, or it has expired. Of several who
// show it at the same moment one has it.
func (s *Store) UseToken(ctx context.Context, host, username, id string) error {
	res, err := s.exec(ctx, `DELETE FROM tokens WHERE host = $1 AND username = $2 AND id = $3 AND expires > $4`,
		host, username, id, s.now().UnixMicro())
	return tokenError(host, username, "cannot be used", changed(res, err, ErrNotFound))
}

// RemoveTokens takes one token of a user away, or with "" all of them, and tells how many there were.
func (s *Store) RemoveTokens(ctx context.Context, host, username, id string) (n int, err error) {
	res, err := s.exec(ctx, `DELETE FROM tokens WHERE host = $1 AND username = $2 AND ($3 = '' OR id = $3)`, host, username, id)
	if err != nil {
		return 0, tokenError(host, username, "cannot be removed", err)
	}
	gone, err := res.RowsAffected()
	return int(gone), tokenError(host, username, "cannot be removed", err)
}

// RemoveExpiredTokens removes what nobody can use any more.
func (s *Store) RemoveExpiredTokens(ctx context.Context) error {
	if _, err := s.exec(ctx, `DELETE FROM tokens WHERE expires <= $1`, s.now().UnixMicro()); err != nil {
		return fmt.Errorf("store: expired tokens cannot be removed: %w", err)
	}
	return nil
}

func scanToken(row scanner) (t Token, err error) {
	var expires int64
	one, two := &t.Credentials.SHA1, &t.Credentials.SHA256
	err = row.Scan(&t.ID, &expires,
		&one.Salt, &one.Iterations, &one.StoredKey, &one.ServerKey,
		&two.Salt, &two.Iterations, &two.StoredKey, &two.ServerKey)
	t.Expires = time.UnixMicro(expires).UTC()
	return t, err
}

// tokenError names whose token an error is about; nil stays nil.
func tokenError(host, username, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: a token of %s@%s %s: %w", username, host, what, err)
}
