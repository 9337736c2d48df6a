package c2s_test

import (
	"net/http/httptest"
	"testing"

	"rollcall/internal/c2s"
)

// Attack case 40: origins that look like those that are allowed.
func TestOriginAllowed(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://chat.example.com":              true,
		"http://CHAT.example.com":               true,
		"https://app.example.com":               true,
		"https://chat.example.com.evil.example": false,
		"https://evil.example/chat.example.com": false,
		"https://evil.example#chat.example.com": false,
		"https://chat.example.com@evil.example": false,
		"https://evilchat.example.com":          false,
		"https://chat.example.co":               false,
		"https://chat.example.com:444":          false,
		"https://app.example.com.evil.example":  false,
		"https://sub.app.example.com":           false,
		"":                                      false,
		"null":                                  false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "https://chat.example.com/xmpp-websocket", nil)
		r.Header.Set("Origin", origin)
		if got := c2s.OriginAllowed(r, []string{"https://app.example.com"}); got != want {
			t.Errorf("%q: %v, want %v", origin, got, want)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "https://chat.example.com/xmpp-websocket", nil)
	r.Header["Origin"] = []string{"https://chat.example.com", "https://evil.example"}
	if c2s.OriginAllowed(r, nil) {
		t.Error("two origins are allowed when the first one is")
	}
}
