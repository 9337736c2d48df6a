package c2s

import (
	"encoding/base64"
	"errors"
	"strings"

	"rollcall/internal/auth"
	"rollcall/internal/ns"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// maxTries is how often a client may fail on one stream; RFC 6120 section 6.4.5 wants from two to five retries.
const maxTries = 3

// sasl takes an element of the SASL negotiation (RFC 6120 section 6.4).
func (n *negotiation) sasl(el *xmlstream.Element) error {
	switch el.Local {
	case "auth":
		return n.startSASL(el)
	case "response":
		if n.exchange == nil {
			return n.fail(&auth.Failure{Condition: auth.MalformedRequest, Text: "there is no challenge to respond to"})
		}
		in, err := decode(el)
		if err != nil {
			return n.fail(err)
		}
		return n.step(in)
	case "abort":
		return n.fail(&auth.Failure{Condition: auth.Aborted})
	}
	return &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
}

func (n *negotiation) startSASL(el *xmlstream.Element) error {
	if n.mustEncrypt() {
		return n.fail(&auth.Failure{Condition: auth.EncryptionRequired, Text: "start TLS first"})
	}
	if n.exchange != nil {
		return n.fail(&auth.Failure{Condition: auth.MalformedRequest, Text: "another exchange is under way"})
	}
	initial, err := decode(el)
	if err != nil {
		return n.fail(err)
	}
	n.exchange, err = n.host.Auth().Start(el.Attr("mechanism"), n.ch)
	if err != nil {
		return n.fail(err)
	}
	return n.step(initial)
}

// step hands the client's data to the mechanism and sends what that has to say.
func (n *negotiation) step(in []byte) error {
	out, done, err := n.exchange.Next(n.ctx, in)
	if err != nil {
		return n.fail(err)
	}
	answer := "challenge"
	if done {
		answer = "success"
	}
	text := base64.StdEncoding.EncodeToString(out)
	if err := n.t.Write(xmlstream.New(ns.SASL, answer).AppendText(text)); err != nil || !done {
		return err
	}
	n.signedIn()
	n.exchange = nil
	n.debug("authenticated", "host", n.domain, "user", n.user)
	n.t.SetLimits(n.srv.opts.Limits)
	n.t.Restart()
	n.fresh = true // section 6.4.6
	return nil
}

// signedIn keeps what the exchange has led to.
func (n *negotiation) signedIn() {
	n.proven, n.user, n.credential = n.exchange, n.exchange.Username(), n.exchange.Credential()
	n.lease = (*session.Lease)(n.exchange.Lease())
}

// fail reports a failed try (section 6.4.5) and ends the stream when there were too many.
func (n *negotiation) fail(err error) error { return n.failIn(ns.SASL, err) }

// failIn is fail in the words of a SASL profile: both have the same conditions, and count together.
func (n *negotiation) failIn(space string, err error) error {
	n.exchange, n.wish = nil, nil
	n.tries++
	var f *auth.Failure
	if !errors.As(err, &f) {
		f = &auth.Failure{Condition: auth.TemporaryAuthFailure, Err: err}
	}
	if f.Err != nil {
		n.log().Error("nobody can sign in", "host", n.domain, "error", f.Err)
	}
	about := []any{"host", n.domain, "condition", f.Condition, "try", n.tries}
	if f.Reason != "" {
		about = append(about, "reason", f.Reason)
	}
	n.log().Info("sign-in refused", about...)
	el := xmlstream.New(space, "failure").Append(xmlstream.New(ns.SASL, f.Condition))
	if f.Text != "" {
		text := xmlstream.New(space, "text").AppendText(f.Text)
		text.Attrs = append(text.Attrs, xmlstream.Attr{Space: ns.XML, Local: "lang", Value: "en"})
		el.Append(text)
	}
	if err := n.t.Write(el); err != nil {
		return err
	}
	if n.tries >= maxTries {
		return &stanza.StreamError{Condition: stanza.StreamPolicyViolation, Text: "too many failed tries to sign in"}
	}
	return nil
}

var errEncoding = &auth.Failure{Condition: auth.IncorrectEncoding, Text: "this is not base64 (RFC 4648 section 4)"}

// decode reads the data of <auth/> or <response/> as sections 6.4.2 and 13.9.1 say: strict base64 without white space,
// "=" for data of no length. Without any text the data is nil, which is no initial response, and an empty response.
func decode(el *xmlstream.Element) ([]byte, error) {
	if el.First() != nil {
		return nil, &auth.Failure{Condition: auth.MalformedRequest, Text: "only base64 text belongs here"}
	}
	switch text := el.Text(); {
	case text == "":
		return nil, nil
	case text == "=":
		return []byte{}, nil
	case strings.ContainsAny(text, "\r\n"): // which the decoder would skip
	default:
		if b, err := base64.StdEncoding.Strict().DecodeString(text); err == nil {
			return b, nil
		}
	}
	return nil, errEncoding
}
