package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// secretSize is how many bytes a secret has: as many as the longest key that anybody derives from one.
const secretSize = 32

// Secret returns the random secret of a name, 32 bytes. It is made when it is asked for the first time and
// is the same ever after, for every process that uses the database. What is derived from it (salts for
// users that do not exist, for example) stays the same when the server is started again.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	secret, err := s.readSecret(ctx, name)
	if errors.Is(err, sql.ErrNoRows) {
		fresh := make([]byte, secretSize)
		rand.Read(fresh) // never fails: it ends the program rather than return an error
		// Of several who insert at once the first is right; what was stored is what counts.
		_, err = s.exec(ctx, `INSERT INTO secrets (name, value, created) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, name, fresh, s.now().UnixMicro())
		if err == nil {
			secret, err = s.readSecret(ctx, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store: the secret %q cannot be had: %w", name, err)
	}
	return secret, nil
}

func (s *Store) readSecret(ctx context.Context, name string) (secret []byte, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `SELECT value FROM secrets WHERE name = $1`, name).Scan(&secret)
	})
	return secret, err
}
