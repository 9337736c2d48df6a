package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
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

// WebhookKey returns the key of a secret in the form of Standard Webhooks: "whsec_", then base64 of "between 24 bytes (192
// bits) and 64 bytes (512 bits)". The secret itself is never part of the error.
func WebhookKey(s Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(string(s), "whsec_")
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`is no secret for webhooks: it is "whsec_" and the base64 of 24 to 64 random bytes, ` +
			`for example the output of: echo "whsec_$(openssl rand -base64 32)"`)
	}
	return key, nil
}

func checkWebhookSecret(s string) error {
	_, err := WebhookKey(Secret(s))
	return err
}

// checkDatabaseURL says what is wrong with a database URL, which is not in the message either.
func checkDatabaseURL(s string) error {
	if u, err := url.Parse(s); err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		return nil
	}
	return errors.New(`is no URL like "postgres://user:password@host/database"; write characters other than letters and digits ` +
		"in a password as %XX, or leave it empty for SQLite in data_dir")
}
