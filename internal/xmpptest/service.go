package xmpptest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Service is a fake application that owns rosters: it answers GET /contacts/USER and can fail in every way that the
// contract names. /auth/check_password says that everybody's password is "secret", or answers as "/auth" is told to. POST /hooks takes events. POST /batch is answered for many users, each of whom is fine, unknown or has an ETag. Its methods may be called by any goroutine.
type Service struct {
	mu      sync.Mutex
	rosters map[string]string // the JSON document of each user
	mode    map[string]string // how each user's request is answered; "" is the key for everybody
	fetches map[string]int
	batches int
	flying  map[string]int // requests that are under way
	overlap int            // how often two requests for one user were
	hold    chan struct{}  // requests wait here while the service hangs
	told    []string       // events that it was sent and has taken
}

// NewService makes a service that knows nobody: it answers 404.
func NewService() *Service {
	return &Service{rosters: map[string]string{}, mode: map[string]string{}, fetches: map[string]int{},
		flying: map[string]int{}}
}

// Set gives a user the roster that the JSON document describes.
func (s *Service) Set(user, document string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rosters[user] = document
}

// The ways a Service can be told to answer. Several can be said at once, with spaces between: what fails comes first.
const (
	Fine        = ""            // the roster, 404 for a user who has none
	NotFound    = "404"         // any three digits: that status
	HTML        = "html"        // 200 with a login page
	Truncated   = "truncated"   // half a document
	NoContent   = "204"         // the empty roster
	NotModified = "304"         // though nothing was asked about
	Hang        = "hang"        // no answer until Release
	Stall       = "stall"       // headers and half a body, and then nothing until Release
	Array       = "array"       // [] where an object belongs
	Redirect    = "redirect"    // to another address
	Huge        = "huge"        // a body without an end
	Drop        = "drop"        // the connection is cut
	ETag        = "etag"        // the roster with an ETag, 304 when it is asked for again
	TooMany     = "429"         // with Retry-After: 1
	PlainJSON   = "text/plain"  // the roster, as old services label it
	ShortLived  = "short-lived" // the roster with Cache-Control: max-age=60
	Expiring    = "expiring"    // the roster with Cache-Control: max-age=60, stale-if-error=60
	Late        = "late:"       // and a duration: the roster as it was when it was asked for, that much later
	Flapping    = "flapping"    // the roster, and 503 every other time
	SomeBad     = "some-bad"    // the roster, with contacts that are none
	AllBad      = "all-bad"     // an object that is no roster, as an error may look
	NotHTTP     = "not-http"    // the document, with nothing of HTTP around it
	StatusText  = "status-text" // 500 with the document in the place of Internal Server Error
)

// Answer sets how requests for a user ("" for everybody's) are answered.
func (s *Service) Answer(user, mode string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode[user] = mode
	if (mode == Hang || mode == Stall) && s.hold == nil {
		s.hold = make(chan struct{})
	}
}

// Release lets go of the requests that hang.
func (s *Service) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		close(s.hold)
		s.hold = nil
	}
}

// Fetches tells how often a user's roster was asked for.
func (s *Service) Fetches(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches[user]
}

// Batches tells how often many rosters were asked for together.
func (s *Service) Batches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches
}

// Overlaps tells how often a user was asked about while a request about the same user was under way.
func (s *Service) Overlaps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overlap
}

// Busy tells how many requests are under way.
func (s *Service) Busy() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, flying := range s.flying {
		n += flying
	}
	return n
}

// enter counts a request. Of two that are under way, one may have been given up by who sent it: then its handler is
// gone before any time passes.
func (s *Service) enter(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches[user]++
	s.flying[user]++
	if s.flying[user] == 1 {
		return
	}
	s.mu.Unlock()
	time.Sleep(time.Nanosecond) // of the bubble's clock
	s.mu.Lock()
	if s.flying[user] > 1 {
		s.overlap++
	}
}

func (s *Service) leave(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying[user]--
}

// Told takes the events that were posted to /hooks: their type and data, as "user.online {…}".
func (s *Service) Told() (events []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, s.told = s.told, nil
	return events
}

// serveHook takes an event, unless the service is told to answer otherwise to "/hooks".
func (s *Service) serveHook(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Type string
		Data json.RawMessage
	}
	err := json.NewDecoder(r.Body).Decode(&event)
	if a := s.prepare(w, r, "/hooks"); a.play() {
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, event.Type+" "+string(event.Data))
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/batch" {
		s.serveBatch(w, r)
		return
	}
	if r.Method == http.MethodPost && r.URL.Path == "/hooks" {
		s.serveHook(w, r)
		return
	}
	if r.URL.Path == "/auth/check_password" {
		if a := s.prepare(w, r, "/auth"); a.play() {
			return
		}
		fmt.Fprint(w, r.FormValue("pass") == "secret")
		return
	}
	if strings.HasPrefix(r.URL.Path, "/profiles/") || strings.HasPrefix(r.URL.Path, "/avatars/") {
		s.serveProfile(w, r)
		return
	}
	user := strings.TrimPrefix(r.URL.Path, "/contacts/")
	s.enter(user)
	defer s.leave(user)
	w.Header().Set("Content-Type", "application/json")
	a := s.prepare(w, r, user)
	if a.play() {
		return
	}
	if !a.known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if a.tag != "" {
		w.Header().Set("ETag", a.tag)
		if r.Header.Get("If-None-Match") == a.tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	fmt.Fprint(w, a.doc)
}

// serveBatch answers for many users (roster-http.md, section 4). Who is not to be answered well is null, and what lasts
// long for one does for all.
func (s *Service) serveBatch(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Users []string          `json:"users"`
		ETags map[string]string `json:"etags"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tags, docs := map[string]string{}, map[string]any{"etags": nil}
	s.mu.Lock()
	s.batches++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answers := make([]answer, len(asked.Users))
	for i, user := range asked.Users {
		s.enter(user)
		defer s.leave(user)
		answers[i] = s.prepare(w, r, user)
	}
	for i, user := range asked.Users {
		a := &answers[i]
		docs[user] = nil
		a.quiet = true
		switch done := a.play(); {
		case done || !a.known:
		case a.tag != "" && asked.ETags[user] == a.tag:
			docs[user] = true
		default:
			docs[user] = json.RawMessage(a.doc)
		}
		if a.tag != "" {
			tags[user] = a.tag
		}
	}
	docs["etags"] = tags
	// It fails when the asker is gone.
	_ = json.NewEncoder(w).Encode(docs)
}

// prepare takes down what there is to say about a user.
func (s *Service) prepare(w http.ResponseWriter, r *http.Request, user string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	mode, own := s.mode[user]
	if !own {
		mode = s.mode[""]
	}
	doc, known := s.rosters[user]
	return answer{w: w, r: r, doc: doc, known: known, hold: s.hold, mode: mode, nth: s.fetches[user]}
}

// play does what the mode says, and tells whether that was all.
func (a *answer) play() (done bool) {
	for _, word := range strings.Fields(a.mode) {
		if word == Flapping && a.nth%2 == 1 {
			word = "503"
		}
		if a.obey(word) {
			return true
		}
	}
	return false
}

// answer is what a Service is about to say.
type answer struct {
	w     http.ResponseWriter
	r     *http.Request
	doc   string
	known bool // there is one
	tag   string
	hold  chan struct{}
	mode  string
	nth   int  // request about the user
	quiet bool // it is one of many, and does not say how it fails
}

// obey does what one word of a mode says, and tells whether that was all.
func (a *answer) obey(word string) (done bool) {
	h := a.w.Header()
	after, late := strings.CutPrefix(word, Late)
	switch {
	case late:
		d, err := time.ParseDuration(after)
		if err != nil {
			panic(err) // the test is wrong
		}
		pause(a.r, d)
	case word == Hang:
		if a.hold != nil {
			wait(a.r, a.hold)
		}
	case word == ShortLived:
		h.Set("Cache-Control", "max-age=60")
	case word == Expiring:
		h.Set("Cache-Control", "max-age=60, stale-if-error=60")
	case word == PlainJSON:
		h.Set("Content-Type", "text/plain")
	case word == ETag:
		a.tag = fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(a.doc)))
	case word == SomeBad:
		a.doc = strings.Replace(a.doc, "{", `{"@": {}, "error": "the database is down", `, 1)
		a.doc = strings.Replace(a.doc, ", }", "}", 1)
	case word == Flapping:
	case word == AllBad:
		a.doc = `{"error": "the database is down"}`
	default:
		if !a.quiet {
			a.fail(word)
		}
		return true
	}
	return false
}

// fail gives an answer that is no roster.
func (a *answer) fail(word string) {
	w, h := a.w, a.w.Header()
	switch word {
	case HTML:
		h.Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Sign in</title>")
	case Array:
		fmt.Fprint(w, "[]")
	case Truncated:
		fmt.Fprint(w, a.doc[:len(a.doc)/2])
	case Redirect:
		http.Redirect(w, a.r, "http://elsewhere.example/", http.StatusFound)
	case Stall:
		fmt.Fprint(w, `{"half@example.com": `)
		w.(http.Flusher).Flush()
		if a.hold != nil {
			wait(a.r, a.hold)
		}
	case Huge:
		for a.r.Context().Err() == nil {
			if _, err := fmt.Fprintf(w, "{%65536s", ""); err != nil {
				return
			}
		}
	case Drop:
		panic(http.ErrAbortHandler)
	case NotHTTP, StatusText:
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // the service's own listener can
		}
		text := strings.ReplaceAll(a.doc, "\n", " ") + "\r\n\r\n"
		if word == StatusText {
			text = "HTTP/1.1 500 " + text
		}
		_, _ = io.WriteString(c, text) // it fails when the asker is gone
		c.Close()
	default:
		code := 0
		if _, err := fmt.Sscanf(word, "%3d", &code); err != nil {
			code = http.StatusNotImplemented
		}
		if code == http.StatusTooManyRequests {
			h.Set("Retry-After", "1")
		}
		w.WriteHeader(code)
	}
}

// pause holds a request for a while, or until the server has given up on it.
func pause(r *http.Request, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

// wait holds a request until Release, or until the server has given up on it.
func wait(r *http.Request, hold chan struct{}) {
	select {
	case <-hold:
	case <-r.Context().Done():
	}
}
