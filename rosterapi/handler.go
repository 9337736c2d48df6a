package rosterapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ErrUnknownUser is what a Handler's Roster returns for a user that the application does not have.
var ErrUnknownUser = errors.New("no such user")

// A Handler answers rollcall's fetches: section 1 of the contract, and with [Handler.Batch] section 4. Set its fields
// before the first request and not afterwards. Only Roster is required.
//
// The user is the pattern's wildcard {user}, of package net/http or set by another router with
// [http.Request.SetPathValue]; where there is none, the last segment of the path.
//
//	mux.Handle("/contacts/{user}", h)         // roster.url = "http://127.0.0.1:9099/contacts/%s"
//	mux.Handle("/contacts-batch", h.Batch())  // roster.batch_url = "http://127.0.0.1:9099/contacts-batch"
//
// Answers have an ETag, so that a roster that did not change is not sent again, and are compressed where that saves
// something.
type Handler struct {
	// Roster returns a user's contacts, nil or empty when there are none. It is called by many goroutines. The error is
	// ErrUnknownUser for a user that the application does not have; any other is logged and answered with 500, and
	// rollcall then keeps what it knew.
	Roster func(ctx context.Context, user string) (Roster, error)

	// Token is what requests must have as Authorization: Bearer, rollcall's roster.token. "" lets everybody ask, which is
	// for listeners that only rollcall reaches.
	Token string

	// UnknownIsEmpty answers for an unknown user with an empty roster. Otherwise it is 404, which rollcall takes for a
	// failure: a mistake in a URL must not empty anybody's list.
	UnknownIsEmpty bool

	// CacheControl is the header of that name, such as "max-age=3600": how long, in seconds, rollcall may use the answer
	// without asking, in case a notification is lost. "" for none: rollcall's roster.max_age holds.
	CacheControl string

	// Log is told of errors. nil is slog.Default().
	Log *slog.Logger
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.admit(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	user, ok := userOf(r)
	if !ok {
		http.Error(w, "no user is named: the path ends with the name", http.StatusNotFound)
		return
	}
	document, err := h.document(r.Context(), user)
	switch {
	case errors.Is(err, ErrUnknownUser):
		http.Error(w, "there is no such user; an empty roster would be {}", http.StatusNotFound)
		return
	case err != nil:
		h.log().ErrorContext(r.Context(), "a roster cannot be given", "error", err)
		http.Error(w, "the roster cannot be given; the application's log says why", http.StatusInternalServerError)
		return
	}
	tag := etag(document)
	w.Header().Set("ETag", tag)
	w.Header().Set("Vary", "Accept-Encoding")
	if h.CacheControl != "" {
		w.Header().Set("Cache-Control", h.CacheControl)
	}
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	send(w, r, document)
}

// document is a user's roster as JSON.
func (h *Handler) document(ctx context.Context, user string) ([]byte, error) {
	roster, err := h.Roster(ctx, user)
	if errors.Is(err, ErrUnknownUser) && h.UnknownIsEmpty {
		roster, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(roster)
}

func (h *Handler) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.Default()
}

// admit looks at the token, then at the method; it has answered if it returns false.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if h.Token != "" && !bearer(r, h.Token) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="contacts"`)
		http.Error(w, "the header Authorization: Bearer TOKEN is missing, or has another token", http.StatusUnauthorized)
		return false
	}
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "use "+methods[0], http.StatusMethodNotAllowed)
	return false
}

// bearer compares the request's token with ours, in a time that does not depend on either: hashes have one length.
func bearer(r *http.Request, want string) bool {
	scheme, token, _ := strings.Cut(strings.Join(r.Header.Values("Authorization"), ", "), " ")
	got, ours := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(got[:], ours[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// userOf finds the name in the path.
func userOf(r *http.Request) (string, bool) {
	if user := r.PathValue("user"); user != "" {
		return user, true
	}
	path := r.URL.EscapedPath()
	user, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	return user, err == nil && user != ""
}

// etag is weak: it stands for the contacts and not for the bytes, which may be compressed, here or on the way.
func etag(document []byte) string {
	sum := sha256.Sum256(document)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// matches compares as If-None-Match is to be compared, weakly (RFC 9110 section 13.1.2).
func matches(header []string, tag string) bool {
	for candidate := range strings.SplitSeq(strings.Join(header, ","), ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// worthwhile is how long a document is at least for compressing it.
const worthwhile = 1024

// send answers 200 with a document.
func send(w http.ResponseWriter, r *http.Request, document []byte) {
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Vary", "Accept-Encoding")
	if len(document) >= worthwhile && acceptsGzip(r) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(document)
		if err = errors.Join(err, z.Close()); err == nil { // a buffer fails never
			head.Set("Content-Encoding", "gzip")
			document = b.Bytes()
		}
	}
	head.Set("Content-Length", strconv.Itoa(len(document)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(document) // who hung up does not need it
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3), as far as it concerns gzip.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, weight, weighted := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		_, q, _ := strings.Cut(weight, "=")
		n, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		return !weighted || err == nil && n > 0
	}
	return false
}
