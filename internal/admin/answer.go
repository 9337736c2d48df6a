package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// An answer is the body of every answer to a notification, and of every error.
type answer struct {
	Status  string `json:"status"` // "ok" or "error"
	Message string `json:"message"`
	Updated int    `json:"updated"`
	Errors  int    `json:"errors"`
}

// A short answer is that of mod_http_roster_admin to GET.
type short struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

const complete = "roster update complete" // the module's words

// A refusal is an error with the HTTP status to answer it with.
type refusal struct {
	status     int
	message    string // a sentence that tells what to do
	errors     int    // names counted, for the member errors
	allow      string // method, with 405
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
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(e.retryAfter.Seconds())))
	}
	write(w, e.status, answer{Status: "error", Message: e.message, Errors: e.errors})
}

// write sends body as JSON. encoding/json replaces bad UTF-8, of which an error's text may have some.
func write(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil { // cannot happen: bodies are structs of strings, numbers and times
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
