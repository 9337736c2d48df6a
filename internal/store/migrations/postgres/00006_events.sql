-- +goose Up

-- What an application is to be told, and has not said to have heard. Ids are those of message_clock: they grow. Times are
-- microseconds since 1970, UTC.
CREATE TABLE events (
    id       BIGINT           NOT NULL PRIMARY KEY,
    host     TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL, -- whom it is about
    kind     TEXT COLLATE "C" NOT NULL,
    at       BIGINT           NOT NULL,
    body     BYTEA            NOT NULL
);

CREATE INDEX events_host ON events (host, id);
