package rosterhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/internal/jid"
)

// Documents asks a service for documents about users that are no rosters, and for images that these name, with the care that
// a Client has for rosters (docs/profile-http.md). Its methods may be called by many goroutines at once.
type Documents struct {
	client  *Client
	images  *Client // with a breaker of its own: a server of images may fail while the service is well
	origins []string
}

// NewDocuments checks the configuration. origins are where images may come from, such as "https://cdn.example.com", beside
// the origin of cfg.URL, which alone is given the token.
func NewDocuments(cfg Config, origins []string) (*Documents, error) {
	cfg.BatchURL = ""
	client, err := New(cfg)
	if wrong := (*ConfigError)(nil); errors.As(err, &wrong) {
		wrong.Key = cfg.Of + ".url"
	}
	if err != nil {
		return nil, err
	}
	images, err := New(cfg)
	if err != nil {
		return nil, err
	}
	images.cfg.Of += "'s image"
	d := &Documents{client: client, images: images, origins: []string{strings.ToLower(client.template.prefix)}}
	for _, o := range origins {
		d.origins = append(d.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	return d, nil
}

// A Content is an answer.
type Content struct {
	NotModified bool // there is nothing new since the ETag that was sent
	Body        []byte
	ETag        string        // "" for none
	MaxAge      time.Duration // how long it may be used without asking; <0: not said
}

// User asks for the document of a user; most is how many bytes it may have. A body without a byte is that of 204. The error
// is an *Error.
func (d *Documents) User(ctx context.Context, user, tag string, most int64, notified bool) (Content, error) {
	owner, fail := d.client.owner(user)
	if fail != nil {
		return Content{}, fail
	}
	target, fail := d.client.target(owner)
	if fail != nil {
		return Content{}, fail
	}
	return d.client.fetchDocument(ctx, d.client.request(http.MethodGet, target), tag, most, notified, true)
}

// Image asks for an image that a user's document names, by a URL that may be relative to the document's. The error is an
// *Error; it is of kind Refused when the image is of an origin that is not allowed.
func (d *Documents) Image(ctx context.Context, user, reference, tag string, most int64, notified bool) (Content, error) {
	target, origin, err := d.resolve(user, reference)
	if err != nil {
		return Content{}, &Error{Kind: Refused, URL: d.client.template.prefix, Err: err}
	}
	req := d.images.request(http.MethodGet, target)
	req.Header.Set("Accept", "image/png, image/jpeg, image/gif, image/webp")
	req.Header.Set("Accept-Encoding", "identity")
	if origin != d.origins[0] {
		req.Header.Del("Authorization") // it is for the service alone
	}
	return d.images.fetchDocument(ctx, req, tag, most, notified, false)
}

// resolve gives the URL of an image and its origin, if it may be asked for.
func (d *Documents) resolve(user, reference string) (*url.URL, string, error) {
	owner, err := jid.New(user, d.client.cfg.Host, "")
	if err != nil {
		return nil, "", fmt.Errorf("there can be no such user: %w", err)
	}
	base, err := url.Parse(d.client.template.expand(owner))
	if err != nil {
		return nil, "", errors.New("the user's name makes no URL")
	}
	target, err := base.Parse(reference)
	if err != nil || target.Opaque != "" || target.User != nil || target.Host == "" {
		return nil, "", errors.New("the image has a URL that is none, or has a name or password in it")
	}
	target.Fragment = ""
	origin := strings.ToLower(target.Scheme + "://" + target.Host)
	if !slices.Contains(d.origins, origin) {
		return nil, "", fmt.Errorf("the image is at %.100q, which is not among %s.avatar_origins", origin, d.client.cfg.Of)
	}
	return target, origin, nil
}

// Health tells how the service has been doing, images apart.
func (d *Documents) Health() Health { return d.client.Health() }

// Close gives up the kept connections.
func (d *Documents) Close() {
	d.client.Close()
	d.images.Close()
}

// fetchDocument makes one request for a document, when it is its turn.
func (c *Client) fetchDocument(ctx context.Context, req *http.Request, tag string, most int64, notified, isJSON bool) (doc Content, err error) {
	if tag = etag(tag); tag != "" {
		req.Header["If-None-Match"] = []string{tag}
	}
	o := Observation{Users: 1, Image: !isJSON}
	defer func() { c.observe(o, label(&Result{}, o.Err)) }()
	fail := c.enter(ctx, notified)
	if fail == nil {
		fail = c.attempt(notified, &o, req.URL, func() *Error {
			return c.exchange(ctx, &o, req, func(bounded context.Context, resp *http.Response) *Error {
				return c.readDocument(ctx, bounded, resp, tag, most, isJSON, &doc)
			})
		})
		c.exit()
	}
	if fail != nil {
		fail.URL = shownURL(req.URL)
		o.Err = fail
		c.record.failure(fail)
		return Content{}, fail
	}
	c.record.success(o.Took)
	return doc, nil
}

func (c *Client) readDocument(ctx, bounded context.Context, resp *http.Response, tag string, most int64, isJSON bool, doc *Content) *Error {
	doc.ETag = etag(resp.Header.Get("ETag"))
	doc.MaxAge, _ = cacheControl(resp.Header)
	switch {
	case resp.StatusCode == http.StatusNotModified && tag != "":
		doc.NotModified = true
		if doc.ETag == "" {
			doc.ETag = tag
		}
		return nil
	case resp.StatusCode == http.StatusNoContent && isJSON:
		return nil
	case resp.StatusCode != http.StatusOK:
		return c.unwantedDocument(resp)
	}
	gzipped := false
	if isJSON {
		var fail *Error
		if gzipped, fail = checkType(resp.Header, c.cfg.Of); fail != nil {
			return fail
		}
	}
	var buf bytes.Buffer
	switch err := readBody(&buf, resp.Body, most, gzipped); {
	case errors.Is(err, errLarge):
		return &Error{Kind: TooLarge, Err: fmt.Errorf("the answer has more than %d bytes", most)}
	case errors.Is(err, errGzip) && bounded.Err() == nil:
		return &Error{Kind: Document, Err: fmt.Errorf("the answer cannot be decompressed: %w", err)}
	case err != nil:
		return c.broken(ctx, bounded, err, "the answer began and was not whole")
	}
	doc.Body = buf.Bytes()
	return nil
}

// unwantedDocument is the error for a status that has no document.
func (c *Client) unwantedDocument(resp *http.Response) *Error {
	text := fmt.Sprintf("the service answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		text += ", and redirects are not followed"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		text += ": it does not take our credential; check " + c.cfg.Of + ".token"
	case code == http.StatusNotFound:
		text += ": the URL is mistyped, or there is no such user; a user without one is {} or 204"
	case code >= 500:
		text += ": look into its own log"
	}
	return &Error{Kind: Status, RetryAfter: retryAfter(resp.Header, time.Now()), Err: errors.New(text)}
}
