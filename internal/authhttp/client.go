// Package authhttp asks an application over HTTP (RFC 9110) whether a user's password is right, in the two dialects that
// applications speak already:
//
//   - MongooseIM: what MongooseIM's http method, ejabberd_auth_http and Prosody's mod_auth_http ask.
//     GET BASE/check_password?user=&server=&pass= is answered 200 true or false, and GET BASE/get_password?user=&server=
//     with the password or its keys for SCRAM; 404: there is no such user.
//   - Basic: what Prosody's mod_auth_http_async asks. GET URL with the user's own name and password as Basic credentials
//     (RFC 7617); 2xx is yes, 401 and 403 are no.
//
// Whatever else comes is no answer: the user is asked to try again later, and never told that the password is wrong. A service
// that is down, slow or wrong costs no more than a bounded wait.
package authhttp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"rollcall/internal/auth"
	"rollcall/internal/unanswered"
)

// Style is a dialect.
type Style string

// The dialects.
const (
	MongooseIM Style = "mongooseim"
	Basic      Style = "basic"
)

// Config is how the service of a virtual host is asked.
type Config struct {
	Host        string // canonical
	URL         string // MongooseIM: what stands before /check_password. Basic: with {user} and {host}, where they are wanted
	Style       Style
	Credentials string        // "name:password" that the service wants of us; MongooseIM only. "" for none
	Timeout     time.Duration // of a whole exchange
	Concurrency int           // requests at a time
	Cache       time.Duration // how long a password that was right need not be asked about again; 0: not at all
	UserAgent   string
	Log         *slog.Logger // nil: none
	// Observe is told of every request: how long it took, and why it brought no answer. The error has no secret in it. It is
	// called by those who ask and must not block; nil: nobody is told.
	Observe func(took time.Duration, err error)

	TLS  *tls.Config                                                       // nil: the system's certificates
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network
}

// A Client asks one service about the users of one host. Its methods may be called by any goroutine.
type Client struct {
	cfg        Config
	base       *url.URL // of MongooseIM
	transport  *http.Transport
	slots      chan struct{}
	breaker    circuitbreaker.CircuitBreaker[any]
	cache      *cache
	iterations atomic.Int64 // of SCRAM keys, as the service last gave them
}

// maxBody is of an answer, in bytes: true, false, or some keys.
const maxBody = 8 << 10

// New checks the configuration. Its error is about Config.URL or Credentials, and quotes neither.
func New(cfg Config) (*Client, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(time.Duration, error) {}
	}
	c := &Client{
		cfg: cfg, slots: make(chan struct{}, max(1, cfg.Concurrency)), cache: newCache(cfg.Cache),
		// As that of rosterhttp: five failures in a row, then one probe each five seconds or so.
		breaker: circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).WithSuccessThreshold(1).
			WithDelay(5 * time.Second).WithJitterFactor(0.2).Build(),
	}
	u, err := c.target("user")
	switch {
	case err != nil:
		return nil, err
	case cfg.Style == MongooseIM && strings.ContainsAny(cfg.URL, "{}"):
		return nil, errors.New("has a placeholder; in the style mongooseim user and host are added as parameters")
	case cfg.Style == Basic && cfg.Credentials != "":
		return nil, errors.New("has credentials of its own, but in the style basic the user's are sent in their place")
	case cfg.Style != MongooseIM && cfg.Style != Basic:
		return nil, fmt.Errorf("has the style %q, which is none", cfg.Style)
	case cfg.Credentials != "" && (!strings.Contains(cfg.Credentials, ":") || strings.ContainsFunc(cfg.Credentials, func(r rune) bool { return r < ' ' || r == 0x7f })):
		return nil, errors.New("needs credentials of the form name:password, without control characters")
	}
	c.base = u
	c.transport = c.newTransport()
	return c, nil
}

func (c *Client) newTransport() *http.Transport {
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: c.cfg.Timeout}).DialContext
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.cfg.TLS != nil {
		tlsConfig = c.cfg.TLS.Clone()
	}
	return &http.Transport{
		Proxy:                  nil, // not even the environment's: passwords go to the service alone
		DialContext:            dial,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    c.cfg.Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           c.cfg.Concurrency,
		MaxIdleConnsPerHost:    c.cfg.Concurrency,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: c.cfg.Timeout, PingTimeout: c.cfg.Timeout},
	}
}

// Close gives up the kept connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// target is the URL for a user.
func (c *Client) target(user string) (*url.URL, error) {
	text := c.cfg.URL
	if c.cfg.Style == Basic {
		text = strings.NewReplacer("{user}", escape(user), "{host}", escape(c.cfg.Host)).Replace(text)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New(`is no URL such as "http://127.0.0.1:8000/auth"`)
	case u.User != nil:
		return nil, errors.New("has a user before its @; put the service's credentials into auth.credentials")
	case u.Fragment != "" || strings.ContainsAny(text, "{}"):
		return nil, errors.New("has a # or a brace that is no part of {user} or {host}")
	case c.cfg.Style == MongooseIM && u.RawQuery != "":
		return nil, errors.New("has a query; in the style mongooseim the parameters are added")
	}
	if origin, _, _ := strings.Cut(strings.TrimPrefix(c.cfg.URL, u.Scheme+"://"), "/"); strings.Contains(origin, "{") {
		return nil, errors.New("has a placeholder in the name of the service; it belongs behind the first /")
	}
	return u, nil
}

// escape percent-encodes everything but the unreserved characters of RFC 3986 section 2.3.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Check tells whether a password is a user's. An error is no answer, and has neither the user's nor our secrets in it.
func (c *Client) Check(ctx context.Context, user, password string) (bool, error) {
	key := c.cache.key(user, password)
	if c.cache.has(key) {
		return true, nil
	}
	right, err := c.ask(ctx, user, password)
	if right && err == nil {
		c.cache.add(key)
	}
	return right && err == nil, err
}

// A request is what is known of one when it has come to its end.
type request struct {
	begun, ended time.Time // zero: it was not made
	given        bool      // its caller did not wait for the answer
}

// done tells who observes.
func (c *Client) done(r *request, err error) {
	if !r.begun.IsZero() && !r.given {
		c.cfg.Observe(r.ended.Sub(r.begun), err)
	}
}

func (c *Client) ask(ctx context.Context, user, password string) (right bool, err error) {
	r := &request{}
	defer func() { c.done(r, err) }()
	if c.cfg.Style == MongooseIM {
		status, body, err := c.method(ctx, r, "check_password", user, "&pass="+escape(password))
		switch {
		case err != nil:
			return false, err
		case status == 200 && body == "true":
			return true, nil
		case status == 200 && body == "false":
			return false, nil
		}
		return false, c.unusable("check_password", status, "200 and true or false")
	}
	if user == "." || user == ".." {
		return false, nil // in a path it would be another place; nobody has such a name there
	}
	target, err := c.target(user)
	if err != nil {
		return false, err
	}
	status, _, err := c.get(ctx, r, target, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	switch {
	case err != nil:
		return false, err
	case status >= 200 && status < 300:
		return true, nil
	case status == 401, status == 403:
		return false, nil
	}
	return false, c.unusable("the password", status, "2xx or 401")
}

// Credentials implements auth.Source, by get_password.
func (c *Client) Credentials(ctx context.Context, user string) (keys auth.Credentials, err error) {
	r := &request{}
	status, body, err := c.method(ctx, r, "get_password", user, "")
	switch {
	case err != nil:
	case status == 404:
		c.done(r, nil)
		return auth.Credentials{}, auth.ErrUnknownUser
	case status != 200:
		err = c.unusable("get_password", status, "200 and keys for SCRAM, or 404")
	default:
		keys, err = parseKeys(body)
	}
	c.done(r, err)
	if err == nil {
		c.iterations.Store(int64(max(keys.SHA1.Iterations, keys.SHA256.Iterations)))
	}
	return keys, err
}

// Iterations is how often the service's passwords are hashed, as far as is known: 0 for unknown. Users who do not exist are to
// look the same.
func (c *Client) Iterations() int { return int(c.iterations.Load()) }

func (c *Client) unusable(what string, status int, right string) error {
	return fmt.Errorf("authhttp: %s was answered %d %s in place of %s; look at auth.url and into the service's log",
		what, status, http.StatusText(status), right)
}

// Breaker is closed where requests are made, open where the service is left alone, half-open where one sees whether it is back.
func (c *Client) Breaker() string { return c.breaker.State().String() }

// method asks BASE/name.
func (c *Client) method(ctx context.Context, r *request, name, user, more string) (status int, body string, err error) {
	target := *c.base
	target.Path = strings.TrimSuffix(target.Path, "/") + "/" + name
	target.RawPath = ""
	target.RawQuery = "user=" + escape(user) + "&server=" + escape(c.cfg.Host) + more
	basic := ""
	if c.cfg.Credentials != "" {
		basic = base64.StdEncoding.EncodeToString([]byte(c.cfg.Credentials))
	}
	return c.get(ctx, r, &target, basic)
}

// errDown is about a service that has failed and is left alone for a while.
var errDown = errors.New("authhttp: not asked: the service has failed several times in a row, and is tried again within seconds")

// get makes one request. The body is without the white space around it.
func (c *Client) get(ctx context.Context, r *request, target *url.URL, basic string) (status int, body string, err error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return 0, "", fmt.Errorf("authhttp: given up before the service could be asked: %w", context.Cause(ctx))
	}
	if ctx.Err() != nil {
		return 0, "", fmt.Errorf("authhttp: given up before the service could be asked: %w", context.Cause(ctx))
	}
	if !c.breaker.TryAcquirePermit() {
		return 0, "", errDown
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req := (&http.Request{Method: http.MethodGet, URL: target, Host: target.Host,
		Header: http.Header{"User-Agent": {c.cfg.UserAgent}}}).WithContext(bounded)
	if basic != "" {
		req.Header["Authorization"] = []string{"Basic " + basic}
	}
	r.begun = time.Now()
	defer func() { r.ended, r.given = time.Now(), ctx.Err() != nil }()
	// The transport and not a http.Client: no redirects, no cookies.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, "", c.broken(ctx, bounded, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return 0, "", c.broken(ctx, bounded, err)
	case len(b) > maxBody:
		c.breakerResult(true)
		return 0, "", fmt.Errorf("authhttp: the answer has more than %d bytes", maxBody)
	}
	c.breakerResult(resp.StatusCode < 500 && resp.StatusCode != 429 && resp.StatusCode != 408)
	return resp.StatusCode, strings.TrimSpace(string(b)), nil
}

func (c *Client) breakerResult(alive bool) {
	if alive {
		c.breaker.RecordSuccess()
	} else {
		c.breaker.RecordFailure()
	}
}

// broken is the error for an exchange that did not come to its end.
func (c *Client) broken(ctx, bounded context.Context, err error) error {
	if ctx.Err() != nil { // it says nothing about the service
		if c.breaker.IsHalfOpen() { // and was no probe
			c.breaker.Open()
		}
		return fmt.Errorf("authhttp: given up before the answer came: %w", context.Cause(ctx))
	}
	c.breakerResult(false)
	if bounded.Err() != nil {
		return fmt.Errorf("authhttp: no answer came within %v (auth.timeout)", c.cfg.Timeout)
	}
	return fmt.Errorf("authhttp: no answer came from %s: %w", c.base.Host, unanswered.Why(err))
}

var _ auth.Source = (*Client)(nil)
