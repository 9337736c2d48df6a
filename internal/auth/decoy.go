package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
)

// decoy is what a user who does not exist has in place of keys. Nobody may learn from an answer, or from the
// time that it takes, whether a user exists, so
//   - the salt is a function of the name and the server's secret: the same whenever it is asked for, as a
//     real one is until the password changes, and as random to everybody else;
//   - it is computed for every user, before anybody knows whether it is needed, and from there on the same
//     code runs;
//   - the keys are functions of the secret too, so that there is something to compare a proof with. No
//     password leads to them, and the comparison counts for nothing.
//
// What stays is the difference between a database finding a row and finding none.
func (s *Server) decoy(h *scramHash, username string) Keys {
	part := func(label string) []byte { return s.derive("rollcall decoy", label, h.name, s.host, username) }
	return Keys{
		Salt:       part("salt")[:saltSize],
		Iterations: s.iterations,
		StoredKey:  part("stored key")[:h.size],
		ServerKey:  part("server key")[:h.size],
	}
}

// derive makes 32 bytes of the server's secret, for one purpose.
func (s *Server) derive(fields ...string) []byte {
	return s.crypto.hmac(&hashSHA256, s.secret, joined(fields...))
}

// joined puts lengths in front, which keep two names from meeting: ("ab", "c") and ("a", "bc").
func joined(fields ...string) (data []byte) {
	for _, field := range fields {
		data = binary.BigEndian.AppendUint32(data, uint32(len(field)))
		data = append(data, field...)
	}
	return data
}

// An account is what is known of a user. One who does not exist is an account without keys.
type account struct {
	server   *Server
	username string
	stored   Credentials
	usual    int // iterations of the source's users, 0: the server's
}

// find looks a user up.
func (s *Server) find(ctx context.Context, src Source, username string) (*account, error) {
	c, err := src.Credentials(ctx, username)
	if err != nil && !errors.Is(err, ErrUnknownUser) {
		return nil, err
	}
	u := &account{server: s, username: username}
	if known, ok := src.(interface{ Iterations() int }); ok {
		u.usual = known.Iterations()
	}
	if err == nil {
		u.stored = c
	}
	return u, nil
}

// has tells whether there is a password that can be proven with a hash.
func (u *account) has(h *scramHash) bool { return !h.keys(u.stored).absent() }

// keys are those of the password, or a decoy: whoever gets that goes on with it and fails at the end.
func (u *account) keys(h *scramHash) (Keys, error) {
	decoy := u.server.decoy(h, u.username)
	if u.usual > 0 {
		decoy.Iterations = u.usual
	}
	if !u.has(h) {
		return decoy, nil
	}
	k := h.keys(u.stored)
	return k, k.check(h)
}

// mark is that of the keys, 0 where there are none.
func (u *account) mark() uint64 {
	if !u.has(&hashSHA1) && !u.has(&hashSHA256) {
		return 0
	}
	return mark(u.stored)
}

var seed = maphash.MakeSeed()

// mark is a number that is another one when the password was changed. It is no secret's hash to anybody: it leaves this
// process nowhere.
func mark(c Credentials) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	if c.Version != 0 {
		maphash.WriteComparable(&h, c.Version)
		return h.Sum64()
	}
	for _, keys := range []Keys{c.SHA1, c.SHA256} {
		for _, part := range [][]byte{keys.Salt, keys.StoredKey} {
			h.WriteByte(byte(len(part)))
			h.Write(part)
		}
	}
	return h.Sum64()
}
