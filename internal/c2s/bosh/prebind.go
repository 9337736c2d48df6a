package bosh

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"rollcall/internal/auth"
	"rollcall/internal/c2s"
	"rollcall/internal/ns"
	"rollcall/internal/proxied"
	"rollcall/internal/xmlstream"
)

// Ahead says for whom to make a session ahead.
type Ahead struct {
	Host, User string // canonical
	Resource   string // "": one is made up
	Wait, Hold int    // of the session, from 1 on; 0: what is usual
}

// Prebound is what a client needs to go on with a session that was made for it.
type Prebound struct {
	JID string // full
	SID string
	RID uint64 // of the client's first request
}

// A Refused is why a session was not made: a condition of RFC 6120 section 8.3.3 for binding a resource, or of XEP-0124
// section 17.2.
type Refused struct{ Condition, Text string }

func (r *Refused) Error() string { return "BOSH: " + r.Condition + ": " + r.Text }

const (
	// maxAhead bounds the sessions that no client has come for yet.
	maxAhead = 1024
	// maxAsked bounds the requests of one Prebind; four are usual.
	maxAsked = 20
)

// Prebind signs a user in and gives the session away: to a page, whose application has vouched for the user and has no
// password to give it. It is a client within this process, whose requests take the way of all others, from the first
// <body/> to the bound resource; only that who it is needs no proof (SASL EXTERNAL).
//
// A client that does not come loses the session as one that went away does: after its inactivity. Once it has come, it is held
// to the rules that the session would have, had it been the client's from the start. The error is c2s.ErrCrowded, a
// *Refused, or that of ctx.
func (h *Manager) Prebind(ctx context.Context, a Ahead) (Prebound, error) {
	p := &prebinder{h: h, ctx: ctx, user: a.User, rid: firstRID()}
	full, err := p.signIn(a)
	if err != nil {
		if s := h.find(p.sid); s != nil {
			s.Abort()
		}
		return Prebound{}, err
	}
	return Prebound{JID: full, SID: p.sid, RID: p.rid}, nil
}

// firstRID gives a number that nobody guesses, with room to count on in what JavaScript can.
func firstRID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])>>16 + 1
}

// prebinder is the client within this process.
type prebinder struct {
	h     *Manager
	ctx   context.Context
	user  string
	sid   string
	rid   uint64 // of the next request
	asked int
}

// signIn does RFC 6120 sections 6 and 7.
func (p *prebinder) signIn(a Ahead) (full string, err error) {
	first := appendAttr([]byte(" ver='1.6' xmpp:version='1.0'"), "to", a.Host)
	if a.Wait > 0 {
		first = fmt.Appendf(first, " wait='%d'", a.Wait)
	}
	if a.Hold > 0 {
		first = fmt.Appendf(first, " hold='%d'", a.Hold)
	}
	if _, err = p.ask(first, nil); err != nil {
		return "", err
	}
	answer, err := p.ask(nil, xmlstream.New(ns.SASL, "auth", "mechanism", "EXTERNAL").AppendText("="))
	if err != nil {
		return "", err
	}
	if !answer.Is(ns.SASL, "success") {
		return "", refusedBy(answer, ns.SASL)
	}
	if _, err = p.ask(appendAttr([]byte(" xmpp:restart='true'"), "to", a.Host), nil); err != nil {
		return "", err
	}
	bind := xmlstream.New(ns.Bind, "bind")
	if a.Resource != "" {
		bind.Append(xmlstream.New(ns.Bind, "resource").AppendText(a.Resource))
	}
	answer, err = p.ask(nil, xmlstream.New(ns.Client, "iq", "type", "set", "id", "bind").Append(bind))
	if err != nil {
		return "", err
	}
	if result := answer.Child(ns.Bind, "bind"); result != nil {
		if j := result.Child(ns.Bind, "jid"); j != nil {
			return j.Text(), nil
		}
	}
	if e := answer.Child(ns.Client, "error"); e != nil {
		return "", refusedBy(e, ns.Stanzas)
	}
	return "", errAnswer
}

var errAnswer = errors.New("BOSH: an answer that nobody expects")

// refusedBy reads the condition of a failure or an error.
func refusedBy(el *xmlstream.Element, space string) error {
	r := &Refused{}
	for c := range el.Elements() {
		switch {
		case c.Local == "text":
			r.Text = c.Text()
		case c.Space == space:
			r.Condition = c.Local
		}
	}
	return r
}

// ask makes a request and gives the element that answers it, which may come with a later one.
func (p *prebinder) ask(attributes []byte, payload *xmlstream.Element) (*xmlstream.Element, error) {
	for ; p.asked < maxAsked; p.asked++ {
		body, err := p.post(attributes, payload)
		switch {
		case err != nil:
			return nil, err
		case body.Attr("type") == "terminate":
			return nil, &Refused{Condition: body.Attr("condition"), Text: "the session has ended"}
		case body.First() != nil:
			return body.First(), nil
		}
		attributes, payload = nil, nil
	}
	return nil, errAnswer
}

// post hands a request to the handler as if it had come over HTTP, and gives the <body/> of the response.
func (p *prebinder) post(attributes []byte, payload *xmlstream.Element) (*xmlstream.Element, error) {
	b := append([]byte(open+xboshDef), attributes...)
	b = fmt.Appendf(b, " rid='%d'", p.rid)
	if p.sid != "" {
		b = appendAttr(b, "sid", p.sid)
	}
	b = append(b, '>')
	if payload != nil {
		b = c2s.AppendElement(b, payload, true)
	}
	b = append(b, "</body>"...)
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, "/", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	p.rid++
	w := &response{header: make(http.Header)}
	p.h.post(w, r, peer{proxied.Client{Name: "prebind", IP: netip.IPv6Loopback(), Local: true}, p.user})
	switch {
	case p.ctx.Err() != nil:
		return nil, context.Cause(p.ctx)
	case w.status == http.StatusServiceUnavailable:
		return nil, c2s.ErrCrowded
	}
	body, err := xmlstream.ParseElement(w.body.Bytes(), xmlstream.Limits{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if sid := body.Attr("sid"); sid != "" {
		p.sid = sid
	}
	return body, nil
}

// response is an http.ResponseWriter in memory.
type response struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) { return w.body.Write(b) }

// expect counts a session that is made ahead, when there is room for it.
func (h *Manager) expect() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ahead >= maxAhead {
		return false
	}
	h.ahead++
	return true
}

// met counts one that nobody has to come for any more.
func (h *Manager) met() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead--
}

// meet looks at who makes a request of the session. Who comes for one that was made ahead is its client from then on, and must
// have what a client needs to sign in: the session is worth as much as a password.
func (s *session) meet(client peer, state *tls.ConnectionState) error {
	if client.user != "" {
		return nil
	}
	s.mu.Lock()
	came := s.ahead
	switch {
	case came && s.h.srv.WebNeedsTLS(auth.Channel{Secure: client.Secure, Loopback: client.Local}):
		s.mu.Unlock()
		return errNeedsTLS
	case s.secure && !client.Secure:
		s.mu.Unlock()
		return errInsecure
	case came:
		s.ahead = false
		s.secure, s.local, s.remote, s.tls = client.Secure, client.Local, client.Name, state
	}
	s.mu.Unlock()
	if came {
		s.h.met()
	}
	return nil
}

// unexpected says that the session has ended: nobody comes for it any more.
func (s *session) unexpected() {
	s.mu.Lock()
	came := s.ahead
	s.ahead = false
	s.mu.Unlock()
	if came {
		s.h.met()
	}
}
