// Package stanza is the grammar of XMPP stanzas (RFC 6120 section 8, RFC 6121 sections 4 and 5): message, presence and
// iq in the namespace jabber:client, their errors, replies to them, and their serialized form.
package stanza

import (
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// Kind is one of the three kinds of stanzas.
type Kind uint8

// The kinds, named like their elements.
const (
	Message Kind = iota
	Presence
	IQ
)

// String gives the element's name.
func (k Kind) String() string { return [...]string{"message", "presence", "iq"}[k] }

// The types of stanzas (RFC 6120 section 8.2.3, RFC 6121 sections 4.7.1 and 5.2.2). An available presence has none.
const (
	TypeError  = "error"
	TypeGet    = "get"
	TypeSet    = "set"
	TypeResult = "result"

	TypeChat      = "chat"
	TypeGroupchat = "groupchat"
	TypeHeadline  = "headline"
	TypeNormal    = "normal"

	TypeUnavailable  = "unavailable"
	TypeProbe        = "probe"
	TypeSubscribe    = "subscribe"
	TypeSubscribed   = "subscribed"
	TypeUnsubscribe  = "unsubscribe"
	TypeUnsubscribed = "unsubscribed"
)

// Stanza is a parsed stanza: its element and what is in the element's attributes. From is set by the server that
// takes it from a client, and To is zero when the stanza has no address.
type Stanza struct {
	*xmlstream.Element
	Kind Kind
	Type string
	ID   string
	From jid.JID
	To   jid.JID
}

// Parse reads the head of a stanza. The error is a *StreamError when the element is no stanza at all (RFC 6120
// section 4.9.3.24), and an *Error, to be told to the sender, when the stanza is malformed; then the Stanza is
// returned as well, as far as it could be read.
func Parse(el *xmlstream.Element) (*Stanza, error) {
	st := &Stanza{Element: el}
	if el.Space != ns.Client {
		return nil, &StreamError{Condition: UnsupportedStanzaType, Text: "not in the namespace " + ns.Client}
	}
	switch el.Local {
	case "message":
		st.Kind = Message
	case "presence":
		st.Kind = Presence
	case "iq":
		st.Kind = IQ
	default:
		return nil, &StreamError{Condition: UnsupportedStanzaType, Text: "only message, presence and iq are sent here"}
	}
	to := ""
	for i := range el.Attrs {
		if a := &el.Attrs[i]; a.Space == "" {
			switch a.Local {
			case "type":
				st.Type = a.Value
			case "id":
				st.ID = a.Value
			case "to":
				to = a.Value
			}
		}
	}
	if err := st.checkType(); err != nil {
		return st, err
	}
	if to != "" {
		j, err := jid.Parse(to)
		if err != nil {
			return st, NewError(JIDMalformed, "the address in 'to' is not a JID: "+err.Error())
		}
		st.To = j
	}
	return st, nil
}

func (st *Stanza) checkType() error {
	switch st.Kind {
	case Message:
		switch st.Type {
		case TypeChat, TypeError, TypeGroupchat, TypeHeadline, TypeNormal:
		default: // RFC 6121 section 5.2.2: an unknown type is to be treated as normal
			st.Type = TypeNormal
		}
	case Presence:
		switch st.Type {
		case "", TypeUnavailable, TypeProbe, TypeError, TypeSubscribe, TypeSubscribed, TypeUnsubscribe, TypeUnsubscribed:
		default:
			return NewError(BadRequest, "a presence cannot have this type")
		}
	case IQ:
		return st.checkIQ()
	}
	return nil
}

// checkIQ holds an iq to RFC 6120 section 8.2.3.
func (st *Stanza) checkIQ() error {
	switch {
	case st.ID == "":
		return NewError(BadRequest, "an iq needs an id")
	case st.Type == TypeResult || st.Type == TypeError:
		return nil
	case st.Type != TypeGet && st.Type != TypeSet:
		return NewError(BadRequest, "the type of an iq is get, set, result or error")
	}
	n := 0
	for range st.Elements() {
		n++
	}
	if n != 1 {
		return NewError(BadRequest, "an iq of type get or set has exactly one child element")
	}
	return nil
}

// IsSubscription tells whether a presence manages subscriptions (RFC 6121 section 3).
func (st *Stanza) IsSubscription() bool {
	if st.Kind != Presence {
		return false
	}
	switch st.Type {
	case TypeSubscribe, TypeSubscribed, TypeUnsubscribe, TypeUnsubscribed:
		return true
	}
	return false
}

// IsRequest tells whether the stanza is an iq that must be answered: a get or a set.
func (st *Stanza) IsRequest() bool {
	return st.Kind == IQ && (st.Type == TypeGet || st.Type == TypeSet)
}

// MayBeAnswered tells whether an error may be sent in reply: never to an error, nor to the answer of an iq
// (RFC 6120 section 8.3.1).
func (st *Stanza) MayBeAnswered() bool {
	return st.Type != TypeError && !(st.Kind == IQ && st.Type == TypeResult)
}

// Reply makes the head of an answer: same kind and id, addresses swapped, with the given type.
func (st *Stanza) Reply(typ string) *xmlstream.Element {
	return xmlstream.New(ns.Client, st.Kind.String(),
		"type", typ, "id", st.ID, "from", st.To.String(), "to", st.From.String())
}

// Result makes the answer to an iq of type get or set, with or without a payload.
func (st *Stanza) Result(payload *xmlstream.Element) *xmlstream.Element {
	return st.Reply(TypeResult).Append(payload)
}

// ErrorReply makes the stanza of type error that answers st.
func (st *Stanza) ErrorReply(err *Error) *xmlstream.Element {
	return st.Reply(TypeError).Append(err.Element())
}
