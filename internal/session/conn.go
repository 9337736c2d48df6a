// Package session is a bound client (RFC 6120 section 7): the bytes that wait to be sent to it, whether it is
// available, and its end.
package session

import "rollcall/internal/stanza"

// Conn is what a session writes to: one negotiated stream, whatever its transport.
type Conn interface {
	// Send writes stanzas in order. It may block, up to the transport's own write deadline, and is called by one
	// goroutine at a time. After an error nothing more is sent.
	Send(ws []stanza.Wire) error
	// End ends the stream in good order: the stream error if serr is not nil, the closing tag, then the connection.
	// It is called by the goroutine that sent, after its last Send, or by another one when the session has gone on to
	// another connection; a Send under way then fails. It takes 2 seconds at most and unblocks the connection's reader.
	End(serr *stanza.StreamError)
	// Abort closes the connection at once, without a word; a Send under way fails. It may be called at any time, by
	// any goroutine, before End and more than once.
	Abort()
	// Info describes the connection, for logs and operators.
	Info() ConnInfo
}

// ConnInfo describes a connection.
type ConnInfo struct {
	Transport  string // "tcp", "websocket", "bosh"
	RemoteAddr string // host:port of the peer, or the address that a trusted proxy gave
	Secure     bool   // TLS, by us or, as it says, by a trusted proxy
	TLSVersion string // "TLS 1.3", or ""
	Cipher     string // the cipher suite, or ""
	Lease      *Lease // nil: the session hangs on nothing
}
