// Package rosterhttp is the client side of the roster contract (docs/roster-http.md, section 1): it asks
// the service for one user's roster over HTTP (RFC 9110) and makes sure that a service that is down, slow
// or wrong costs no more than a bounded wait.
//
// # What may be asked twice
//
// Fetch makes one attempt; whoever wants another one, asks again. (Only where a kept-alive connection turns
// out to be closed before a byte came back, net/http sends the request once more, on a new connection.)
//
// # Types of answers
//
// The contract wants JSON. The module that services were written for (Prosody's mod_http_roster_admin) did
// not look at the Content-Type, so types that say no more than "text" or "bytes" are taken as well when the
// body is strict JSON: text/plain, the names that JavaScript and JSON had before there was a registration,
// application/octet-stream and no type at all. text/html is not: that is what login and error pages are.
package rosterhttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
)

// Defaults of Config (the contract's section 1).
const (
	DefaultTimeout     = 5 * time.Second
	DefaultConcurrency = 32
	DefaultUserAgent   = "rollcall"
)

// Config is how a virtual host's service is asked. Host and URL are required; zero values of the others
// mean the defaults of the contract.
type Config struct {
	Host        string        // the virtual host
	URL         string        // roster.url: a template with %s, {user}, {host}, {jid}, and %% for a percent sign
	Token       string        // sent as Authorization: Bearer; "" for none
	Timeout     time.Duration // for a whole exchange, from the connection to the last byte of the body
	MaxBytes    int64         // of a body, as sent and after decompression
	MaxItems    int           // contacts in a document
	Concurrency int           // requests at a time
	UserAgent   string        // product and version, such as rollcall/1.0
	Log         *slog.Logger

	TLS  *tls.Config                                                       // nil: the system's certificates
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network
}

// A Client asks one service for the rosters of one virtual host. Its methods may be called by many
// goroutines at once.
type Client struct {
	cfg       Config
	template  *template
	transport *http.Transport
	slots     chan struct{} // one for each request under way
	breaker   *breaker
	record    record
	closed    atomic.Bool
}

// New checks the configuration, all of it before the first request.
func New(cfg Config) (*Client, error) {
	host, err := jid.Domainpart(cfg.Host)
	if err != nil {
		return nil, fmt.Errorf("rosterhttp: the host: %w", err)
	}
	cfg.Host = host
	t, err := parseTemplate(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("rosterhttp: %w", err)
	}
	if !visible(cfg.Token) {
		return nil, errors.New("rosterhttp: roster.token has a character that cannot stand in a header: a space, a newline at its end perhaps, or one beyond ASCII")
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, fmt.Errorf("rosterhttp: %w", err)
	}
	return &Client{
		cfg:       cfg,
		template:  t,
		transport: newTransport(cfg),
		slots:     make(chan struct{}, cfg.Concurrency),
		breaker:   newBreaker(),
	}, nil
}

func (cfg *Config) setDefaults() error {
	switch {
	case cfg.Timeout < 0:
		return fmt.Errorf("roster.timeout is %v: it must be more than 0", cfg.Timeout)
	case cfg.MaxBytes < 0:
		return fmt.Errorf("roster.max_bytes is %d: it must be more than 0", cfg.MaxBytes)
	case cfg.MaxItems < 0:
		return fmt.Errorf("roster.max_items is %d: it must be more than 0", cfg.MaxItems)
	case cfg.Concurrency < 0:
		return fmt.Errorf("roster.concurrency is %d: it must be more than 0", cfg.Concurrency)
	case !visible(strings.ReplaceAll(cfg.UserAgent, " ", "")):
		return fmt.Errorf("the user agent %q has a character that cannot stand in a header", cfg.UserAgent)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = rosterdoc.DefaultMaxBytes
	}
	if cfg.MaxItems == 0 {
		cfg.MaxItems = rosterdoc.DefaultMaxItems
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = DefaultUserAgent
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// visible says that s has visible ASCII characters only, and so can end no header.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func newTransport(cfg Config) *http.Transport {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.Timeout}).DialContext
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLS != nil {
		tlsConfig = cfg.TLS.Clone()
	}
	return &http.Transport{
		Proxy:                  nil, // not even the environment's: the token goes to the service alone
		DialContext:            dial,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    cfg.Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // body reads gzip itself, with a limit
		MaxResponseHeaderBytes: 64 << 10,
		// All users share one HTTP/2 connection. When its other end is gone without a word, a ping that is
		// not answered takes it out of use; requests alone would time out on it for many minutes.
		HTTP2: &http.HTTP2Config{SendPingTimeout: cfg.Timeout, PingTimeout: cfg.Timeout},
	}
}

// Request is one user's roster, to be fetched.
type Request struct {
	Like *rosterdoc.Roster // the copy that is known, nil for none: what stayed the same is shared with it

	User     string // localpart
	ETag     string // of the copy that is known, "" for none: the answer may then be that nothing changed
	Notified bool   // the service has just said that this roster changed, so it is worth asking even if it was down
}

// Result is what came.
type Result struct {
	Roster       *rosterdoc.Roster   // nil when NotModified
	NotModified  bool                // the copy with Request.ETag is what the service has
	ETag         string              // of this answer, as it came; "" for none
	MaxAge       time.Duration       // how long it may be used without asking; <0: not said
	StaleIfError time.Duration       // how much longer when the service fails; <0: not said
	Dropped      []rosterdoc.Dropped // contacts left out, or taken with a change
	Bytes        int                 // of the body, decompressed
	Took         time.Duration       // the exchange, without waiting for a slot
}

// Fetch asks for a roster, once. It waits for a slot as long as ctx allows, then Config.Timeout at most for
// the exchange. The error is an *Error.
func (c *Client) Fetch(ctx context.Context, r Request) (Result, error) {
	owner, fail := c.owner(r.User)
	if fail != nil {
		return Result{}, fail
	}
	target, err := url.Parse(c.template.expand(owner))
	if err != nil {
		// New has tried the template, and what is put into it cannot break a URL.
		return Result{}, &Error{Kind: Refused, URL: c.template.prefix, Err: errors.New("the user's name makes no URL")}
	}
	res, fail := c.admitted(ctx, r, owner, target)
	if fail != nil {
		fail.URL = shownURL(target)
		c.record.failure(fail)
		return Result{}, fail
	}
	c.record.success(res.Took)
	c.logDropped(owner, res.Dropped)
	return res, nil
}

// owner is the address of the user, if the user can be asked for.
func (c *Client) owner(name string) (jid.JID, *Error) {
	refused := func(err error) *Error { return &Error{Kind: Refused, URL: c.template.prefix, Err: err} }
	if name == "" {
		return jid.JID{}, refused(errors.New("no user was named"))
	}
	owner, err := jid.New(name, c.cfg.Host, "")
	if err != nil {
		return jid.JID{}, refused(fmt.Errorf("there can be no such user: %w", err))
	}
	// They mean something else in a path (RFC 3986 section 5.2.4) and cannot be percent-encoded out of it:
	// "%2E" is the same as ".".
	if l := owner.Local(); l == "." || l == ".." {
		return jid.JID{}, refused(fmt.Errorf("a user called %q cannot be asked for: in a URL it would name another place", l))
	}
	return owner, nil
}

// admitted makes the request once there is a slot and the breaker lets it.
func (c *Client) admitted(ctx context.Context, r Request, owner jid.JID, target *url.URL) (Result, *Error) {
	if c.closed.Load() {
		return Result{}, &Error{Kind: Canceled, Err: errors.New("the server is shutting down")}
	}
	if _, next := c.breaker.state(); next > 0 && !r.Notified {
		return Result{}, c.breakerOpen(next) // no use to wait for a slot first
	}
	c.record.add(0, 1)
	select {
	case c.slots <- struct{}{}:
		c.record.add(1, -1)
	case <-ctx.Done():
		c.record.add(0, -1)
		return Result{}, canceled(ctx)
	}
	defer func() {
		<-c.slots
		c.record.add(-1, 0)
	}()
	// Asked again: while this fetch waited, the others may have found the service down.
	leave, wait, ok := c.breaker.admit(r.Notified)
	if !ok {
		return Result{}, c.breakerOpen(wait)
	}
	res, fail := c.exchange(ctx, r, owner, target)
	v, retryAfter := alive, time.Duration(0)
	if fail != nil {
		fail.URL, fail.Err = shownURL(target), c.clean(fail.Err)
		v, retryAfter = fail.verdict(), fail.RetryAfter
	}
	before, after := c.breaker.done(leave, v, retryAfter)
	c.logBreaker(before, after, fail)
	return res, fail
}

func (c *Client) breakerOpen(wait time.Duration) *Error {
	err := fmt.Errorf("not asked: the service has failed %d times in a row, and is tried again in %v",
		c.record.snapshot().ConsecutiveFailures, wait.Round(time.Millisecond))
	return &Error{Kind: BreakerOpen, RetryAfter: wait, Err: err}
}

func canceled(ctx context.Context) *Error {
	return &Error{Kind: Canceled, Err: fmt.Errorf("given up before the answer came: %w", context.Cause(ctx))}
}

// logDropped says that contacts were dropped, and why the first was, not which: rosters stay out of logs.
func (c *Client) logDropped(owner jid.JID, dropped []rosterdoc.Dropped) {
	if len(dropped) == 0 {
		return
	}
	warnings := 0
	for _, d := range dropped {
		if d.Warning {
			warnings++
		}
	}
	c.cfg.Log.Warn("the roster service's document has contacts that cannot be used as they are",
		"user", owner, "first_reason", dropped[0].Reason, "dropped", len(dropped)-warnings, "changed", warnings)
}

// Close gives up the kept connections; later fetches fail. Fetches under way end with their contexts.
func (c *Client) Close() {
	c.closed.Store(true)
	c.transport.CloseIdleConnections()
}
