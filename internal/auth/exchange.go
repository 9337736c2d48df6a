package auth

import (
	"context"
	"errors"
)

// maxMessage bounds a client's message, in bytes after base64. The longest useful one is SCRAM's or PLAIN's
// with three long names; RFC 6120 section 13.12 asks servers for 10,000 bytes of stanza before base64.
const maxMessage = 8192

// An Exchange is one run of a mechanism with one client. It belongs to one goroutine.
type Exchange struct {
	next  step // nil when it is over
	await bool // the client must speak first and has not yet
	user  string
	cred  uint64
	lease *Lease
	renew string

	server  *Server
	attempt *attempt
}

// A step takes a message of the client, at most maxMessage bytes. Its error goes to the client when it is a
// *Failure, else it is a fault on our side.
type step func(ctx context.Context, in []byte) (reply, error)

// A reply is what follows a message: the answer, and either the next step or, when that is nil, the user.
type reply struct {
	out  []byte
	next step
	user string
	cred uint64 // see Exchange.Credential
	// lease is nil unless the session is to hang on what the client signed in with.
	lease *Lease
	renew string // see Exchange.Renew
}

// Next takes a message of the client, decoded from base64, and returns what to answer: a challenge, or, when
// done, the additional data of the success (nil: there is none). In the first call in is the initial
// response, nil when the client sent none (an empty one, "=" in RFC 6120 section 6.4.2, is not nil); the
// answer is then an empty challenge, if the mechanism needs to hear anything.
//
// The error is a *Failure and ends the exchange; to try again the client must Start again. ctx bounds the
// look-up of the user and the wait for a processor.
func (x *Exchange) Next(ctx context.Context, in []byte) (out []byte, done bool, err error) {
	next := x.next
	if next == nil {
		return nil, false, malformed("the exchange is over")
	}
	if x.await && in == nil {
		x.await = false
		return []byte{}, false, nil
	}
	x.next, x.await = nil, false // whatever fails from here on ends it
	if len(in) > maxMessage {
		return nil, false, malformed("the message is too long")
	}
	r, err := next(context.WithValue(ctx, attemptKey{}, x.attempt), in)
	if err == nil && r.next == nil && x.server.admit != nil {
		err = x.server.admit(ctx, r.user)
	}
	if err != nil {
		var f *Failure
		if !errors.As(err, &f) {
			f = temporary(err)
		}
		x.attempt.failed(f.Condition)
		return nil, false, f
	}
	if r.next == nil {
		x.attempt.succeeded()
	}
	x.next, x.user, x.cred, x.lease, x.renew = r.next, r.user, r.cred, r.lease, r.renew
	return r.out, r.next == nil, nil
}

// Username is the canonical localpart of the user when the exchange is done, "" before that.
func (x *Exchange) Username() string { return x.user }

// Credential tells apart what a user signed in with, when the exchange is done: after the password was changed it is
// another number, whatever the mechanism, and whether it was the password or a token. It means nothing outside this process, and is 0 where there are
// no passwords.
func (x *Exchange) Credential() uint64 { return x.cred }

// Lease is what the session hangs on, when the exchange is done; nil: on nothing.
func (x *Exchange) Lease() *Lease { return x.lease }

// Renew names the mechanism of the token that was proven, when it is time for another; "" otherwise.
func (x *Exchange) Renew() string { return x.renew }
