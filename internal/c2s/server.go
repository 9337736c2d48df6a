// Package c2s negotiates client streams (RFC 6120 sections 4 to 7: headers, STARTTLS, SASL, resource binding) over
// any Transport, and then passes each client's stanzas to its session.
package c2s

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/auth"
	"rollcall/internal/host"
	"rollcall/internal/jid"
	"rollcall/internal/session"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Hosts finds virtual hosts.
type Hosts interface {
	// Host gives the host with a canonical domain, nil when it is not ours.
	Host(domain string) Host
}

// Host is a virtual host as a client's stream sees it.
type Host interface {
	Auth() *auth.Server
	// Bind makes a session of an authenticated stream. An empty resource has one generated. ctx bounds the call
	// only. An error that is not a *stanza.Error is a fault of ours.
	Bind(ctx context.Context, local, resource string, c session.Conn) (Session, error)
	// Inline names what a client may ask for with BindInline.
	Inline() []string
	// BindInline makes a session as a client asks for it while it authenticates (XEP-0386), and gives the answers to all that
	// it asks for. The error is as Bind's.
	BindInline(ctx context.Context, local string, b host.InlineBind, c session.Conn) (Session, []*xmlstream.Element, error)
	// Resume goes on with a session of a user that has lost its connection. The error is a *host.NotResumed: the client
	// may bind a resource; a *session.TooHigh; or a fault. ctx bounds the call only.
	Resume(ctx context.Context, local string, r host.Resumption, c session.Conn) (Session, error)
	// ResumeInline does, too, and leaves it to the caller to tell the client how many of its stanzas were handled.
	ResumeInline(ctx context.Context, local string, r host.Resumption, c session.Conn) (s Session, handled uint32, err error)
}

// Session is a bound session as its connection's reader sees it.
type Session interface {
	JID() jid.JID
	// Receive takes a stanza of the client; it is called in order and waits for nobody.
	Receive(el *xmlstream.Element)
	// Nonza takes an element that is no stanza, likewise; it is false when there is no such element.
	Nonza(el *xmlstream.Element) (known bool)
	// Send queues a stanza for the client; it does not block.
	Send(w stanza.Wire) bool
	// Leave says that a connection of the session has ended; the session then calls End or Abort on it. nil: the client
	// closed its stream; a *stanza.StreamError is told to the client; any other error means that the connection is lost.
	Leave(c session.Conn, err error)

	// Of stream management (XEP-0198), see session.Session.
	Begin(c session.Conn) bool
	End()
	Manage(resume bool, max time.Duration, credential uint64) bool
	Acknowledge(c session.Conn)
	Acknowledged(c session.Conn, h uint32) error
}

// Options says how streams are negotiated. A zero value stands for the default.
type Options struct {
	Hosts Hosts
	// Domain is our name in a header that answers a client which has not named any of our hosts.
	Domain string
	// RequireTLS refuses to authenticate without TLS; except on loopback, where the transport has no TLS to offer.
	RequireTLS bool
	// ProxiedTLS: the HTTP listener is on loopback, where a reverse proxy adds the TLS; so transports over HTTP need none
	// of ours.
	ProxiedTLS bool
	// PreAuthTimeout bounds the time until a resource is bound; 30 s.
	PreAuthTimeout time.Duration
	// HandshakeTimeout bounds a TLS handshake; 10 s.
	HandshakeTimeout time.Duration
	// PreAuth bounds each element until the client has authenticated; 10,000 bytes, the least that RFC 6120 section
	// 13.12 allows, 8 levels, 32 child elements, 32 attributes.
	PreAuth xmlstream.Limits
	// Limits bounds each element after that; 256 KiB and what xmlstream has for the rest.
	Limits xmlstream.Limits
	// PerAddress bounds the connections of one address (IPv6: a /64 network) that are not bound yet, loopback
	// excepted; 100.
	PerAddress int
	// Total bounds those of all addresses; 8192.
	Total int
	// Pace is how fast each client may send; the zero value: as fast as it likes.
	Pace Pace
	// Full tells whether the server has no memory to spare: no connection is admitted then. It may be nil.
	Full func() bool
	// Features gives stream features of a host that are announced after authentication, beside ours; it may be nil.
	Features func(domain string) []*xmlstream.Element
	// Registrar gives who makes accounts of a host for clients that have none, nil where nobody does now. It may be nil itself.
	Registrar func(domain string) Registrar
	Log       *slog.Logger
}

func (o *Options) setDefaults() {
	setDefault(&o.PreAuthTimeout, 30*time.Second)
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.PreAuth.Bytes, 10000)
	setDefault(&o.PreAuth.Depth, 8)
	setDefault(&o.PreAuth.Children, 32)
	setDefault(&o.PreAuth.Attrs, 32)
	setDefault(&o.Limits.Bytes, 256<<10)
	setDefault(&o.PerAddress, 100)
	setDefault(&o.Total, 8192)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Server runs clients' connections, whatever their transport. Its methods may be called by any goroutine.
type Server struct {
	opts Options
	ctx  context.Context
	door door

	epoch   time.Time // what Meters count from
	pace    atomic.Pointer[pace]
	preAuth atomic.Int64 // PreAuthTimeout

	mu sync.Mutex     // orders Admit before Wait
	wg sync.WaitGroup // admitted connections
}

var (
	errShutdown = errors.New("the server is shutting down")
	errPreAuth  = errors.New("no resource was bound in time")
)

// New makes a server. When ctx ends no connection is admitted any more, and those without a session are ended with
// system-shutdown; sessions are for their hosts to end.
func New(ctx context.Context, o Options) *Server {
	o.setDefaults()
	s := &Server{opts: o, ctx: ctx, door: door{total: o.Total, log: o.Log}, epoch: time.Now()}
	s.Adjust(o)
	return s
}

// Adjust takes over PreAuthTimeout, PerAddress and Pace of other options, for connections from now on. Those that are
// measured already may go on as the new Pace has it.
func (s *Server) Adjust(o Options) {
	o.setDefaults()
	s.preAuth.Store(int64(o.PreAuthTimeout))
	s.door.mu.Lock()
	s.door.perAddress = o.PerAddress
	s.door.mu.Unlock()
	s.pace.Store(newPace(o.Pace))
}

// Wait waits until New's context has ended and every connection is gone.
func (s *Server) Wait() {
	<-s.ctx.Done()
	s.mu.Lock() // an Admit that has not seen the end of ctx is through, later ones see it
	defer s.mu.Unlock()
	s.wg.Wait()
}

// Start runs an admitted connection until it ends, in a goroutine of its own.
func (s *Server) Start(tk *Ticket, t Transport) {
	c := &conn{srv: s, t: t}
	if tk.measured {
		c.meter.srv = s
		t.Measure(&c.meter)
	}
	go func() {
		widen()
		sess := c.negotiate(tk)
		if sess == nil {
			c.t.Close()
			tk.leave()
			return
		}
		tk.bound()
		c.settle(sess)
	}()
}
