package c2s

import (
	"errors"

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
	s, err := n.host.Bind(n.ctx, n.user, resource, n.conn)
	if err != nil {
		return nil, n.refuse(st, err)
	}
	result := st.Result(xmlstream.New(ns.Bind, "bind").
		Append(xmlstream.New(ns.Bind, "jid").AppendText(s.JID().String())))
	if err := n.t.Write(result); err != nil {
		s.Leave(n.conn, err)
	}
	n.gate.Open()
	return s, nil
}

func (n *negotiation) refuse(st *stanza.Stanza, err error) error {
	serr, ok := stanza.AsError(err)
	if !ok {
		n.log.Error("resource not bound by a fault of ours", "host", n.domain, "error", err)
	}
	if !st.MayBeAnswered() {
		return nil
	}
	return n.t.Write(st.ErrorReply(serr))
}
