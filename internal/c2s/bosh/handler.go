// Package bosh carries client streams over HTTP requests: BOSH (XEP-0124 v1.11.2) with XMPP in it (XEP-0206 v1.4).
//
// A client's requests are answered in the order of their numbers (rid), each with what there is to say to the client, or
// held until there is something. A session is a c2s.Transport without a connection: its requests come over any, and each
// is answered by the goroutine of its HTTP handler.
//
// What the documents leave open: several streams in a session, reports of lost responses (attributes report and time),
// compression and the script syntax for pages of other sites are not there; pages of other sites have CORS. A request for
// responses of the type text/html is not followed, since a page of ours would be made of other people's words.
package bosh

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/proxied"
	"rollcall/internal/xmlstream"
)

// Options says how sessions are treated.
type Options struct {
	// Origins lists the origins whose pages may connect, as c2s.OriginAllowed takes them.
	Origins []string
	// Proxies are the reverse proxies that are believed.
	Proxies proxied.Trusted
	// WriteStall is how long a response may wait for the peer to read it; 30 s.
	WriteStall time.Duration
	Log        *slog.Logger
}

// readTimeout bounds how long the body of a request may take to arrive.
const readTimeout = 30 * time.Second

// requestCost is what a request costs beside its body: about as many bytes as browsers send before it.
const requestCost = 512

// Handler answers the requests of BOSH clients. The sessions run on srv and are its to wait for; held requests are
// answered when their session ends.
func Handler(srv *c2s.Server, o Options) *Manager {
	if o.WriteStall <= 0 {
		o.WriteStall = 30 * time.Second
	}
	return &Manager{srv: srv, opts: o, sessions: make(map[string]*session)}
}

// A Manager is a connection manager, as XEP-0124 calls what has the sessions. Its methods are called by any goroutine.
type Manager struct {
	srv  *c2s.Server
	opts Options

	mu       sync.Mutex
	sessions map[string]*session // by sid; those whose end the client has not been told among them
	untold   []*session          // the latter, in the order of their ends
	ahead    int                 // sessions that no client has come for yet, see Prebind
}

// maxUntold bounds the sessions that are kept after their end, for their clients to be told.
const maxUntold = 256

// ServeHTTP implements http.Handler.
func (h *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := h.opts.Proxies.Client(r)
	head := w.Header()
	head.Add("Vary", "Origin")
	if !c2s.OriginAllowed(r, h.opts.Origins) {
		h.opts.Log.Info("BOSH refused: pages of this origin may not connect", "origin", r.Header.Get("Origin"), "remote", client.Name)
		http.Error(w, "Pages of this origin may not connect here. The server's administrator can allow it.", http.StatusForbidden)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		// Without credentials: there are no cookies here, and the session id is in the body.
		head.Set("Access-Control-Allow-Origin", origin)
	}
	switch {
	case r.Method == http.MethodOptions:
		head.Set("Allow", "POST, OPTIONS")
		head.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		head.Set("Access-Control-Allow-Headers", "Content-Type")
		head.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost:
		head.Set("Allow", "POST, OPTIONS")
		http.Error(w, "This is where XMPP clients connect by BOSH (XEP-0206), with POST.", http.StatusMethodNotAllowed)
	case r.Header.Get("Content-Encoding") != "" && r.Header.Get("Content-Encoding") != "identity":
		// None was offered: a small body may become a very large one.
		http.Error(w, "Send the request without compression.", http.StatusUnsupportedMediaType)
	default:
		h.post(w, r, peer{Client: client})
	}
}

// A peer is who makes a request. user is set for Prebind alone: whom it signs in.
type peer struct {
	proxied.Client
	user string
}

// post answers a request of a client.
func (h *Manager) post(w http.ResponseWriter, r *http.Request, client peer) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(readTimeout)) // an error says that there is none to set
	src := &source{r: r.Body, left: headLimits.Bytes}
	req, in, err := readHead(src)
	var s *session
	if err == nil && req.sid != "" {
		if s = h.find(req.sid); s == nil {
			err = errUnknown
		} else {
			err = s.meet(client, r.TLS)
		}
	}
	if err == nil {
		limits := preAuth
		if s != nil {
			limits = s.inputLimits()
			// A client that sends too fast waits here: its request is read no further.
			s.meter().Wait(r.Context())
			control.SetReadDeadline(time.Now().Add(readTimeout))
		}
		err = req.readPayloads(in, src, limits)
	}
	if s != nil {
		s.meter().Charge(requestCost + src.read)
	}
	if src.end {
		control.SetReadDeadline(time.Time{}) // the connection serves other requests as well
	} else {
		w.Header().Set("Connection", "close") // what is left of the body is not waited for
	}
	if src.err != nil || err == errInsecure { // the request did not come whole, and the client will send it again; or see there
		panic(http.ErrAbortHandler)
	}
	var broken *refusal
	switch {
	case errors.As(err, &broken):
		h.write(w, reply{body: terminate(broken.condition)}, textXML)
	case s != nil:
		h.serve(w, r, s, s.arrive(req))
	default:
		h.create(w, r, client, req)
	}
}

// create begins a session.
func (h *Manager) create(w http.ResponseWriter, r *http.Request, client peer, req *request) {
	tk, err := h.admit(client)
	switch {
	case errors.Is(err, c2s.ErrCrowded):
		w.Header().Set("Retry-After", "10")
		http.Error(w, "The server takes no more connections now.", http.StatusServiceUnavailable)
		return
	case err != nil:
		h.write(w, reply{body: terminate(systemShutdown)}, textXML)
		return
	}
	s := newSession(h, req, client, r.TLS)
	h.mu.Lock()
	h.sessions[s.sid] = s
	h.mu.Unlock()
	first := s.arrive(req)
	h.srv.Start(tk, s)
	h.serve(w, r, s, first)
}

// admit asks for room for a session.
func (h *Manager) admit(client peer) (*c2s.Ticket, error) {
	if client.user != "" && !h.expect() {
		return nil, c2s.ErrCrowded
	}
	tk, err := h.srv.Admit(client.IP)
	switch {
	case client.user == "":
	case err != nil:
		h.met()
	default:
		tk.Measure() // who signs the user in is trusted; who comes for the session is somebody else
	}
	return tk, err
}

// serve waits until a request is to be answered, and answers it.
func (h *Manager) serve(w http.ResponseWriter, r *http.Request, s *session, wt *waiter) {
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	for {
		select {
		case a := <-wt.reply:
			if a.after != nil { // responses go out in the order of requests, as far as that is in our hands
				select {
				case <-a.after:
				case <-r.Context().Done():
				}
			}
			h.write(w, a, s.contentType)
			close(wt.written)
			return
		case <-timer.C:
			s.expire(wt)
		case <-r.Context().Done(): // the connection broke
			s.leave(wt)
			close(wt.written)
			return
		}
	}
}

// write sends a response, within its time.
func (h *Manager) write(w http.ResponseWriter, a reply, contentType string) {
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(h.opts.WriteStall)) // an error says that there is none to set
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	// What fails here fails because the connection is gone: the client asks for the response again.
	if _, err := w.Write(a.body); err == nil && control.Flush() == nil {
		control.SetWriteDeadline(time.Time{}) // the connection serves other requests as well
	}
}

func (h *Manager) find(sid string) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[sid]
}

func (h *Manager) forget(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.sid)
	h.untold = slices.DeleteFunc(h.untold, func(u *session) bool { return u == s })
}

// keep keeps an ended session for a while, for its client to be told why.
func (h *Manager) keep(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.untold = append(h.untold, s)
	if len(h.untold) > maxUntold {
		delete(h.sessions, h.untold[0].sid)
		h.untold[0] = nil
		h.untold = h.untold[1:]
	}
	time.AfterFunc(s.inactivity, func() { h.forget(s) })
}

// source is the body of a request, as much of it as is allowed.
type source struct {
	r    io.Reader
	left int
	read int
	end  bool  // it is read to its end
	err  error // the body did not come whole
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if s.left <= 0 {
		var one [1]byte
		n, err := s.r.Read(one[:])
		if n == 0 {
			return 0, s.note(err)
		}
		return 0, &xmlstream.SyntaxError{Condition: xmlstream.PolicyViolation, Text: "a body that is too long"}
	}
	n, err := s.r.Read(b[:min(len(b), s.left)])
	s.left -= n
	s.read += n
	return n, s.note(err)
}

func (s *source) note(err error) error {
	if s.end = err == io.EOF; err != nil && !s.end {
		s.err = err
	}
	return err
}
