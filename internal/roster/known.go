package roster

import (
	"crypto/rand"
	"strings"
	"time"

	"rollcall/internal/rosterdoc"
	"rollcall/internal/rosterhttp"
)

// Where a roster comes from: the values of Known.Source.
const (
	FromFetch = "fetch" // the service was asked
	FromPut   = "put"   // the service has sent it
	FromPatch = "patch" // the service has sent what is different
)

// Known is a roster as the service gave it, and when. It is immutable.
type Known struct {
	Roster *rosterdoc.Roster
	// Version counts the changes of single contacts; Tag is random, and the same for the versions that came together.
	// Together they are what clients know a version by (RFC 6121 section 2.6), see Ver.
	Version int64
	Tag     string
	Source  string
	ETag    string
	Body    rosterhttp.Fingerprint // of the body it was read from; zero for none
	Wished  time.Time              // when the fetch that brought or confirmed it was wished for
	AsOf    time.Time              // when the fetch that brought or confirmed it began, or when it was sent
	MaxAge  time.Duration          // how long it may be used without asking
	// StaleIfError is how long after that it may be used when the service fails; less than 0: for ever.
	StaleIfError time.Duration
	Dropped      []rosterdoc.Dropped
}

// Ver gives the version as clients and services see it: opaque, and never given to another roster of the same user,
// not even by a server that has lost its last seconds.
func (k *Known) Ver() string { return k.mark().ver() }

func (k *Known) mark() mark { return mark{k.Version, k.Tag} }

// VerOf gives the version that follows the i-th of the changes that made this roster of the one before.
func (k *Known) VerOf(i int, changes []rosterdoc.Change) string {
	return mark{k.Version - int64(len(changes)-1-i), k.Tag}.ver()
}

// VerOfFirst gives the version of a client that has the first n contacts of this roster and no others.
func (k *Known) VerOfFirst(n int) string {
	if n == k.Roster.Len() {
		return k.Ver()
	}
	return place{to: k.mark(), via: int64(n)}.ver()
}

// newTag makes a tag of 50 random bits: it needs only be another one than that of a version that was lost.
func newTag() string { return strings.ToLower(rand.Text()[:10]) }

// succeed gives k the version that follows old's, or old's when nothing has changed.
func (k *Known) succeed(old *Known, changes []rosterdoc.Change) {
	switch {
	case old == nil:
		k.Version, k.Tag = 1, newTag()
	case len(changes) == 0:
		k.Version, k.Tag = old.Version, old.Tag
	default:
		k.Version, k.Tag = old.Version+int64(len(changes)), newTag()
	}
}

// Held is a roster that the guard keeps back.
type Held struct {
	Next                    *Known // without a version yet
	Since                   time.Time
	Added, Removed, Changed int
}
