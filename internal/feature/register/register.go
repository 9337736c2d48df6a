// Package register lets users change their passwords and, where that is allowed, remove their accounts (XEP-0077 v2.4 sections 3.2
// and 3.3). It makes no accounts: whoever reaches a feature has signed in. That is done by package c2s.
package register

import (
	"context"
	"errors"

	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Accounts are those of the host. Users are canonical localparts.
type Accounts interface {
	// SetPassword gives a user another password. The error is ErrNoAccount, a *BadPassword, or a fault of ours.
	SetPassword(ctx context.Context, user, password string) error
	// Remove removes an account with all that is its own, and ends its sessions. certain, if not nil, is called before they end,
	// when the account is gone. The error is ErrNoAccount, or a fault of ours.
	Remove(ctx context.Context, user string, certain func()) error
}

// ErrNoAccount says that the user has signed in without an account here.
var ErrNoAccount = errors.New("there is no such account")

// BadPassword says why a password cannot be one, without quoting it.
type BadPassword struct{ Reason string }

// Error implements error.
func (e *BadPassword) Error() string { return e.Reason }

// Options says how the feature behaves.
type Options struct {
	Accounts Accounts
	Removal  func() bool // users may remove their own accounts now
	// Opened is told of each session that begins; it may be nil.
	Opened func(ctx context.Context, s *session.Session)
}

// New makes the feature.
func New(o Options) host.Feature {
	f := host.Feature{Name: "register", Disco: host.Disco{Host: []string{ns.Register}}, Opened: o.Opened,
		IQ: map[host.IQKey]host.IQHandler{}}
	for _, target := range []host.Target{host.ToHost, host.ToSelf} {
		f.IQ[host.IQKey{Target: target, Type: stanza.TypeGet, Space: ns.Register, Local: "query"}] = o.get
		f.IQ[host.IQKey{Target: target, Type: stanza.TypeSet, Space: ns.Register, Local: "query"}] = o.set
	}
	return f
}

// own refuses who has an account elsewhere.
func own(iq *host.IQ) error {
	if iq.From.Domain() != iq.Host.Name() {
		return stanza.NewError(stanza.ServiceUnavailable, "")
	}
	return nil
}

// get says that the user has an account, "although the <password/> element MAY be empty".
func (o Options) get(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if err := own(iq); err != nil {
		return nil, err
	}
	return xmlstream.New(ns.Register, "query").Append(xmlstream.New(ns.Register, "registered"),
		xmlstream.New(ns.Register, "username").AppendText(iq.From.Local()), xmlstream.New(ns.Register, "password")), nil
}

func (o Options) set(_ context.Context, iq *host.IQ) (*xmlstream.Element, error) {
	if err := own(iq); err != nil {
		return nil, err
	}
	query := iq.Payload()
	if query.Child(ns.Register, "remove") != nil {
		return o.remove(iq)
	}
	username, password := query.Child(ns.Register, "username"), query.Child(ns.Register, "password")
	switch {
	case !iq.Session.Info().Secure: // "The server or service does not consider the channel safe enough"
		return nil, stanza.NewError(stanza.NotAuthorized, "a password is only taken inside TLS")
	case username == nil || password == nil || password.Text() == "": // "MUST NOT change the password to a null value"
		return nil, stanza.NewError(stanza.BadRequest, "send your username and the new password")
	}
	if local, err := jid.Localpart(username.Text()); err != nil || local != iq.From.Local() {
		return nil, stanza.NewError(stanza.Forbidden, "the username is not yours")
	}
	text := password.Text()
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		return nil, answer(o.Accounts.SetPassword(ctx, iq.From.Local(), text))
	})
}

// remove takes the account away. The client hears of it before its session ends.
func (o Options) remove(iq *host.IQ) (*xmlstream.Element, error) {
	n := 0
	for range iq.Payload().Elements() {
		n++
	}
	switch {
	case n != 1:
		return nil, stanza.NewError(stanza.BadRequest, "<remove/> goes alone")
	case !o.Removal():
		return nil, stanza.NewError(stanza.NotAllowed, "ask the administrator to remove the account")
	}
	return iq.Later(func(ctx context.Context) (*xmlstream.Element, error) {
		err := o.Accounts.Remove(ctx, iq.From.Local(), func() {
			// The one answer: when Later gives its own, the session takes nothing any more.
			iq.Session.Send(stanza.NewWire(iq.Result(nil)))
		})
		return nil, answer(err)
	})
}

// answer makes an answer of an error.
func answer(err error) error {
	var bad *BadPassword
	switch {
	case errors.As(err, &bad):
		return stanza.NewError(stanza.NotAcceptable, bad.Reason)
	case errors.Is(err, ErrNoAccount):
		return stanza.NewError(stanza.RegistrationRequired, "your password is not kept here")
	}
	return err
}
