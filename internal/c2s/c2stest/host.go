// Package c2stest is what the tests of client streams share: virtual hosts in memory, and a client that says exactly
// what a test tells it to, over any transport.
package c2stest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Domain is the host that every test server has; Other is a second one.
const (
	Domain = "localhost"
	Other  = "other.example"
)

// User and Password are of the one account that the hosts have.
const (
	User     = "juliet"
	Password = "wherefore art thou"
)

// Hosts are two virtual hosts in memory. A session echoes each message to its sender.
type Hosts struct {
	t    testing.TB
	auth map[string]*auth.Server
	ctx  context.Context
	wg   sync.WaitGroup

	// OnBind, when it is set before the first client connects, may refuse or fail.
	OnBind func(resource string) error
	// OnOpen, likewise, sees each session before it is opened.
	OnOpen func(*session.Session)
	// OnReceive, likewise, sees each stanza before it is echoed.
	OnReceive func(*session.Session, *xmlstream.Element)
	// Closed gets the reason of each session that has ended.
	Closed chan error

	mu       sync.Mutex
	stopped  bool
	sessions map[jid.JID]*session.Session
}

type source auth.Credentials

// Credentials implements auth.Source.
func (s source) Credentials(_ context.Context, username string) (auth.Credentials, error) {
	if username != User {
		return auth.Credentials{}, auth.ErrUnknownUser
	}
	return auth.Credentials(s), nil
}

// tokens is an auth.ClientTokenStore in memory.
type tokens struct {
	mu   sync.Mutex
	kept map[string][]byte // by user and client
}

// Update implements auth.ClientTokenStore.
func (t *tokens) Update(_ context.Context, username, client string, change func([]byte) ([]byte, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh, err := change(bytes.Clone(t.kept[username+" "+client]))
	if err != nil {
		return err
	}
	if t.kept[username+" "+client] = fresh; fresh == nil {
		delete(t.kept, username+" "+client)
	}
	return nil
}

// List implements auth.ClientTokenStore: there is room for all.
func (t *tokens) List(context.Context, string) (map[string][]byte, error) { return nil, nil }

// Remove implements auth.ClientTokenStore.
func (t *tokens) Remove(context.Context, string, string) error { return nil }

// credentials are as weak as auth takes them: the tests sign in hundreds of times.
var credentials = sync.OnceValues(func() (c auth.Credentials, err error) {
	for hash, keys := range map[*scram.HashGeneratorFcn]*auth.Keys{&scram.SHA1: &c.SHA1, &scram.SHA256: &c.SHA256} {
		client, err := hash.NewClient(User, Password, "")
		if err != nil {
			return c, err
		}
		factors := scram.KeyFactors{Salt: "saltsaltsaltsalt", Iters: 4096}
		stored, err := client.GetStoredCredentialsWithError(factors)
		if err != nil {
			return c, err
		}
		*keys = auth.Keys{Salt: []byte(factors.Salt), Iterations: factors.Iters, StoredKey: stored.StoredKey, ServerKey: stored.ServerKey}
	}
	return c, nil
})

// NewHosts makes the hosts. Their sessions are ended and waited for when the test ends.
func NewHosts(t testing.TB) *Hosts {
	t.Helper()
	cred, err := credentials()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Hosts{t: t, ctx: ctx, auth: make(map[string]*auth.Server), sessions: make(map[jid.JID]*session.Session),
		Closed: make(chan error, 1000)}
	for _, d := range []string{Domain, Other} {
		h.auth[d], err = auth.New(auth.Config{Host: d, AllowUnencrypted: true,
			Method: auth.Accounts{Source: source(cred), Plain: true}, FAST: &tokens{kept: make(map[string][]byte)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		h.Shutdown()
		cancel()
		h.wg.Wait()
	})
	return h
}

// Shutdown ends all sessions as a host does when its server stops.
func (h *Hosts) Shutdown() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.End(&stanza.StreamError{Condition: stanza.SystemShutdown})
}

// End ends all sessions.
func (h *Hosts) End(reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		s.Close(reason)
	}
}

// Session gives a bound session by its full JID, nil when there is none.
func (h *Hosts) Session(full string) *session.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[jid.MustParse(full)]
}

// Host implements c2s.Hosts.
func (h *Hosts) Host(domain string) c2s.Host {
	if a := h.auth[domain]; a != nil {
		return virtual{h, domain, a}
	}
	return nil
}

type virtual struct {
	*Hosts
	domain string
	sasl   *auth.Server
}

// Auth implements c2s.Host.
func (v virtual) Auth() *auth.Server { return v.sasl }

// Bind implements c2s.Host.
func (v virtual) Bind(_ context.Context, local, resource string, c session.Conn) (c2s.Session, error) {
	return v.bind(local, resource, c, func(*session.Session) {})
}

// Inline implements c2s.Host: what Asked names.
func (v virtual) Inline() []string { return []string{Asked} }

// Asked is a namespace whose elements a client may send in its request to bind a resource; they come back.
const Asked = "urn:test:asked"

// BindInline implements c2s.Host.
func (v virtual) BindInline(_ context.Context, local string, b host.InlineBind, c session.Conn) (c2s.Session, []*xmlstream.Element, error) {
	var answers []*xmlstream.Element
	s, err := v.bind(local, strings.Trim(b.Tag+"/"+b.Client, "/"), c, func(s *session.Session) {
		if m := b.Manage; m != nil {
			answers = append(answers, s.ManageInline(m.Resume, m.Max, m.Credential))
		}
		for _, el := range b.Asked {
			if el.Space == Asked {
				answers = append(answers, el)
			}
		}
	})
	return s, answers, err
}

func (v virtual) bind(local, resource string, c session.Conn, inline func(*session.Session)) (c2s.Session, error) {
	if v.OnBind != nil {
		if err := v.OnBind(resource); err != nil {
			return nil, err
		}
	}
	if resource == "" {
		resource = "generated"
	}
	full, err := jid.New(local, v.domain, resource)
	if err != nil {
		return nil, stanza.NewError(stanza.BadRequest, err.Error())
	}
	s := session.New(v.ctx, &v.wg, full, c, &session.Options{OutboxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler),
		Resume: time.Minute, Unacked: 500,
		Closed: func(s *session.Session, reason error, _ []session.Left) {
			v.mu.Lock()
			if v.sessions[s.JID()] == s {
				delete(v.sessions, s.JID())
			}
			v.mu.Unlock()
			v.Closed <- reason
		}})
	v.mu.Lock()
	if v.stopped {
		v.mu.Unlock()
		return nil, stanza.NewError(stanza.ServiceUnavailable, "the server is shutting down")
	}
	v.sessions[full] = s
	v.mu.Unlock()
	if v.OnOpen != nil {
		v.OnOpen(s)
	}
	inline(s)
	s.Opened()
	return bound{s, v.Hosts, c}, nil
}

// Resume implements c2s.Host.
func (v virtual) Resume(ctx context.Context, local string, r host.Resumption, c session.Conn) (c2s.Session, error) {
	return v.resume(local, r, c, func(s *session.Session) error { return s.Resume(ctx, c, r.Handled) })
}

// ResumeInline implements c2s.Host.
func (v virtual) ResumeInline(ctx context.Context, local string, r host.Resumption, c session.Conn) (s c2s.Session, handled uint32, err error) {
	s, err = v.resume(local, r, c, func(s *session.Session) (err error) {
		handled, err = s.ResumeInline(ctx, c, r.Handled)
		return err
	})
	return s, handled, err
}

func (v virtual) resume(local string, r host.Resumption, c session.Conn, attach func(*session.Session) error) (c2s.Session, error) {
	s := v.resumable(local, r)
	if s == nil {
		return nil, &host.NotResumed{Condition: stanza.ItemNotFound}
	}
	var wrong *session.TooHigh
	switch err := attach(s); {
	case errors.As(err, &wrong):
		return nil, err
	case err != nil:
		return nil, &host.NotResumed{Condition: stanza.ItemNotFound}
	}
	return bound{s, v.Hosts, c}, nil
}

func (v virtual) resumable(local string, r host.Resumption) *session.Session {
	v.mu.Lock()
	defer v.mu.Unlock()
	for full, s := range v.sessions {
		if full.Local() == local && full.Domain() == v.domain && s.ResumedBy(r.ID, r.Credential) {
			return s
		}
	}
	return nil
}

type bound struct {
	*session.Session
	hosts *Hosts
	conn  session.Conn
}

// Receive implements c2s.Session.
func (b bound) Receive(el *xmlstream.Element) {
	if !b.Begin(b.conn) {
		return
	}
	defer b.End()
	if b.hosts.OnReceive != nil {
		b.hosts.OnReceive(b.Session, el)
	}
	st, err := stanza.Parse(el)
	if err != nil {
		b.Close(err)
		return
	}
	if st.Kind == stanza.Message {
		el.SetAttr("from", b.JID().String())
		b.Send(stanza.NewWire(el))
	}
}

// Nonza implements c2s.Session: there is one such element, <known xmlns='urn:example'/>, and it is answered with itself.
func (b bound) Nonza(el *xmlstream.Element) (known bool) {
	known = el.Is("urn:example", "known")
	if known {
		b.Aside(b.conn, func() { b.Send(stanza.NewNonza(el)) })
	}
	return known
}
