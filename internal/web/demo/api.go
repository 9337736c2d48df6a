package demo

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// maxRequest bounds the body of a request from the panel, in bytes.
const maxRequest = 4096

// failure is the body of every answer that is not what was asked for.
type failure struct {
	Error string `json:"error"`
}

// success is the body of the answer to an action: the people whose contacts it changed.
type success struct {
	Changed []string `json:"changed"`
}

// state is what the panel shows: answered to GET /app/state, and an event of the feed.
type state struct {
	Boot   string        `json:"boot"` // another one: the demo was started again, and its feed began anew
	Host   string        `json:"host"` // the XMPP domain
	Mode   mode          `json:"mode"`
	People []personState `json:"people"`
}

type personState struct {
	ID       string         `json:"id"`
	JID      string         `json:"jid"`
	Name     string         `json:"name"`
	Contacts []contactState `json:"contacts"` // in the order of people
}

type contactState struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	Mutual bool     `json:"mutual"` // the contact has this person as a contact too
}

func (s *Service) state() state {
	m, _ := s.currentMode()
	st := state{Boot: s.feed.boot, Host: s.host, Mode: m}
	lists := s.book.all()
	for _, p := range people {
		ps := personState{ID: p.ID, JID: p.ID + "@" + s.host, Name: p.Name}
		for _, q := range people {
			if c, ok := lists[p.ID][q.ID]; ok {
				_, mutual := lists[q.ID][p.ID]
				ps.Contacts = append(ps.Contacts, contactState{q.ID, c.Name, c.Groups, mutual})
			}
		}
		st.People = append(st.People, ps)
	}
	return st
}

func (s *Service) showState(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, s.state())
}

// action makes a handler of a function that takes the request's body as JSON and gives the people it changed.
func action[T any](do func(T) ([]string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		err := readJSON(w, r, &in)
		var changed []string
		if err == nil {
			changed, err = do(in)
		}
		var no *refusal
		switch {
		case err == nil:
			writeJSON(w, http.StatusOK, success{changed})
		case errors.As(err, &no):
			writeJSON(w, no.status, failure{no.text})
		default:
			writeJSON(w, http.StatusInternalServerError, failure{err.Error()})
		}
	}
}

type addRequest struct {
	Owner   string   `json:"owner"`
	Contact string   `json:"contact"`
	Name    string   `json:"name"` // empty: the contact's own
	Groups  []string `json:"groups"`
	Both    bool     `json:"both"` // each becomes a contact of the other
}

func (s *Service) add(in addRequest) ([]string, error) {
	changed, err := s.book.add(in.Owner, in.Contact, in.Name, in.Groups, in.Both)
	if err != nil {
		return nil, err
	}
	if len(changed) == 2 {
		s.publish(changed, "%s and %s now know each other", in.Owner, in.Contact)
	} else {
		s.publish(changed, "%s has a new contact: %s", changed[0], otherOf(in.Owner, in.Contact, changed[0]))
	}
	return changed, nil
}

type removeRequest struct {
	Owner   string `json:"owner"`
	Contact string `json:"contact"`
	Both    bool   `json:"both"` // neither stays a contact of the other
}

func (s *Service) remove(in removeRequest) ([]string, error) {
	changed, err := s.book.remove(in.Owner, in.Contact, in.Both)
	if err != nil {
		return nil, err
	}
	if len(changed) == 2 {
		s.publish(changed, "%s and %s no longer know each other", in.Owner, in.Contact)
	} else {
		s.publish(changed, "%s no longer has the contact %s", changed[0], otherOf(in.Owner, in.Contact, changed[0]))
	}
	return changed, nil
}

type changeRequest struct {
	Owner   string    `json:"owner"`
	Contact string    `json:"contact"`
	Name    *string   `json:"name"`   // absent: as it is
	Groups  *[]string `json:"groups"` // absent: as they are
	Both    bool      `json:"both"`   // the groups on the other side too
}

func (s *Service) change(in changeRequest) ([]string, error) {
	changed, err := s.book.change(in.Owner, in.Contact, in.Name, in.Groups, in.Both)
	if err != nil {
		return nil, err
	}
	switch len(changed) {
	case 0:
	case 1:
		s.publish(changed, "%s's contact %s has changed", changed[0], otherOf(in.Owner, in.Contact, changed[0]))
	default:
		s.publish(changed, "%s and %s have changed for each other", in.Owner, in.Contact)
	}
	return changed, nil
}

type modeRequest struct {
	Mode mode `json:"mode"`
}

var modeTexts = map[mode]string{
	modeOn:          "The application answers again",
	modeUnavailable: "The application is off: it answers 503",
	modeSilent:      "The application is off: it does not answer",
}

// setMode is the switch. An application that comes back makes up for the notifications that failed meanwhile.
func (s *Service) setMode(in modeRequest) ([]string, error) {
	text, ok := modeTexts[in.Mode]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "mode is %q, %q or %q", modeOn, modeUnavailable, modeSilent)
	}
	if !s.switchMode(in.Mode) {
		return nil, nil
	}
	s.feed.put(s.feed.line(Line{Kind: "switch", Text: text}))
	s.feed.touch()
	if in.Mode == modeOn {
		s.notifier.resume()
	} else {
		s.notifier.pause()
	}
	return nil, nil
}

func (s *Service) reset(struct{}) ([]string, error) {
	changed := s.book.reset()
	if _, err := s.setMode(modeRequest{modeOn}); err != nil {
		return nil, err
	}
	s.publish(changed, "Back to the start")
	return changed, nil
}

// publish shows a change and has rollcall told whose contacts it changed. The ids fill the format, as first names.
func (s *Service) publish(changed []string, format string, ids ...string) {
	names := make([]any, len(ids))
	for i, id := range ids {
		p, _ := findPerson(id) // the book has found them already
		names[i] = p.first()
	}
	s.feed.put(s.feed.line(Line{Kind: "change", Text: fmt.Sprintf(format, names...)}))
	s.feed.touch()
	if len(changed) > 0 {
		s.notifier.tell(changed...)
	}
}

// otherOf gives the one of two that is not x.
func otherOf(a, b, x string) string {
	if a == x {
		return b
	}
	return a
}

// readJSON reads a small JSON body strictly. That it must be declared as JSON keeps HTML forms out.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "send JSON, as application/json")
	}
	err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, maxRequest), into, json.RejectUnknownMembers(true))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "send at most %d bytes", maxRequest)
	case err != nil:
		return refuse(http.StatusBadRequest, "%s", cut(err.Error(), maxText))
	}
	return nil
}

// writeJSON answers with a status and a value, and gives the status.
func writeJSON(w http.ResponseWriter, status int, v any) int {
	body, err := json.Marshal(v)
	if err != nil { // cannot happen: the values are ours
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer could not be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked has gone; there is nobody to tell
	return status
}

// cut shortens a text to at most n bytes and marks that it did.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func millisSince(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }
