package c2s

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"rollcall/internal/host"
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
		m := c.enabling(el)
		if !s.Manage(m.Resume, m.Max, m.Credential) {
			s.Send(stanza.NewNonza(failed(stanza.UnexpectedRequest)))
		}
	case "resume": // "only after authentication and before binding" (section 5)
		s.Send(stanza.NewNonza(failed(stanza.UnexpectedRequest)))
	case "r":
		s.Acknowledge(c)
	case "a":
		h, err := count(el)
		if err != nil {
			return &stanza.StreamError{Condition: stanza.BadFormat, Text: "'h' must be a number from 0 to 4294967295"}
		}
		var wrong *session.TooHigh
		if errors.As(s.Acknowledged(c, h), &wrong) {
			return tooHigh(wrong)
		}
	default:
		return &stanza.StreamError{Condition: stanza.UnsupportedStanzaType}
	}
	return nil
}

// enabling reads a request for stream management.
func (c *conn) enabling(el *xmlstream.Element) *host.Management {
	max, err := strconv.ParseUint(el.Attr("max"), 10, 31)
	if err != nil {
		max = 0 // a preference, and one that cannot be met
	}
	return &host.Management{Resume: isTrue(el.Attr("resume")), Max: time.Duration(max) * time.Second, Credential: c.credential}
}

// isTrue reads an xs:boolean.
func isTrue(s string) bool { return s == "true" || s == "1" }

// count reads how many stanzas the peer has handled.
func count(el *xmlstream.Element) (uint32, error) {
	h, err := strconv.ParseUint(el.Attr("h"), 10, 32)
	return uint32(h), err
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// tooHigh is the error for a count that cannot be (section 6).
func tooHigh(e *session.TooHigh) *stanza.StreamError {
	return &stanza.StreamError{Condition: stanza.StreamUndefined, App: xmlstream.New(ns.SM, "handled-count-too-high",
		"h", decimal(e.Handled), "send-count", decimal(e.Sent)),
		Text: fmt.Sprintf("You acknowledged %d stanzas, but I only sent you %d so far.", e.Handled, e.Sent)}
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
	if err := n.stands(); err != nil {
		return nil, err
	}
	s, err := n.host.Resume(n.ctx, n.user, n.resumption(el, h), n.conn)
	if err != nil {
		answer, err := notResumed(err)
		if err != nil {
			return nil, err
		}
		return nil, n.t.Write(answer)
	}
	n.gate.Open()
	return s, nil
}

// resumeInline goes on with a session while the client authenticates. It gives the answer, and no session when there is none.
func (n *negotiation) resumeInline(el *xmlstream.Element) (Session, *xmlstream.Element, error) {
	h, err := count(el)
	if err != nil {
		return nil, failed(stanza.BadRequest), nil
	}
	s, handled, err := n.host.ResumeInline(n.ctx, n.user, n.resumption(el, h), n.conn)
	if err != nil {
		answer, err := notResumed(err)
		return nil, answer, err
	}
	return s, xmlstream.New(ns.SM, "resumed", "previd", el.Attr("previd"), "h", decimal(handled)), nil
}

func (n *negotiation) resumption(el *xmlstream.Element, h uint32) host.Resumption {
	return host.Resumption{ID: el.Attr("previd"), Handled: h, Credential: n.credential}
}

// notResumed makes an answer of the reason for which a session was not resumed, or what the stream ends with.
func notResumed(err error) (*xmlstream.Element, error) {
	var wrong *session.TooHigh
	var refused *host.NotResumed
	switch {
	case errors.As(err, &wrong):
		return nil, tooHigh(wrong)
	case errors.As(err, &refused):
		answer := failed(refused.Condition)
		if refused.Known {
			answer.SetAttr("h", decimal(refused.Handled))
		}
		return answer, nil
	}
	return nil, err
}
