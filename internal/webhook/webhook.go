// Package webhook tells an application over HTTP what has happened, in the form of Standard Webhooks 1.0.0
// (https://www.standardwebhooks.com): a POST of JSON for each event, signed, and again until it is answered with a 2xx status.
//
// Events of one user are told one after the other, in the order in which they were added. What the application has not taken is kept in an
// Outbox, which may outlive the process. So an event is told at least once; its webhook-id is the same each time.
//
// Two kinds of failure are told apart. An application that does not answer, or answers 5xx, 408, 425 or 429, is down: nothing
// is sent until one event, tried again and again with growing pauses, gets through. An event that is answered with anything
// else is refused: it is tried a few more times, while only the events of the same user wait for it, and is then dropped.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"rollcall/internal/unanswered"
)

// An Event is in an Outbox.
type Event struct {
	ID   int64  // given by the Outbox; later events have greater ones, and none is given twice
	User string // canonical localpart of whom it is about; "" for the host itself
	Kind string // "user.online"
	At   time.Time
	Body []byte
}

// An Outbox keeps the events of one host until they are removed. Its methods may be called by any goroutine. done is
// called once, and must not block.
type Outbox interface {
	// Add keeps an event, unless there are most of them already. It does not wait.
	Add(e Event, most int, done func(error))
	// Page lists events in the order of their ids, from after one on, at most limit.
	Page(ctx context.Context, after int64, limit int) ([]Event, error)
	// Remove forgets events; it does not wait.
	Remove(ids []int64, done func(error))
}

// Options makes a Sender. Host, URL, Key and Log are required.
type Options struct {
	Host      string // whose events these are, in "data" of each
	URL       string // "https://app.example.com/hooks"
	Key       []byte // of the signatures
	UserAgent string
	Outbox    Outbox        // nil: one in memory
	MaxAge    time.Duration // how old an event may be when it is told; 24 h
	Most      int           // events in the Outbox; 100,000
	Timeout   time.Duration // of one request; 15 s
	Log       *slog.Logger
	// Told is called with what became of an event, for metrics: "delivered", "refused", "expired" or "overflow". It may be nil.
	Told func(result string)
	// Asked is called with how long each request took, and why the event was not taken. It may be nil.
	Asked func(took time.Duration, err error)
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network
}

// Sender tells the events of one host. Its methods may be called by any goroutine.
type Sender struct {
	o         Options // but for what is in to
	to        atomic.Pointer[destination]
	transport *http.Transport
	wake      chan struct{}             // has one when something was added
	overflow  atomic.Int64              // events that found no room since that was last said
	said      atomic.Pointer[time.Time] // when; nil: not yet
}

// destination is where events go, and how.
type destination struct {
	url    string
	key    []byte
	maxAge time.Duration
}

// New checks the options.
func New(o Options) (*Sender, error) {
	to, err := newDestination(o)
	if err != nil {
		return nil, err
	}
	if o.Most <= 0 {
		o.Most = 100_000
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Outbox == nil {
		o.Outbox = &memory{}
	}
	if o.Told == nil {
		o.Told = func(string) {}
	}
	if o.Asked == nil {
		o.Asked = func(time.Duration, error) {}
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: o.Timeout}).DialContext
	}
	s := &Sender{o: o, wake: make(chan struct{}, 1), transport: &http.Transport{
		Proxy: nil, DialContext: dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: o.Timeout,
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: concurrency, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		DisableCompression: true,
	}}
	s.to.Store(to)
	return s, nil
}

func newDestination(o Options) (*destination, error) {
	target, err := url.Parse(o.URL)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" || target.User != nil || target.Fragment != "" {
		return nil, errors.New(`webhook: the URL must be one like "https://app.example.com/hooks", without a user or a fragment`)
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 24 * time.Hour
	}
	return &destination{url: target.String(), key: o.Key, maxAge: o.MaxAge}, nil
}

// Move checks the URL, Key and MaxAge of other options. After move every request goes there; one that is under way ends as it
// began. An application that was down is tried at once.
func (s *Sender) Move(o Options) (move func(), err error) {
	to, err := newDestination(o)
	return func() {
		s.to.Store(to)
		s.signal()
	}, err
}

// Tell adds an event; it does not wait. data is its member "data" beside user and host; values are strings, numbers, booleans
// and lists of them.
func (s *Sender) Tell(user, kind string, data map[string]any) {
	now := time.Now().UTC()
	all := map[string]any{"host": s.o.Host}
	if user != "" {
		all["user"], all["jid"] = user, user+"@"+s.o.Host
	}
	for name, v := range data {
		all[name] = v
	}
	body, err := json.Marshal(struct {
		Type      string         `json:"type"`
		Timestamp string         `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}{kind, now.Format(time.RFC3339Nano), all})
	if err != nil {
		s.o.Log.Error("event not told", "kind", kind, "error", err)
		return
	}
	s.o.Outbox.Add(Event{User: user, Kind: kind, At: now, Body: body}, s.o.Most, func(err error) {
		if err != nil {
			s.lost(err)
			return
		}
		s.signal()
	})
}

func (s *Sender) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lost counts an event that could not be kept, and says so once a minute.
func (s *Sender) lost(err error) {
	s.o.Told("overflow")
	n, now := s.overflow.Add(1), time.Now()
	if last := s.said.Load(); (last == nil || now.Sub(*last) >= time.Minute) && s.said.CompareAndSwap(last, &now) {
		s.overflow.Add(-n)
		s.o.Log.Error("events for the application were lost", "events", n, "error", err)
	}
}

// verdict is what an answer means.
type verdict int

const (
	delivered verdict = iota
	down              // the application is not there
	refused           // it does not want this event
)

// deliver makes one request. after is when the application wants the next one, 0 when it does not say.
func (s *Sender) deliver(ctx context.Context, e Event) (v verdict, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	to := s.to.Load()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(e.Body))
	if err != nil {
		return refused, 0, err
	}
	id, timestamp := s.o.Host+"-"+strconv.FormatInt(e.ID, 36), strconv.FormatInt(time.Now().Unix(), 10)
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {s.o.UserAgent},
		HeaderID: {id}, HeaderTimestamp: {timestamp}, HeaderSignature: {Signature(to.key, id, timestamp, e.Body)},
	}
	res, err := s.transport.RoundTrip(req) // and not a http.Client: no redirects, no cookies
	if err != nil {
		return down, 0, fmt.Errorf("no answer: %w", unanswered.Why(err))
	}
	drain(res.Body)
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return delivered, 0, nil
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		return down, retryAfter(res.Header), fmt.Errorf("the application answered %s", unanswered.Status(code))
	default:
		return refused, 0, fmt.Errorf("the application answered %s", unanswered.Status(code))
	}
}

// maxRetryAfter bounds what Retry-After can do.
const maxRetryAfter = time.Hour

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(min(n, 1<<20))*time.Second, maxRetryAfter)
}
