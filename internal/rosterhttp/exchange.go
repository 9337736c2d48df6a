package rosterhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
	"rollcall/internal/unanswered"
)

// errSlow ends an exchange that takes longer than Config.Timeout.
var errSlow = errors.New("too slow")

// exchange makes one request and has the whole answer read, within the time for both. Its times go to o.
func (c *Client) exchange(ctx context.Context, o *Observation, req *http.Request, read func(bounded context.Context, resp *http.Response) *Error) *Error {
	begun := time.Now()
	o.Sent = true
	defer func() { o.Took = time.Since(begun) }()
	bounded, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errSlow)
	defer cancel()
	// The transport and not a http.Client: no redirects, no cookies.
	resp, err := c.transport.RoundTrip(req.WithContext(bounded))
	if err != nil {
		return c.broken(ctx, bounded, err, "no answer came")
	}
	defer drain(resp.Body)
	fail := read(bounded, resp)
	if fail != nil {
		fail.Status = resp.StatusCode
	}
	return fail
}

// get asks for one user's roster.
func (c *Client) get(ctx context.Context, o *Observation, r Request, owner jid.JID, target *url.URL, res *Result) *Error {
	r.ETag = etag(r.ETag)
	req := c.request(http.MethodGet, target)
	if r.ETag != "" {
		req.Header["If-None-Match"] = []string{r.ETag}
	}
	return c.exchange(ctx, o, req, func(bounded context.Context, resp *http.Response) *Error {
		res.ETag = etag(resp.Header.Get("ETag"))
		res.MaxAge, res.StaleIfError = cacheControl(resp.Header)
		switch resp.StatusCode {
		case http.StatusOK:
			buf := bodies.get()
			defer bodies.put(buf)
			if fail := c.body(ctx, bounded, resp, buf, c.cfg.MaxBytes); fail != nil {
				return fail
			}
			return c.document(buf.Bytes(), owner, r, res)
		case http.StatusNoContent:
			if res.recognise(nil, r) {
				return nil
			}
			res.Roster = rosterdoc.Build(nil)
		case http.StatusNotModified:
			if r.ETag == "" {
				return &Error{Kind: Status, Err: errors.New("the service answered 304 Not Modified, and was not asked whether anything was")}
			}
			res.unchanged(r)
		default:
			return unwanted(resp, keyURL)
		}
		return nil
	})
}

// unchanged fills in what the service need not say of a roster that is as it was.
func (res *Result) unchanged(r Request) {
	res.NotModified, res.Body = true, r.Body
	if res.ETag == "" {
		res.ETag = r.ETag
	}
}

// document reads a user's document, unless it is the one that the caller has.
func (c *Client) document(doc []byte, owner jid.JID, r Request, res *Result) *Error {
	res.Bytes = len(doc)
	if res.recognise(doc, r) {
		return nil
	}
	roster, dropped, err := rosterdoc.Decode(doc, rosterdoc.Options{
		Owner: owner, MaxItems: c.cfg.MaxItems, MaxBytes: int(c.cfg.MaxBytes), Like: r.Like,
	})
	if err != nil {
		kind := Document
		if errors.Is(err, rosterdoc.ErrTooLarge) {
			kind = TooLarge
		}
		return &Error{Kind: kind, Err: fmt.Errorf("the answer is no roster: %w", err)}
	}
	res.Roster, res.Dropped = roster, dropped
	return nil
}

func (c *Client) request(method string, target *url.URL) *http.Request {
	req := &http.Request{
		Method: method, URL: target, Host: target.Host,
		Header: http.Header{
			"Accept":          {"application/json"},
			"Accept-Encoding": {"gzip"},
			"User-Agent":      {c.cfg.UserAgent},
		},
	}
	if c.cfg.Token != "" {
		req.Header["Authorization"] = []string{"Bearer " + c.cfg.Token}
	}
	return req
}

// broken is the error for an exchange that did not come to its end: bounded is the context of the exchange,
// ctx the caller's.
func (c *Client) broken(ctx, bounded context.Context, err error, so string) *Error {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return canceled(ctx)
	case context.Cause(bounded) == errSlow:
		return &Error{Kind: Timeout, Err: fmt.Errorf("%s within %v (%s.timeout)", so, c.cfg.Timeout, c.cfg.Of)}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: Timeout, Err: fmt.Errorf("%s in time: %w", so, unanswered.Why(err))}
	}
	return &Error{Kind: Unavailable, Err: fmt.Errorf("%s: %w", so, unanswered.Why(err))}
}

// body reads the body of a 200 into buf, most bytes of it at most.
func (c *Client) body(ctx, bounded context.Context, resp *http.Response, buf *bytes.Buffer, most int64) *Error {
	gzipped, fail := checkType(resp.Header, c.cfg.Of)
	if fail != nil {
		return fail
	}
	if resp.ContentLength > most {
		return tooLarge(most)
	}
	switch err := readBody(buf, resp.Body, most, gzipped); {
	case errors.Is(err, errLarge):
		return tooLarge(most)
	case errors.Is(err, errGzip) && bounded.Err() == nil:
		return &Error{Kind: Document, Err: fmt.Errorf("the answer cannot be decompressed: %w", err)}
	case err != nil:
		return c.broken(ctx, bounded, err, fmt.Sprintf("the answer began and was not whole (%d bytes of it came)", buf.Len()))
	}
	return nil
}

func tooLarge(most int64) *Error {
	return &Error{Kind: TooLarge, Err: fmt.Errorf("the answer has more than %d bytes (roster.max_bytes)", most)}
}

// buffers are for bodies. A rare large one is not kept for the many small ones.
type buffers struct {
	sync.Pool
	keep int // bytes
}

func (b *buffers) get() *bytes.Buffer {
	if buf, ok := b.Get().(*bytes.Buffer); ok {
		return buf
	}
	return new(bytes.Buffer)
}

func (b *buffers) put(buf *bytes.Buffer) {
	if buf.Cap() <= b.keep {
		buf.Reset()
		b.Put(buf)
	}
}

var bodies = buffers{keep: 256 << 10}

// drain lets the connection be used again where little is left of the answer; it is closed otherwise.
func drain(body io.ReadCloser) {
	const little = 16 << 10
	// What is in it matters to nobody, nor whether it could be read: the deadline holds here too.
	_, _ = io.CopyN(io.Discard, body, little)
	_ = body.Close()
}

// checkType looks at what the answer says about its body. See the package's documentation.
func checkType(h http.Header, of string) (gzipped bool, fail *Error) {
	switch enc := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ","))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		gzipped = true
	default:
		return false, &Error{Kind: Type, Err: fmt.Errorf("the answer has the Content-Encoding %q: only gzip was asked for", short(enc))}
	}
	header := h.Get("Content-Type")
	if header == "" {
		return gzipped, nil
	}
	// The parameters do not matter: JSON is UTF-8 whatever the charset says, and the decoder checks it.
	media, _, _ := strings.Cut(header, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch media {
	case "application/json":
		return gzipped, nil
	case "text/plain", "text/json", "text/javascript", "application/javascript", "application/x-javascript", "application/octet-stream":
		return gzipped, nil // COMPAT services written for mod_http_roster_admin
	case "text/html", "application/xhtml+xml":
		return false, &Error{Kind: Type, Err: fmt.Errorf("the answer is %s, a login or error page perhaps: a %s is answered with Content-Type: application/json", media, of)}
	}
	if strings.HasSuffix(media, "+json") {
		return gzipped, nil
	}
	return false, &Error{Kind: Type, Err: fmt.Errorf("the answer is %q: a %s is answered with Content-Type: application/json", short(media), of)}
}

// unwanted is the error for a status that has no roster; key is where the URL comes from.
func unwanted(resp *http.Response, key string) *Error {
	e := &Error{Kind: Status, RetryAfter: retryAfter(resp.Header, time.Now())}
	code := resp.StatusCode
	text := fmt.Sprintf("the service answered %d %s", code, http.StatusText(code))
	if http.StatusText(code) == "" {
		text = fmt.Sprintf("the service answered %d", code)
	}
	right := ": a roster is answered with 200, 204 or 304"
	if key == keyBatch {
		right = ": a batch is answered with 200 and an object of users"
	}
	switch {
	case code >= 300 && code < 400:
		text += redirect(resp, key, right)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		text += ": it does not take our credential; check roster.token"
	case (code == http.StatusNotFound || code == http.StatusMethodNotAllowed) && key == keyBatch:
		text += ": the URL is mistyped, or it takes no POST; a user without contacts is {}, one that it does not know null"
	case code == http.StatusNotFound:
		text += ": the URL is mistyped, or it does not know the user; an empty roster is {} or 204"
	case code == http.StatusTooManyRequests:
		text += ": it wants fewer requests; lower roster.concurrency or raise its limit"
	case code >= 500:
		text += ": look into its own log"
	default:
		text += right
	}
	e.Err = errors.New(text)
	return e
}

// redirect says where an answer would have sent us. It is not followed: the token is for the configured
// service alone, and the target may be anything.
func redirect(resp *http.Response, key, right string) string {
	location := resp.Header.Get("Location")
	if location == "" {
		return right
	}
	target, err := resp.Request.URL.Parse(location)
	if err != nil {
		return ", a redirect to no URL, which was not followed"
	}
	shown := shownURL(target)
	if target.Opaque != "" {
		shown = target.Scheme + ":..."
	}
	return fmt.Sprintf(", a redirect to %q, which was not followed; if that is the right place, put it into %s", shown, key)
}

// clean is an error as it may be logged. Errors of net/http quote what the service sent, which can be long,
// and can be our own request.
func (c *Client) clean(err error) error {
	const most = 500
	text := err.Error()
	if len(text) <= most && (c.cfg.Token == "" || !strings.Contains(text, c.cfg.Token)) {
		return err
	}
	if c.cfg.Token != "" {
		text = strings.ReplaceAll(text, c.cfg.Token, "(the token)")
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return errors.New(text)
}

// short is the beginning of something that the service says, for messages.
func short(s string) string {
	const shown = 80
	if len(s) > shown {
		return s[:shown] + "..."
	}
	return s
}
