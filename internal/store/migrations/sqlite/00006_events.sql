-- +goose Up

-- What an application is to be told, and has not said to have heard. Ids are those of message_clock: they grow. Times are
-- microseconds since 1970, UTC.
CREATE TABLE events (
    id       INTEGER NOT NULL PRIMARY KEY,
    host     TEXT    NOT NULL,
    username TEXT    NOT NULL, -- whom it is about
    kind     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    body     BLOB    NOT NULL
) STRICT;

CREATE INDEX events_host ON events (host, id);
