package bosh

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"time"
)

// checkKey holds a client to its sequence of keys (section 15): each is what the one before is the hash of.
func (s *session) checkKey(req *request) bool {
	if s.key != "" {
		sum := sha1.Sum([]byte(req.key))
		if req.key == "" || !strings.EqualFold(hex.EncodeToString(sum[:]), s.key) {
			return false
		}
		s.key = req.key
	}
	if req.newKey != "" {
		s.key = req.newKey
	}
	return true
}

// overactive tells what is wrong when a client sends more, or more often, than it may (sections 11 and 12). The request
// is among turns.
func (s *session) overactive(req *request) (why string) {
	now := time.Now()
	since := now.Sub(s.lastNew)
	empty, wasEmpty := req.empty() && !s.lastNew.IsZero(), s.lastEmpty
	s.lastNew, s.lastEmpty = now, empty
	waiting := s.unanswered()
	switch {
	case waiting > s.requests && !(req.extra() && waiting == s.requests+1):
		return "too many simultaneous requests"
	case !empty || since >= polling-slack:
	case s.polls && wasEmpty && len(s.turns) > 1 && !s.turns[len(s.turns)-2].payload,
		!s.polls && waiting >= s.requests:
		return "requests that come too often"
	}
	return ""
}

func (s *session) unanswered() (n int) {
	for _, t := range s.turns {
		if !t.answered {
			n++
		}
	}
	return n
}

// acknowledged forgets answers that the client says it has (section 9.2).
func (s *session) acknowledged(rid uint64) {
	for len(s.turns) > 0 && s.turns[0].answered && s.turns[0].rid <= rid {
		s.turns = s.turns[1:]
	}
}
