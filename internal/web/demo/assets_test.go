package demo

import (
	"net/http"
	"testing"

	"rollcall/internal/web/page"
	"rollcall/internal/web/page/pagetest"
)

func TestAssets(t *testing.T) {
	f := start(t)
	for name, a := range f.svc.assets {
		resp, body := f.request("GET", name, "")
		if resp.StatusCode != http.StatusOK || body != string(a.Body) || body == "" {
			t.Errorf("%s: %s, %d bytes", name, resp.Status, len(body))
		}
		for key, want := range map[string]string{
			"Content-Type": a.ContentType, "Content-Security-Policy": page.Policy, "X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-cache", "ETag": a.ETag, "Referrer-Policy": "no-referrer",
		} {
			if got := resp.Header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		if resp, _ := f.request("GET", name, "", "If-None-Match", a.ETag); resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", name, resp.Status)
		}
	}
	for _, name := range []string{"/nothing", "/assets/index.html", "/..%2fdemo.go", "/main.js/"} {
		if resp, _ := f.request("GET", name, ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// What the policy would stop is not in the page, and everything that the files name is there.
func TestPageKeepsItsPolicy(t *testing.T) {
	pagetest.Check(t, page.Load(assetFiles, "assets"))
}
