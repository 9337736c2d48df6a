package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"rollcall/internal/store/storetest"
)

// rowsOf are rows that each version of the schema could have, by the version that made their table. A new migration gets its
// line here.
var rowsOf = map[int64][]string{
	1: {`INSERT INTO accounts (host, username, sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key, sha256_salt,
		sha256_iterations, sha256_stored_key, sha256_server_key, created, changed)
		VALUES ('h', 'john', $1, 10000, $1, $1, $1, 10001, $1, $1, 1000000, 2000000)`},
	2: {`INSERT INTO secrets (name, value, created) VALUES ('auth:h', $1, 1000000)`},
	3: {`INSERT INTO rosters (host, username, version, tag, document, source, etag, as_of, stale_if_error, dropped, held, held_since)
		VALUES ('h', 'john', 1, 't', $1, 'fetch', 'e', 1000000, -1, $1, NULL, 0)`,
		`INSERT INTO roster_journal (host, username, version, tag, contact, before, at) VALUES ('h', 'john', 1, 't', 'c@h', $1, 1000000)`},
	4: {`INSERT INTO account_values (host, username, space, key, value, changed) VALUES ('h', 'john', 's', 'k', $1, 1000000)`},
	5: {`INSERT INTO messages (id, host, username, peer, peer_key, resource, at, kind, stanza_id, stanza, archived, undelivered)
		VALUES (1000000, 'h', 'john', 'p@h', 1, 'r', 1000000, 1, 'i', $1, 1, 1)`,
		`UPDATE message_clock SET last = 1000000`},
	6: {`INSERT INTO events (id, host, username, kind, at, body) VALUES (1000001, 'h', 'john', 'k', 1000000, $1)`},
	7: {`UPDATE accounts SET disabled = 1, sha1_salt = $1`},
	8: {`INSERT INTO tokens (host, username, id, created, expires, sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,
		sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key)
		VALUES ('h', 'john', 'i', 1000000, 9000000000000000, $1, 10000, $1, $1, $1, 10001, $1, $1)`},
	9:  {`INSERT INTO account_values (host, username, space, key, value, changed) VALUES ('h', 'john', 'pep', 'list', $1, 1000000)`},
	10: {`UPDATE accounts SET role = 'admin', sha1_salt = $1`},
}

// checkRows tells whether those rows are there still.
func checkRows(t *testing.T, s *Store, version int64) {
	t.Helper()
	ctx := t.Context()
	x := []byte("0123456789abcdef")
	checks := []func() (want, got any, err error){
		func() (any, any, error) {
			a, err := s.Account(ctx, "h", "john")
			return Keys{x, 10001, x, x}, a.Credentials.SHA256, err
		},
		func() (any, any, error) {
			secret, err := s.Secret(ctx, "auth:h")
			return x, secret, err
		},
		func() (any, any, error) {
			r, err := s.Roster(ctx, "h", "john")
			if err != nil {
				return nil, nil, err
			}
			j, err := s.RosterJournal(ctx, "h", "john", 1)
			return []any{x, 1}, []any{r.Document, len(j)}, err
		},
		func() (any, any, error) {
			v, err := s.Value(ctx, Key{"h", "john", "s", "k"})
			return x, v, err
		},
		func() (any, any, error) {
			p, err := s.Messages(ctx, "h", "john", Query{})
			if err != nil || len(p.Messages) != 1 {
				return 1, len(p.Messages), err
			}
			return x, p.Messages[0].Stanza, nil
		},
		func() (any, any, error) {
			events, err := s.Events(ctx, "h", 0, 10)
			if err != nil || len(events) != 1 {
				return 1, len(events), err
			}
			return x, events[0].Body, nil
		},
		func() (any, any, error) {
			a, err := s.Account(ctx, "h", "john")
			return true, a.Disabled, err
		},
		func() (any, any, error) {
			tokens, err := s.Tokens(ctx, "h", "john", 2)
			if err != nil || len(tokens) != 1 {
				return 1, len(tokens), err
			}
			return Keys{x, 10001, x, x}, tokens[0].Credentials.SHA256, nil
		},
		func() (any, any, error) {
			v, err := s.Value(ctx, Key{"h", "john", "pep", "list"})
			return x, v, err
		},
		func() (any, any, error) {
			a, err := s.Account(ctx, "h", "john")
			return RoleAdmin, a.Role, err
		},
	}
	if a, err := s.Account(ctx, "h", "john"); 0 < version && version < 10 && (err != nil || a.Role != RoleUser) {
		t.Errorf("an account from before there were roles has %q: %v", a.Role, err)
	}
	for i, check := range checks[:version] {
		if want, got, err := check(); err != nil || !cmp.Equal(want, got) {
			t.Errorf("rows of version %d: %v, want %v: %v", i+1, got, want, err)
		}
	}
}

// dialects are the databases, with an empty one of each.
var dialects = []struct {
	name, folder string
	dialect      goose.Dialect
	empty        func(t *testing.T) (Options, *sql.DB)
}{
	{"sqlite", "migrations/sqlite", goose.DialectSQLite3, func(t *testing.T) (Options, *sql.DB) {
		o := Options{DataDir: t.TempDir()}
		db, err := sqliteDB(o.DataDir, 2, readBusy)
		if err != nil {
			t.Fatal(err)
		}
		return o, db
	}},
	{"postgres", "migrations/postgres", goose.DialectPostgres, func(t *testing.T) (Options, *sql.DB) {
		o := Options{URL: storetest.URL(t)}
		config, err := parseURL(o.URL)
		if err != nil {
			t.Fatal(err)
		}
		return o, stdlib.OpenDB(*config)
	}},
}

func TestEveryEarlierVersionIsBroughtUpToDate(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			last := int64(len(migrationNames(t, d.folder)))
			for from := range last + 1 {
				t.Run(fmt.Sprint(from), func(t *testing.T) {
					o, db := d.empty(t)
					if from > 0 {
						if err := migrate(t.Context(), db, d.dialect, d.folder, from); err != nil {
							t.Fatal(err)
						}
					}
					for version := int64(1); version <= from; version++ {
						if len(rowsOf[version]) == 0 {
							t.Fatalf("version %d has no rows in this test", version)
						}
						for _, insert := range rowsOf[version] {
							args := []any{[]byte("0123456789abcdef")}
							if insert == `UPDATE message_clock SET last = 1000000` {
								args = nil
							}
							if _, err := db.ExecContext(t.Context(), insert, args...); err != nil {
								t.Fatalf("%s: %v", insert, err)
							}
						}
					}
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
					for range 2 { // the second time there is nothing to do
						s := openWith(t, o)
						checkRows(t, s, from)
					}
				})
			}
		})
	}
}

// The names of nodes get a key that no node can have; a node that has the one they had stays, and so does what is there already.
func TestNamesOfNodesMove(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			o, db := d.empty(t)
			if err := migrate(t.Context(), db, d.dialect, d.folder, 8); err != nil {
				t.Fatal(err)
			}
			for _, row := range [][3]string{{"john", "names", `["a"]`}, {"kate", "names", `{"config":{}}`}, {"marie", "names", `["old"]`}, {"marie", "list", `["new"]`}} {
				if _, err := db.ExecContext(t.Context(), `INSERT INTO account_values (host, username, space, key, value, changed)
					VALUES ('h', $1, 'pep', $2, $3, 1000000)`, row[0], row[1], []byte(row[2])); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s := openWith(t, o)
			for _, row := range [][3]string{{"john", "list", `["a"]`}, {"kate", "names", `{"config":{}}`}, {"marie", "list", `["new"]`}} {
				if v, err := s.Value(t.Context(), Key{"h", row[0], "pep", row[1]}); err != nil || string(v) != row[2] {
					t.Errorf("%s of %s: %s, %v", row[1], row[0], v, err)
				}
			}
			if _, err := s.Value(t.Context(), Key{"h", "john", "pep", "names"}); !errors.Is(err, ErrNotFound) {
				t.Errorf("john has the old names still: %v", err)
			}
		})
	}
}

// Both dialects have the same migrations, numbered without gaps.
func TestMigrationsArePairs(t *testing.T) {
	one, two := migrationNames(t, dialects[0].folder), migrationNames(t, dialects[1].folder)
	if !slices.Equal(one, two) {
		t.Errorf("SQLite has %q\nPostgreSQL has %q", one, two)
	}
	for i, name := range one {
		if want := fmt.Sprintf("%05d_", i+1); name[:len(want)] != want {
			t.Errorf("%s is number %d", name, i+1)
		}
	}
}

// Both dialects have the same tables with the same columns, but for group_commits.
func TestDialectsHaveTheSameColumns(t *testing.T) {
	o, db := dialects[1].empty(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	postgres, lite := openWith(t, o), open(t, "")
	text := func(row scanner) (s string, err error) {
		err = row.Scan(&s)
		return s, err
	}
	got, err := collect(t.Context(), postgres.db, text, `SELECT table_name || '.' || column_name || ' ' || CASE data_type
			WHEN 'text' THEN 'TEXT' WHEN 'bigint' THEN 'INTEGER' WHEN 'bytea' THEN 'BLOB' ELSE data_type END
			|| CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END || CASE WHEN data_type = 'text' AND collation_name <> 'C' THEN ' without COLLATE "C"' ELSE '' END
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE 'goose%' AND table_name <> 'group_commits' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := collect(t.Context(), lite.db, text, `SELECT m.name || '.' || c.name || ' ' || c.type || CASE c."notnull" WHEN 1 THEN ' NOT NULL' ELSE '' END
		FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
		WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' AND m.name NOT LIKE 'sqlite%' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-SQLite +PostgreSQL):\n%s", d)
	}
	if len(want) < 40 {
		t.Errorf("only %d columns were compared", len(want))
	}
}

func migrationNames(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(migrations, folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
