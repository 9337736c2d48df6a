-- +goose Up

-- Small things that features keep for an account, by a space (one for each feature) and a key in it: docs/architecture.md,
-- "What is stored". Times are microseconds since 1970, UTC.
CREATE TABLE account_values (
    host     TEXT    NOT NULL,
    username TEXT    NOT NULL,
    space    TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    value    BLOB    NOT NULL,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (host, username, space, key)
) STRICT, WITHOUT ROWID;
