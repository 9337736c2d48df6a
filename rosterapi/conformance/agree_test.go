package conformance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/rosterhttp"
)

// This package reads answers by itself, since it has more to say about them than the server needs to know. What it takes
// for a roster must be what the server's own client takes.
func TestAgreesWithTheServer(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"good":  raw(200, "application/json", good),
		"array": raw(200, "application/json", "[]"), "empty": raw(200, "application/json", ""), "BOM": raw(200, "application/json", "\xef\xbb\xbf{}"),
		"dropped": raw(200, "application/json", `{"x@": {}}`), "304": raw(304, "", ""), "large": raw(200, "application/json", `{"a@b": {"x": "`+strings.Repeat("x", maxBytes)+`"}}`),
		"no gzip": raw(200, "application/json", good, "Content-Encoding", "gzip"), "brotli": raw(200, "application/json", good, "Content-Encoding", "br"),
		"identity": raw(200, "application/json", good, "Content-Encoding", "identity"), "bomb": bomb,
		"empty gzip": raw(200, "application/json", "", "Content-Encoding", "gzip"), "short": raw(200, "application/json", "{}", "Content-Length", "9"),
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for _, status := range []int{200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 410, 429, 500, 502, 503, 504} {
		answers[fmt.Sprint(status)] = raw(status, "application/json", map[bool]string{true: good}[status != 204 && status != 205], "Location", "/contacts/other")
	}
	for _, kind := range []string{"", "text/plain", "text/html", "application/xhtml+xml", "Application/JSON; charset=latin1", "application/problem+json",
		"text/json", "text/javascript", "application/javascript", "application/x-javascript", "application/octet-stream", "application/xml", "image/png", ";"} {
		answers["type "+kind] = raw(200, kind, good)
	}
	for name, h := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(h)
			defer s.Close()
			client, err := rosterhttp.New(rosterhttp.Config{Host: "localhost", URL: s.URL + "/contacts/%s", Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			theirs, err := client.Fetch(t.Context(), rosterhttp.Request{User: "john"})
			report, failed := Run(t.Context(), Config{URL: s.URL + "/contacts/%s", User: "john", Timeout: patience})
			if failed != nil {
				t.Fatal(failed)
			}
			if (err == nil) != (report.Roster != nil) || err == nil && theirs.Roster.Len() != len(report.Roster) {
				t.Errorf("the server: %v; the check: %v, %d contacts", err, report.OK, len(report.Roster))
			}
			if err != nil && report.OK {
				t.Error("the check is content with what the server does not take")
			}
		})
	}
}

// Both put a user into a URL in the same way.
func TestAgreesOnURLs(t *testing.T) {
	for _, template := range []string{"/contacts/%s", "/{host}/{user}/50%%25", "/?who={jid}&x=1", "/a%%20b/%s.json"} {
		var mu sync.Mutex
		var asked []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.RequestURI)
			http.NotFound(w, r)
		}))
		client, err := rosterhttp.New(rosterhttp.Config{Host: "localhost", URL: s.URL + template, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		users := []string{"john", "é", "50%", "a?b#c", "%6aohn", "a=b+c", "+~-_.", "日本", "..."}
		for _, user := range users {
			if _, err := client.Fetch(t.Context(), rosterhttp.Request{User: user}); err == nil {
				t.Error("404 is taken")
			}
		}
		theirs := slices.Clone(asked)
		for i, user := range users {
			ours, ok := strings.CutPrefix(expand(s.URL+template, user, "localhost"), s.URL)
			if !ok || i >= len(theirs) || ours != theirs[i] {
				t.Errorf("%s for %s: %s, the server asks %s", template, user, ours, theirs)
			}
		}
		client.Close()
		s.Close()
	}
}
