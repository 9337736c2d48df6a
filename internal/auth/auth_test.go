package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// users is a Source in memory.
type users map[string]Credentials

func (u users) Credentials(_ context.Context, username string) (Credentials, error) {
	c, ok := u[username]
	if !ok {
		return Credentials{}, ErrUnknownUser
	}
	return c, nil
}

// failing is a Source that does not work.
type failing struct{ err error }

func (f failing) Credentials(context.Context, string) (Credentials, error) {
	return Credentials{}, f.err
}

// pencil are the credentials for the password of RFC 5802's example; made once, because that takes a while.
var pencil = sync.OnceValue(func() Credentials {
	c, err := MakeCredentials("pencil")
	if err != nil {
		panic(err)
	}
	return c
})

// john is the method of a host with one user.
func john() Accounts { return Accounts{Source: users{"john": pencil()}, Plain: true} }

func newServer(t testing.TB, m Method, change ...func(*Config)) *Server {
	t.Helper()
	cfg := Config{Host: "localhost", Method: m}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func noHash(c *Config) { c.OmitDowngradeHash = true }

var (
	plainChannel = Channel{}
	loopback     = Channel{Loopback: true}
	secure       = Channel{Secure: true}
	bound        = Channel{Secure: true, Exporter: []byte("exported keying material"), EndPoint: []byte("hash of the certificate")}
)

// wantFailure checks that err is a *Failure of a condition, and returns it.
func wantFailure(t testing.TB, err error, condition string) *Failure {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a *Failure", err)
	}
	if f.Condition != condition {
		t.Errorf("got %v, want %s", f, condition)
	}
	return f
}

// say runs an exchange with given messages, and returns the last answer.
func say(t testing.TB, s *Server, mechanism string, ch Channel, messages ...string) (x *Exchange, out string, done bool, err error) {
	t.Helper()
	x, err = s.Start(mechanism, ch)
	if err != nil {
		return nil, "", false, err
	}
	for i, m := range messages {
		var answer []byte
		answer, done, err = x.Next(t.Context(), []byte(m))
		out = string(answer)
		if (done || err != nil) && i < len(messages)-1 {
			t.Fatalf("%s ended at message %d: done %v, %v", mechanism, i, done, err)
		}
	}
	return x, out, done, err
}

func TestMechanisms(t *testing.T) {
	const (
		plus  = "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS "
		scram = "SCRAM-SHA-256 SCRAM-SHA-1"
	)
	noPlain := john()
	noPlain.Plain = false
	exporter, endPoint := Channel{Secure: true, Exporter: []byte("x")}, Channel{Secure: true, EndPoint: []byte("x")}
	tests := []struct {
		name       string
		method     Method
		cleartext  bool
		ch         Channel
		mechanisms string
		bindings   string
	}{
		{"accounts, TLS", noPlain, false, secure, scram, ""},
		{"accounts, bound", noPlain, false, bound, plus + scram, "tls-exporter tls-server-end-point"},
		{"accounts, exporter", noPlain, false, exporter, plus + scram, "tls-exporter"},
		{"accounts, certificate", noPlain, false, endPoint, plus + scram, "tls-server-end-point"},
		{"accounts, no TLS", noPlain, false, plainChannel, "", ""},
		{"accounts, no TLS, loopback", noPlain, false, loopback, "", ""},
		{"accounts, no TLS allowed", noPlain, true, plainChannel, scram, ""},
		{"accounts, binding data without TLS", noPlain, true, Channel{Exporter: []byte("x")}, scram, ""},
		{"plain, TLS", john(), false, secure, scram + " PLAIN", ""},
		{"plain, bound", john(), false, bound, plus + scram + " PLAIN", "tls-exporter tls-server-end-point"},
		{"plain, no TLS", john(), false, loopback, "", ""},
		{"plain, no TLS allowed", john(), true, plainChannel, scram, ""},
		{"plain, no TLS allowed, loopback", john(), true, loopback, scram + " PLAIN", ""},
		{"open", Open{}, false, loopback, "PLAIN", ""},
		{"open, TLS", Open{}, false, Channel{Secure: true, Loopback: true, Exporter: []byte("x")}, "PLAIN", ""},
		{"open, from elsewhere", Open{}, true, plainChannel, "", ""},
		{"open, from elsewhere, TLS", Open{}, true, bound, "", ""},
		{"anonymous", Anonymous{}, false, secure, "ANONYMOUS", ""},
		{"anonymous, bound", Anonymous{}, false, bound, "ANONYMOUS", ""},
		{"anonymous, no TLS", Anonymous{}, false, loopback, "", ""},
		{"anonymous, no TLS allowed", Anonymous{}, true, plainChannel, "ANONYMOUS", ""},
	}
	// Attack case 18: what is not advertised is refused, whatever it is.
	known := strings.Fields("EXTERNAL " + plus + scram + " PLAIN ANONYMOUS SCRAM-SHA-512 SCRAM-SHA-512-PLUS DIGEST-MD5 CRAM-MD5 " +
		"LOGIN OAUTHBEARER X-OAUTH2 HT-SHA-256-ENDP GSSAPI plain SCRAM-SHA-1- SCRAM-SHA-256\x00 \u212a")
	known = append(known, "", " PLAIN", strings.Repeat("A", 1<<16))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, test.method, func(c *Config) { c.AllowUnencrypted = test.cleartext })
			offered := s.Mechanisms(test.ch)
			if got := strings.Join(offered, " "); got != test.mechanisms {
				t.Errorf("mechanisms %q, want %q", got, test.mechanisms)
			}
			if got := strings.Join(s.ChannelBindings(test.ch), " "); got != test.bindings {
				t.Errorf("channel bindings %q, want %q", got, test.bindings)
			}
			all := make([]string, len(s.mechanisms))
			for i, m := range s.mechanisms {
				all[i] = m.name
			}
			for _, name := range known {
				x, err := s.Start(name, test.ch)
				if slices.Contains(offered, name) {
					if err != nil || x == nil {
						t.Errorf("%s is offered and refused: %v", name, err)
					}
					continue
				}
				want := InvalidMechanism
				if _, open := test.method.(Open); slices.Contains(all, name) && name != "EXTERNAL" && !test.ch.Secure && !open &&
					(!test.cleartext || name == "PLAIN") {
					want = EncryptionRequired
				}
				if f := wantFailure(t, err, want); len(f.Error()) > 300 {
					t.Errorf("an error of %d bytes", len(f.Error()))
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]struct {
		cfg  Config
		want string
	}{
		"no host":                 {Config{Method: Open{}}, "jid: "},
		"host not canonical":      {Config{Host: "LocalHost", Method: Open{}}, `which is "localhost"`},
		"no method":               {Config{Host: "localhost"}, "no method for localhost"},
		"accounts without source": {Config{Host: "localhost", Method: Accounts{}}, "without a source"},
		"short secret":            {Config{Host: "localhost", Method: Open{}, Secret: make([]byte, 15)}, "less than 16 bytes"},
		"empty secret":            {Config{Host: "localhost", Method: Open{}, Secret: []byte{}}, "less than 16 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := New(test.cfg)
			if s != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want …%s…", err, test.want)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	s := newServer(t, Anonymous{})
	seen := map[string]bool{}
	sign := func(in []byte) string {
		t.Helper()
		x, err := s.Start("ANONYMOUS", secure)
		if err != nil {
			t.Fatal(err)
		}
		if x.Username() != "" {
			t.Errorf("a name before the first message: %q", x.Username())
		}
		out, done, err := x.Next(t.Context(), in)
		if err != nil || !done || out != nil {
			t.Fatalf("got %q, %v, %v", out, done, err)
		}
		return x.Username()
	}
	// XEP-0175's client sends no initial response; what it says of itself is not used.
	inputs := [][]byte{nil, {}, []byte("sirhc"), []byte("john@localhost"), []byte("\xff\x00")}
	for i := range 200 {
		name := sign(inputs[i%len(inputs)])
		// Attack case 25: 26 digits of base 32 are 130 bits.
		if len(name) < 26 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Fatalf("%q is not 26 digits of base 32", name)
		}
		if seen[name] {
			t.Fatalf("%q twice", name)
		}
		seen[name] = true
	}
}

func TestExchangeIsOverAtItsEnd(t *testing.T) {
	open := newServer(t, Open{})
	x, _, done, err := say(t, open, "PLAIN", loopback, "\x00john\x00secret")
	if err != nil || !done {
		t.Fatal(done, err)
	}
	_, _, err = x.Next(t.Context(), []byte("\x00jane\x00secret"))
	wantFailure(t, err, MalformedRequest)
	if x.Username() != "john" {
		t.Errorf("the user became %q", x.Username())
	}

	x, _, _, err = say(t, open, "PLAIN", loopback, "nonsense")
	wantFailure(t, err, MalformedRequest)
	_, done, err = x.Next(t.Context(), []byte("\x00john\x00secret"))
	if wantFailure(t, err, MalformedRequest); done || x.Username() != "" {
		t.Error("a failed exchange went on")
	}
}

// A client may leave out the initial response (RFC 6120 section 6.4.2): it is asked with an empty challenge.
func TestWithoutInitialResponse(t *testing.T) {
	s := newServer(t, john())
	for _, name := range s.Mechanisms(bound) {
		x, err := s.Start(name, bound)
		if err != nil {
			t.Fatal(err)
		}
		out, done, err := x.Next(t.Context(), nil)
		if out == nil || len(out) != 0 || done || err != nil {
			t.Errorf("%s: %q, %v, %v; want an empty challenge", name, out, done, err)
		}
		// Then the client must say something.
		_, _, err = x.Next(t.Context(), nil)
		wantFailure(t, err, MalformedRequest)
	}
	x, err := s.Start("PLAIN", bound)
	if err != nil {
		t.Fatal(err)
	}
	// "=" is a response, an empty one.
	_, _, err = x.Next(t.Context(), []byte{})
	wantFailure(t, err, MalformedRequest)
}

// A source that fails is no wrong password.
func TestSourceErrors(t *testing.T) {
	down := errors.New("database is locked")
	disabled := &Failure{Condition: AccountDisabled, Text: "ask your administrator"}
	damaged := pencil()
	damaged.SHA256.StoredKey = damaged.SHA256.StoredKey[:31]
	damaged.SHA1.Iterations = 0
	tests := map[string]struct {
		source Source
		want   string
		err    error
	}{
		"down":      {failing{fmt.Errorf("store: %w", down)}, TemporaryAuthFailure, down},
		"cancelled": {failing{context.Canceled}, TemporaryAuthFailure, context.Canceled},
		"disabled":  {failing{fmt.Errorf("store: %w", disabled)}, AccountDisabled, disabled},
		"damaged":   {users{"john": damaged}, TemporaryAuthFailure, nil},
	}
	for name, test := range tests {
		for mechanism, message := range map[string]string{
			"SCRAM-SHA-256": "n,,n=john,r=abc", "SCRAM-SHA-1": "n,,n=john,r=abc", "PLAIN": "\x00john\x00pencil"} {
			t.Run(name+" "+mechanism, func(t *testing.T) {
				s := newServer(t, Accounts{Source: test.source, Plain: true})
				_, _, _, err := say(t, s, mechanism, secure, message)
				f := wantFailure(t, err, test.want)
				if test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("%v has lost its cause", err)
				}
				if test.want == TemporaryAuthFailure && (f.Err == nil || strings.Contains(f.Text, "database")) {
					t.Errorf("text %q, cause %v: the cause is for the log alone", f.Text, f.Err)
				}
			})
		}
	}
}

// Connections share a Server.
func TestServerAtOnce(t *testing.T) {
	s := newServer(t, john())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, password := range []string{"pencil", "wrong"} {
				_, _, done, err := say(t, s, "PLAIN", secure, "\x00john\x00"+password)
				if done != (password == "pencil") || done != (err == nil) {
					t.Errorf("%s: %v, %v", password, done, err)
				}
			}
		})
	}
	wg.Wait()
}
