package e2e

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A service is the application whose contacts the users have: GET /contacts/USER answers with that user's roster.
type service struct {
	*httptest.Server

	mu      sync.Mutex
	rosters map[string]string // by user name; JSON as it goes out
	broken  *answer           // instead of every roster, when set
}

// What a broken service may do instead of answering, as the status of an answer.
const (
	hangUp  = -1
	silence = -2
)

// An answer is what a broken service says.
type answer struct {
	status      int // of HTTP, hangUp or silence
	contentType string
	body        string
}

func startService(t *testing.T) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startServiceOn(t, l)
}

// startServiceOn is startService on a port that is open.
func startServiceOn(t *testing.T, l net.Listener) *service {
	s := &service{rosters: map[string]string{}}
	s.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: s}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *service) rosterURL() string { return s.URL + "/contacts/%s" }

// set changes what a user's roster will be when it is fetched next.
func (s *service) set(user, roster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rosters[user] = roster
}

// fail has the service answer every question so, until recover.
func (s *service) fail(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = &a
}

func (s *service) recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The escaped path, so that a name of two segments is seen as what it is.
	segment, ok := strings.CutPrefix(r.URL.EscapedPath(), "/contacts/")
	user, err := url.PathUnescape(segment)
	if !ok || err != nil || r.Method != http.MethodGet {
		http.Error(w, "GET /contacts/USER", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	a := answer{http.StatusOK, "application/json", s.rosters[user]}
	if s.broken != nil {
		a = *s.broken
	}
	s.mu.Unlock()
	switch {
	case a.status == silence:
		<-r.Context().Done()
		return
	case a.status == hangUp:
		panic(http.ErrAbortHandler)
	case a.body == "":
		a = answer{http.StatusNotFound, "text/plain", "no such user"}
	}
	w.Header().Set("Content-Type", a.contentType)
	w.WriteHeader(a.status)
	if _, err := w.Write([]byte(a.body)); err != nil {
		panic(http.ErrAbortHandler) // the server hung up: nobody to tell
	}
}
