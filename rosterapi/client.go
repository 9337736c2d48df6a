package rosterapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Client tells a rollcall server what has changed. Set its fields before the first call and not afterwards; the
// methods may then be called by many goroutines. Only URL is required.
//
// What rollcall calls a failure that may pass (429, 503), what a proxy before it says when it is down (502, 504) and
// errors of the network are tried again, with a growing, random pause that is no shorter than the answer's Retry-After.
// Other answers are final.
type Client struct {
	// URL is where rollcall's HTTP listener is, such as http://127.0.0.1:5280.
	URL string

	// Host is the domain of users that are named without one, for servers with several. "": the server chooses, by the
	// name that URL calls it, or takes the only one.
	Host string

	// Token is sent as Authorization: Bearer. "" for none.
	Token string

	// Secret signs each request in the form of Standard Webhooks, instead of a token or beside it: whsec_ and base64, as
	// that standard and rollcall's configuration write it, or any other text as it is. "" for none.
	Secret string

	// HTTP makes the requests. nil is a client that does not use the proxies named in the environment and gives each
	// request 35 s, which is longer than rollcall takes. Redirects are not followed unless CheckRedirect says so.
	HTTP *http.Client

	// Attempts is how often a request is made at most, the first time included. 0 means 5, which is some seconds.
	Attempts int
}

// An Error is an answer that is none of success.
type Error struct {
	Op      string // what was asked, such as "POST /roster_admin/refresh"
	Status  int    // HTTP's, such as 401
	Message string // what rollcall said to it; "" when it was somebody else who answered
}

func (e *Error) Error() string {
	said := fmt.Sprintf("rosterapi: %s was answered with %d %s", e.Op, e.Status, http.StatusText(e.Status))
	if e.Message == "" {
		return said + ", and not by rollcall as it seems: is the URL right?"
	}
	return said + ": " + e.Message
}

// maxAnswer bounds what is read of an answer. That to ten thousand names, each with its error, fits.
const maxAnswer = 16 << 20

// A request is a method, a path and what goes with them.
type request struct {
	method, path string // the path begins with a slash and is percent-encoded
	query        url.Values
	body         []byte
	contentType  string
	ifMatch      string
}

func (r *request) op() string { return r.method + " " + r.path }

// A response is what came, read whole.
type response struct {
	status int
	header http.Header
	body   []byte
}

// do makes a request until it has a final answer, and decodes that into out when it is one of success.
func (c *Client) do(ctx context.Context, r *request, out any) (*response, error) {
	target, key, err := c.prepare(r)
	if err != nil {
		return nil, err
	}
	resp, err := c.persist(ctx, r, target, key)
	if err != nil {
		return nil, err
	}
	if resp.status < 200 || resp.status > 299 {
		var said struct{ Message string }
		// An answer that is no JSON leaves the message empty, which is what it means.
		_ = json.Unmarshal(resp.body, &said)
		return nil, &Error{Op: r.op(), Status: resp.status, Message: said.Message}
	}
	if err := json.Unmarshal(resp.body, out); err != nil {
		return nil, fmt.Errorf("rosterapi: %s: the answer is not rollcall's (%w): is the URL right?", r.op(), err)
	}
	return resp, nil
}

// prepare refuses what would fail every time.
func (c *Client) prepare(r *request) (target string, key []byte, err error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return "", nil, errors.New("rosterapi: Client.URL is no address of a server; write one such as http://127.0.0.1:5280")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return "", nil, errors.New("rosterapi: Client.URL has more than scheme, host and path")
	}
	if key, err = signingKey(c.Secret); err != nil {
		return "", nil, err
	}
	query := r.query
	if c.Host != "" {
		if query == nil {
			query = url.Values{}
		}
		query.Set("host", c.Host)
	}
	target = strings.TrimSuffix(c.URL, "/") + r.path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return target, key, nil
}

// once makes one request and reads the whole answer.
func (c *Client) once(ctx context.Context, r *request, target string, key []byte) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if len(key) > 0 {
		sign(req.Header, key, r.body, time.Now())
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &response{resp.StatusCode, resp.Header, body}, nil
}

// direct is the transport of clients that bring none: no proxy of the environment, for the token is for rollcall alone.
var direct = func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return t
}()

func (c *Client) client() *http.Client {
	client := http.Client{Transport: direct, Timeout: 35 * time.Second}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	if client.CheckRedirect == nil {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return &client
}
