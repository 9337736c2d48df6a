package bosh

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/xmlstream"
)

// What we tell clients in the answer to their first request (section 8.2), and hold them to.
const (
	version    = "1.11"
	maxWait    = 120 // seconds that a request is held at most
	usualWait  = 60
	maxHold    = 2                // requests that are held at most
	inactivity = 60 * time.Second // without a request, the session ends
	polling    = 5 * time.Second  // between two requests that only ask
	maxPause   = 120 * time.Second
	// slack is by how much a network may shorten the time between two requests.
	slack = time.Second
	// maxRepeats is how often one request may come again.
	maxRepeats = 10
)

// session is a client's session: a c2s.Transport.
type session struct {
	h           *Manager
	sid         string
	to          string // as the client named it, for a restart that names none
	contentType string
	legacy      bool // it knows HTTP's errors only (section 17.1)
	acks        bool
	user        string // whom Prebind signs in, "" for a client that signs in by itself

	version          string
	hold, requests   int
	wait, inactivity time.Duration
	polls            bool // nothing is held (section 12)

	mu       sync.Mutex
	readable sync.Cond // events came, or the session is over
	writable sync.Cond // out was taken, or the session is over
	closing  chan struct{}

	limits xmlstream.Limits
	took   *c2s.Meter // of what comes in requests; may be nil

	ahead         bool // no client has come for it yet, see Prebind
	secure, local bool
	remote        string
	tls           *tls.ConnectionState

	next  uint64           // the rid that is expected
	early map[uint64]*turn // requests that came before their turn, by rid
	turns []*turn          // the last answered ones, for repetitions, then those to answer; by rid
	key   string           // the last key, "" when the client uses none

	lastNew   time.Time // when the last new request came
	lastEmpty bool      // that only asked

	events  []event
	reading *turn // whose last event Next gave
	started bool  // the first request was accepted
	opened  bool  // the answer to it can go out
	created bool  // it went out
	framed  bool  // out has an element of the stream's own namespace
	from    string
	out     []byte // payloads that wait for a request

	patience time.Duration // how long to wait for a request: inactivity, or a pause
	idle     *time.Timer
	idleFrom time.Time // zero: a request is held

	leaving bool            // the client has asked for the end, which is about to come
	over    bool            // no more events, nothing more is queued
	told    bool            // the client knows, or there is nothing to tell
	final   []byte          // what to tell it: <body type='terminate'/>, with what waited
	rest    []byte          // what else is held is answered with
	cause   error           // why, for Next
	written <-chan struct{} // closed when the last answer was written
}

// event is what Next gives; turn is set on the last one of a request.
type event struct {
	c2s.Event
	err  error
	turn *turn
}

// turn is a request in its place in the order.
type turn struct {
	req     *request // nil once it was accepted
	rid     uint64
	key     string
	repeats int

	taken    bool // its payloads were read by the stream
	expired  bool // it has been held for as long as may be, or is not to be held
	pause    bool // its answer has no payloads
	answered bool
	answer   []byte
	payload  bool // the answer has something in it

	waiter *waiter // for the answer; nil when nobody is there
}

// waiter is an HTTP request that waits for its answer.
type waiter struct {
	reply   chan reply    // has room for the one that comes
	written chan struct{} // closed when the HTTP handler is done
}

// reply is an answer on its way to an HTTP request.
type reply struct {
	body   []byte
	status int             // of HTTP, 0: 200
	after  <-chan struct{} // closed when the answer before this one was written
}

// newSession makes what a client asks for, within our bounds.
func newSession(h *Manager, req *request, client peer, state *tls.ConnectionState) *session {
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	s := &session{
		h: h, sid: base64.RawURLEncoding.EncodeToString(id[:]), to: req.to, contentType: contentType(req.content),
		legacy: req.ver == "", acks: req.acks, user: client.user, ahead: client.user != "", secure: client.Secure, local: client.Local, remote: client.Name, tls: state,
		version: lower(req.ver, version), hold: 1, wait: usualWait * time.Second, inactivity: inactivity,
		next: req.rid, early: make(map[uint64]*turn), closing: make(chan struct{}), limits: preAuth,
	}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	if req.hold >= 0 {
		s.hold = min(req.hold, maxHold)
	}
	if req.wait >= 0 {
		s.wait = time.Duration(min(req.wait, maxWait)) * time.Second
	}
	if s.polls = s.hold == 0 || s.wait == 0; s.polls {
		// "The increase SHOULD be greater than the value it specifies for the 'polling' attribute" (section 12).
		s.hold, s.wait, s.inactivity = 0, 0, 2*inactivity
	}
	s.requests, s.patience = s.hold+1, s.inactivity
	return s
}

// textXML is the type of responses unless the client wants another.
const textXML = "text/xml; charset=utf-8"

// contentType gives what the client wants of responses to be, when browsers do not take that for a page.
func contentType(wanted string) string {
	typ, _, err := mime.ParseMediaType(wanted)
	if err != nil || typ != "application/xml" && typ != "text/plain" {
		return textXML
	}
	return typ + "; charset=utf-8"
}

// lower gives the lower of two versions; "" when the client's is none.
func lower(client, ours string) string {
	if client == "" {
		return ""
	}
	a, b, _ := strings.Cut(client, ".")
	c, d, _ := strings.Cut(ours, ".")
	major, err1 := strconv.ParseUint(a, 10, 16)
	minor, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil {
		return ours
	}
	ourMajor, _ := strconv.ParseUint(c, 10, 16)
	ourMinor, _ := strconv.ParseUint(d, 10, 16)
	if major < ourMajor || major == ourMajor && minor < ourMinor {
		return fmt.Sprintf("%d.%d", major, minor)
	}
	return ours
}

func (s *session) inputLimits() xmlstream.Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits
}

// meter is of what comes in requests; it may be nil.
func (s *session) meter() *c2s.Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.took
}

// arrive takes a request. The answer comes to the waiter that it gives.
func (s *session) arrive(req *request) *waiter {
	w := &waiter{make(chan reply, 1), make(chan struct{})}
	t := &turn{req: req, rid: req.rid, key: req.key, pause: req.pause >= 0, waiter: w}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idleFrom = time.Time{}                // the client was heard of
	last := s.next + uint64(s.requests) - 1 // section 14.2
	if req.extra() {
		last++
	}
	switch {
	case s.over && s.told:
		t.send(s.refusal(itemNotFound))
	case req.rid < s.next:
		s.repeat(t)
	case req.rid > last || req.rid > maxRID:
		s.breakRules(t, itemNotFound, "a request outside the window")
	case s.early[req.rid] != nil:
		s.replace(s.early[req.rid], t)
	default:
		s.early[req.rid] = t
	}
	for next := s.early[s.next]; next != nil && !(s.over && s.told); next = s.early[s.next] {
		delete(s.early, s.next)
		s.next++
		s.accept(next)
	}
	s.pump()
	s.watch()
	return w
}

// replace gives an unanswered request's place to a repetition (section 14.3).
func (s *session) replace(old, t *turn) {
	if old.key != t.key {
		s.breakRules(t, itemNotFound, "a wrong key")
		return
	}
	if old.repeats++; old.repeats > maxRepeats {
		s.breakRules(t, policyViolation, "a request that comes too often")
		return
	}
	// "It SHOULD respond immediately to the existing request with a recoverable binding condition."
	old.send(reply{body: recoverable})
	old.waiter, t.waiter = t.waiter, nil
}

// repeat answers a request that came before, from memory when it was answered (section 14.3).
func (s *session) repeat(t *turn) {
	for _, old := range s.turns {
		switch {
		case old.rid != t.rid:
		case !old.answered:
			s.replace(old, t)
			return
		case old.key != t.key:
			s.breakRules(t, itemNotFound, "a wrong key")
			return
		default:
			if old.repeats++; old.repeats > maxRepeats {
				s.breakRules(t, policyViolation, "a request that comes too often")
				return
			}
			s.patience = s.inactivity
			// Who asks again has lost that answer, which may still be being written to a connection that nobody reads: what
			// comes next goes behind this one instead.
			s.written = t.waiter.written
			t.send(reply{body: old.answer})
			return
		}
	}
	s.breakRules(t, itemNotFound, "a request whose answer is no longer known")
}

// accept takes a request in its turn.
func (s *session) accept(t *turn) {
	req := t.req
	t.req = nil
	if !s.checkKey(req) {
		s.breakRules(t, itemNotFound, "a wrong key")
		return
	}
	s.turns = append(s.turns, t)
	if why := s.overactive(req); why != "" {
		s.breakRules(t, policyViolation, why)
		return
	}
	if s.acks && req.acks {
		s.acknowledged(req.ack)
	}
	s.patience = s.inactivity
	if req.pause >= 0 {
		if s.patience = max(1, time.Duration(req.pause)) * time.Second; s.patience > maxPause {
			s.breakRules(t, policyViolation, "a pause longer than maxpause")
			return
		}
		t.expired = true // "respond immediately to all pending requests"
	}
	if !s.over {
		s.queue(t, req)
	}
}

// queue makes events of a request.
func (s *session) queue(t *turn, req *request) {
	n := len(s.events)
	if !s.started || req.restart {
		if req.to == "" {
			req.to = s.to
		}
		if req.version == "" {
			req.version = "1.0" // COMPAT: clients that do not say it (XEP-0206 section 3) know SASL all the same
		}
		s.started = true
		s.events = append(s.events, event{Event: c2s.Event{Kind: xmlstream.Open, Header: req.header()}})
	}
	if !req.restart { // "the connection manager SHOULD ignore it" (XEP-0206 section 5)
		for _, el := range req.payloads {
			s.events = append(s.events, event{Event: c2s.Event{Kind: xmlstream.Stanza, Element: el}})
		}
	}
	switch {
	case req.err != nil:
		s.events = append(s.events, event{err: req.err})
	case req.terminate:
		s.leaving = true
		s.events = append(s.events, event{Event: c2s.Event{Kind: xmlstream.Close}})
	}
	if len(s.events) == n {
		t.taken = true
		return
	}
	s.events[len(s.events)-1].turn = t
	s.readable.Signal()
}

// expire says that a request was held as long as it may be.
func (s *session) expire(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.turnOf(w)
	if t == nil {
		return // answered
	}
	t.expired = true
	if s.early[t.rid] == t { // those before it have not come: the client is to send them again, and this
		delete(s.early, t.rid)
		t.send(reply{body: recoverable})
	}
	s.pump()
	s.watch()
}

// leave says that an HTTP request is gone. Its answer is kept for when it comes again.
func (s *session) leave(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.turnOf(w); t != nil {
		t.waiter = nil
	}
	s.pump()
	s.watch()
}

// turnOf gives the turn whose answer somebody waits for, nil when it is on its way.
func (s *session) turnOf(w *waiter) *turn {
	for _, t := range s.turns {
		if t.waiter == w {
			return t
		}
	}
	for _, t := range s.early {
		if t.waiter == w {
			return t
		}
	}
	return nil
}

// breakRules ends the session because of a request, which is told why.
func (s *session) breakRules(t *turn, condition, why string) {
	t.answered = true
	t.send(s.refusal(condition))
	s.end(errors.New("BOSH: "+condition+": "+why), otherRequest)
}

// end ends the session; what is still to be answered is told a condition.
func (s *session) end(cause error, condition string) {
	if !s.over {
		s.over, s.cause = true, cause
	}
	s.told, s.rest = true, terminate(condition)
	s.wake()
}

// refusal is an answer that ends the session.
func (s *session) refusal(condition string) reply {
	r := reply{body: terminate(condition)}
	if s.legacy {
		r.status = statuses[condition]
	}
	return r
}

// wake lets those go who wait for the session.
func (s *session) wake() {
	s.readable.Broadcast()
	s.writable.Broadcast()
	if s.over && s.told {
		select {
		case <-s.closing:
		default:
			close(s.closing)
		}
	}
}

// send answers the HTTP request that waits, if there is one.
func (t *turn) send(r reply) {
	if t.waiter != nil {
		t.waiter.reply <- r // has room for the one answer
		t.waiter = nil
	}
}

// watch looks whether a request is held. Where there is none, the client has some time to send one.
func (s *session) watch() {
	live := false
	for _, t := range s.turns {
		live = live || t.waiter != nil
	}
	for _, t := range s.early {
		live = live || t.waiter != nil
	}
	switch {
	case s.over || live:
		s.idleFrom = time.Time{}
		if s.idle != nil {
			s.idle.Stop()
		}
	case s.idleFrom.IsZero():
		s.idleFrom = time.Now()
		if s.idle == nil {
			s.idle = time.AfterFunc(s.patience, s.lapse)
		} else {
			s.idle.Reset(s.patience)
		}
	}
}

// lapse ends a session whose client has not been heard of for too long.
func (s *session) lapse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.idleFrom.IsZero() || time.Since(s.idleFrom) < s.patience {
		return
	}
	s.end(errors.New("BOSH: no request came in time"), itemNotFound)
}
