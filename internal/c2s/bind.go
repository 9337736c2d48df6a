package c2s

import (
	"errors"

	"rollcall/internal/auth"
	"rollcall/internal/host"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// bindPhase takes an element of a client that has authenticated and has no resource yet (RFC 6120 section 7).
func (n *negotiation) bindPhase(el *xmlstream.Element) (Session, error) {
	if el.Space == ns.SM {
		return n.resume(el)
	}
	st, err := stanza.Parse(el)
	var serr *stanza.StreamError
	switch {
	case errors.As(err, &serr):
		return nil, serr
	case st.Kind != stanza.IQ: // section 7.1
		return nil, &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "bind a resource first"}
	case err != nil:
		return nil, n.refuse(st, err)
	case !st.IsRequest(): // answers nothing that was asked
		return nil, nil
	}
	if bind := st.First(); st.Type == stanza.TypeSet && bind.Is(ns.Bind, "bind") {
		resource := ""
		if r := bind.Child(ns.Bind, "resource"); r != nil {
			resource = r.Text()
		}
		return n.bind(st, resource)
	}
	return nil, n.refuse(st, stanza.NewError(stanza.NotAuthorized, "bind a resource first"))
}

// bind makes the session. It may be written to as soon as the host knows it, but the client is to see the answer to
// its request first: hence the gate.
func (n *negotiation) bind(st *stanza.Stanza, resource string) (Session, error) {
	if err := n.stands(); err != nil {
		return nil, err
	}
	s, err := n.host.Bind(n.ctx, n.user, resource, n.conn)
	if err != nil {
		return nil, n.refuse(st, err)
	}
	return n.begin(s, st.Result(xmlstream.New(ns.Bind, "bind").
		Append(xmlstream.New(ns.Bind, "jid").AppendText(s.JID().String())))), nil
}

// stands tells whether the client may still have a session, as the user who it has proven to be; otherwise its stream ends.
func (n *negotiation) stands() error {
	switch err := n.host.Auth().Stands(n.ctx, n.proven); {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrGone):
		n.log().Info("signed in to an account that is no more, or not as it was", "host", n.domain, "user", n.user)
		return &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "the account may not be used any more"}
	default:
		n.log().Error("no session by a fault of ours", "host", n.domain, "error", err)
		return &stanza.StreamError{Condition: stanza.StreamInternalError}
	}
}

// begin tells the client of its session, which may be written to after that.
func (n *negotiation) begin(s Session, answers ...*xmlstream.Element) Session {
	if err := n.t.Write(answers...); err != nil {
		s.Leave(n.conn, err)
	}
	n.gate.Open()
	return s
}

// bindInline binds a resource while the client authenticates (XEP-0386), and gives the answer.
func (n *negotiation) bindInline(w *wish) (s Session, managed bool, answer *xmlstream.Element, err error) {
	b := host.InlineBind{}
	if tag := w.bind.Child(ns.Bind2, "tag"); tag != nil {
		b.Tag = tag.Text()
	}
	if w.agent != "" {
		b.Client = n.host.Auth().ClientID(n.user, w.agent)
	}
	for el := range w.bind.Elements() {
		switch {
		case el.Is(ns.SM, "enable"):
			b.Manage = n.enabling(el)
		case el.Space != ns.Bind2:
			b.Asked = append(b.Asked, el)
		}
	}
	s, answers, err := n.host.BindInline(n.ctx, n.user, b, n.conn)
	if err != nil {
		return nil, false, nil, err
	}
	return s, b.Manage != nil, xmlstream.New(ns.Bind2, "bound").Append(answers...), nil
}

// notBound says why no resource was bound, of which XEP-0386 says nothing: in the way of XEP-0198.
func (n *negotiation) notBound(err error) *xmlstream.Element {
	serr := n.condition(err)
	el := xmlstream.New(ns.Bind2, "failed").Append(xmlstream.New(ns.Stanzas, string(serr.Condition)))
	if serr.Text != "" {
		el.Append(xmlstream.New(ns.Stanzas, "text").AppendText(serr.Text))
	}
	return el
}

func (n *negotiation) refuse(st *stanza.Stanza, err error) error {
	serr := n.condition(err)
	if !st.MayBeAnswered() {
		return nil
	}
	return n.t.Write(st.ErrorReply(serr))
}

// condition is what the client is told of an error.
func (n *negotiation) condition(err error) *stanza.Error {
	serr, ok := stanza.AsError(err)
	if !ok {
		n.log().Error("resource not bound by a fault of ours", "host", n.domain, "error", err)
	}
	return serr
}
