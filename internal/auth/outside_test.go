package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var until = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// outside knows john by "pencil", and his token "jwt".
func outside() Outside {
	return Outside{
		Check: func(_ context.Context, username, password string) (*Lease, error) {
			switch {
			case password == "down":
				return nil, errors.New("the service is down")
			case username == "john" && password == "pencil":
				return nil, nil
			case password == "late":
				return nil, Wrong("it has expired")
			}
			return nil, ErrWrong
		},
		Bearer: func(_ context.Context, token string) (string, *Lease, error) {
			switch token {
			case "jwt":
				return "john", &Lease{Until: until}, nil
			case "down":
				return "", nil, errors.New("the keys cannot be had")
			case "late":
				return "", nil, Wrong("it has expired")
			}
			return "", nil, ErrWrong
		},
		Marks: true,
	}
}

func TestOutsidePlain(t *testing.T) {
	s := newServer(t, outside())
	x, err := signInWith(t, s, "PLAIN", "John", "pencil")
	if err != nil || x.Username() != "john" || x.Credential() == 0 {
		t.Errorf("%v %+v", err, x)
	}
	_, err = signInWith(t, s, "PLAIN", "john", "crayon")
	one := wantFailure(t, err, NotAuthorized)
	_, err = signInWith(t, s, "PLAIN", "jane", "pencil")
	if two := wantFailure(t, err, NotAuthorized); one.Error() != two.Error() {
		t.Errorf("a known user gets %v, an unknown one %v", one, two)
	}
	_, err = signInWith(t, s, "PLAIN", "john", "down")
	wantFailure(t, err, TemporaryAuthFailure)
	_, _, _, err = say(t, s, "PLAIN", secure, "jane\x00john\x00pencil")
	wantFailure(t, err, InvalidAuthzid)
	for _, mechanism := range []string{"PLAIN", "OAUTHBEARER"} { // attack cases 14 and 15
		_, err = s.Start(mechanism, plainChannel)
		wantFailure(t, err, EncryptionRequired)
	}
	if got := strings.Join(s.Mechanisms(secure), " "); got != "OAUTHBEARER PLAIN" {
		t.Errorf("offered %s", got)
	}
}

// One-use tokens are taken here too, and shown to nobody else.
func TestOutsideTokens(t *testing.T) {
	o := outside()
	check := o.Check
	o.Check = func(ctx context.Context, username, password string) (*Lease, error) {
		if strings.HasPrefix(password, tokenPrefix) {
			t.Error("the token was shown")
		}
		return check(ctx, username, password)
	}
	s := newServer(t, o, withTokens(&jar{}))
	token := makeToken(t, s, "jane", time.Minute)
	_, err := signInWith(t, s, "PLAIN", "john", token.Text)
	wantFailure(t, err, NotAuthorized)
	if x, err := signInWith(t, s, "PLAIN", "jane", token.Text); err != nil || x.Username() != "jane" || x.Lease() == nil {
		t.Errorf("%+v %v", x, err)
	}
	_, err = signInWith(t, s, "PLAIN", "jane", token.Text)
	wantFailure(t, err, NotAuthorized)
}

func TestOAuthBearer(t *testing.T) {
	s := newServer(t, outside())
	for _, c := range []struct{ in, condition string }{ // condition "": signed in
		{"n,,\x01auth=Bearer jwt\x01\x01", ""},
		{"n,a=john@localhost,\x01host=localhost\x01port=5222\x01auth=Bearer jwt\x01\x01", ""},
		{"y,a=john,\x01auth=bearer jwt\x01\x01", ""},
		{"n,a=jane@localhost,\x01auth=Bearer jwt\x01\x01", InvalidAuthzid},
		{"n,a=john@evil.example,\x01auth=Bearer jwt\x01\x01", InvalidAuthzid},
		{"n,,\x01auth=Bearer down\x01\x01", TemporaryAuthFailure},
		{"p=tls-exporter,,\x01auth=Bearer jwt\x01\x01", MalformedRequest},
		{"n,,\x01\x01", MalformedRequest},
		{"n,,\x01auth=Basic jwt\x01\x01", MalformedRequest},
		{"n,,\x01auth=Bearer jwt\x01auth=Bearer jwt\x01\x01", MalformedRequest},
		{"n,,\x01auth=Bearer jwt", MalformedRequest},
		{"n,a=jo=hn,\x01auth=Bearer jwt\x01\x01", MalformedRequest},
		{"n,m=x,,\x01auth=Bearer jwt\x01\x01", MalformedRequest},
		{"auth=Bearer jwt", MalformedRequest},
		{"\x01", MalformedRequest},
		{"n,,\x01auth=Bearer \xff\x01\x01", MalformedRequest},
	} {
		x, out, done, err := say(t, s, "OAUTHBEARER", secure, c.in)
		if c.condition != "" {
			wantFailure(t, err, c.condition)
			continue
		}
		if err != nil || !done || out != "" || x.Username() != "john" || x.Lease() == nil || x.Lease().Until != until {
			t.Errorf("%q: %q %v %v", c.in, out, done, err)
		}
	}
	// RFC 7628 section 3.2.2
	x, out, done, err := say(t, s, "OAUTHBEARER", secure, "n,,\x01auth=Bearer wrong\x01\x01")
	if err != nil || done || out != `{"status":"invalid_token"}` {
		t.Fatalf("%q %v %v", out, done, err)
	}
	_, _, err = x.Next(t.Context(), []byte("\x01"))
	wantFailure(t, err, NotAuthorized)
}

// Why a token is not believed is for the log; the client is answered as always.
func TestReasonIsForTheLog(t *testing.T) {
	s := newServer(t, outside())
	try := func(mechanism, password, in string) (out string, _ *Failure) {
		x, out, done, err := say(t, s, mechanism, secure, fmt.Sprintf(in, password))
		if err == nil && !done {
			_, _, err = x.Next(t.Context(), []byte("\x01"))
		}
		return out, wantFailure(t, err, NotAuthorized)
	}
	for mechanism, in := range map[string]string{"PLAIN": "\x00john\x00%s", "OAUTHBEARER": "n,,\x01auth=Bearer %s\x01\x01"} {
		out, late := try(mechanism, "late", in)
		usual, wrong := try(mechanism, "wrong", in)
		if late.Reason != "it has expired" || wrong.Reason != "" {
			t.Errorf("%s: the reasons are %q and %q", mechanism, late.Reason, wrong.Reason)
		}
		if out != usual || late.Text != wrong.Text {
			t.Errorf("%s: the client gets %q %q, and usually %q %q", mechanism, out, late.Text, usual, wrong.Text)
		}
	}
}

// A token is longer than a password may be.
func TestLongToken(t *testing.T) {
	o := outside()
	long := strings.Repeat("x", 4000)
	o.Check = func(_ context.Context, _, password string) (*Lease, error) {
		if password != long {
			return nil, ErrWrong
		}
		return nil, nil
	}
	if _, err := signInWith(t, newServer(t, o), "PLAIN", "john", long); err != nil {
		t.Error(err)
	}
	o.Bearer = nil
	_, err := signInWith(t, newServer(t, o), "PLAIN", "john", long)
	wantFailure(t, err, NotAuthorized)
}

// rounds is a Source whose passwords are all hashed as often.
type rounds struct{ users }

func (rounds) Iterations() int { return 4096 }

// Attack case 21: who does not exist looks as those do whom the service knows.
func TestUnknownUserHasTheSourcesIterations(t *testing.T) {
	s := newServer(t, Accounts{Source: rounds{users{}}}, noHash)
	if _, first, _, err := say(t, s, "SCRAM-SHA-256", secure, "n,,n=jane,r=abc"); err != nil || !strings.HasSuffix(first, ",i=4096") {
		t.Errorf("%q %v", first, err)
	}
}
