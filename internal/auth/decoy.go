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

// derive makes 32 bytes of the server's secret, for one purpose. Lengths in front keep two names from meeting: ("ab", "c")
// and ("a", "bc").
func (s *Server) derive(fields ...string) []byte {
	var data []byte
	for _, field := range fields {
		data = binary.BigEndian.AppendUint32(data, uint32(len(field)))
		data = append(data, field...)
	}
	return s.crypto.hmac(&hashSHA256, s.secret, data)
}

// lookup finds the keys of a user, and the mark of all of them, or a decoy. Whoever gets known = false goes on with the
// keys and fails at the end.
func (s *Server) lookup(ctx context.Context, src Source, h *scramHash, username string) (k Keys, m uint64, known bool, err error) {
	decoy := s.decoy(h, username)
	c, err := src.Credentials(ctx, username)
	if errors.Is(err, ErrUnknownUser) {
		return decoy, 0, false, nil
	}
	if err != nil {
		return Keys{}, 0, false, err
	}
	if k = h.keys(c); k.absent() {
		return decoy, 0, false, nil
	}
	return k, mark(c), true, k.check(h)
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
