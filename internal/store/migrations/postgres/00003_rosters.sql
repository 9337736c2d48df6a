-- +goose Up

-- The last known roster of each user whose contacts an application keeps. document is the contract's main form
-- (docs/roster-http.md, section 1). Each change of one contact makes the next version; tag tells apart versions of one
-- number, should the process have died before it wrote the last ones. Times are microseconds since 1970, UTC.
CREATE TABLE rosters (
    host           TEXT COLLATE "C" NOT NULL,
    username       TEXT COLLATE "C" NOT NULL,
    version        BIGINT           NOT NULL,
    tag            TEXT COLLATE "C" NOT NULL,
    document       BYTEA            NOT NULL,
    source         TEXT COLLATE "C" NOT NULL, -- fetch, put or patch
    etag           TEXT COLLATE "C" NOT NULL,
    as_of          BIGINT           NOT NULL, -- when the fetch that brought or confirmed it began
    stale_if_error BIGINT           NOT NULL, -- nanoseconds; less than 0: for ever
    dropped        BYTEA            NOT NULL, -- a JSON array: what the document said and the roster does not have
    held           BYTEA,                     -- a roster that would remove too much and waits to be confirmed
    held_since     BIGINT           NOT NULL,
    PRIMARY KEY (host, username)
);

-- What each version changed: the contact, and what it was before, as a document of one contact; NULL when it was not
-- there. The first version of a roster changes no contact.
CREATE TABLE roster_journal (
    host     TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL,
    version  BIGINT           NOT NULL,
    tag      TEXT COLLATE "C" NOT NULL,
    contact  TEXT COLLATE "C" NOT NULL,
    before   BYTEA,
    at       BIGINT           NOT NULL,
    PRIMARY KEY (host, username, version)
);
