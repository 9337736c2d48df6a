package rosterhttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Pictures come from where the operator says, and the token goes to the service alone; nothing is followed elsewhere, and
// nothing is read that is larger than it may be.
func TestDocuments(t *testing.T) {
	var seen []string
	note := func(r *http.Request) {
		seen = append(seen, fmt.Sprintf("%s %s %q", r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("If-None-Match")))
	}
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		io.WriteString(w, "picture")
	}))
	defer cdn.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("somebody else was asked") }))
	defer elsewhere.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		w.Header().Set("ETag", `"7"`)
		w.Header().Set("Cache-Control", "max-age=60")
		switch {
		case r.Header.Get("If-None-Match") == `"7"`:
			w.WriteHeader(http.StatusNotModified)
		case strings.HasSuffix(r.URL.Path, "/moved"):
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case strings.HasSuffix(r.URL.Path, "/page"):
			w.Header().Set("Content-Type", "text/html")
		case strings.HasSuffix(r.URL.Path, "/empty"):
			w.WriteHeader(http.StatusNoContent)
		case strings.HasSuffix(r.URL.Path, "/large"):
			io.WriteString(w, strings.Repeat("x", 101))
		default:
			io.WriteString(w, "{}")
		}
	}))
	defer app.Close()
	d, err := NewDocuments(Config{Host: "localhost", URL: app.URL + "/profiles/%s", Token: "canary", Of: "profile"}, []string{cdn.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()

	got, err := d.User(t.Context(), "john", "", 100, false)
	if err != nil || string(got.Body) != "{}" || got.ETag != `"7"` || got.MaxAge.Seconds() != 60 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.User(t.Context(), "john", `"7"`, 100, false); err != nil || !got.NotModified {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.User(t.Context(), "empty", "", 100, false); err != nil || len(got.Body) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.Image(t.Context(), "john", "../avatars/j.png?s=1#x", "", 100, false); err != nil || string(got.Body) != "{}" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.Image(t.Context(), "john", cdn.URL+"/j.png", "", 100, false); err != nil || string(got.Body) != "picture" {
		t.Errorf("%+v, %v", got, err)
	}
	want := []string{
		`/profiles/john Bearer canary ""`, `/profiles/john Bearer canary "\"7\""`, `/profiles/empty Bearer canary ""`,
		`/avatars/j.png Bearer canary ""`, `/j.png  ""`,
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}

	for user, kind := range map[string]Kind{"moved": Status, "page": Type, "large": TooLarge, "..": Refused, "a b": Refused} {
		_, err := d.User(t.Context(), user, "", 100, false)
		var fail *Error
		if !errors.As(err, &fail) || fail.Kind != kind || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "roster") {
			t.Errorf("%s: %v", user, err)
		}
	}
	for _, reference := range []string{elsewhere.URL + "/j.png", "//evil.example/j.png", "ftp://" + strings.TrimPrefix(app.URL, "http://") + "/j.png",
		strings.Replace(cdn.URL, "http://", "http://u:p@", 1) + "/j.png", "data:image/png;base64,AAAA", "file:///etc/passwd", "http://%zz/"} {
		_, err := d.Image(t.Context(), "john", reference, "", 100, false)
		var fail *Error
		if !errors.As(err, &fail) || fail.Kind != Refused {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

// What is wrong with the configuration is said of the key that it is in.
func TestDocumentsConfig(t *testing.T) {
	_, err := NewDocuments(Config{Host: "localhost", URL: "http://app/profiles", Of: "profile"}, nil)
	var wrong *ConfigError
	if !errors.As(err, &wrong) || wrong.Key != "profile.url" {
		t.Errorf("%v", err)
	}
}
