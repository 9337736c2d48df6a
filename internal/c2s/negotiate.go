package c2s

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

	"rollcall/internal/auth"
	"rollcall/internal/jid"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// maxEvents bounds how many elements a client may send before it has bound a resource; a dozen are usual.
const maxEvents = 64

// ErrInjection is Transport.StartTLS's refusal.
var ErrInjection = errors.New("data was sent behind the request for TLS")

// errClosed: the client closed its stream before it had a session.
var errClosed = errors.New("stream closed by the client")

// negotiation is what a stream knows until a resource is bound.
type negotiation struct {
	*conn
	ctx  context.Context
	ch   auth.Channel
	host Host
	// domain is the host's name, "" before the first header; it stays for the connection.
	domain string
	// fresh: the next event must be a header.
	fresh bool

	claimed  jid.JID        // bare, who the client says it is in its header; zero when it does not
	exchange *auth.Exchange // under way
	wish     *wish          // what is to follow it, in SASL2
	tries    int            // that failed
	user     string         // canonical localpart, once authenticated
	proven   *auth.Exchange // by which it did

	registered bool // it has made an account

	origin netip.Prefix // of the client
}

// negotiate brings a connection from its first byte to a session. It gives nil when that came to nothing; then the
// stream has been ended.
func (c *conn) negotiate(tk *Ticket) (s Session) {
	n := &negotiation{conn: c, ctx: tk.ctx, fresh: true, origin: tk.origin}
	// The end of the time, or of the server, ends the stream from outside, as we may be waiting for the client.
	ended := make(chan struct{})
	stop := context.AfterFunc(tk.ctx, func() {
		defer close(ended)
		c.end(expired(tk.ctx))
	})
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	s, err := n.run()
	if s != nil {
		return s
	}
	n.debug("stream ended before a resource was bound", "reason", err)
	if serr := streamError(err); serr != nil || errors.Is(err, errClosed) {
		c.end(serr)
	} else {
		c.Abort()
	}
	return nil
}

// log gives a logger that names the connection. It is made when it is asked for: most streams log nothing.
func (n *negotiation) log() *slog.Logger {
	info := n.t.Info()
	return n.srv.opts.Log.With("transport", info.Transport, "remote", info.RemoteAddr)
}

func (n *negotiation) debug(message string, args ...any) {
	if n.srv.opts.Log.Enabled(n.ctx, slog.LevelDebug) {
		n.log().Debug(message, args...)
	}
}

func (n *negotiation) run() (s Session, err error) {
	defer n.recovered(&err)
	n.t.SetLimits(n.srv.opts.PreAuth)
	if err := n.handshake(n.t.Handshake); err != nil {
		return nil, err
	}
	n.setChannel()
	for range maxEvents {
		ev, err := n.t.Next()
		if err != nil {
			return nil, err
		}
		switch {
		case ev.Kind == xmlstream.Close:
			return nil, errClosed
		case n.fresh != (ev.Kind == xmlstream.Open):
			return nil, &stanza.StreamError{Condition: stanza.BadFormat, Text: "a stream has one header, and begins with it"}
		case n.fresh:
			err = n.open(*ev.Header)
		case n.user != "":
			s, err = n.bindPhase(ev.Element)
		default:
			s, err = n.authPhase(ev.Element)
		}
		if err != nil || s != nil {
			return s, err
		}
	}
	return nil, &stanza.StreamError{Condition: stanza.StreamPolicyViolation, Text: "this negotiation leads nowhere"}
}

// setChannel takes what authentication must know of the connection as it is now.
func (n *negotiation) setChannel() {
	n.ch = n.t.Channel()
	n.ch.Origin = n.origin
	if n.host != nil {
		n.ch = n.host.Auth().Certified(n.ch)
	}
}

// handshake gives a TLS handshake its own time limit.
func (n *negotiation) handshake(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(n.ctx, n.srv.opts.HandshakeTimeout)
	defer cancel()
	return do(ctx)
}

// open answers a stream header (section 4.7), with the features of what comes next.
func (n *negotiation) open(h Header) error {
	serr := n.checkHeader(h)
	from := n.domain
	if from == "" {
		// Section 4.9.3.6 shows the name that the client asked for, though it is not ours.
		if from = domain(h.To); from == "" {
			from = n.srv.opts.Domain
		}
	}
	answer := n.srv.header(from, h.From)
	var features *xmlstream.Element
	if serr == nil {
		features = n.features()
		n.lang = language(h.Lang)
	}
	n.fresh = false
	if err := n.t.Open(answer, features); err != nil {
		return err
	}
	if serr != nil {
		return serr
	}
	return nil
}

func (n *negotiation) checkHeader(h Header) *stanza.StreamError {
	to := domain(h.To)
	switch {
	case !supported(h.Version):
		return &stanza.StreamError{Condition: stanza.UnsupportedVersion, Text: "the stream header's 'version' must be 1.0"}
	case to == "":
		return &stanza.StreamError{Condition: stanza.ImproperAddressing,
			Text: "the stream header's 'to' must be the domain of the account"}
	case !n.claims(h.From, to):
		return &stanza.StreamError{Condition: stanza.InvalidFrom,
			Text: "the stream header's 'from' must be the address of an account at the domain in 'to'"}
	case n.host != nil && to != n.domain:
		return &stanza.StreamError{Condition: stanza.StreamNotAuthorized,
			Text: "the stream header's 'to' must stay the same when the stream is restarted"}
	case n.host != nil:
		return nil
	}
	host := n.srv.opts.Hosts.Host(to)
	if host == nil {
		return &stanza.StreamError{Condition: stanza.HostUnknown}
	}
	n.host, n.domain = host, strings.Clone(to) // the header that it is a piece of goes
	n.ch = host.Auth().Certified(n.ch)
	from := n.domain // kept for as long as the connection: not as a part of n
	n.from.Store(&from)
	return nil
}

// claims notes who the client says it is. It is false when that is nobody of the domain ("the server SHOULD respond with an
// invalid-from error", XEP-0388); what is no address at all says nothing.
func (n *negotiation) claims(from, domain string) bool {
	n.claimed = jid.JID{}
	if j, err := jid.Parse(from); err == nil {
		n.claimed = j.Bare().Clone()
		return j.Domain() == domain
	}
	return true
}

// supported tells whether a client's version is 1.0 or later, to which our 1.0 is the answer (section 4.7.5). Before
// 1.0 there was no SASL.
func supported(version string) bool {
	major, minor, ok := strings.Cut(version, ".")
	if !ok {
		return false
	}
	ma, err1 := strconv.ParseUint(major, 10, 31)
	_, err2 := strconv.ParseUint(minor, 10, 31)
	return err1 == nil && err2 == nil && ma >= 1
}

// header makes ours. client is the peer's 'from', which is its 'to' if it is an address (section 4.7.2).
func (s *Server) header(from, client string) Header {
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	h := Header{From: from, ID: base64.RawURLEncoding.EncodeToString(id[:]), Version: "1.0", Lang: "en"}
	if j, err := jid.Parse(client); err == nil {
		h.To = j.Bare().String()
	}
	return h
}

// language gives a language tag (RFC 5646) that may stand on every stanza of a client, "" for anything else.
func language(tag string) string {
	if len(tag) > 35 { // the longest that section 4.4.1 has people make room for
		return ""
	}
	for _, r := range tag {
		if r != '-' && !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return ""
		}
	}
	return strings.Clone(tag) // the header that it is a piece of goes
}

// mustEncrypt tells whether the client has to start TLS before it authenticates. Where there is no TLS to start,
// loopback may do without.
func (n *negotiation) mustEncrypt() bool {
	if !n.t.CanStartTLS() && n.t.Info().Transport != "tcp" {
		return n.srv.WebNeedsTLS(n.ch)
	}
	return n.srv.opts.RequireTLS && !n.ch.Secure && !(n.ch.Loopback && !n.t.CanStartTLS())
}

// WebNeedsTLS tells whether a client over HTTP, whose transport has no TLS to start, may not sign in as it has come, nor use
// a session that was made for it.
func (s *Server) WebNeedsTLS(ch auth.Channel) bool {
	return s.opts.RequireTLS && !s.opts.ProxiedTLS && !ch.Secure && !ch.Loopback
}

// features lists what the client may do next (section 4.3.2).
func (n *negotiation) features() *xmlstream.Element {
	f := xmlstream.New(ns.Stream, "features")
	if n.user != "" {
		return f.Append(xmlstream.New(ns.Bind, "bind"),
			xmlstream.New(ns.Session, "session").Append(xmlstream.New(ns.Session, "optional")),
			management()).
			Append(n.always()...)
	}
	if n.t.CanStartTLS() {
		tls := xmlstream.New(ns.TLS, "starttls")
		if n.mustEncrypt() {
			tls.Append(xmlstream.New(ns.TLS, "required"))
		}
		f.Append(tls)
	}
	if !n.mustEncrypt() {
		f.Append(n.mechanisms()...)
	}
	f.Append(n.registration()...)
	return f.Append(limits(n.srv.opts.PreAuth))
}

// always lists what holds for a client that has authenticated, whether it has a resource or not.
func (n *negotiation) always() []*xmlstream.Element {
	features := []*xmlstream.Element{limits(n.srv.opts.Limits)}
	if n.srv.opts.Features != nil {
		features = append(features, n.srv.opts.Features(n.domain)...)
	}
	return features
}

// mechanisms lists the SASL mechanisms, in both profiles, and what their -PLUS forms can be bound to (XEP-0440).
func (n *negotiation) mechanisms() (features []*xmlstream.Element) {
	if names := n.host.Auth().Mechanisms(n.ch); len(names) > 0 {
		features = append(features, list(ns.SASL, "mechanisms", names), n.authentication(names))
	}
	if types := n.host.Auth().ChannelBindings(n.ch); len(types) > 0 {
		bindings := xmlstream.New(ns.SASLCB, "sasl-channel-binding")
		for _, typ := range types {
			bindings.Append(xmlstream.New(ns.SASLCB, "channel-binding", "type", typ))
		}
		features = append(features, bindings)
	}
	return features
}

// list makes a list of mechanisms.
func list(space, local string, names []string) *xmlstream.Element {
	el := xmlstream.New(space, local)
	for _, name := range names {
		el.Append(xmlstream.New(space, "mechanism").AppendText(name))
	}
	return el
}

// limits tells clients how large an element may be (XEP-0478).
func limits(l xmlstream.Limits) *xmlstream.Element {
	return xmlstream.New(ns.Limits, "limits").
		Append(xmlstream.New(ns.Limits, "max-bytes").AppendText(strconv.Itoa(l.Bytes)))
}

// authPhase takes an element of a client that has not authenticated (section 4.9.3.12).
func (n *negotiation) authPhase(el *xmlstream.Element) (Session, error) {
	switch {
	case el.Space == ns.SASL2:
		return n.sasl2(el)
	case n.wish != nil: // XEP-0388: "Servers MUST disconnect Clients immediately if any other traffic is received"
	case el.Space == ns.SASL:
		return nil, n.sasl(el)
	case el.Is(ns.TLS, "starttls"):
		return nil, n.startTLS()
	case n.exchange == nil && asksToRegister(el):
		return nil, n.register(el)
	}
	return nil, &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
}

// startTLS does section 5.4.2 and what follows.
func (n *negotiation) startTLS() error {
	if !n.t.CanStartTLS() || n.exchange != nil {
		return n.refuseTLS()
	}
	err := n.handshake(func(ctx context.Context) error {
		return n.t.StartTLS(ctx, xmlstream.New(ns.TLS, "proceed"))
	})
	if errors.Is(err, ErrInjection) {
		n.log().Warn("TLS refused", "reason", err)
		return n.refuseTLS()
	}
	if err != nil {
		return err
	}
	n.setChannel()
	n.fresh = true // section 5.4.3.3
	return nil
}

// refuseTLS is section 5.4.2.2: the failure, and the end of the stream.
func (n *negotiation) refuseTLS() error {
	if err := n.t.Write(xmlstream.New(ns.TLS, "failure")); err != nil {
		return err
	}
	return errClosed
}
