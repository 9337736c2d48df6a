package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	const ok = ""
	long := strings.Repeat("a", 1023)
	tests := []struct{ in, want, user string }{
		{"\x00john\x00pencil", ok, "john"},
		{"\x00JOHN\x00pencil", ok, "john"}, // RFC 7622: names have one case
		{"\x00ｊｏｈｎ\x00pencil", ok, "john"},
		{"\x00john\x00pen\u00adcil", ok, "john"}, // RFC 4013 section 2.1: a soft hyphen is nothing

		{"\x00john\x00Pencil", NotAuthorized, ""},
		{"\x00john\x00pencil ", NotAuthorized, ""},
		{"\x00john\x00pencil\x07", NotAuthorized, ""},
		{"\x00john\x00\U0001F511", NotAuthorized, ""},
		{"\x00jane\x00pencil", NotAuthorized, ""},
		{"\x00john@localhost\x00pencil", NotAuthorized, ""},
		{"\x00jo hn\x00pencil", NotAuthorized, ""},
		{"\x00" + long + "\x00pencil", NotAuthorized, ""},
		{"\x00" + long + long + "\x00pencil", NotAuthorized, ""},
		{"\x00john\x00" + long, NotAuthorized, ""},

		{"", MalformedRequest, ""},
		{"\x00", MalformedRequest, ""},
		{"\x00\x00", MalformedRequest, ""},
		{"john\x00pencil", MalformedRequest, ""},
		{"\x00john\x00", MalformedRequest, ""},
		{"\x00\x00pencil", MalformedRequest, ""},
		{"\x00john\x00pencil\x00", MalformedRequest, ""},
		{"\x00john\x00pencil\x00x", MalformedRequest, ""},
		{"\x00john\x00pencil\xff", MalformedRequest, ""},
		{"\x00jo\xffhn\x00pencil", MalformedRequest, ""},
		{"\xff\x00john\x00pencil", MalformedRequest, ""},
		{"\x00john\x00" + strings.Repeat("a", maxMessage), MalformedRequest, ""},
	}
	s := newServer(t, john())
	for _, test := range tests {
		x, out, done, err := say(t, s, "PLAIN", secure, test.in)
		if test.want == ok {
			if err != nil || !done || out != "" || x.Username() != test.user {
				t.Errorf("%.40q: %q, %v, %v, user %q", test.in, out, done, err, x.Username())
			}
			continue
		}
		f := wantFailure(t, err, test.want)
		if done || x.Username() != "" {
			t.Errorf("%.40q: signed in", test.in)
		}
		if strings.Contains(f.Error(), "pencil") || len(f.Error()) > 200 {
			t.Errorf("%.40q: the error %q has too much in it", test.in, f)
		}
		if test.want == NotAuthorized && f.Text != errNotAuthorized.Text {
			t.Errorf("%.40q: %q tells more than others", test.in, f.Text)
		}
	}
}

func TestOpen(t *testing.T) {
	s := newServer(t, Open{})
	for _, in := range []string{"\x00john\x00x", "john@localhost\x00John\x00" + strings.Repeat("é", 500)} {
		x, _, done, err := say(t, s, "PLAIN", loopback, in)
		if err != nil || !done || x.Username() != "john" {
			t.Errorf("%.40q: %v, %v, user %q", in, done, err, x.Username())
		}
	}
	for in, want := range map[string]string{
		"\x00john\x00":      MalformedRequest,
		"\x00jo hn\x00x":    NotAuthorized,
		"jane\x00john\x00x": InvalidAuthzid,
		"\x00john\x00" + strings.Repeat("a", 1024): NotAuthorized,
	} {
		_, _, _, err := say(t, s, "PLAIN", loopback, in)
		wantFailure(t, err, want)
	}
}

// Attack case 17 (b): nobody acts as somebody else, with any mechanism.
func TestAuthorizationIdentity(t *testing.T) {
	s := newServer(t, john())
	for authzid, want := range map[string]string{
		"john@localhost":              "",
		"john":                        "",
		"JOHN@LocalHost":              "",
		"jane@localhost":              InvalidAuthzid,
		"jane":                        InvalidAuthzid,
		"john@example.com":            InvalidAuthzid,
		"john@localhost.":             "", // RFC 7622 section 3.2: the final dot is not part of the name
		"john@localhost/r":            InvalidAuthzid,
		"localhost":                   InvalidAuthzid,
		"@localhost":                  InvalidAuthzid,
		"john@":                       InvalidAuthzid,
		"admin@localhost":             InvalidAuthzid,
		"john@localhost\n":            InvalidAuthzid,
		strings.Repeat("a", 5000):     InvalidAuthzid,
		"john@localhost@localhost":    InvalidAuthzid,
		"john@localhost,n=admin":      InvalidAuthzid,
		"*":                           InvalidAuthzid,
		"john@xn--localhost-":         InvalidAuthzid,
		"\u212aohn@localhost":         InvalidAuthzid,
		"j\u043ehn@localhost":         InvalidAuthzid, // Cyrillic o
		"john\u200b@localhost":        InvalidAuthzid,
		"ｊｏｈｎ@localhost":              "",
		"john@localhost\u3002example": InvalidAuthzid,
	} {
		escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(authzid)
		messages := map[string]string{"PLAIN": authzid + "\x00john\x00pencil"}
		for _, name := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
			messages[name] = "n,a=" + escaped + ",n=john,r=abc"
			messages[name+"-PLUS"] = "p=tls-exporter,a=" + escaped + ",n=john,r=abc"
		}
		for mechanism, message := range messages {
			_, _, _, err := say(t, s, mechanism, bound, message)
			if want == "" {
				if err != nil {
					t.Errorf("%s, %q: %v", mechanism, authzid, err)
				}
				continue
			}
			wantFailure(t, err, want)
		}
	}
}

// Attack case 23: what no password can be costs nothing.
func TestNoHashingForNothing(t *testing.T) {
	s := newServer(t, john())
	work := count(s)
	for _, password := range []string{
		strings.Repeat("a", 1<<20), strings.Repeat("a", 1024), strings.Repeat("a", 129), strings.Repeat("é", 129), "\x07", "\xff", ""} {
		_, _, _, err := say(t, s, "PLAIN", secure, "\x00john\x00"+password)
		var f *Failure
		if !errors.As(err, &f) || f.Condition != NotAuthorized && f.Condition != MalformedRequest {
			t.Errorf("%d bytes: %v", len(password), err)
		}
	}
	if len(*work) > 0 {
		t.Errorf("work was done: %v", *work)
	}
	// The longest that one may have is still looked at.
	_, _, _, err := say(t, s, "PLAIN", secure, "\x00john\x00"+strings.Repeat("é", 128))
	wantFailure(t, err, NotAuthorized)
	if len(*work) == 0 {
		t.Error("no work for a possible password")
	}
}

// As many passwords are hashed at a time as there are slots; who has to wait does so no longer than ctx.
func TestHashingIsBounded(t *testing.T) {
	s := newServer(t, john())
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, err := s.Start("PLAIN", secure)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = x.Next(ctx, []byte("\x00john\x00pencil"))
	wantFailure(t, err, TemporaryAuthFailure)
	for range cap(s.slots) {
		<-s.slots
	}
	for range 2 * cap(s.slots) { // each gives its slot back
		if _, _, done, err := say(t, s, "PLAIN", secure, "\x00john\x00pencil"); err != nil || !done {
			t.Fatal(done, err)
		}
	}
}
