package stanza

import (
	"errors"

	"rollcall/internal/ns"
	"rollcall/internal/xmlstream"
)

// ErrorType says what the sender may do about an error (RFC 6120 section 8.3.2).
type ErrorType string

// The error types.
const (
	Auth     ErrorType = "auth"     // retry after providing credentials
	Cancel   ErrorType = "cancel"   // do not retry
	Continue ErrorType = "continue" // proceed, it was only a warning
	Modify   ErrorType = "modify"   // retry after changing the data sent
	Wait     ErrorType = "wait"     // retry after waiting
)

// Condition is a defined condition of a stanza error (RFC 6120 section 8.3.3).
type Condition string

// The defined conditions.
const (
	BadRequest            Condition = "bad-request"
	Conflict              Condition = "conflict"
	FeatureNotImplemented Condition = "feature-not-implemented"
	Forbidden             Condition = "forbidden"
	Gone                  Condition = "gone"
	InternalServerError   Condition = "internal-server-error"
	ItemNotFound          Condition = "item-not-found"
	JIDMalformed          Condition = "jid-malformed"
	NotAcceptable         Condition = "not-acceptable"
	NotAllowed            Condition = "not-allowed"
	NotAuthorized         Condition = "not-authorized"
	PolicyViolation       Condition = "policy-violation"
	RecipientUnavailable  Condition = "recipient-unavailable"
	Redirect              Condition = "redirect"
	RegistrationRequired  Condition = "registration-required"
	RemoteServerNotFound  Condition = "remote-server-not-found"
	RemoteServerTimeout   Condition = "remote-server-timeout"
	ResourceConstraint    Condition = "resource-constraint"
	ServiceUnavailable    Condition = "service-unavailable"
	SubscriptionRequired  Condition = "subscription-required"
	UndefinedCondition    Condition = "undefined-condition"
	UnexpectedRequest     Condition = "unexpected-request"
)

// defaultTypes has the type that RFC 6120 section 8.3.3 associates with each condition.
var defaultTypes = map[Condition]ErrorType{
	BadRequest: Modify, Conflict: Cancel, FeatureNotImplemented: Cancel, Forbidden: Auth, Gone: Cancel,
	InternalServerError: Cancel, ItemNotFound: Cancel, JIDMalformed: Modify, NotAcceptable: Modify,
	NotAllowed: Cancel, NotAuthorized: Auth, PolicyViolation: Modify, RecipientUnavailable: Wait, Redirect: Modify,
	RegistrationRequired: Auth, RemoteServerNotFound: Cancel, RemoteServerTimeout: Wait, ResourceConstraint: Wait,
	ServiceUnavailable: Cancel, SubscriptionRequired: Auth, UndefinedCondition: Cancel, UnexpectedRequest: Wait,
}

// Error is a stanza error (RFC 6120 section 8.3). A handler that returns one has it sent to the stanza's sender.
type Error struct {
	Type      ErrorType
	Condition Condition
	Text      string             // for people; may be empty
	App       *xmlstream.Element // an application-specific condition; may be nil
}

// NewError makes an error with the type that the condition usually has.
func NewError(c Condition, text string) *Error {
	return &Error{Type: defaultTypes[c], Condition: c, Text: text}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Text == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + e.Text
}

// Element gives the <error/> element.
func (e *Error) Element() *xmlstream.Element {
	el := xmlstream.New(ns.Client, "error", "type", string(e.Type)).
		Append(xmlstream.New(ns.Stanzas, string(e.Condition)))
	if e.Text != "" {
		el.Append(xmlstream.New(ns.Stanzas, "text").AppendText(e.Text))
	}
	return el.Append(e.App)
}

// AsError gives the stanza error to send for any error: itself when it is one, and otherwise an internal-server-error
// that says nothing of what happened inside. ok is false in that second case: the caller logs err.
func AsError(err error) (serr *Error, ok bool) {
	if errors.As(err, &serr) {
		return serr, true
	}
	return NewError(InternalServerError, ""), false
}

// StreamCondition is a defined condition of a stream error (RFC 6120 section 4.9.3).
type StreamCondition string

// The defined conditions of stream errors.
const (
	BadFormat              StreamCondition = "bad-format"
	BadNamespacePrefix     StreamCondition = "bad-namespace-prefix"
	StreamConflict         StreamCondition = "conflict"
	ConnectionTimeout      StreamCondition = "connection-timeout"
	HostGone               StreamCondition = "host-gone"
	HostUnknown            StreamCondition = "host-unknown"
	ImproperAddressing     StreamCondition = "improper-addressing"
	StreamInternalError    StreamCondition = "internal-server-error"
	InvalidFrom            StreamCondition = "invalid-from"
	InvalidNamespace       StreamCondition = "invalid-namespace"
	InvalidXML             StreamCondition = "invalid-xml"
	StreamNotAuthorized    StreamCondition = "not-authorized"
	NotWellFormed          StreamCondition = "not-well-formed"
	StreamPolicyViolation  StreamCondition = "policy-violation"
	RemoteConnectionFailed StreamCondition = "remote-connection-failed"
	Reset                  StreamCondition = "reset"
	StreamResource         StreamCondition = "resource-constraint"
	RestrictedXML          StreamCondition = "restricted-xml"
	SeeOtherHost           StreamCondition = "see-other-host"
	SystemShutdown         StreamCondition = "system-shutdown"
	StreamUndefined        StreamCondition = "undefined-condition"
	UnsupportedEncoding    StreamCondition = "unsupported-encoding"
	UnsupportedFeature     StreamCondition = "unsupported-feature"
	UnsupportedStanzaType  StreamCondition = "unsupported-stanza-type"
	UnsupportedVersion     StreamCondition = "unsupported-version"
)

// StreamError ends a stream (RFC 6120 section 4.9).
type StreamError struct {
	Condition StreamCondition
	Text      string             // for people; may be empty
	App       *xmlstream.Element // an application-specific condition; may be nil
}

// Error implements error.
func (e *StreamError) Error() string {
	if e.Text == "" {
		return "stream error " + string(e.Condition)
	}
	return "stream error " + string(e.Condition) + ": " + e.Text
}

// Element gives the <stream:error/> element.
func (e *StreamError) Element() *xmlstream.Element {
	el := xmlstream.New(ns.Stream, "error").Append(xmlstream.New(ns.Streams, string(e.Condition)))
	if e.Text != "" {
		el.Append(xmlstream.New(ns.Streams, "text").AppendText(e.Text))
	}
	return el.Append(e.App)
}
