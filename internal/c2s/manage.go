package c2s

import (
	"strconv"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// management is what a client may do about stream management once it has authenticated (XEP-0198).
func management() *xmlstream.Element { return xmlstream.New(ns.SM, "sm") }

// manage takes an element of stream management on a bound stream.
func (c *conn) manage(s Session, el *xmlstream.Element) error {
	switch el.Local {
	case "enable":
		resume := el.Attr("resume") == "true" || el.Attr("resume") == "1"
		max, err := strconv.ParseUint(el.Attr("max"), 10, 31)
		if err != nil {
			max = 0
		}
		if !s.Manage(resume, time.Duration(max)*time.Second) {
			s.Send(stanza.NewNonza(failed(stanza.UnexpectedRequest)))
		}
	case "resume": // "only after authentication and before binding" (section 5)
		s.Send(stanza.NewNonza(failed(stanza.UnexpectedRequest)))
	case "r":
		s.Acknowledge()
	case "a":
		h, err := count(el)
		if err == nil {
			err = s.Acknowledged(h)
		}
		if err != nil {
			return badCount(el, s.Counts())
		}
	default:
		return &stanza.StreamError{Condition: stanza.UnsupportedStanzaType}
	}
	return nil
}

// count reads how many stanzas the peer has handled.
func count(el *xmlstream.Element) (uint32, error) {
	h, err := strconv.ParseUint(el.Attr("h"), 10, 32)
	return uint32(h), err
}

// badCount is the error for a count that cannot be (section 4).
func badCount(el *xmlstream.Element, sent uint32) *stanza.StreamError {
	said := xmlstream.New(ns.SM, "handled-count-too-high", "send-count", strconv.FormatUint(uint64(sent), 10))
	if h, err := count(el); err == nil {
		said.SetAttr("h", strconv.FormatUint(uint64(h), 10))
	}
	return &stanza.StreamError{Condition: stanza.StreamUndefined, App: said}
}

func failed(condition stanza.Condition) *xmlstream.Element {
	return xmlstream.New(ns.SM, "failed").Append(xmlstream.New(ns.Stanzas, string(condition)))
}

// resume goes on with a session of the client's that has lost its connection, in place of binding a resource. It gives
// nil when there is none: the client may then bind.
func (n *negotiation) resume(el *xmlstream.Element) (Session, error) {
	if el.Local != "resume" {
		return nil, n.t.Write(failed(stanza.UnexpectedRequest)) // enable comes after binding
	}
	h, err := count(el)
	if err != nil {
		return nil, n.t.Write(failed(stanza.BadRequest))
	}
	s, err := n.host.Resume(n.user, el.Attr("previd"), h, n.conn)
	if err != nil {
		return nil, badCount(el, s.Counts())
	}
	if s == nil {
		return nil, n.t.Write(failed(stanza.ItemNotFound))
	}
	n.gate.Open()
	return s, nil
}

// Resume implements Host.
func (v virtual) Resume(local, id string, h uint32, c session.Conn) (Session, error) {
	s, err := v.host.Resume(local, id, h, c)
	if s == nil {
		return nil, err
	}
	return &bound{s, v.host, c}, err
}
