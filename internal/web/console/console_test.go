package console

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"rollcall/internal/web/page"
	"rollcall/internal/web/page/pagetest"
)

func TestPageKeepsItsPolicy(t *testing.T) { pagetest.Check(t, page.Load(assetFiles, "assets")) }

func TestOnlyThePageIsServed(t *testing.T) {
	for path, want := range map[string]int{
		"/": 200, "/index.html": 200, "/main.js": 200, "/nothing": 404, "/../console.go": 404, "": 404,
	} {
		r := httptest.NewRequest("GET", "/x", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, r)
		if w.Code != want || w.Header().Get("Content-Security-Policy") != page.Policy {
			t.Errorf("%q: %d with policy %q, want %d", path, w.Code, w.Header().Get("Content-Security-Policy"), want)
		}
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestPageLogic(t *testing.T) { pagetest.RunScripts(t) }
