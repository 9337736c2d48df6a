package xmpptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Service is a fake application that owns rosters: it answers GET /contacts/USER and can fail in every way that the
// contract names. POST /batch is answered for many users, each of whom is fine, unknown or has an ETag. Its methods may be called by any goroutine.
type Service struct {
	mu      sync.Mutex
	rosters map[string]string // the JSON document of each user
	mode    map[string]string // how each user's request is answered; "" is the key for everybody
	fetches map[string]int
	batches int
	hold    chan struct{} // requests wait here while the service hangs
}

// NewService makes a service that knows nobody: it answers 404.
func NewService() *Service {
	return &Service{rosters: map[string]string{}, mode: map[string]string{}, fetches: map[string]int{}}
}

// Set gives a user the roster that the JSON document describes.
func (s *Service) Set(user, document string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rosters[user] = document
}

// The ways a Service can be told to answer.
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

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/batch" {
		s.serveBatch(w, r)
		return
	}
	user := strings.TrimPrefix(r.URL.Path, "/contacts/")
	s.mu.Lock()
	s.fetches[user]++
	doc, known := s.rosters[user]
	mode, own := s.mode[user]
	if !own {
		mode = s.mode[""]
	}
	hold := s.hold
	s.mu.Unlock()
	if mode == Hang && hold != nil {
		wait(r, hold)
	}
	if mode == Hang {
		mode = Fine
	}
	if !known && (mode == Fine || mode == Truncated || mode == ETag || mode == PlainJSON || mode == ShortLived || mode == Expiring) {
		mode = NotFound
	}
	s.write(w, r, mode, doc, hold)
}

// serveBatch answers for many users (roster-http.md, section 4).
func (s *Service) serveBatch(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Users []string          `json:"users"`
		ETags map[string]string `json:"etags"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tags, docs := map[string]string{}, map[string]any{}
	s.mu.Lock()
	s.batches++
	for _, user := range asked.Users {
		s.fetches[user]++
		doc, known := s.rosters[user]
		docs[user] = nil
		if !known {
			continue
		}
		docs[user] = json.RawMessage(doc)
		if s.mode[user] == ETag {
			tags[user] = fmt.Sprintf("%x", doc)
			if asked.ETags[user] == tags[user] {
				docs[user] = true
			}
		}
	}
	s.mu.Unlock()
	docs["etags"] = tags
	w.Header().Set("Content-Type", "application/json")
	// It fails when the asker is gone.
	_ = json.NewEncoder(w).Encode(docs)
}

func (s *Service) write(w http.ResponseWriter, r *http.Request, mode, doc string, hold chan struct{}) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	switch mode {
	case Fine:
		fmt.Fprint(w, doc)
	case ShortLived:
		h.Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, doc)
	case Expiring:
		h.Set("Cache-Control", "max-age=60, stale-if-error=60")
		fmt.Fprint(w, doc)
	case PlainJSON:
		h.Set("Content-Type", "text/plain")
		fmt.Fprint(w, doc)
	case ETag:
		tag := fmt.Sprintf(`"%x"`, doc)
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, doc)
	case HTML:
		h.Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Sign in</title>")
	case Array:
		fmt.Fprint(w, "[]")
	case Truncated:
		fmt.Fprint(w, doc[:len(doc)/2])
	case Redirect:
		http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
	case Stall:
		fmt.Fprint(w, `{"half@example.com": `)
		w.(http.Flusher).Flush()
		wait(r, hold)
	case Huge:
		for r.Context().Err() == nil {
			if _, err := fmt.Fprintf(w, "{%65536s", ""); err != nil {
				return
			}
		}
	case Drop:
		panic(http.ErrAbortHandler)
	default:
		code := 0
		if _, err := fmt.Sscanf(mode, "%3d", &code); err != nil {
			code = http.StatusNotImplemented
		}
		if code == http.StatusTooManyRequests {
			h.Set("Retry-After", "1")
		}
		w.WriteHeader(code)
	}
}

// wait holds a request until Release, or until the server has given up on it.
func wait(r *http.Request, hold chan struct{}) {
	select {
	case <-hold:
	case <-r.Context().Done():
	}
}
