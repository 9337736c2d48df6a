// Package auth is the server side of SASL (RFC 4422) as XMPP uses it (RFC 6120 section 6): who may sign in
// to a virtual host, and how that is proven. It knows nothing of streams and sockets: names and decoded
// bytes go in, bytes and a username come out.
//
// The mechanisms: SCRAM-SHA-1 and SCRAM-SHA-256 with their -PLUS forms (RFC 5802, RFC 7677), bound to TLS by
// tls-exporter (RFC 9266) or tls-server-end-point (RFC 5929), announced by XEP-0440 v1.0.0 and with the
// downgrade protection of XEP-0474 v0.5.0; PLAIN (RFC 4616); OAUTHBEARER (RFC 7628); ANONYMOUS (RFC 4505, XEP-0175 v1.2); EXTERNAL (RFC 4422
// appendix A), within this process or by a client's certificate (XEP-0178); and hashed tokens (XEP-0484, see fast.go).
//
// SCRAM's arithmetic is some lines of HMAC, so its server side is written here. That of
// github.com/xdg-go/scram 1.4.0 has no place for XEP-0474's attribute in the first message, is told the one
// channel-binding type before the client has chosen, accepts an empty nonce, cannot tell a client's fault
// from a database that is down, and quotes the expected channel-binding data in errors. Its client is what
// the tests let this server talk to.
//
// A user who does not exist is met like one who does: with a salt that never changes, the same messages and
// the same work, and is refused at the end (see decoy.go).
package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"

	"rollcall/internal/jid"
)

// A Channel is what authentication must know of a connection. Binding data is nil when there is none.
type Channel struct {
	Secure   bool   // inside TLS that ends in this process, or in a proxy that is trusted to say so
	Loopback bool   // the peer is on this machine
	Exporter []byte // tls-exporter: RFC 9266
	EndPoint []byte // tls-server-end-point: RFC 5929 section 4

	// User is the localpart of who is at the other end, when that is known without any proof of the client's: a part of
	// this process that signs somebody in. "" for whoever comes over a network.
	User string

	// Certificates are what a client has shown in its TLS handshake, its own first: it has the key, and nothing else was checked.
	Certificates []*x509.Certificate
	names        []string // localparts, of those whom they are for, see Certified

	// Origin is the network of the client, by which tries to sign in are counted; the zero value: it stands for nobody in
	// particular.
	Origin netip.Prefix
}

// Config says how users of one virtual host sign in.
type Config struct {
	Host   string // canonical domain
	Method Method // Accounts, Outside, Open or Anonymous

	// AllowUnencrypted lets users sign in outside TLS. PLAIN then still asks for TLS or loopback.
	AllowUnencrypted bool

	// Secret is what the salts of users who do not exist are derived from; at least 16 random bytes. Whoever
	// knows it can tell which users exist. When it is nil a new one is made, and so these salts change when
	// the process starts again while those of real users do not: keep one where there is a place for it.
	Secret []byte

	// OmitDowngradeHash leaves XEP-0474's attribute out of SCRAM. Some old clients fail on an attribute that
	// they do not know (COMPAT: strophe.js 1.6.2, which is in Converse before 10.1.7), though RFC 5802
	// section 7 tells them to ignore it.
	OmitDowngradeHash bool

	// Iterations is how often PBKDF2 hashes a password, for those who do not exist and for whoever signs in with PLAIN and has
	// fewer; 0: the constant.
	Iterations int

	// Guard counts tries, for all hosts; nil: nobody does.
	Guard *Guard
	// Observe, which may be nil, counts what becomes of tries: one of SignIns.
	Observe func(result string)
	Log     *slog.Logger // nil: none
	// Tokens keeps one-use tokens, with which users may sign in as with a password; nil: there are none.
	Tokens TokenStore
	// FAST keeps tokens for clients that sign in again (XEP-0484), with the method Accounts; nil: there are none. It asks for a
	// Secret that stays: with another one all of them are lost.
	FAST ClientTokenStore

	// Certificates says which of clients' certificates sign users in; nil: none.
	Certificates *Certificates
}

// What becomes of a try to sign in. One that was slowed down is counted once more when it is over.
const (
	SignInOK      = "ok"
	SignInFailed  = "failed"  // wrong name or password
	SignInSlowed  = "slowed"  // it has to wait, see Guard
	SignInRefused = "refused" // without a look, see Guard
)

// SignIns lists them.
var SignIns = []string{SignInOK, SignInFailed, SignInSlowed, SignInRefused}

// A Method is a way in which a host knows its users: Accounts, Outside, Open or Anonymous.
type Method interface {
	// mechanisms are all that the method can do on any channel, strongest first.
	mechanisms(s *Server) ([]mechanism, error)
}

// A Server authenticates the users of one virtual host. Its methods may be called by any goroutine.
type Server struct {
	host         string
	mechanisms   []mechanism
	cleartext    bool // AllowUnencrypted
	secret       []byte
	omitHash     bool
	iterations   int
	guard        *Guard
	observe      func(result string)
	log          *slog.Logger
	source       Source     // nil where no passwords are known
	kept         bool       // Accounts.Kept
	tokens       TokenStore // nil: there are none
	crypto       primitives
	certificates *Certificates
	fast         ClientTokenStore // nil: no client has tokens

	// slots bound how many passwords are hashed at a time: each costs milliseconds of a processor, and
	// clients who guess must not take all of them.
	slots chan struct{}
}

// A mechanism is a SASL mechanism as one Server has it.
type mechanism struct {
	name   string
	refuse func(Channel) *Failure // why it cannot be used on this channel, or nil
	start  func(Channel) step
	mute   bool // the client need not say anything
}

// New makes the Server of a host. An error is a fault of the caller.
func New(cfg Config) (*Server, error) {
	switch domain, err := jid.Domainpart(cfg.Host); {
	case err != nil:
		return nil, fmt.Errorf("auth: %w", err)
	case domain != cfg.Host:
		return nil, fmt.Errorf("auth: the host %q is not in canonical form, which is %q", cfg.Host, domain)
	case cfg.Method == nil:
		return nil, fmt.Errorf("auth: no method for %s", cfg.Host)
	case cfg.Iterations != 0 && (cfg.Iterations < minIterations || cfg.Iterations > maxIterations):
		return nil, fmt.Errorf("auth: %d iterations, not %d to %d", cfg.Iterations, minIterations, maxIterations)
	case cfg.Secret != nil && len(cfg.Secret) < 16:
		return nil, errors.New("auth: a secret of less than 16 bytes can be guessed")
	}
	s := &Server{
		host:         cfg.Host,
		cleartext:    cfg.AllowUnencrypted,
		secret:       cfg.Secret,
		omitHash:     cfg.OmitDowngradeHash,
		guard:        cfg.Guard,
		observe:      cfg.Observe,
		log:          cfg.Log,
		tokens:       cfg.Tokens,
		crypto:       realPrimitives,
		certificates: cfg.Certificates,
		slots:        make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
	}
	if s.iterations = cfg.Iterations; s.iterations == 0 {
		s.iterations = Iterations
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.observe == nil {
		s.observe = func(string) {}
	}
	if s.secret == nil {
		s.secret = randomBytes(32)
	}
	if _, ok := cfg.Method.(Accounts); ok {
		s.fast = cfg.FAST
	}
	var err error
	if s.mechanisms, err = cfg.Method.mechanisms(s); err != nil {
		return nil, fmt.Errorf("auth: %s: %w", cfg.Host, err)
	}
	s.mechanisms = append(s.mechanisms, s.external())
	return s, nil
}

// Mechanisms names what Start accepts on a channel, strongest first. It is what the stream features must
// list there (RFC 6120 section 6.3.3), neither more nor less: SCRAM tells the client a hash of it (XEP-0474).
func (s *Server) Mechanisms(ch Channel) []string {
	var names []string
	for _, m := range s.mechanisms {
		if m.refuse(ch) == nil {
			names = append(names, m.name)
		}
	}
	return names
}

// ChannelBindings names the channel-binding types of the -PLUS mechanisms on a channel (XEP-0440), strongest
// first; none when no such mechanism is offered there. The stream features must list them as they must list
// Mechanisms.
func (s *Server) ChannelBindings(ch Channel) []string {
	var types []string
	for _, name := range s.Mechanisms(ch) {
		if strings.HasSuffix(name, plusSuffix) {
			for _, b := range ch.bindings() {
				types = append(types, b.name)
			}
			break
		}
	}
	return types
}

// Start begins an exchange. The error is a *Failure: invalid-mechanism when the mechanism is none of those
// that Mechanisms names, encryption-required when it would be inside TLS.
func (s *Server) Start(name string, ch Channel) (*Exchange, error) {
	for _, m := range s.mechanisms {
		if m.name != name {
			continue
		}
		if f := m.refuse(ch); f != nil {
			return nil, f
		}
		return s.begin(m.start(ch), m.mute, ch), nil
	}
	if names := s.Mechanisms(ch); len(names) > 0 {
		return nil, &Failure{Condition: InvalidMechanism, Text: "offered here: " + strings.Join(names, ", ")}
	}
	return nil, &Failure{Condition: InvalidMechanism, Text: "there is no way to sign in on this connection"}
}

// begin makes an exchange; mute: the client need not say anything first.
func (s *Server) begin(next step, mute bool, ch Channel) *Exchange {
	return &Exchange{next: next, await: !mute, server: s,
		attempt: &attempt{guard: s.guard, host: s.host, network: ch.Origin, observe: s.observe}}
}

// encrypted refuses a channel outside TLS, unless the host allows it.
func (s *Server) encrypted(ch Channel) *Failure {
	if ch.Secure || s.cleartext {
		return nil
	}
	return &Failure{Condition: EncryptionRequired, Text: "start TLS first"}
}

// A binding is channel-binding data that is there.
type binding struct {
	name string // RFC 5056 "unique prefix"
	data []byte
}

// bindings lists what the channel can be bound to, strongest first (XEP-0440 section 3, rule 7).
func (ch Channel) bindings() (bs []binding) {
	if !ch.Secure {
		return nil
	}
	if len(ch.Exporter) > 0 {
		bs = append(bs, binding{"tls-exporter", ch.Exporter})
	}
	if len(ch.EndPoint) > 0 {
		bs = append(bs, binding{"tls-server-end-point", ch.EndPoint})
	}
	return bs
}
