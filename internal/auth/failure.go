package auth

// The conditions of SASL failures (RFC 6120 section 6.5), all of them. Those that this package does not
// produce are for the edges (aborted, incorrect-encoding) and for sources of credentials
// (account-disabled, credentials-expired).
const (
	Aborted              = "aborted"
	AccountDisabled      = "account-disabled"
	CredentialsExpired   = "credentials-expired"
	EncryptionRequired   = "encryption-required"
	IncorrectEncoding    = "incorrect-encoding"
	InvalidAuthzid       = "invalid-authzid"
	InvalidMechanism     = "invalid-mechanism"
	MalformedRequest     = "malformed-request"
	MechanismTooWeak     = "mechanism-too-weak"
	NotAuthorized        = "not-authorized"
	TemporaryAuthFailure = "temporary-auth-failure"
)

// A Failure is why somebody was not signed in. Condition and Text may be told to the client; Reason and Err are for the
// log. None of them has a secret in it, nor anything that tells whether a user exists.
type Failure struct {
	Condition string // one of the constants
	Text      string // English, for people; "" when the condition says it all
	Reason    string // why what the client showed proves nothing; "" when the condition says all that there is
	Err       error  // what went wrong on our side, with temporary-auth-failure
}

// Error is for the log.
func (f *Failure) Error() string {
	s := "auth: " + f.Condition
	if f.Text != "" {
		s += ": " + f.Text
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap gives Err.
func (f *Failure) Unwrap() error { return f.Err }

// errNotAuthorized is the answer to a wrong password, to a user who does not exist, and to a name that no
// user can have: they must look the same.
var errNotAuthorized = &Failure{Condition: NotAuthorized, Text: "wrong username or password"}

// notAuthorized is errNotAuthorized with what an ErrWrong says for the log.
func notAuthorized(err error) *Failure {
	f := *errNotAuthorized
	f.Reason = reasonOf(err)
	return &f
}

// malformed is the answer to a message against the mechanism's grammar.
func malformed(text string) *Failure {
	return &Failure{Condition: MalformedRequest, Text: text}
}

// temporary is the answer when something on our side does not work: "not-authorized" would make clients
// throw the password away.
func temporary(err error) *Failure {
	return &Failure{Condition: TemporaryAuthFailure, Text: "try again later", Err: err}
}
