package xmlstream

import "errors"

// Stream error conditions that the reader reports (RFC 6120 section 4.9.3).
const (
	// NotWellFormed: against the rules of XML 1.0, Namespaces in XML 1.0 or UTF-8. An undeclared prefix is one too:
	// "An XMPP entity MUST NOT accept data that is not namespace-well-formed" (section 11.3). For bytes that are not UTF-8
	// section 4.9.3.22 would have unsupported-encoding do as well; here that is kept for what declares another encoding.
	NotWellFormed = "not-well-formed"
	// RestrictedXML: a comment, processing instruction, DTD, or a reference to an entity that is not predefined
	// (section 11.1).
	RestrictedXML = "restricted-xml"
	// BadFormat: XML that cannot be processed here, as text between stanzas.
	BadFormat = "bad-format"
	// UnsupportedEncoding: the XML declaration names an encoding other than UTF-8 (section 11.6).
	UnsupportedEncoding = "unsupported-encoding"
	// PolicyViolation: a limit was exceeded.
	PolicyViolation = "policy-violation"
)

// SyntaxError says why a stream can be read no further. Condition is the name of the stream error to answer with,
// Text a sentence for it, safe to send.
type SyntaxError struct{ Condition, Text string }

func (e *SyntaxError) Error() string { return e.Condition + ": " + e.Text }

// errMore says that what is there is right as far as it goes and that more bytes are needed to tell.
var errMore = errors.New("xmlstream: more bytes needed")

func malformed(text string) error  { return &SyntaxError{NotWellFormed, text} }
func restricted(text string) error { return &SyntaxError{RestrictedXML, text} }
func excessive(text string) error  { return &SyntaxError{PolicyViolation, text} }
