package rosterhttp

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCacheControl(t *testing.T) {
	const none = -1
	for _, tc := range []struct {
		header               []string
		age                  string
		maxAge, staleIfError time.Duration
	}{
		{nil, "", none, none},
		{[]string{"max-age=60"}, "", time.Minute, none},
		{[]string{"Max-Age=60, Stale-If-Error=3600"}, "", time.Minute, time.Hour},
		{[]string{"private", "max-age=60"}, "", time.Minute, none},
		{[]string{`max-age="60"`}, "", time.Minute, none},
		{[]string{"max-age=0"}, "", 0, none},
		{[]string{"max-age=60, max-age=5"}, "", time.Minute, none},
		{[]string{"no-cache, no-store, private"}, "", none, none},
		{[]string{"s-maxage=60"}, "", none, none},
		{[]string{"max-age"}, "", none, none},
		{[]string{"max-age="}, "", none, none},
		{[]string{"max-age=-1"}, "", none, none},
		{[]string{"max-age=1.5"}, "", none, none},
		{[]string{"max-age=1m"}, "", none, none},
		{[]string{"max-age=99999999999999999999"}, "", maxSeconds * time.Second, none},
		{[]string{"max-age=60"}, "20", 40 * time.Second, none},
		{[]string{"max-age=60"}, "90", 0, none},
		{[]string{"max-age=60"}, "-5", time.Minute, none},
		{[]string{",,=,;"}, "", none, none},
	} {
		h := http.Header{}
		for _, v := range tc.header {
			h.Add("Cache-Control", v)
		}
		if tc.age != "" {
			h.Set("Age", tc.age)
		}
		if m, s := cacheControl(h); m != tc.maxAge || s != tc.staleIfError {
			t.Errorf("%q, age %q: %v, %v, want %v, %v", tc.header, tc.age, m, s, tc.maxAge, tc.staleIfError)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, value, date string
		want              time.Duration
	}{
		{"not said", "", "", 0},
		{"seconds", "7", "", 7 * time.Second},
		{"seconds with space", " 7 ", "", 7 * time.Second},
		{"zero", "0", "", 0},
		{"negative", "-7", "", 0},
		{"fraction", "1.5", "", 0},
		{"too long", "86400", "", time.Hour},
		{"far too long", "99999999999999999999999", "", time.Hour},
		{"date", "Sun, 01 Mar 2026 12:00:30 GMT", "", 30 * time.Second},
		{"date, against their clock", "Sun, 01 Mar 2026 14:00:30 GMT", "Sun, 01 Mar 2026 14:00:00 GMT", 30 * time.Second},
		{"date gone by", "Sun, 01 Mar 2026 11:00:00 GMT", "", 0},
		{"date far off", "Sun, 01 Mar 2099 11:00:00 GMT", "", time.Hour},
		{"date in an old form", "Sunday, 01-Mar-26 12:00:10 GMT", "", 10 * time.Second},
		{"words", "soon", "", 0},
	} {
		h := http.Header{}
		h.Set("Retry-After", tc.value)
		if tc.date != "" {
			h.Set("Date", tc.date)
		}
		if got := retryAfter(h, now); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestETag(t *testing.T) {
	for _, s := range []string{`"a"`, `W/"a"`, "unquoted", `"a-gzip"`, `"\u00e9"`, strings.Repeat("x", maxETag)} {
		if etag(s) != s {
			t.Errorf("%q became %q", s, etag(s))
		}
	}
	for _, s := range []string{"", "a\r\nX: 1", "a\x00", "\x7f", strings.Repeat("x", maxETag+1)} {
		if etag(s) != "" {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for k := Refused; k <= Canceled; k++ {
		if s := k.String(); s == "unknown" || seen[s] {
			t.Errorf("kind %d is %q", k, s)
		}
		seen[k.String()] = true
	}
	if Kind(0).String() != "unknown" || Kind(99).String() != "unknown" {
		t.Error("a kind that there is not has a name")
	}
}
