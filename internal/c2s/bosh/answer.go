package bosh

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// The terminal binding conditions (XEP-0124 section 17.2) that we have a use for. We are the server too, so that no
// connection to it can fail; a host is never gone, and no other URI is better.
const (
	badRequest         = "bad-request"
	hostUnknown        = "host-unknown"
	improperAddressing = "improper-addressing"
	itemNotFound       = "item-not-found"
	otherRequest       = "other-request"
	policyViolation    = "policy-violation"
	remoteStreamError  = "remote-stream-error"
	systemShutdown     = "system-shutdown"
)

// statuses are what legacy clients get instead (section 17.1).
var statuses = map[string]int{
	badRequest: http.StatusBadRequest, policyViolation: http.StatusForbidden, itemNotFound: http.StatusNotFound,
}

// binding gives the binding condition of a stream error that is about the session as a whole; the others are told as
// such: "any fatal XMPP stream error conditions […] SHOULD only be reported using the 'remote-stream-error' condition".
func binding(c stanza.StreamCondition) string {
	switch c {
	case stanza.HostUnknown:
		return hostUnknown
	case stanza.ImproperAddressing:
		return improperAddressing
	case stanza.SystemShutdown:
		return systemShutdown
	}
	return remoteStreamError
}

const (
	open      = "<body xmlns='" + ns.BOSH + "'"
	streamDef = " xmlns:stream='" + ns.Stream + "'"
	xboshDef  = " xmlns:xmpp='" + ns.XBOSH + "'"
)

var (
	nothing     = []byte(open + "/>")
	recoverable = []byte(open + " type='error'/>") // section 17.3
)

func terminate(condition string) []byte {
	return []byte(open + " type='terminate' condition='" + condition + "'/>")
}

// pump answers what is to be answered now, in the order of the requests.
func (s *session) pump() {
	if s.over {
		s.finish()
		return
	}
	for {
		t := s.oldest()
		switch {
		case t == nil || !t.taken || !s.opened:
			return
		case len(s.out) > 0 && t.waiter != nil && !t.pause:
			s.answer(t, s.out)
			s.out, s.framed = nil, false
			s.writable.Broadcast()
		case s.mustAnswer():
			s.answer(t, nil)
		default:
			return
		}
	}
}

func (s *session) oldest() *turn {
	for _, t := range s.turns {
		if !t.answered {
			return t
		}
	}
	return nil
}

// mustAnswer tells whether the oldest request can be held no longer: there are too many, one behind it must be answered,
// or it stands in the way of one whose client is there.
func (s *session) mustAnswer() bool {
	n, first := 0, (*turn)(nil)
	for _, t := range s.turns {
		if t.answered {
			continue
		}
		if n++; first == nil {
			first = t
		}
		if t.expired || t != first && t.waiter != nil && len(s.out) > 0 && first.waiter == nil {
			return true
		}
	}
	return n > s.hold && !s.leaving
}

// answer answers a request, and remembers that.
func (s *session) answer(t *turn, payload []byte) {
	t.answered, t.payload = true, len(payload) > 0
	t.answer = s.body(t, payload)
	s.dispatch(t, t.answer)
	answered := 0
	for answered < len(s.turns) && s.turns[answered].answered {
		answered++
	}
	// "The number of responses […] kept in the buffer SHOULD be […] the same as the maximum number of simultaneous
	// requests" (section 14.3).
	if drop := answered - s.requests; drop > 0 {
		clear(s.turns[:drop])
		s.turns = s.turns[drop:]
	}
}

// dispatch sends an answer to whoever waits for it, behind the one before.
func (s *session) dispatch(t *turn, body []byte) {
	if t.waiter == nil {
		return
	}
	w := t.waiter
	t.send(reply{body: body, after: s.written})
	s.written = w.written
}

// finish answers all that is held when the session is over. The oldest request hears of it (section 13).
func (s *session) finish() {
	pending := make([]*turn, 0, len(s.turns)+len(s.early))
	for _, t := range s.turns {
		if !t.answered {
			pending = append(pending, t)
		}
	}
	for _, t := range s.early {
		pending = append(pending, t)
	}
	slices.SortFunc(pending, func(a, b *turn) int { return cmp.Compare(a.rid, b.rid) })
	for _, t := range pending {
		body := s.rest
		if !s.told && t.waiter != nil {
			body, s.told = s.final, true
		}
		t.answered, t.answer = true, body
		s.dispatch(t, body)
	}
	clear(s.early)
	s.wake()
}

// body makes a response with payloads.
func (s *session) body(t *turn, payload []byte) []byte {
	if len(payload) == 0 && s.created && !s.acks {
		return nothing
	}
	b := append(make([]byte, 0, len(payload)+len(open)+256), open...)
	if !s.created {
		s.created = true
		b = s.appendCreation(b, t.rid)
	} else if last := s.next - 1; s.acks && last != t.rid {
		b = appendAttr(b, "ack", strconv.FormatUint(last, 10)) // section 9.1
	}
	return s.appendRest(b, payload)
}

// appendRest closes the tag and appends the payloads.
func (s *session) appendRest(b, payload []byte) []byte {
	if len(payload) == 0 {
		return append(b, "/>"...)
	}
	if s.framed {
		b = append(b, streamDef...)
	}
	b = append(append(b, '>'), payload...)
	return append(b, "</body>"...)
}

// appendCreation appends what the response to the first request has (section 8.2).
func (s *session) appendCreation(b []byte, rid uint64) []byte {
	b = append(b, xboshDef...)
	b = append(b, " xmpp:version='1.0' xmpp:restartlogic='true'"...)
	b = appendAttr(b, "sid", s.sid)
	b = appendAttr(b, "from", s.from)
	b = appendAttr(b, "wait", seconds10(s.wait))
	b = appendAttr(b, "requests", strconv.Itoa(s.requests))
	b = appendAttr(b, "hold", strconv.Itoa(s.hold))
	b = appendAttr(b, "inactivity", seconds10(s.inactivity))
	b = appendAttr(b, "polling", seconds10(polling))
	b = appendAttr(b, "maxpause", seconds10(maxPause))
	if s.version != "" {
		b = appendAttr(b, "ver", s.version)
	}
	if s.acks {
		b = appendAttr(b, "ack", strconv.FormatUint(rid, 10))
	}
	return b
}

func seconds10(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func appendAttr(b []byte, name, value string) []byte {
	b = append(append(append(b, ' '), name...), "='"...)
	return append(xmlstream.AppendEscaped(b, value), '\'')
}

// appendElement queues an element of the negotiation.
func (s *session) appendElement(el *xmlstream.Element) {
	s.framed = s.framed || el.Space == ns.Stream
	s.out = c2s.AppendElement(s.out, el, true)
}

// makeFinal makes the response that ends the session, with what waited.
func (s *session) makeFinal(serr *stanza.StreamError) {
	b := append(make([]byte, 0, len(s.out)+512), open+" type='terminate'"...)
	if !s.created && s.from != "" {
		b = appendAttr(b, "from", s.from)
	}
	if serr != nil {
		condition := binding(serr.Condition)
		b = appendAttr(b, "condition", condition)
		if condition == remoteStreamError {
			s.appendElement(serr.Element())
		}
	}
	s.final = s.appendRest(b, s.out)
	s.out, s.rest = nil, nothing
}
