package c2s

import (
	"context"
	"net/netip"

	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// In-band registration (XEP-0077 v2.4 section 3.1), before sign-in: who has no account makes one, and then signs in on the same
// stream. feature/register has what users with an account may do. There is no data form: a name and a password are all that is
// asked for.

// A Registrar makes accounts of a host for clients that have none. Its methods may be called by any goroutine.
type Registrar interface {
	// Register makes an account of a canonical localpart and a password, which is as the client sent it, and not empty. from is the
	// client's network, the zero value for one that stands for nobody in particular. The error is a *stanza.Error for the client,
	// or a fault of ours. ctx bounds the call.
	Register(ctx context.Context, user, password string, from netip.Prefix) error
}

// registrar gives who makes accounts of the stream's host; nil: nobody does.
func (n *negotiation) registrar() Registrar {
	if n.srv.opts.Registrar == nil {
		return nil
	}
	return n.srv.opts.Registrar(n.domain)
}

// mayRegister tells whether the channel is one on which a client may say a password: "The registration methods defined herein
// are known to be insecure and SHOULD NOT be used unless the channel … has been secured" (section 11).
func (n *negotiation) mayRegister() bool { return !n.mustEncrypt() && n.host.Auth().Private(n.ch) }

// registration is the stream feature, none where accounts are not made.
func (n *negotiation) registration() []*xmlstream.Element {
	if n.registered || n.registrar() == nil || !n.mayRegister() {
		return nil
	}
	return []*xmlstream.Element{xmlstream.New(ns.RegisterFeature, "register")}
}

// asksToRegister tells whether an element is a request about an account.
func asksToRegister(el *xmlstream.Element) bool {
	payload := el.First()
	return el.Is(ns.Client, "iq") && payload != nil && payload.Is(ns.Register, "query")
}

// register answers such a request, once.
func (n *negotiation) register(el *xmlstream.Element) error {
	st, err := stanza.Parse(el)
	if err != nil {
		return n.refuse(st, err)
	}
	if !st.IsRequest() { // answers nothing that was asked
		return nil
	}
	payload, err := n.answerRegister(st)
	if err != nil {
		serr, ok := stanza.AsError(err)
		if !ok {
			n.log().Error("no account made by a fault of ours", "host", n.domain, "error", err)
		}
		n.log().Info("registration refused", "host", n.domain, "condition", serr.Condition)
		return n.refuse(st, serr)
	}
	return n.t.Write(st.Result(payload))
}

// answerRegister gives the payload of the result.
func (n *negotiation) answerRegister(st *stanza.Stanza) (*xmlstream.Element, error) {
	registrar, query := n.registrar(), st.First()
	switch {
	case registrar == nil || !st.To.IsZero() && st.To.String() != n.domain:
		return nil, stanza.NewError(stanza.ServiceUnavailable, "accounts are not made here")
	case !n.mayRegister():
		return nil, stanza.NewError(stanza.NotAuthorized, "start TLS first")
	case n.registered: // "if an entity attempts to register a second identity after successfully completing the registration"
		return nil, stanza.NewError(stanza.NotAcceptable, "this stream has made its account; sign in")
	case st.Type == stanza.TypeGet:
		return xmlstream.New(ns.Register, "query").Append(
			xmlstream.New(ns.Register, "instructions").AppendText("Choose a username and a password."),
			xmlstream.New(ns.Register, "username"), xmlstream.New(ns.Register, "password")), nil
	case query.Child(ns.Register, "remove") != nil: // "the entity is not registered with the server"
		return nil, stanza.NewError(stanza.UnexpectedRequest, "sign in to the account first")
	}
	username, password := childText(query, "username"), childText(query, "password")
	if username == "" || password == "" {
		return nil, stanza.NewError(stanza.NotAcceptable, "send a username and a password")
	}
	user, err := jid.Localpart(username)
	if err != nil {
		return nil, stanza.NewError(stanza.NotAcceptable, "this cannot be a username: "+err.Error())
	}
	if err := registrar.Register(n.ctx, user, password, n.ch.Origin); err != nil {
		return nil, err
	}
	n.registered = true
	n.log().Info("account made", "host", n.domain, "user", user, "by", "the user")
	return nil, nil
}

func childText(el *xmlstream.Element, local string) string {
	if child := el.Child(ns.Register, local); child != nil {
		return child.Text()
	}
	return ""
}
