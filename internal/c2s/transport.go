package c2s

import (
	"context"

	"rollcall/internal/auth"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Transport carries one client's stream: TCP (RFC 6120 section 4), WebSocket (RFC 7395), or BOSH (XEP-0206). It knows
// how the stream's parts look on its wire and nothing of what they mean.
//
// Next, Handshake, StartTLS, Restart, SetLimits and Close are called by the goroutine that owns the connection. The
// writing methods may be called by others; each part is written whole. A write that the peer does not take fails
// after the transport's write deadline, and after a failure nothing more is written.
type Transport interface {
	// Handshake does what comes before the first stream, as TLS on a port of its own. ctx bounds it.
	Handshake(ctx context.Context) error
	// Next waits for the next event. The error is io.EOF when the peer went away without closing its stream; a
	// *xmlstream.SyntaxError or *stanza.StreamError when what it sent breaks the rules and it is to be told; and
	// that of the network otherwise. End and Abort unblock it, End within 2 seconds.
	Next() (Event, error)
	// SetLimits bounds the elements that Next reads from now on.
	SetLimits(xmlstream.Limits)
	// Measure has every byte that is read from now on counted by m. It is called once, before anything is read, or never.
	Measure(m *Meter)
	// Restart says that the peer begins a new stream now, after SASL: the next event is an Open.
	Restart()

	// Open answers the peer's stream header with ours, and the features, which are nil when an error follows.
	Open(h Header, features *xmlstream.Element) error
	// Write sends elements of the negotiation, in order, with as few writes as may be.
	Write(els ...*xmlstream.Element) error
	// Send sends stanzas, in order, with as few writes as may be.
	Send(ws []stanza.Wire) error

	// CanStartTLS tells whether StartTLS may be called: a certificate is there, and the connection is not yet secure.
	CanStartTLS() bool
	// StartTLS sends proceed, does the handshake, which ctx bounds, and begins a new stream. It refuses to when the
	// peer has sent anything behind its request, which an attacker could have put there: then the error is
	// ErrInjection and nothing was sent.
	StartTLS(ctx context.Context, proceed *xmlstream.Element) error

	// End closes our side of the stream: h if the stream has no header of ours yet (RFC 6120 section 4.9.1.2), the
	// stream error if serr is not nil, the closing tag. It takes 2 seconds at most. Only the first call of End or
	// Abort counts.
	End(h Header, serr *stanza.StreamError)
	// Abort cuts the connection without a word.
	Abort()
	// Close releases everything. After End it first lets the peer close its side, for 2 seconds at most.
	Close()

	// Channel describes the connection as authentication wants to know it. Valid until StartTLS.
	Channel() auth.Channel
	// Info describes the connection for logs and operators.
	Info() session.ConnInfo
}

// Header is what a stream header says (RFC 6120 section 4.7): the attributes of <stream:stream>, of <open/> in
// WebSocket, of the first <body/> in BOSH.
type Header struct {
	From, To, ID, Version, Lang string
}

// HeaderOf reads the attributes of a peer's header.
func HeaderOf(el *xmlstream.Element) *Header {
	return &Header{From: el.Attr("from"), To: el.Attr("to"), ID: el.Attr("id"), Version: el.Attr("version"), Lang: el.Lang()}
}

// Event is something that the peer sent: a stream header (Open), a whole element (Stanza), or the end of its stream
// (Close).
type Event struct {
	Kind    xmlstream.Kind
	Header  *Header            // of Open
	Element *xmlstream.Element // of Stanza
}
