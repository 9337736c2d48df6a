package config

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret is a token or password. It shows itself as "[secret]" wherever it is printed, logged or marshalled;
// string(s) reveals it.
type Secret string

const hidden = "[secret]"

// String returns "[secret]", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// Format hides the secret from every verb of package fmt, %#v and %d included.
func (s Secret) Format(f fmt.State, _ rune) {
	// A fmt.State keeps its own errors.
	_, _ = io.WriteString(f, s.String())
}

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// checkToken says what is wrong with a token that is to travel in an HTTP header: "1*( ALPHA / DIGIT / "-" / "." /
// "_" / "~" / "+" / "/" ) *"="" (RFC 6750 section 2.1). We allow every visible ASCII character, but nothing that
// could end the header. The token itself is never part of the message.
func checkToken(s string) error {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return fmt.Errorf("has a space, a control character or a letter outside ASCII at position %d; "+
				"a token is visible ASCII only, for example the output of: openssl rand -base64 32", i+1)
		}
	}
	return nil
}
