package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxBytes is rollcall's default for roster.max_bytes.
const maxBytes = 4 << 20

// errSlow ends an exchange that nobody would wait for any longer.
var errSlow = errors.New("too slow")

// An answer is a request and what came of it.
type answer struct {
	method, url string
	with        []string // what is special about the request, for people

	status  int
	header  http.Header
	body    []byte // decompressed
	gzipped bool
	large   bool // there was more than maxBytes
	took    time.Duration
	err     error // no answer came, or not a whole one
	cut     bool  // with err: it had begun
}

// newTransport is as rollcall's.
func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 3 * timeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // read here, with a limit
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        30 * time.Second,
	}
}

// A question is what differs from an ordinary fetch.
type question struct {
	user      string
	etag      string // sent as If-None-Match
	token     string // instead of the configured one, when other is set
	other     bool
	batch     []byte // the body of a POST to the batch URL, instead of a GET
	batchNote string
}

// ask makes one request, as rollcall does: one exchange, no redirects, no cookies.
func (r *run) ask(q question) *answer {
	a := &answer{method: http.MethodGet, url: expand(r.cfg.URL, q.user, r.cfg.Host)}
	var body io.Reader
	if q.batch != nil {
		a.method, a.url, body = http.MethodPost, expandBatch(r.cfg.BatchURL, r.cfg.Host), bytes.NewReader(q.batch)
		a.with = append(a.with, q.batchNote)
	}
	ctx, cancel := context.WithTimeoutCause(r.ctx, 3*r.cfg.Timeout, errSlow)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, a.method, a.url, body)
	if err != nil {
		a.err = err
		return a
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "rollcall-check")
	if q.batch != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.etag != "" {
		req.Header.Set("If-None-Match", q.etag)
		a.with = append(a.with, "If-None-Match: "+excerpt(q.etag))
	}
	token := r.cfg.Token
	if q.other {
		token = q.token
	}
	switch {
	case token != "" && q.other:
		a.with = append(a.with, "with another token")
	case token != "":
		a.with = append(a.with, "with the token")
	case q.other:
		a.with = append(a.with, "without the token")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	begun := time.Now()
	a.exchange(req, r.transport)
	a.took = time.Since(begun)
	if a.err != nil && context.Cause(ctx) == errSlow {
		a.err = errSlow
	}
	return a
}

// exchange fills in what comes back.
func (a *answer) exchange(req *http.Request, transport http.RoundTripper) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		a.err = err
		return
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	sent, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if len(sent) > maxBytes {
		a.large, sent = true, sent[:maxBytes]
	}
	a.body = sent
	if err != nil {
		a.err, a.cut = err, true
		return
	}
	coding := strings.ToLower(a.header.Get("Content-Encoding"))
	if coding != "gzip" && coding != "x-gzip" || len(sent) == 0 {
		return
	}
	a.gzipped = true
	z, err := gzip.NewReader(bytes.NewReader(sent))
	if err == nil {
		a.body, err = io.ReadAll(io.LimitReader(z, maxBytes+1))
		if len(a.body) > maxBytes {
			a.large, a.body = true, a.body[:maxBytes]
		}
	}
	if err != nil && !a.large {
		a.err, a.cut = fmt.Errorf("%w: %w", errGzip, err), true
	}
}

var errGzip = errors.New("bad gzip")

// asked is the request, for people.
func (a *answer) asked() string {
	s := a.method + " " + a.url
	if len(a.with) > 0 {
		s += " (" + strings.Join(a.with, ", ") + ")"
	}
	return s
}

// got is what came back, for people.
func (a *answer) got() string {
	took := shortly(a.took)
	switch {
	case a.err == errSlow:
		return "nothing whole in " + took
	case a.err != nil && a.cut:
		return fmt.Sprintf("%s, then: %v", statusText(a.status), a.err)
	case a.err != nil:
		return fmt.Sprintf("no answer: %v", a.err)
	}
	parts := []string{statusText(a.status)}
	if len(a.body) > 0 {
		kind := a.header.Get("Content-Type")
		if kind == "" {
			kind = "no Content-Type"
		}
		size := fmt.Sprintf("%d bytes", len(a.body))
		if a.large {
			size = "more than " + size
		}
		if a.gzipped {
			size += " (came as gzip)"
		}
		parts = append(parts, kind, size)
	}
	return strings.Join(append(parts, took), ", ")
}

func statusText(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return fmt.Sprint(code)
}

// shortly writes a duration as people say it.
func shortly(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// excerpt is the beginning of something that the application said, on one line.
func excerpt(s string) string {
	const most = 80
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return '?'
		}
		return r
	}, s)), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// says quotes the body of an answer that is no roster.
func (a *answer) says() string {
	if text := excerpt(string(a.body)); text != "" {
		return fmt.Sprintf("; it says: %s", text)
	}
	return ""
}
