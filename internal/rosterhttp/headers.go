package rosterhttp

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxETag is how long an entity tag may be to be kept: one is kept for each user.
const maxETag = 512

// etag is an entity tag to be kept and sent back as it came, weak or not, quoted or not (RFC 9110 section
// 8.8.3; comparing it is the service's business). One that could not be sent back is as good as none.
func etag(s string) string {
	if len(s) > maxETag || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return s
}

// maxSeconds is the largest number of seconds that headers are taken to mean (RFC 9111 section 1.2.2).
const maxSeconds = 1<<31 - 1

// seconds reads a delta-seconds; <0 when it is none.
func seconds(s string) time.Duration {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxSeconds {
		n = maxSeconds // all digits: it is merely too large
	}
	return time.Duration(n) * time.Second
}

// cacheControl reads how long the answer may be used: without asking (max-age, less the Age that it has
// spent in caches already, RFC 9111 section 4.2.3), and when the service fails (stale-if-error, RFC 5861
// section 4). <0 is not said.
func cacheControl(h http.Header) (maxAge, staleIfError time.Duration) {
	maxAge, staleIfError = -1, -1
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			n := seconds(strings.Trim(strings.TrimSpace(value), `"`))
			// "either the first occurrence should be used or the response should be considered stale"
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "max-age":
				if maxAge < 0 {
					maxAge = n
				}
			case "stale-if-error":
				if staleIfError < 0 {
					staleIfError = n
				}
			}
		}
	}
	if age := seconds(strings.TrimSpace(h.Get("Age"))); maxAge >= 0 && age > 0 {
		maxAge = max(0, maxAge-age)
	}
	return maxAge, staleIfError
}

// maxRetryAfter bounds what a service can ask for: whoever means longer can say it again.
const maxRetryAfter = time.Hour

// retryAfter is how long the service wants to be left alone (RFC 9110 section 10.2.3); 0 when it does not
// say. A date is taken against the service's own clock where the answer has one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n := seconds(value); n >= 0 {
		return min(n, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}
