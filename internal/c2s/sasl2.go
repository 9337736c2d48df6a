package c2s

import (
	"cmp"
	"encoding/base64"
	"strconv"
	"strings"

	"rollcall/internal/auth"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// The Extensible SASL Profile (XEP-0388): the client says in its first request what is to follow once it has
// authenticated, and the stream goes on without a restart. There are no tasks: nobody has a second factor here, and every
// account has keys for both hashes of SCRAM, so that there is nothing to upgrade (XEP-0480). Data that TLS would let
// through early ("0-RTT") never comes here: crypto/tls takes none.

// wish is what a client wants when it has authenticated.
type wish struct {
	anonymous bool               // it does not say who it is
	agent     string             // id of its installation, in small letters; "" when it does not say
	resume    *xmlstream.Element // nil: no session (XEP-0198)
	bind      *xmlstream.Element // nil: no resource (XEP-0386)
	token     string             // the mechanism for which it wants one (XEP-0484); "" for none
}

// authentication is the stream feature. The names are those of the other profile, so one hash holds for both (XEP-0474).
func (n *negotiation) authentication(names []string) *xmlstream.Element {
	inline := xmlstream.New(ns.Bind2, "inline").Append(xmlstream.New(ns.Bind2, "feature", "var", ns.SM))
	for _, name := range n.host.Inline() {
		inline.Append(xmlstream.New(ns.Bind2, "feature", "var", name))
	}
	all := xmlstream.New(ns.SASL2, "inline").Append(management(), xmlstream.New(ns.Bind2, "bind").Append(inline))
	if names := n.host.Auth().TokenMechanisms(n.ch); len(names) > 0 {
		all.Append(list(ns.FAST, "fast", names))
	}
	return list(ns.SASL2, "authentication", names).Append(all)
}

// sasl2 takes an element of the profile from a client that has not authenticated. It gives a session if that has been
// resumed, or a resource was bound.
func (n *negotiation) sasl2(el *xmlstream.Element) (Session, error) {
	switch {
	case el.Local == "authenticate" && n.exchange == nil:
		return n.authenticate(el)
	case n.exchange != nil && n.wish == nil: // one of the other profile is under way
	case el.Local == "response":
		if n.exchange == nil {
			return nil, n.failIn(ns.SASL2, &auth.Failure{Condition: auth.MalformedRequest, Text: "there is no challenge to respond to"})
		}
		in, err := decode2(el)
		if err != nil {
			return nil, n.failIn(ns.SASL2, err)
		}
		return n.step2(in)
	case el.Local == "abort":
		return nil, n.failIn(ns.SASL2, &auth.Failure{Condition: auth.Aborted})
	}
	return nil, &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first, in one exchange at a time"}
}

func (n *negotiation) authenticate(el *xmlstream.Element) (Session, error) {
	if n.mustEncrypt() {
		return nil, n.failIn(ns.SASL2, &auth.Failure{Condition: auth.EncryptionRequired, Text: "start TLS first"})
	}
	var initial []byte
	if r := el.Child(ns.SASL2, "initial-response"); r != nil {
		var err error
		if initial, err = decode2(r); err != nil {
			return nil, n.failIn(ns.SASL2, err)
		}
	}
	mechanism := el.Attr("mechanism")
	w := &wish{anonymous: mechanism == "ANONYMOUS", resume: el.Child(ns.SM, "resume"), bind: el.Child(ns.Bind2, "bind")}
	if a := el.Child(ns.SASL2, "user-agent"); a != nil && isUUID(a.Attr("id")) {
		w.agent = strings.ToLower(a.Attr("id"))
	}
	if r := el.Child(ns.FAST, "request-token"); r != nil {
		w.token = r.Attr("mechanism")
	}
	x, err := n.startExchange(mechanism, w.agent, el.Child(ns.FAST, "fast"))
	if err != nil {
		return nil, n.failIn(ns.SASL2, err)
	}
	n.exchange, n.wish = x, w
	return n.step2(initial)
}

// startExchange begins an exchange by which a client proves its token, if it says so, or any other.
func (n *negotiation) startExchange(mechanism, agent string, fast *xmlstream.Element) (*auth.Exchange, error) {
	if fast == nil {
		return n.host.Auth().Start(mechanism, n.ch)
	}
	use := auth.TokenUse{Client: agent, Invalidate: isTrue(fast.Attr("invalidate"))}
	if text := fast.Attr("count"); text != "" {
		count, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, &auth.Failure{Condition: auth.MalformedRequest, Text: "'count' must be a number from 0 to 2147483647"}
		}
		use.Counted, use.Count = true, uint32(count)
	}
	return n.host.Auth().StartToken(mechanism, n.ch, use)
}

// issue gives the client a token if it wants one, or its own is to be replaced.
func (n *negotiation) issue(w *wish, x *auth.Exchange) *xmlstream.Element {
	mechanism := cmp.Or(w.token, x.Renew())
	if mechanism == "" {
		return nil
	}
	t, ok, err := n.host.Auth().IssueToken(n.ctx, x, n.ch, w.agent, mechanism)
	if err != nil { // the client has its password
		n.log().Error("no token for a client", "host", n.domain, "error", err)
	}
	if !ok {
		return nil
	}
	return xmlstream.New(ns.FAST, "token", "expiry", t.Expires.UTC().Format("2006-01-02T15:04:05Z"), "token", t.Token)
}

// isUUID tells whether a client's id is what it must be; one that is not is taken for none.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f'):
			return false
		}
	}
	return true
}

// step2 hands the client's data to the mechanism and sends what that has to say.
func (n *negotiation) step2(in []byte) (Session, error) {
	out, done, err := n.exchange.Next(n.ctx, in)
	if err == nil && done {
		err = n.agrees()
	}
	if err != nil {
		return nil, n.failIn(ns.SASL2, err)
	}
	text := base64.StdEncoding.EncodeToString(out)
	if !done {
		return nil, n.t.Write(xmlstream.New(ns.SASL2, "challenge").AppendText(text))
	}
	success := xmlstream.New(ns.SASL2, "success")
	if out != nil {
		success.Append(xmlstream.New(ns.SASL2, "additional-data").AppendText(text))
	}
	w, x := n.wish, n.exchange
	n.signedIn()
	n.exchange, n.wish = nil, nil
	n.debug("authenticated", "host", n.domain, "user", n.user)
	n.t.SetLimits(n.srv.opts.Limits)
	return n.fulfil(w, success, n.issue(w, x))
}

// agrees finds a client out that has authenticated as somebody else than its stream's header says: "If the stream's from
// attribute (if present) does not match the non-empty authorization string, the server MUST fail the authentication".
// Here it may neither differ from an authorization string that is not there, as that stands for the client's own name.
func (n *negotiation) agrees() error {
	if n.claimed.Local() == "" || n.wish.anonymous || n.claimed.Local() == n.exchange.Username() {
		return nil
	}
	return &auth.Failure{Condition: auth.InvalidAuthzid, Text: "the stream header's 'from' is another user's address"}
}

// fulfil does what the client wants beside being authenticated, and tells it all at once: "If the client included a
// <resume/> element … that MUST be processed first by the server. If that resumption is successful, the server MUST skip
// resource binding".
func (n *negotiation) fulfil(w *wish, success, token *xmlstream.Element) (Session, error) {
	var after []*xmlstream.Element // the client's address
	if token != nil {
		after = append(after, token)
	}
	if w.resume != nil || w.bind != nil {
		if err := n.stands(); err != nil {
			return nil, err
		}
	}
	if w.resume != nil {
		s, answer, err := n.resumeInline(w.resume)
		if err != nil {
			return nil, err
		}
		if s != nil { // "stream features MUST NOT be sent in this case"
			return n.begin(s, success.Append(identifier(s.JID())).Append(append(after, answer)...)), nil
		}
		after = append(after, answer)
	}
	if w.bind == nil {
		success.Append(identifier(n.account())).Append(after...)
		return nil, n.t.Write(success, n.features())
	}
	s, managed, answer, err := n.bindInline(w)
	if err != nil { // the client may bind a resource as others do
		success.Append(identifier(n.account())).Append(after...).Append(n.notBound(err))
		return nil, n.t.Write(success, n.features())
	}
	success.Append(identifier(s.JID())).Append(after...).Append(answer)
	features := xmlstream.New(ns.Stream, "features")
	if !managed {
		features.Append(management())
	}
	return n.begin(s, success, features.Append(n.always()...)), nil
}

func identifier(j jid.JID) *xmlstream.Element {
	return xmlstream.New(ns.SASL2, "authorization-identifier").AppendText(j.String())
}

// account is the user's bare JID.
func (n *negotiation) account() jid.JID {
	j, err := jid.New(n.user, n.domain, "")
	if err != nil {
		panic("c2s: " + err.Error()) // canonical both
	}
	return j
}

// decode2 reads the data of an element: an empty one has data of no length. "This SHOULD NOT include any line wrapping or
// other whitespace": around the data it does no harm.
func decode2(el *xmlstream.Element) ([]byte, error) {
	text := strings.Trim(el.Text(), " \t\r\n")
	if el.First() != nil {
		return nil, &auth.Failure{Condition: auth.MalformedRequest, Text: "only base64 text belongs here"}
	}
	if b, err := base64.StdEncoding.Strict().DecodeString(text); err == nil && !strings.ContainsAny(text, "\r\n") {
		return b, nil
	}
	return nil, errEncoding
}
