-- +goose Up

-- Messages of accounts, each once, whether it is in the account's archive, in its mailbox (accepted, and no client of the
-- account has acknowledged it) or in both. A row that is in neither is deleted.
CREATE TABLE messages (
    id          BIGINT           NOT NULL PRIMARY KEY, -- from message_clock; never less than at
    host        TEXT COLLATE "C" NOT NULL,
    username    TEXT COLLATE "C" NOT NULL,
    peer        TEXT COLLATE "C" NOT NULL, -- bare JID of the other side
    peer_key    BIGINT           NOT NULL, -- a hash of peer: addresses are too long for an index
    resource    TEXT COLLATE "C" NOT NULL, -- of the other side, "" for none
    at          BIGINT           NOT NULL, -- when the server took it: microseconds since 1970, UTC
    kind        BIGINT           NOT NULL, -- bits that belong to the features
    stanza_id   TEXT COLLATE "C" NOT NULL,
    stanza      BYTEA            NOT NULL,
    archived    BIGINT           NOT NULL, -- 1: in the archive
    undelivered BIGINT           NOT NULL  -- 1: in the mailbox
);

CREATE INDEX messages_archive ON messages (host, username, id, at) WHERE archived = 1;
CREATE INDEX messages_peer ON messages (host, username, peer_key, id, at) WHERE archived = 1;
CREATE INDEX messages_mailbox ON messages (host, username, id) WHERE undelivered = 1;

-- The last id that was given to a message. Ids are microseconds since 1970 where that is more than the last one, and
-- otherwise the next number: they grow whatever the clock does, and when the newest messages are deleted.
CREATE TABLE message_clock (
    one  BIGINT           NOT NULL PRIMARY KEY CHECK (one = 1),
    last BIGINT           NOT NULL
);

INSERT INTO message_clock (one, last) VALUES (1, 0);

-- The number of the last group of writes that each writer has committed: PostgreSQL only, whose connections may break at
-- the moment of a commit.
CREATE TABLE group_commits (
    writer  BIGINT NOT NULL PRIMARY KEY,
    number  BIGINT NOT NULL,
    changed BIGINT NOT NULL
);
