package store

import "context"

// Known is whom the store is to know before it takes a message for somebody: otherwise who makes up names could fill the disk.
type Known uint8

// What is asked of a name.
const (
	Anybody Known = iota // nothing
	Member               // it has an account, or somebody has signed in by it: see MemberKey
	Listed               // likewise, or there is a roster of it, which came from the application
)

// MemberKey is of the value that says that somebody has signed in by a name. It goes with the account, where there is one.
func MemberKey(host, username string) Key {
	return Key{Host: host, Username: username, Space: memberSpace}
}

const (
	memberSpace = "member"

	isMember = `(EXISTS (SELECT 1 FROM accounts WHERE host = $2 AND username = $3) OR
		EXISTS (SELECT 1 FROM account_values WHERE host = $2 AND username = $3 AND space = '` + memberSpace + `' AND key = ''))`
	isListed = `(EXISTS (SELECT 1 FROM rosters WHERE host = $2 AND username = $3) OR ` + isMember + `)`

	// ifKnown changes nothing, in a row that is always there, if there is such a user: a message for nobody is told so from one
	// that finds no room. $1 is 1.
	ifKnown = `UPDATE message_clock SET last = last WHERE one = $1 AND `
)

// NameInUse tells whether something is kept under a name that whoever had an account of it would come by: an account, that somebody has
// signed in by it, messages, what signs somebody in, or a roster with contacts in it.
func (s *Store) NameInUse(ctx context.Context, host, username string) (bool, error) {
	var n int
	err := s.read(ctx, func(ctx context.Context) error {
		return s.reads.QueryRowContext(ctx, nameInUse, 1, host, username).Scan(&n)
	})
	return n > 0, accountError(host, username, "cannot be looked for", err)
}

const nameInUse = `SELECT count(*) FROM message_clock WHERE one = $1 AND (` + isMember + `
	OR EXISTS (SELECT 1 FROM messages WHERE host = $2 AND username = $3)
	OR EXISTS (SELECT 1 FROM tokens WHERE host = $2 AND username = $3)
	OR EXISTS (SELECT 1 FROM rosters WHERE host = $2 AND username = $3 AND length(document) > 2))` // "{}"

// condition is a part of a WHERE in which $2 is the host and $3 the name.
func (k Known) condition() string {
	switch k {
	case Member:
		return isMember
	case Listed:
		return isListed
	}
	return "1 = 1"
}
