package auth

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// A Source knows the users of one host and what they prove their passwords with.
type Source interface {
	// Credentials finds those of a user, a canonical localpart. ErrUnknownUser (see errors.Is) when there is
	// no such user; a *Failure goes to the client as it is; after any other error the client is told to try
	// again later. Next calls it on the goroutine of the connection, once for each exchange.
	Credentials(ctx context.Context, username string) (Credentials, error)
}

// ErrUnknownUser is what a Source says of a user it does not have.
var ErrUnknownUser = errors.New("auth: unknown user")

// Credentials are what is kept of a password: keys for each SCRAM hash. A set that is all zero means that
// the user cannot sign in with that hash.
type Credentials struct {
	SHA1, SHA256 Keys
	// Version is another number for each password that the user has had, and the same when one password is hashed anew; 0: the
	// keys tell.
	Version int64
	// Account tells apart accounts that have had one name, one after the other; 0: there is none, or they are not Kept.
	Account  int64
	Disabled bool // who proves to be the user is told so, and is not signed in
}

// An Upgrader is a Source that keeps a password hashed anew, if the user's key for SCRAM-SHA-256 is still storedKey.
type Upgrader interface {
	Upgrade(ctx context.Context, username string, storedKey []byte, c Credentials) error
}

// Keys are what a server keeps of a password for one SCRAM hash (RFC 5802 section 3).
type Keys struct {
	Salt       []byte
	Iterations int    // of PBKDF2
	StoredKey  []byte // H(ClientKey)
	ServerKey  []byte
}

const (
	// Iterations is how often PBKDF2 hashes a new password (XEP-0438 v0.2 section 6). Users who do not exist
	// have as many, so when this changes, users whose password is older can be told from them.
	Iterations = 10_000

	// saltSize is in bytes (XEP-0438 section 5.2).
	saltSize = 16

	// MaxPassword is the length of a password in characters (XEP-0438 section 5.1: "between 64 and 128 …
	// to prevent denial of service").
	MaxPassword = 128

	// maxPasswordBytes is what a password may have for anybody to look at it.
	maxPasswordBytes = 1023
)

// MakeCredentials derives what is kept of a new password, with fresh salts. The error is for whoever chose
// the password, and does not quote it.
func MakeCredentials(password string) (Credentials, error) {
	return MakeCredentialsWith(password, Iterations)
}

// MakeCredentialsWith is MakeCredentials with another number of iterations.
func MakeCredentialsWith(password string, iterations int) (Credentials, error) {
	prepared, err := preparePassword(password)
	if err != nil {
		return Credentials{}, err
	}
	one, err := realPrimitives.derive(&hashSHA1, prepared, randomBytes(saltSize), iterations)
	if err != nil {
		return Credentials{}, err
	}
	two, err := realPrimitives.derive(&hashSHA256, prepared, randomBytes(saltSize), iterations)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{SHA1: one, SHA256: two}, nil
}

// MakeCredentials is the function of that name with the server's iterations. It waits for a processor, as sign-ins do.
func (s *Server) MakeCredentials(ctx context.Context, password string) (Credentials, error) {
	free, err := s.slot(ctx)
	if err != nil {
		return Credentials{}, err
	}
	defer free()
	return MakeCredentialsWith(password, s.iterations)
}

// upgrade hashes a password anew that was hashed less often than passwords are today. That the user can sign in does not depend
// on it.
func (s *Server) upgrade(ctx context.Context, src Source, username, password string, storedKey []byte) {
	u, can := src.(Upgrader)
	if !can {
		return
	}
	c, err := MakeCredentialsWith(password, s.iterations) // the caller has a slot
	if err == nil {
		err = u.Upgrade(ctx, username, storedKey, c)
	}
	if err != nil {
		s.log.Warn("a password was not hashed anew", "user", username, "error", err)
	}
}

// preparePassword brings a password into the form that is hashed: SASLprep (RFC 4013), as RFC 5802 section
// 5.1 says and as clients do that use SCRAM.
func preparePassword(password string) (string, error) {
	switch {
	case len(password) > maxPasswordBytes, utf8.RuneCountInString(password) > MaxPassword:
		return "", fmt.Errorf("auth: the password is longer than %d characters", MaxPassword)
	case !utf8.ValidString(password):
		return "", errors.New("auth: the password is not UTF-8")
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil { // it would quote a character
		return "", errors.New("auth: the password has characters that SASLprep (RFC 4013) does not allow, " +
			"such as controls, emoji, or letters of both directions: choose another")
	}
	if prepared == "" {
		return "", errors.New("auth: the password is empty")
	}
	return prepared, nil
}

// A scramHash is a hash function that SCRAM is used with.
type scramHash struct {
	name string // of the mechanism
	new  func() hash.Hash
	size int // of the hash in bytes
	keys func(Credentials) Keys
}

var (
	hashSHA1 = scramHash{"SCRAM-SHA-1", sha1.New, sha1.Size,
		func(c Credentials) Keys { return c.SHA1 }}
	hashSHA256 = scramHash{"SCRAM-SHA-256", sha256.New, sha256.Size,
		func(c Credentials) Keys { return c.SHA256 }}
)

func (h *scramHash) sum(b []byte) []byte {
	f := h.new()
	f.Write(b) // a hash never fails
	return f.Sum(nil)
}

// Bounds of what a Source may give. RFC 5802 section 5.1 asks for 4,096 iterations at least; the upper bound
// keeps a mistake from costing each sign-in minutes.
const (
	minIterations = 4096
	maxIterations = 10_000_000
)

// absent tells that a user has no keys for a hash.
func (k Keys) absent() bool {
	return len(k.Salt) == 0 && k.Iterations == 0 && len(k.StoredKey) == 0 && len(k.ServerKey) == 0
}

// check finds keys with which nobody could sign in.
func (k Keys) check(h *scramHash) error {
	if len(k.Salt) == 0 || k.Iterations < minIterations || k.Iterations > maxIterations ||
		len(k.StoredKey) != h.size || len(k.ServerKey) != h.size {
		return fmt.Errorf("the stored keys for %s are damaged: salt of %d bytes, %d iterations, keys of %d and %d bytes",
			h.name, len(k.Salt), k.Iterations, len(k.StoredKey), len(k.ServerKey))
	}
	return nil
}

// primitives are what costs time or is random. Tests count calls of them, and replace the nonce.
type primitives struct {
	pbkdf2 func(h *scramHash, password string, salt []byte, iterations int) ([]byte, error)
	hmac   func(h *scramHash, key, data []byte) []byte
	nonce  func() string
}

var realPrimitives = primitives{
	pbkdf2: func(h *scramHash, password string, salt []byte, iterations int) ([]byte, error) {
		return pbkdf2.Key(h.new, password, salt, iterations, h.size)
	},
	hmac: func(h *scramHash, key, data []byte) []byte {
		m := hmac.New(h.new, key)
		m.Write(data) // a hash never fails
		return m.Sum(nil)
	},
	nonce: randomText,
}

// derive computes the keys of a prepared password (RFC 5802 section 3).
func (p primitives) derive(h *scramHash, password string, salt []byte, iterations int) (Keys, error) {
	salted, err := p.pbkdf2(h, password, salt, iterations)
	if err != nil {
		return Keys{}, fmt.Errorf("auth: cannot hash the password: %w", err)
	}
	clientKey := p.hmac(h, salted, []byte("Client Key"))
	return Keys{
		Salt:       salt,
		Iterations: iterations,
		StoredKey:  h.sum(clientKey),
		ServerKey:  p.hmac(h, salted, []byte("Server Key")),
	}, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the program rather than return an error
	return b
}

// randomText is 26 letters and digits with 130 bits of randomness, fit for a nonce and, in lower case, for a
// localpart.
func randomText() string { return strings.ToLower(rand.Text()) }
