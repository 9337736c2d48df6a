-- +goose Up

-- Tokens that sign a user in once: a hash of each, and its keys for SCRAM (a salt of no length: it has none). The user need not
-- have an account. Times are microseconds since 1970, UTC.
CREATE TABLE tokens (
    host              TEXT    NOT NULL,
    username          TEXT    NOT NULL,
    id                TEXT    NOT NULL,
    created           INTEGER NOT NULL,
    expires           INTEGER NOT NULL,
    sha1_salt         BLOB    NOT NULL,
    sha1_iterations   INTEGER NOT NULL,
    sha1_stored_key   BLOB    NOT NULL,
    sha1_server_key   BLOB    NOT NULL,
    sha256_salt       BLOB    NOT NULL,
    sha256_iterations INTEGER NOT NULL,
    sha256_stored_key BLOB    NOT NULL,
    sha256_server_key BLOB    NOT NULL,
    PRIMARY KEY (host, username, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_expires ON tokens (expires);
