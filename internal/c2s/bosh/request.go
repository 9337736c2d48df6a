package bosh

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"rollcall/internal/c2s"
	"rollcall/internal/ns"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// headLimits bound the <body> tag itself, and wrapper is what it may add to the elements in it.
var headLimits = xmlstream.Limits{Bytes: 8 << 10, Attrs: 40}

const wrapper = 8 << 10

// preAuth bounds what comes with the request that begins a session, before anybody has called SetLimits.
var preAuth = xmlstream.Limits{Bytes: 4096, Depth: 8, Children: 32, Attrs: 32}

// maxRID: "The client MUST take care to choose an initial 'rid' that will never be incremented above 9007199254740991"
// (section 14.1).
const maxRID = 1<<53 - 1

// request is what a client sent: the attributes of its <body/>, and what is in it.
type request struct {
	rid                                  uint64
	sid, key, newKey                     string
	to, from, lang, version              string
	ver, content                         string
	wait, hold                           int // -1: not given
	pause                                int // seconds; -1: not asked for
	ack                                  uint64
	acks, restart, terminate, hasPayload bool

	payloads []*xmlstream.Element
	err      error // what breaks the rules of the stream; told in its turn
}

// A refusal is a condition of section 17.2 that answers a request which belongs to no session.
type refusal struct{ condition string }

func (r *refusal) Error() string { return "BOSH: " + r.condition }

var (
	errBadRequest = &refusal{badRequest}
	errUnknown    = &refusal{itemNotFound}
	errNeedsTLS   = &refusal{policyViolation}

	// errInsecure: a request without TLS, of a session that has it. "The connection manager SHOULD NOT terminate the
	// session since that would facilitate denial of service attacks" (XEP-0124 section 19.1).
	errInsecure = errors.New("BOSH: a request without TLS")
)

// readHead reads the tag of the <body/>. The error is a *refusal, or src has one.
func readHead(src *source) (*request, *xmlstream.Reader, error) {
	in := xmlstream.NewReader(src, headLimits)
	ev, err := in.Next()
	if err != nil || ev.Kind != xmlstream.Open || !ev.Element.Is(ns.BOSH, "body") {
		return nil, nil, errBadRequest
	}
	req := &request{wait: -1, hold: -1, pause: -1}
	if !req.readAttributes(ev.Element) || req.sid == "" && req.rid == 0 {
		return nil, nil, errBadRequest
	}
	return req, in, nil
}

// readAttributes tells whether the attributes are what they must be.
func (req *request) readAttributes(body *xmlstream.Element) bool {
	ok := true
	for _, a := range body.Attrs {
		switch {
		case a.Space == ns.XML && a.Local == "lang":
			req.lang = a.Value
		case a.Space == ns.XBOSH && a.Local == "version":
			req.version = a.Value
		case a.Space == ns.XBOSH && a.Local == "restart":
			req.restart = a.Value == "true" || a.Value == "1"
		case a.Space == "":
			ok = req.attribute(a.Local, a.Value) && ok
		}
	}
	return ok && req.rid > 0 // section 14: it MUST be there
}

// attribute takes an attribute that has no namespace. 'route' and 'secure' concern servers that are apart from their
// connection managers, 'stream' those with several streams in a session.
func (req *request) attribute(name, value string) (ok bool) {
	switch name {
	case "rid":
		req.rid, ok = number(value)
		return ok
	case "sid":
		req.sid = value
	case "key":
		req.key = value
	case "newkey":
		req.newKey = value
	case "to":
		req.to = value
	case "from":
		req.from = value
	case "ver":
		req.ver = value
	case "content":
		req.content = value
	case "type":
		req.terminate = value == "terminate"
	case "ack":
		req.ack, ok = number(value)
		req.acks = true
		return ok
	case "wait":
		return seconds(value, &req.wait)
	case "hold":
		return seconds(value, &req.hold)
	case "pause":
		return seconds(value, &req.pause)
	}
	return true
}

// number reads a positive integer; one beyond all bounds is that.
func number(s string) (uint64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		n = 1<<64 - 1
	}
	return n, true
}

// seconds reads a small number; one that is too large is clamped by whoever uses it.
func seconds(s string, to *int) bool {
	n, ok := number(s)
	*to = int(min(n, 1<<20))
	return ok
}

// empty tells whether a request only asks for what there is. One that is broken does not.
func (req *request) empty() bool {
	return !req.hasPayload && req.err == nil && !req.restart && !req.terminate && req.pause < 0
}

// extra tells whether a request may come beside all that a client may have under way (section 11).
func (req *request) extra() bool { return req.terminate || req.pause >= 0 }

// readPayloads reads what is in the <body/>. What is wrong with it is the stream's business, in its turn: req.err. The
// error is a *refusal, or src has one.
func (req *request) readPayloads(in *xmlstream.Reader, src *source, l xmlstream.Limits) error {
	if l.Bytes <= 0 {
		l.Bytes = xmlstream.DefaultBytes
	}
	if l.Children <= 0 {
		l.Children = xmlstream.DefaultChildren
	}
	src.left += l.Bytes + wrapper - headLimits.Bytes
	// As many nodes in one request as may be in one element, each payload counted too: what they cost is bounded by that.
	left, most := l.Children+1, l.Children
	for {
		l.Children = max(1, min(left, most))
		in.SetLimits(l)
		ev, err := in.Next()
		switch {
		case err != nil:
			req.err = payloadError(err)
		case ev.Kind == xmlstream.Close:
			if req.err = atEnd(in, src); req.err == nil {
				return nil
			}
		case ev.Element.Space == ns.Stream: // a <stream:stream/> among them
			req.err = &stanza.StreamError{Condition: stanza.InvalidNamespace, Text: "over BOSH a stream begins with an empty <body/>"}
		default:
			req.hasPayload = true
			if left -= 1 + nodes(ev.Element); left < 0 {
				req.err = &stanza.StreamError{Condition: stanza.StreamPolicyViolation, Text: "too much in one request"}
				break
			}
			req.payloads = append(req.payloads, ours(ev.Element))
		}
		if src.err != nil {
			return src.err
		}
		if req.err != nil { // then nothing of it is done
			req.payloads = nil
			if req.sid == "" {
				return errBadRequest
			}
			return nil
		}
	}
}

// payloadError is what the stream is told about an error of the reader.
func payloadError(err error) error {
	var syntax *xmlstream.SyntaxError
	if errors.As(err, &syntax) {
		return syntax
	}
	return &xmlstream.SyntaxError{Condition: xmlstream.NotWellFormed, Text: "the body is not complete"}
}

// atEnd tells whether nothing but white space follows the <body/> (section 7: one in a request).
func atEnd(in *xmlstream.Reader, src *source) error {
	in.SkipSpace()
	if in.Buffered() == 0 {
		var b [512]byte
		for {
			n, err := src.Read(b[:])
			if strings.Trim(string(b[:n]), " \t\r\n") != "" {
				break
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return payloadError(err)
			}
		}
	}
	return &xmlstream.SyntaxError{Condition: xmlstream.NotWellFormed, Text: "more than one element"}
}

func nodes(el *xmlstream.Element) int {
	n := len(el.Nodes)
	for child := range el.Elements() {
		n += nodes(child)
	}
	return n
}

// ours gives a payload its namespace. COMPAT: old clients leave it out and take jabber:client for a part of BOSH's
// (XEP-0206 section 2).
func ours(el *xmlstream.Element) *xmlstream.Element {
	if el.Space == ns.BOSH {
		adopt(el)
	}
	return el
}

func adopt(el *xmlstream.Element) {
	el.Space = ns.Client
	for child := range el.Elements() {
		if child.Space == ns.BOSH {
			adopt(child)
		}
	}
}

// header is the stream header that a request stands for.
func (req *request) header() *c2s.Header {
	return &c2s.Header{From: req.from, To: req.to, Version: req.version, Lang: req.lang}
}
