-- +goose Up

-- Messages of accounts, each once, whether it is in the account's archive, in its mailbox (accepted, and no client of the
-- account has acknowledged it) or in both. A row that is in neither is deleted.
CREATE TABLE messages (
    id          INTEGER NOT NULL PRIMARY KEY, -- from message_clock; never less than at
    host        TEXT    NOT NULL,
    username    TEXT    NOT NULL,
    peer        TEXT    NOT NULL, -- bare JID of the other side
    peer_key    INTEGER NOT NULL, -- a hash of peer: addresses are too long for an index
    resource    TEXT    NOT NULL, -- of the other side, "" for none
    at          INTEGER NOT NULL, -- when the server took it: microseconds since 1970, UTC
    kind        INTEGER NOT NULL, -- bits that belong to the features
    stanza_id   TEXT    NOT NULL,
    stanza      BLOB    NOT NULL,
    archived    INTEGER NOT NULL, -- 1: in the archive
    undelivered INTEGER NOT NULL  -- 1: in the mailbox
) STRICT;

CREATE INDEX messages_archive ON messages (host, username, id, at) WHERE archived = 1;
CREATE INDEX messages_peer ON messages (host, username, peer_key, id, at) WHERE archived = 1;
CREATE INDEX messages_mailbox ON messages (host, username, id) WHERE undelivered = 1;

-- The last id that was given to a message. Ids are microseconds since 1970 where that is more than the last one, and
-- otherwise the next number: they grow whatever the clock does, and when the newest messages are deleted.
CREATE TABLE message_clock (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;

INSERT INTO message_clock (one, last) VALUES (1, 0);
