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

	account int64 // see Credentials

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
	as    standing
}

// A standing is what is known of an account when its user signs in; the zero value: there is none.
type standing struct {
	account  int64
	disabled bool
}

func (c Credentials) standing() standing { return standing{c.Account, c.Disabled} }

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
	if err == nil && r.next == nil && r.as.disabled { // last: it says nothing to those who guess
		err = &Failure{Condition: AccountDisabled}
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
	x.next, x.user, x.cred, x.lease, x.renew, x.account = r.next, r.user, r.cred, r.lease, r.renew, r.as.account
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

// ErrGone says that an account may not be used any more by who has signed in to it.
var ErrGone = errors.New("auth: the account has been removed, disabled, or given another password")

// Stands looks at the account once more, just before the user who has signed in with an exchange, which is done, gets a session.
// The client has seconds from the proof to there, in which somebody may have removed the account and made another of the same name,
// beside this process too. ErrGone (see errors.Is) when it is not the account that it was, nor with the password that was
// proven; any other error is a fault of ours.
func (s *Server) Stands(ctx context.Context, x *Exchange) error {
	if !s.kept {
		return nil
	}
	c, err := s.source.Credentials(ctx, x.user)
	switch {
	case err != nil && !errors.Is(err, ErrUnknownUser):
		return err
	case err != nil:
		c = Credentials{} // who has come by a one-use token, or is vouched for, need not have one
	}
	if c.Account != x.account || c.Disabled || x.cred != 0 && mark(c) != x.cred {
		return ErrGone
	}
	return nil
}
