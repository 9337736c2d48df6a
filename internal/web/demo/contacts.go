package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// mode is whether the application answers when rollcall asks. It is the switch on the panel.
type mode string

const (
	modeOn          mode = "on"          // answers
	modeUnavailable mode = "unavailable" // answers 503
	modeSilent      mode = "silent"      // takes the request and says nothing
)

const (
	maxHeld = 64               // fetches that a silent service holds at a time; more are answered 503
	holdFor = 60 * time.Second // and for how long, should nobody hang up
)

// item is a contact as section 1 of the contract has it.
type item struct {
	Name   string   `json:"name,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// contacts answers GET /contacts/{user}: section 1 of the contract.
func (s *Service) contacts(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	line := s.feed.line(Line{Kind: "fetch", Text: "GET " + cut(r.URL.EscapedPath(), maxText)})
	m, gaveUp := s.waitWhileSilent(r, line)
	if gaveUp {
		line.Failed, line.Note = true, fmt.Sprintf("no answer; the asker gave up after %.1f s", time.Since(start).Seconds())
		s.feed.put(line)
		return
	}
	status, body, note := s.answer(w, r, m)
	line.Status, line.Note, line.Answer = status, note, string(body)
	line.Millis = millisSince(start)
	s.feed.put(line)
}

// answer writes the answer to a fetch, and gives what it wrote.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, m mode) (status int, body []byte, note string) {
	if m != modeOn {
		w.Header().Set("Retry-After", "1")
		return writeJSON(w, http.StatusServiceUnavailable, failure{"the application is switched off"}), nil, "switched off"
	}
	user := r.PathValue("user")
	contacts, ok := s.book.contactsOf(user)
	if !ok {
		return writeJSON(w, http.StatusNotFound, failure{"there is nobody of this name"}), nil, "unknown user"
	}
	body, err := s.document(contacts)
	if err != nil { // cannot happen: names and groups were checked when they came in
		s.log.Error("demo: a contact list could not be written", "user", user, "err", err)
		return writeJSON(w, http.StatusInternalServerError, failure{"the list could not be written"}), nil, "failed"
	}
	etag := entityTag(body)
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Type", "application/json")
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified, nil, "unchanged"
	}
	_, _ = w.Write(body) // who asked has gone; the feed shows what was answered
	return http.StatusOK, body, count(len(contacts), "contact")
}

// document writes a list as the contract has it, each contact under its address.
func (s *Service) document(l list) ([]byte, error) {
	doc := make(map[string]item, len(l))
	for id, c := range l {
		doc[id+"@"+s.host] = item(c)
	}
	return json.Marshal(doc, json.Deterministic(true))
}

// waitWhileSilent gives the mode in which a fetch is to be answered. While the service is silent it waits, at most
// holdFor; gaveUp is true when the asker went away or the demo stops.
func (s *Service) waitWhileSilent(r *http.Request, line Line) (m mode, gaveUp bool) {
	m, changed := s.currentMode()
	if m != modeSilent {
		return m, false
	}
	select {
	case s.held <- struct{}{}:
		defer func() { <-s.held }()
	default:
		return modeUnavailable, false
	}
	line.Pending, line.Note = true, "no answer yet"
	s.feed.put(line)
	limit := time.NewTimer(holdFor)
	defer limit.Stop()
	for m == modeSilent {
		select {
		case <-changed:
			m, changed = s.currentMode()
		case <-limit.C:
			return modeUnavailable, false
		case <-r.Context().Done():
			return m, true
		case <-s.done:
			return m, true
		}
	}
	return m, false
}

// currentMode gives the mode and a channel that is closed when it changes.
func (s *Service) currentMode() (mode, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode, s.changed
}

// switchMode changes the mode; it says whether that was a change.
func (s *Service) switchMode(m mode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == m {
		return false
	}
	s.mode = m
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

// entityTag is a strong validator for these bytes (RFC 9110 section 8.8.3).
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// matches says whether an If-None-Match header holds etag, by the weak comparison that RFC 9110 section 13.1.2 asks for.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
