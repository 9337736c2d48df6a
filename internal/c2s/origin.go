package c2s

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// OriginAllowed tells whether the page that makes a request may do so: allowed lists origins, as
// "https://chat.example.com", beside those that come from the same host and port; "*" stands for all. A request without
// an Origin does not come from a page and is not held to this. Browsers let pages send to any address: the server is the
// one to check (RFC 6455 section 10.2).
func OriginAllowed(r *http.Request, allowed []string) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	if slices.Contains(allowed, "*") {
		return true
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" { // "null" among them: a page without an origin of its own
		return false
	}
	// The scheme is not compared: behind a proxy that ends TLS we do not see it.
	return strings.EqualFold(u.Host, r.Host) || slices.ContainsFunc(allowed, func(a string) bool {
		return strings.EqualFold(strings.TrimSuffix(a, "/"), origins[0])
	})
}
