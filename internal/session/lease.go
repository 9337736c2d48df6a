package session

import "time"

// A Lease is what a session hangs on beside its connection: what its client signed in with can be taken back, or ends.
type Lease struct {
	Token string    // ID of the one-use token that the client signed in with, "" for none
	Since time.Time // when the client showed it
	Until time.Time // when the session is to end; the zero time: it is not
}
