// Package rosterhttp is the client side of the roster contract (docs/roster-http.md, sections 1 and 4): it
// asks the service for rosters over HTTP (RFC 9110), one at a time or many together, and makes sure that a
// service that is down, slow or wrong costs no more than a bounded wait.
//
// # What may be asked twice
//
// Fetch makes one attempt; whoever wants another one, asks again. (Only where a kept-alive connection turns
// out to be closed before a byte came back, net/http sends the request once more, on a new connection. The
// POST of a batch changes nothing at the service, so that goes for it too.)
//
// # Types of answers
//
// The contract wants JSON. The module that services were written for (Prosody's mod_http_roster_admin) did
// not look at the Content-Type, so types that say no more than "text" or "bytes" are taken as well when the
// body is strict JSON: text/plain, the names that JavaScript and JSON had before there was a registration,
// application/octet-stream and no type at all. text/html is not: that is what login and error pages are.
package rosterhttp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
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
	DefaultBatchSize   = 100
	DefaultUserAgent   = "rollcall"
)

// Config is how a virtual host's service is asked. Host is required, and URL or BatchURL; zero values of the
// others mean the defaults of the contract.
type Config struct {
	Host        string        // the virtual host
	URL         string        // roster.url: a template with %s, {user}, {host}, {jid}, and %% for a percent sign
	BatchURL    string        // roster.batch_url: where many are asked for together; {host}, and %% for a percent sign
	BatchSize   int           // users in one request to BatchURL
	Token       string        // sent as Authorization: Bearer; "" for none
	Timeout     time.Duration // for a whole exchange, from the connection to the last byte of the body
	MaxBytes    int64         // of a body, as sent and after decompression
	MaxItems    int           // contacts in a document
	Concurrency int           // requests at a time
	UserAgent   string        // product and version, such as rollcall/1.0
	Of          string        // what is asked for, in messages: "roster" when empty; its keys begin with the same word
	Log         *slog.Logger

	// Observe is told of every request, for metrics; nil for nobody. It is called by the goroutines that fetch
	// and must not block.
	Observe func(Observation)

	TLS  *tls.Config                                                       // nil: the system's certificates
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network
}

// A Client asks one service for the rosters of one virtual host. Its methods may be called by many
// goroutines at once.
type Client struct {
	cfg       Config
	template  *template // nil without roster.url
	batches   *batches  // nil without roster.batch_url
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
	if !visible(cfg.Token) {
		return nil, errors.New("rosterhttp: " + cmp.Or(cfg.Of, "roster") + ".token has a character that cannot stand in a header: a space, a newline at its end perhaps, or one beyond ASCII")
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, fmt.Errorf("rosterhttp: %w", err)
	}
	c := &Client{
		cfg:     cfg,
		slots:   make(chan struct{}, cfg.Concurrency),
		breaker: newBreaker(),
	}
	if cfg.URL != "" || cfg.BatchURL == "" {
		if c.template, err = parseTemplate(keyURL, cfg.URL); err != nil {
			return nil, fmt.Errorf("rosterhttp: %w", err)
		}
	}
	if cfg.BatchURL != "" {
		if c.batches, err = newBatches(cfg); err != nil {
			return nil, fmt.Errorf("rosterhttp: %w", err)
		}
	}
	c.transport = newTransport(cfg)
	return c, nil
}

func (cfg *Config) setDefaults() error {
	switch {
	case cfg.Timeout < 0:
		return fmt.Errorf("roster.timeout is %v: it must be more than 0", cfg.Timeout)
	case cfg.MaxBytes < 0:
		return fmt.Errorf("roster.max_bytes is %d: it must be more than 0", cfg.MaxBytes)
	case cfg.MaxItems < 0:
		return fmt.Errorf("roster.max_items is %d: it must be more than 0", cfg.MaxItems)
	case cfg.BatchSize < 0:
		return fmt.Errorf("roster.batch_size is %d: it must be more than 0", cfg.BatchSize)
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
	if cfg.BatchSize == 0 {
		cfg.BatchSize = DefaultBatchSize
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = DefaultUserAgent
	}
	if cfg.Of == "" {
		cfg.Of = "roster"
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

	User     string      // localpart
	ETag     string      // of the copy that is known, "" for none: the answer may then be that nothing changed
	Body     Fingerprint // of the copy that is known, zero for none: a document that is the same is not read again
	Notified bool        // the service has just said that this roster changed, so it is worth asking even if it was down
}

// Result is what came.
type Result struct {
	Roster       *rosterdoc.Roster   // nil when NotModified or Same
	NotModified  bool                // the service says that nothing has changed since Request.ETag
	Same         bool                // the document is the one that Request.Body stands for, byte for byte
	ETag         string              // of this answer, as it came; "" for none
	Body         Fingerprint         // of the document; that of the request when NotModified
	MaxAge       time.Duration       // how long it may be used without asking; <0: not said
	StaleIfError time.Duration       // how much longer when the service fails; <0: not said
	Dropped      []rosterdoc.Dropped // contacts left out, or taken with a change; nil when NotModified or Same
	Bytes        int                 // of the document, decompressed
	Took         time.Duration       // the exchange, without waiting for a slot or for company
}

// Fetch asks for a roster, once: by itself, or with others that are wanted at about the same time (see
// batches). It waits for a slot as long as ctx allows, then Config.Timeout at most for the exchange. What it
// gives comes from a request that was sent after it was called. The error is an *Error.
func (c *Client) Fetch(ctx context.Context, r Request) (Result, error) {
	owner, fail := c.owner(r.User)
	if fail != nil {
		c.observe(Observation{Users: 1}, fail.Kind.String())
		return Result{}, fail
	}
	var res Result
	if c.batches != nil && owner.Local() != etagsMember {
		res, fail = c.together(ctx, r, owner)
	} else {
		res, fail = c.alone(ctx, r, owner)
	}
	if fail != nil {
		return Result{}, fail
	}
	return res, nil
}

// owner is the address of the user, if there can be one.
func (c *Client) owner(name string) (jid.JID, *Error) {
	if name == "" {
		return jid.JID{}, c.refused(errors.New("no user was named"))
	}
	owner, err := jid.New(name, c.cfg.Host, "")
	if err != nil {
		return jid.JID{}, c.refused(fmt.Errorf("there can be no such user: %w", err))
	}
	return owner, nil
}

func (c *Client) refused(err error) *Error {
	if c.batches != nil {
		return &Error{Kind: Refused, Batch: true, URL: c.batches.shown, Err: err}
	}
	return &Error{Kind: Refused, URL: c.template.prefix, Err: err}
}

// target is the URL for one user, if the user can be asked for with one.
func (c *Client) target(owner jid.JID) (*url.URL, *Error) {
	l := owner.Local()
	switch {
	case c.template == nil:
		return nil, c.refused(fmt.Errorf("a user called %q cannot be asked for in a batch: set roster.url as well", l))
	case l == "." || l == "..":
		// They mean something else in a path (RFC 3986 section 5.2.4) and cannot be percent-encoded out of it:
		// "%2E" is the same as ".".
		return nil, c.refused(fmt.Errorf("a user called %q cannot be asked for: in a URL it would name another place", l))
	}
	target, err := url.Parse(c.template.expand(owner))
	if err != nil {
		// New has tried the template, and what is put into it cannot break a URL.
		return nil, c.refused(errors.New("the user's name makes no URL"))
	}
	return target, nil
}

// alone asks for one user's roster with a request of its own.
func (c *Client) alone(ctx context.Context, r Request, owner jid.JID) (res Result, fail *Error) {
	o := Observation{Users: 1}
	defer func() {
		o.Bytes, o.Dropped = res.Bytes, left(res.Dropped)
		c.observe(o, label(&res, fail))
	}()
	target, fail := c.target(owner)
	if fail != nil {
		return Result{}, fail
	}
	fail = c.enter(ctx, r.Notified)
	if fail == nil {
		fail = c.attempt(r.Notified, &o, target, func() *Error { return c.get(ctx, &o, r, owner, target, &res) })
		c.exit()
	}
	if fail != nil {
		fail.URL = shownURL(target)
		c.record.failure(fail)
		return Result{}, fail
	}
	res.Took = o.Took
	c.record.success(res.Took)
	c.logDropped(owner, res.Dropped)
	return res, nil
}

// enter waits for a slot; exit gives it back.
func (c *Client) enter(ctx context.Context, notified bool) *Error {
	if fail := c.useless(notified); fail != nil {
		return fail
	}
	c.record.add(0, 1)
	select {
	case c.slots <- struct{}{}:
		c.record.add(1, -1)
		return nil
	case <-ctx.Done():
		c.record.add(0, -1)
		return canceled(ctx)
	}
}

func (c *Client) exit() {
	<-c.slots
	c.record.add(-1, 0)
}

// useless says why there is no use in waiting for a slot, nil when there is.
func (c *Client) useless(notified bool) *Error {
	if c.closed.Load() {
		return shuttingDown()
	}
	if _, next := c.breaker.state(); next > 0 && !notified {
		return c.breakerOpen(next)
	}
	return nil
}

func shuttingDown() *Error {
	return &Error{Kind: Canceled, Err: errors.New("the server is shutting down")}
}

// attempt makes one request if the breaker lets it. Its caller has a slot, and has asked the breaker before:
// while it waited, others may have found the service down.
func (c *Client) attempt(notified bool, o *Observation, target *url.URL, request func() *Error) *Error {
	leave, wait, ok := c.breaker.admit(notified)
	if !ok {
		return c.breakerOpen(wait)
	}
	fail := request()
	v, retryAfter := alive, time.Duration(0)
	if fail != nil {
		fail.Err, fail.Batch, fail.URL = c.clean(fail.Err), o.Batch, shownURL(target)
		v, retryAfter = fail.verdict(), fail.RetryAfter
	}
	before, after := c.breaker.done(leave, v, retryAfter)
	c.logBreaker(before, after, fail)
	return fail
}

func (c *Client) breakerOpen(wait time.Duration) *Error {
	err := fmt.Errorf("not asked: the service has failed %d times in a row, and is tried again in %v",
		c.record.snapshot().ConsecutiveFailures, wait.Round(time.Millisecond))
	return &Error{Kind: BreakerOpen, RetryAfter: wait, Err: err}
}

func canceled(ctx context.Context) *Error {
	return &Error{Kind: Canceled, Err: fmt.Errorf("given up before the answer came: %w", context.Cause(ctx))}
}

// quoted finds what a reason cites of a document.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

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
		"user", owner, "first_reason", quoted.ReplaceAllString(dropped[0].Reason, "…"), "dropped", len(dropped)-warnings, "changed", warnings)
}

// Close gives up the kept connections; later fetches fail. Of the fetches under way those in a batch fail now,
// the others end with their contexts.
func (c *Client) Close() {
	c.closed.Store(true)
	if c.batches != nil {
		c.batches.close()
	}
	c.transport.CloseIdleConnections()
}
