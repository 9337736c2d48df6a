package host

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"rollcall/internal/store"
)

// UIDs are the ids of messages as clients see them (XEP-0313 section 3: "A server-assigned UID that MUST be unpredictable and
// unique within the archive"). Those of the store are moments of its clock, which say more than they should, and can be
// guessed: they are encrypted, and what was not made with the key names nothing.
type UIDs struct{ block cipher.Block }

// NewUIDs makes them of a secret, of at least 16 bytes, that stays the same as long as the messages.
func NewUIDs(secret []byte) (*UIDs, error) {
	if len(secret) < aes.BlockSize {
		return nil, fmt.Errorf("host: a secret of %d bytes is too short", len(secret))
	}
	block, err := aes.NewCipher(secret[:aes.BlockSize])
	return &UIDs{block}, err
}

// Of gives the id of a message as clients see it. It is 22 letters, digits, hyphens and underscores.
func (u *UIDs) Of(id store.ID) string {
	var b [aes.BlockSize]byte // the second half is zero
	binary.BigEndian.PutUint64(b[:], uint64(id))
	u.block.Encrypt(b[:], b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Parse reads what Of has made; false when it has not.
func (u *UIDs) Parse(text string) (id store.ID, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != aes.BlockSize {
		return 0, false
	}
	u.block.Decrypt(b, b)
	id = store.ID(binary.BigEndian.Uint64(b))
	return id, id > 0 && binary.BigEndian.Uint64(b[8:]) == 0
}
