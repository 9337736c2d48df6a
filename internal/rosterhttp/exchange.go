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
)

// errSlow ends an exchange that takes longer than Config.Timeout.
var errSlow = errors.New("too slow")

// exchange makes one request and reads the whole answer, within the time for both.
func (c *Client) exchange(ctx context.Context, r Request, owner jid.JID, target *url.URL) (Result, *Error) {
	begun := time.Now()
	r.ETag = etag(r.ETag)
	bounded, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errSlow)
	defer cancel()
	// The transport and not a http.Client: no redirects, no cookies.
	resp, err := c.transport.RoundTrip(c.request(bounded, r, target))
	if err != nil {
		return Result{}, c.broken(ctx, bounded, err, "no answer came")
	}
	defer drain(resp.Body)
	var res Result
	res.ETag = etag(resp.Header.Get("ETag"))
	res.MaxAge, res.StaleIfError = cacheControl(resp.Header)

	var fail *Error
	switch resp.StatusCode {
	case http.StatusOK:
		fail = c.ok(ctx, bounded, resp, c.decoding(owner, r.Like), &res)
	case http.StatusNoContent:
		res.Roster = rosterdoc.Build(nil)
	case http.StatusNotModified:
		if r.ETag == "" {
			fail = &Error{Kind: Status, Err: errors.New("the service answered 304 Not Modified, and was not asked whether anything was")}
			break
		}
		res.NotModified = true
		if res.ETag == "" {
			res.ETag = r.ETag
		}
	default:
		fail = unwanted(resp)
	}
	if fail != nil {
		fail.Status = resp.StatusCode
		return Result{}, fail
	}
	res.Took = time.Since(begun)
	return res, nil
}

func (c *Client) request(ctx context.Context, r Request, target *url.URL) *http.Request {
	req := (&http.Request{
		Method: http.MethodGet, URL: target, Host: target.Host,
		Header: http.Header{
			"Accept":          {"application/json"},
			"Accept-Encoding": {"gzip"},
			"User-Agent":      {c.cfg.UserAgent},
		},
	}).WithContext(ctx)
	if r.ETag != "" {
		req.Header["If-None-Match"] = []string{r.ETag}
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
		return &Error{Kind: Timeout, Err: fmt.Errorf("%s within %v (roster.timeout)", so, c.cfg.Timeout)}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: Timeout, Err: fmt.Errorf("%s in time: %w", so, err)}
	}
	return &Error{Kind: Unavailable, Err: fmt.Errorf("%s: %w", so, err)}
}

// decoding is how documents are read.
func (c *Client) decoding(owner jid.JID, like *rosterdoc.Roster) rosterdoc.Options {
	return rosterdoc.Options{Owner: owner, MaxItems: c.cfg.MaxItems, MaxBytes: int(c.cfg.MaxBytes), Like: like}
}

// ok reads the body of a 200.
func (c *Client) ok(ctx, bounded context.Context, resp *http.Response, o rosterdoc.Options, res *Result) *Error {
	gzipped, fail := checkType(resp.Header)
	if fail != nil {
		return fail
	}
	if resp.ContentLength > c.cfg.MaxBytes {
		return c.tooLarge()
	}
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		// A rare large body is not kept for the many small ones.
		if buf.Cap() <= 256<<10 {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	switch err := readBody(buf, resp.Body, c.cfg.MaxBytes, gzipped); {
	case errors.Is(err, errLarge):
		return c.tooLarge()
	case errors.Is(err, errGzip) && bounded.Err() == nil:
		return &Error{Kind: Document, Err: fmt.Errorf("the answer cannot be decompressed: %w", err)}
	case err != nil:
		return c.broken(ctx, bounded, err, fmt.Sprintf("the answer began and was not whole (%d bytes of it came)", buf.Len()))
	}
	roster, dropped, err := rosterdoc.Decode(buf.Bytes(), o)
	if err != nil {
		kind := Document
		if errors.Is(err, rosterdoc.ErrTooLarge) {
			kind = TooLarge
		}
		return &Error{Kind: kind, Err: fmt.Errorf("the answer is no roster: %w", err)}
	}
	res.Roster, res.Dropped, res.Bytes = roster, dropped, buf.Len()
	return nil
}

func (c *Client) tooLarge() *Error {
	return &Error{Kind: TooLarge, Err: fmt.Errorf("the answer has more than %d bytes (roster.max_bytes)", c.cfg.MaxBytes)}
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// drain lets the connection be used again where little is left of the answer; it is closed otherwise.
func drain(body io.ReadCloser) {
	const little = 16 << 10
	// What is in it matters to nobody, nor whether it could be read: the deadline holds here too.
	_, _ = io.CopyN(io.Discard, body, little)
	_ = body.Close()
}

// checkType looks at what the answer says about its body. See the package's documentation.
func checkType(h http.Header) (gzipped bool, fail *Error) {
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
		return false, &Error{Kind: Type, Err: fmt.Errorf("the answer is %s, a login or error page perhaps: a roster is answered with Content-Type: application/json", media)}
	}
	if strings.HasSuffix(media, "+json") {
		return gzipped, nil
	}
	return false, &Error{Kind: Type, Err: fmt.Errorf("the answer is %q: a roster is answered with Content-Type: application/json", short(media))}
}

// unwanted is the error for a status that has no roster.
func unwanted(resp *http.Response) *Error {
	e := &Error{Kind: Status, RetryAfter: retryAfter(resp.Header, time.Now())}
	code := resp.StatusCode
	text := fmt.Sprintf("the service answered %d %s", code, http.StatusText(code))
	if http.StatusText(code) == "" {
		text = fmt.Sprintf("the service answered %d", code)
	}
	switch {
	case code >= 300 && code < 400:
		text += redirect(resp)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		text += ": it does not take our credential; check roster.token"
	case code == http.StatusNotFound:
		text += ": the URL is mistyped, or it does not know the user; an empty roster is {} or 204"
	case code == http.StatusTooManyRequests:
		text += ": it wants fewer requests; lower roster.concurrency or raise its limit"
	case code >= 500:
		text += ": look into its own log"
	default:
		text += ": a roster is answered with 200, 204 or 304"
	}
	e.Err = errors.New(text)
	return e
}

// redirect says where an answer would have sent us. It is not followed: the token is for the configured
// service alone, and the target may be anything.
func redirect(resp *http.Response) string {
	location := resp.Header.Get("Location")
	if location == "" {
		return ": a roster is answered with 200, 204 or 304"
	}
	target, err := resp.Request.URL.Parse(location)
	if err != nil {
		return ", a redirect to no URL, which was not followed"
	}
	shown := shownURL(target)
	if target.Opaque != "" {
		shown = target.Scheme + ":..."
	}
	return fmt.Sprintf(", a redirect to %q, which was not followed; if that is the right place, put it into roster.url", shown)
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
