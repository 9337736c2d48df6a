-- +goose Up

-- Users who sign in with a password kept here (auth.method = "accounts"): SCRAM keys, never passwords.
-- Names are in canonical form. Times are microseconds since 1970, UTC.
CREATE TABLE accounts (
    host              TEXT COLLATE "C" NOT NULL,
    username          TEXT COLLATE "C" NOT NULL,
    sha1_salt         BYTEA            NOT NULL,
    sha1_iterations   BIGINT           NOT NULL,
    sha1_stored_key   BYTEA            NOT NULL,
    sha1_server_key   BYTEA            NOT NULL,
    sha256_salt       BYTEA            NOT NULL,
    sha256_iterations BIGINT           NOT NULL,
    sha256_stored_key BYTEA            NOT NULL,
    sha256_server_key BYTEA            NOT NULL,
    created           BIGINT           NOT NULL,
    changed           BIGINT           NOT NULL,
    PRIMARY KEY (host, username)
);
