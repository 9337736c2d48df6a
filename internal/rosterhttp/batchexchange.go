package rosterhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// etagsMember is the member of a request and of its answer that is no user. A user of that name is never in a
// batch, so the two cannot be mixed up.
const etagsMember = "etags"

// Limits of the answer to a batch: max_bytes for each user and something for its name and ETag, and no more
// than maxAnswer, or one max_bytes where that is more.
const (
	maxAnswer = 64 << 20
	perUser   = 8 << 10
)

var answers = buffers{keep: 4 << 20}

// send makes the request and gives everybody in the batch an outcome.
func (c *Client) send(b *batch) {
	o := Observation{Batch: true, Users: len(b.users), Results: map[string]int{}}
	buf := answers.get()
	defer answers.put(buf)
	notified := slices.ContainsFunc(b.users, func(w *wanted) bool { return w.Notified })
	common := Result{}
	fail := c.attempt(notified, &o, c.batches.url, func() *Error { return c.post(b, &o, buf, &common) })
	var answer batchAnswer
	if fail == nil {
		o.Bytes = buf.Len()
		var err error
		if answer, err = splitAnswer(buf.Bytes(), b.index); err != nil {
			fail = c.batchError(Document, fmt.Errorf("the answer is no batch: %w", err))
		}
	}
	if fail != nil {
		fail.Batch, fail.URL = true, c.batches.shown
		c.record.failure(fail)
		o.Results[fail.Kind.String()] = len(b.users)
		for _, w := range b.users {
			w.done <- outcome{fail: fail}
		}
	} else {
		common.Took = o.Took
		c.deliver(b, answer, common, &o)
	}
	c.observe(o, "")
}

func (c *Client) batchError(k Kind, err error) *Error {
	return &Error{Kind: k, Status: http.StatusOK, Batch: true, URL: c.batches.shown, Err: err}
}

// deliver gives each user what the answer has for it. As a request it was a success if it was for one of them.
func (c *Client) deliver(b *batch, answer batchAnswer, common Result, o *Observation) {
	good := 0
	var worst *Error
	for i, w := range b.users {
		if w.left.Load() {
			o.Results[Canceled.String()]++
			continue
		}
		res := common
		res.ETag = answer.etags[i]
		fail := c.userAnswer(w, answer.docs[i], &res)
		o.Results[label(&res, fail)]++
		if fail != nil {
			worst, res = fail, Result{}
		} else {
			good++
			o.Dropped += left(res.Dropped)
			c.logDropped(w.owner, res.Dropped)
		}
		w.done <- outcome{res, fail}
	}
	switch {
	case worst == nil:
		c.record.success(o.Took)
	case good == 0:
		c.record.failure(worst)
	default:
		c.record.success(o.Took)
		c.record.blemish(worst)
	}
}

// userAnswer reads what the answer has for one user: a document, true for unchanged, null or nothing.
func (c *Client) userAnswer(w *wanted, doc []byte, res *Result) *Error {
	switch {
	case doc == nil:
		return c.batchError(Missing, errors.New("the answer has no member for this user, called as in the request; a user without contacts is {}"))
	case string(doc) == "null":
		return c.batchError(Missing, errors.New("the answer has null for this user; a user without contacts is {}"))
	case string(doc) == "true" && !w.tagged():
		return c.batchError(Document, errors.New("the answer says true, unchanged, of a user for whom no ETag was sent"))
	case string(doc) == "true":
		res.unchanged(w.Request)
		return nil
	}
	if fail := c.document(doc, w.owner, w.Request, res); fail != nil {
		return c.batchError(fail.Kind, c.clean(fail.Err))
	}
	return nil
}

// post sends the request and reads the body of the answer. What its headers say is for all of its users.
func (c *Client) post(b *batch, o *Observation, buf *bytes.Buffer, common *Result) *Error {
	body := batchRequest(b.users)
	req := c.request(http.MethodPost, c.batches.url)
	req.Header["Content-Type"] = []string{"application/json"}
	// For net/http: it may be sent again when a kept connection was just being closed. Without values the
	// header itself is not sent.
	req.Header["Idempotency-Key"] = nil
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	return c.exchange(b.ctx, o, req, func(bounded context.Context, resp *http.Response) *Error {
		if resp.StatusCode != http.StatusOK {
			return unwanted(resp, keyBatch)
		}
		common.MaxAge, common.StaleIfError = cacheControl(resp.Header)
		most := max(c.cfg.MaxBytes, min(maxAnswer, int64(len(b.users))*(c.cfg.MaxBytes+perUser)))
		fail := c.body(b.ctx, bounded, resp, buf, most)
		if fail != nil && fail.Kind == TooLarge {
			fail.Err = fmt.Errorf("the answer for %d users has more than %d bytes: lower roster.batch_size, or raise roster.max_bytes", len(b.users), most)
		}
		return fail
	})
}

// tagged says whether the request has an ETag for the user. JSON has no place for one that is not UTF-8.
func (w *wanted) tagged() bool {
	return w.ETag != "" && etag(w.ETag) != "" && utf8.ValidString(w.ETag)
}

// batchRequest is the body of the request: {"users": ["john", "aaron"], "etags": {"john": "…"}}.
func batchRequest(users []*wanted) []byte {
	body := []byte(`{"users":[`)
	for i, w := range users {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendString(body, w.owner.Local())
	}
	body = append(body, ']')
	open := `,"etags":{`
	for _, w := range users {
		if w.tagged() {
			body = append(body, open...)
			body = append(appendString(body, w.owner.Local()), ':')
			body = appendString(body, w.ETag)
			open = ","
		}
	}
	if open == "," {
		body = append(body, '}')
	}
	return append(body, '}')
}

// appendString appends a JSON string; s is UTF-8.
func appendString(body []byte, s string) []byte {
	body, _ = jsontext.AppendQuote(body, s) // fails where s is no UTF-8 alone
	return body
}
