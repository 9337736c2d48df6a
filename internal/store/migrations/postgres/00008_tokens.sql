-- +goose Up

-- Tokens that sign a user in once: a hash of each, and its keys for SCRAM (a salt of no length: it has none). The user need not
-- have an account. Times are microseconds since 1970, UTC.
CREATE TABLE tokens (
    host              TEXT COLLATE "C" NOT NULL,
    username          TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    created           BIGINT           NOT NULL,
    expires           BIGINT           NOT NULL,
    sha1_salt         BYTEA            NOT NULL,
    sha1_iterations   BIGINT           NOT NULL,
    sha1_stored_key   BYTEA            NOT NULL,
    sha1_server_key   BYTEA            NOT NULL,
    sha256_salt       BYTEA            NOT NULL,
    sha256_iterations BIGINT           NOT NULL,
    sha256_stored_key BYTEA            NOT NULL,
    sha256_server_key BYTEA            NOT NULL,
    PRIMARY KEY (host, username, id)
);

CREATE INDEX tokens_expires ON tokens (expires);
