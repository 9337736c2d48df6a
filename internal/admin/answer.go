package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// An answer is the body of every answer to a notification or write, and of every error.
type answer struct {
	Status  string                `json:"status"` // "ok" or "error"
	Message string                `json:"message"`
	Updated int                   `json:"updated"`
	Errors  int                   `json:"errors"`
	Users   map[string]userResult `json:"users,omitempty"` // with ?detail=1, by name as it was sent
}

// A userResult is what a notification or a write came to for one user. The last two are for writes.
type userResult struct {
	Result  Outcome       `json:"result"`
	Added   int           `json:"added"`
	Removed int           `json:"removed"`
	Changed int           `json:"changed"`
	Error   string        `json:"error,omitempty"`
	Version string        `json:"version,omitempty"`
	Dropped []DroppedItem `json:"dropped,omitempty"`
}

// A short answer is that of mod_http_roster_admin to GET.
type short struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// A reply is what a route answers with.
type reply struct {
	status int // 0: 200
	header http.Header
	body   any
	stream http.Handler // writes the whole answer by itself, instead
}

func ok(body any) (*reply, error) { return &reply{body: body}, nil }

func (rep *reply) write(w http.ResponseWriter) {
	for name, values := range rep.header {
		w.Header()[name] = values
	}
	write(w, max(rep.status, http.StatusOK), rep.body)
}

// A refusal is an error with the HTTP status to answer it with.
type refusal struct {
	status     int
	message    string // a sentence that tells what to do
	errors     int    // names counted, for the member errors
	allow      string // methods, with 405
	patch      bool   // a patch of another type, with 415
	retryAfter time.Duration
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, message: fmt.Sprintf(format, args...)}
}

func (e *refusal) Error() string { return e.message }

func (e *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="rollcall"`)
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	if e.patch { // RFC 5789 section 2.2
		h.Set("Accept-Patch", mergePatch)
	}
	if e.retryAfter > 0 { // in whole seconds (RFC 9110 section 10.2.3)
		h.Set("Retry-After", strconv.Itoa(int((e.retryAfter+time.Second-1)/time.Second)))
	}
	write(w, e.status, answer{Status: "error", Message: e.message, Errors: e.errors})
}

// write sends body as JSON. encoding/json replaces bad UTF-8, of which an error's text may have some.
func write(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil { // a roster's view with broken items, at most; other bodies are structs of strings, numbers and times
		status, b = http.StatusInternalServerError, []byte(`{"status":"error","message":"internal error","updated":0,"errors":0}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// Whoever hung up does not need the answer.
	_, _ = w.Write(append(b, '\n'))
}
