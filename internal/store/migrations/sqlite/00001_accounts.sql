-- +goose Up

-- Users who sign in with a password kept here (auth.method = "accounts"): SCRAM keys, never passwords.
-- Names are in canonical form. Times are microseconds since 1970, UTC.
CREATE TABLE accounts (
    host              TEXT    NOT NULL,
    username          TEXT    NOT NULL,
    sha1_salt         BLOB    NOT NULL,
    sha1_iterations   INTEGER NOT NULL,
    sha1_stored_key   BLOB    NOT NULL,
    sha1_server_key   BLOB    NOT NULL,
    sha256_salt       BLOB    NOT NULL,
    sha256_iterations INTEGER NOT NULL,
    sha256_stored_key BLOB    NOT NULL,
    sha256_server_key BLOB    NOT NULL,
    created           INTEGER NOT NULL,
    changed           INTEGER NOT NULL,
    PRIMARY KEY (host, username)
) STRICT, WITHOUT ROWID;
