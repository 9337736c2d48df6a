-- +goose Up

-- The last known roster of each user whose contacts an application keeps. document is the contract's main form
-- (docs/roster-http.md, section 1). Each change of one contact makes the next version; tag tells apart versions of one
-- number, should the process have died before it wrote the last ones. Times are microseconds since 1970, UTC.
CREATE TABLE rosters (
    host           TEXT    NOT NULL,
    username       TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    tag            TEXT    NOT NULL,
    document       BLOB    NOT NULL,
    source         TEXT    NOT NULL, -- fetch, put or patch
    etag           TEXT    NOT NULL,
    as_of          INTEGER NOT NULL, -- when the fetch that brought or confirmed it began
    stale_if_error INTEGER NOT NULL, -- nanoseconds; less than 0: for ever
    dropped        BLOB    NOT NULL, -- a JSON array: what the document said and the roster does not have
    held           BLOB,             -- a roster that would remove too much and waits to be confirmed
    held_since     INTEGER NOT NULL,
    PRIMARY KEY (host, username)
) STRICT, WITHOUT ROWID;

-- What each version changed: the contact, and what it was before, as a document of one contact; NULL when it was not
-- there. The first version of a roster changes no contact.
CREATE TABLE roster_journal (
    host     TEXT    NOT NULL,
    username TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    tag      TEXT    NOT NULL,
    contact  TEXT    NOT NULL,
    before   BLOB,
    at       INTEGER NOT NULL,
    PRIMARY KEY (host, username, version)
) STRICT, WITHOUT ROWID;
