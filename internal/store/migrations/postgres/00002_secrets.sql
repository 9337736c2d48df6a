-- +goose Up

-- Random secrets of the server, made when they are first asked for.
CREATE TABLE secrets (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value   BYTEA            NOT NULL,
    created BIGINT           NOT NULL
);
