package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// An ID names a message of an account. Ids of later messages are greater, whatever the clock does, and none is given twice.
// They are unique in the whole database. 0 is no message.
type ID int64

// String is the id as clients see it, for XEP-0359 and XEP-0313.
func (id ID) String() string { return strconv.FormatInt(int64(id), 36) }

// ParseID reads what String has made. Anything else names no message: ErrNotFound.
func ParseID(text string) (ID, error) {
	n, err := strconv.ParseInt(text, 36, 64)
	if id := ID(n); err == nil && n > 0 && id.String() == text {
		return id, nil
	}
	return 0, fmt.Errorf("store: the id %.40q: %w", text, ErrNotFound)
}

// An Entry is a message of one account, to be stored once: in the account's archive, in its mailbox, or in both.
type Entry struct {
	Host     string    // canonical domain of the account
	Username string    // canonical localpart of the account
	With     string    // bare JID of the other side
	Resource string    // of the other side, "" for none
	At       time.Time // when the server took it, to the microsecond; zero: now
	Kind     int64     // bits that belong to the features: groupchat, private, …; see Query.Mask
	StanzaID string    // the id or origin-id that its sender gave it, at most MaxStanzaID bytes
	Stanza   []byte    // as it is to be sent; do not change it before Append's done

	Archived    bool // keep it in the archive, until TrimMessages
	Undelivered bool // keep it in the mailbox, until Delivered
	// Limit is how many messages the mailbox may have, this one included; beyond that Append fails with ErrLimit. 0: any
	// number. Known is what the store is to know of the account; Append fails with ErrNotFound when it does not. One entry of
	// an Append may have a limit, and ask for what is known.
	Limit int
	Known Known
}

// A Message is an entry that was stored. Its Limit and Known are 0.
type Message struct {
	ID ID
	Entry
}

// MaxStanzaID is in bytes.
const MaxStanzaID = 1023

// maxEntries bounds one Append: a message for its sender and its recipient are two.
const maxEntries = 16

func (e *Entry) check() error {
	if !e.Archived && !e.Undelivered {
		return fmt.Errorf("%w: it belongs neither to the archive nor to the mailbox", ErrInvalid)
	}
	// As whole microseconds times fit into 64 bits for longer than this.
	if y := e.At.Year(); !e.At.IsZero() && (y < 1970 || y > 9999) {
		return fmt.Errorf("%w: it is of the year %d", ErrInvalid, y)
	}
	return errors.Join(checkOwner(e.Host, e.Username), checkText("the other side", e.With, maxJID),
		checkText("the resource", e.Resource, maxPart), checkText("the stanza's id", e.StanzaID, MaxStanzaID))
}

// Append stores entries, all or none, and calls done when they are on the disk, with their ids, or with the reason why they
// are not: ErrNotFound, ErrLimit, ErrFull, ErrUnavailable, ErrInvalid. It does not wait.
//
// done is called once: by a goroutine that all writers share, so it must not block; or, when the entries are refused, before
// Append returns. Entries that are appended earlier have smaller ids and hear of it earlier.
func (s *Store) Append(entries []Entry, done func(ids []ID, err error)) {
	w, err := s.appending(entries)
	if err != nil {
		done(nil, fmt.Errorf("store: %d messages: %w", len(entries), err))
		return
	}
	w.done = func(first ID, err error) {
		if err != nil {
			done(nil, fmt.Errorf("store: %d messages of %s@%s: %w", len(entries), entries[0].Username, entries[0].Host, err))
			return
		}
		ids := make([]ID, len(entries))
		for i := range ids {
			ids[i] = first + ID(i)
		}
		done(ids, nil)
	}
	s.writer.add(w)
}

func (s *Store) appending(entries []Entry) (*write, error) {
	if n := len(entries); n == 0 || n > maxEntries {
		return nil, fmt.Errorf("%w: 1 to %d can be appended together", ErrInvalid, maxEntries)
	}
	w := &write{ids: len(entries)}
	conditional := -1
	now := s.now()
	times := make([]int64, len(entries))
	for i := range entries {
		e := &entries[i]
		if err := e.check(); err != nil {
			return nil, err
		}
		if e.Undelivered && e.Limit > 0 || e.Known != Anybody {
			if conditional >= 0 {
				return nil, fmt.Errorf("%w: two of them have limits, or ask for what is known", ErrInvalid)
			}
			conditional = i
		}
		at := e.At
		if at.IsZero() {
			at = now
		}
		times[i] = at.UnixMicro()
		w.floor = max(w.floor, times[i])
		w.size += len(e.Stanza) + len(e.Host) + len(e.Username) + len(e.With) + len(e.Resource) + len(e.StanzaID) + writeCost
	}
	w.statements = func(first ID) []statement { return inserts(entries, times, first, conditional) }
	return w, nil
}

const (
	messageColumns = `id, host, username, peer, peer_key, resource, at, kind, stanza_id, stanza, archived, undelivered`
	insertMessage  = `INSERT INTO messages (` + messageColumns + `) `
	twelve         = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12`
	insertAlways   = insertMessage + `VALUES (` + twelve + `)`
	insertIf       = insertMessage + `SELECT ` + twelve + ` WHERE `
	// hasRoom: the mailbox has fewer than $13.
	hasRoom = ` AND (SELECT COUNT(*) FROM
		(SELECT 1 FROM messages WHERE host = $2 AND username = $3 AND undelivered = 1 LIMIT $13) AS counted) < $13`
	// insertWith: only if the message $13 was inserted.
	insertWith = insertMessage + `SELECT ` + twelve + ` WHERE EXISTS (SELECT 1 FROM messages WHERE id = $13)`
)

// inserts are the statements of an Append. Those of the entry that may not be stored come first, and the others depend on it.
func inserts(entries []Entry, times []int64, first ID, conditional int) []statement {
	all := make([]statement, 0, len(entries)+1)
	if conditional >= 0 {
		all = entries[conditional].insertIf(all, first+ID(conditional), times[conditional])
	}
	for i := range entries {
		if i == conditional {
			continue
		}
		st := statement{query: insertAlways, args: entries[i].row(first+ID(i), times[i])}
		if conditional >= 0 {
			st.query, st.args = insertWith, append(st.args, int64(first)+int64(conditional))
		}
		all = append(all, st)
	}
	return all
}

// insertIf adds the statements that store an entry if there is such a user, and room.
func (e *Entry) insertIf(all []statement, id ID, at int64) []statement {
	st := statement{query: insertIf + e.Known.condition(), args: e.row(id, at)}
	if e.Known != Anybody {
		all = append(all, statement{ifKnown + e.Known.condition(), []any{int64(1), e.Host, e.Username}, ErrNotFound})
	}
	if e.Undelivered && e.Limit > 0 {
		st.query, st.args, st.needs = st.query+hasRoom, append(st.args, e.Limit), ErrLimit
	}
	return append(all, st)
}

func (e *Entry) row(id ID, at int64) []any {
	return []any{int64(id), e.Host, e.Username, e.With, hash(e.With), e.Resource, at, e.Kind, e.StanzaID, bytesOrEmpty(e.Stanza),
		number(e.Archived), number(e.Undelivered)}
}

// hash is what stands for an address in an index.
func hash(peer string) int64 {
	sum := sha256.Sum256([]byte(peer))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func scanMessage(row scanner) (m Message, err error) {
	var at, key, archived, undelivered int64
	err = row.Scan((*int64)(&m.ID), &m.Host, &m.Username, &m.With, &key, &m.Resource, &at, &m.Kind, &m.StanzaID, &m.Stanza,
		&archived, &undelivered)
	m.At = time.UnixMicro(at).UTC()
	m.Archived, m.Undelivered = archived != 0, undelivered != 0
	return m, err
}
