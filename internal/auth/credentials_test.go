package auth

import (
	"bytes"
	"strings"
	"testing"
)

func TestMakeCredentials(t *testing.T) {
	one := pencil()
	two, err := MakeCredentials("pencil")
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]struct {
		a, b Keys
		size int
	}{"SHA-1": {one.SHA1, two.SHA1, 20}, "SHA-256": {one.SHA256, two.SHA256, 32}} {
		if len(k.a.Salt) != 16 || k.a.Iterations != 10_000 || len(k.a.StoredKey) != k.size || len(k.a.ServerKey) != k.size {
			t.Errorf("%s: %+v", name, k.a)
		}
		if bytes.Equal(k.a.Salt, k.b.Salt) || bytes.Equal(k.a.StoredKey, k.b.StoredKey) {
			t.Errorf("%s: twice the same salt or key", name)
		}
	}
	if bytes.Equal(one.SHA1.Salt, one.SHA256.Salt) {
		t.Error("one salt for both hashes (XEP-0438 section 5.2: a distinct salt for each)")
	}
}

func TestMakeCredentialsRefuses(t *testing.T) {
	for password, want := range map[string]string{
		"":                            "is empty",
		"\u00ad":                      "is empty", // SASLprep maps it to nothing
		"canary\x07":                  "SASLprep",
		"canary\u0627\u0031":          "SASLprep",
		"canary\U0001F511":            "SASLprep",
		"canary\xff":                  "not UTF-8",
		strings.Repeat("canary", 22):  "longer than 128 characters",
		strings.Repeat("canaré", 22):  "longer than 128 characters",
		strings.Repeat("canary", 999): "longer than 128 characters",
	} {
		_, err := MakeCredentials(password)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want …%s…", password, err, want)
		} else if strings.Contains(err.Error(), "canar") || strings.ContainsAny(err.Error(), "\x07\u0627\U0001F511") {
			t.Errorf("%.20q: the error quotes it: %v", password, err)
		}
	}
	for _, password := range []string{"x", strings.Repeat("é", 128), " lead and trail ", "日本語"} {
		if _, err := MakeCredentials(password); err != nil {
			t.Errorf("%.20q: %v", password, err)
		}
	}
}

// The examples of RFC 4013 section 3.
func TestPreparePassword(t *testing.T) {
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX",
		"a\u00a0b": "a b", "e\u0301": "é",
	} {
		if got, err := preparePassword(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"\u0007", "\u0627\u0031"} {
		if got, err := preparePassword(in); err == nil {
			t.Errorf("%q: %q, want an error", in, got)
		}
	}
}
