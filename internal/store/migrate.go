package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate applies what is missing, up to a version; 0: all. Another process may be doing the same at this moment: the
// database lets one of the two have a migration, and the other, which then finds the table there already, looks again.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, folder string, version int64) error {
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if version > 0 {
		want = version
	}
	for err == nil && have < want {
		_, failure := p.UpTo(ctx, want)
		before := have
		if have, _, err = p.GetVersions(ctx); err == nil && have == before {
			// Nobody made progress, so it was no race that was lost.
			return fmt.Errorf("cannot bring the tables up to date: %w", failure)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot read the version of the tables: %w", err)
	}
	if have > want {
		return fmt.Errorf("the tables are of version %d, made by a newer rollcall; this one knows %d", have, want)
	}
	return nil
}
