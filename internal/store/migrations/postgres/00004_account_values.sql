-- +goose Up

-- Small things that features keep for an account, by a space (one for each feature) and a key in it: docs/architecture.md,
-- "What is stored". Times are microseconds since 1970, UTC.
CREATE TABLE account_values (
    host     TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL,
    space    TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    value    BYTEA            NOT NULL,
    changed  BIGINT           NOT NULL,
    PRIMARY KEY (host, username, space, key)
);
