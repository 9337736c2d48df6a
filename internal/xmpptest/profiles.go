package xmpptest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// A Service answers GET /profiles/USER too, and GET /avatars/NAME: a user's document is that of "profiles/USER", in the words of
// Set and Answer, and a picture is that of "avatars/NAME", in base64.

// serveProfile answers with an ETag, and 304 to who has it.
func (s *Service) serveProfile(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.enter(name)
	defer s.leave(name)
	w.Header().Set("Content-Type", "application/json")
	a := s.prepare(w, r, name)
	if a.play() {
		return
	}
	if !a.known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body := []byte(a.doc)
	if strings.HasPrefix(name, "avatars/") {
		w.Header().Set("Content-Type", "image/png")
		if decoded, err := base64.StdEncoding.DecodeString(a.doc); err == nil {
			body = decoded
		}
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(body) // it fails when the asker is gone
}
