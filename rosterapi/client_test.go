package rosterapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A server is a http.Handler as a transport, so that it can be in a bubble with a fake clock.
type server func(w http.ResponseWriter, r *http.Request) error

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	if err := s(w, r); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func clientOf(s server) *Client {
	return &Client{URL: "http://rollcall.test/", HTTP: &http.Client{Transport: s}}
}

func body(t *testing.T, r *http.Request) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func names(t *testing.T, r *http.Request) (names []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(body(t, r)), &names); err != nil {
		t.Error(err)
	}
	return names
}

func TestNotify(t *testing.T) {
	c := clientOf(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodPost || r.URL.String() != "http://rollcall.test/roster_admin/refresh?detail=1&host=example.com" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if r.Header.Get("Authorization") != "Bearer sesame" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Webhook-Id") != "" {
			t.Errorf("headers %v", r.Header)
		}
		if got := names(t, r); !slices.Equal(got, []string{"john", "aaron", "zoë\x7f"}) {
			t.Errorf("names %q", got)
		}
		fmt.Fprint(w, `{"status": "ok", "message": "roster update complete", "updated": 2, "errors": 1, "users": {
			"john": {"result": "changed", "added": 1, "removed": 2, "changed": 3}, "aaron": {"result": "offline"},
			"zoë\u007f": {"result": "error", "error": "no such name"}}}`)
		return nil
	})
	c.Token, c.Host = "sesame", "example.com"
	got, err := c.Notify(t.Context(), "john", "aaron", "john", "zoë\x7f")
	if err == nil || err.Error() != "rosterapi: 1 of 3 rosters are not up to date; zoë\x7f: no such name" {
		t.Errorf("error %v", err)
	}
	want := Report{Updated: 2, Errors: 1, Users: map[string]UserReport{
		"john": {Result: Changed, Added: 1, Removed: 2, Changed: 3}, "aaron": {Result: Offline},
		"zoë\x7f": {Result: Failed, Error: "no such name"},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Report{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A server that does not know ?detail=1 is Prosody's module.
func TestNotifyWithoutDetail(t *testing.T) {
	c := clientOf(func(w http.ResponseWriter, r *http.Request) error {
		fmt.Fprint(w, `{"status": "error", "message": "\"john\": the service is down", "updated": 0, "errors": 1}`)
		return nil
	})
	got, err := c.Notify(t.Context(), "john")
	if err == nil || !strings.HasSuffix(err.Error(), `1 of 1 rosters are not up to date; "john": the service is down`) || got.Users != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNotifyNobody(t *testing.T) {
	c := clientOf(func(http.ResponseWriter, *http.Request) error {
		t.Error("a request for nobody")
		return errors.New("no")
	})
	if got, err := c.Notify(t.Context()); err != nil || got.Updated != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// No request is over 10,000 names or 1 MiB; nobody is left out, and nobody named twice.
func TestNotifySplits(t *testing.T) {
	for name, length := range map[string]int{"many": 0, "long": 300} {
		t.Run(name, func(t *testing.T) {
			var users, told []string
			for i := range 25_000 {
				users = append(users, fmt.Sprintf("user%d%s", i, strings.Repeat("é", length/2)))
			}
			requests := 0
			c := clientOf(func(w http.ResponseWriter, r *http.Request) error {
				requests++
				b := body(t, r)
				var got []string
				if err := json.Unmarshal([]byte(b), &got); err != nil {
					t.Error(err)
				}
				if len(b) > 1<<20 || len(got) > 10_000 {
					t.Errorf("%d bytes, %d names", len(b), len(got))
				}
				told = append(told, got...)
				fmt.Fprintf(w, `{"status": "ok", "message": "m", "updated": %d, "errors": 0}`, len(got))
				return nil
			})
			got, err := c.Notify(t.Context(), users...)
			if err != nil || got.Updated != len(users) || !slices.Equal(told, users) {
				t.Errorf("updated %d, told of %d, %v", got.Updated, len(told), err)
			}
			if want := 3; length == 0 && requests != want {
				t.Errorf("%d requests, want %d", requests, want)
			}
		})
	}
}

// After a request that fails none are sent; the report says who is left.
func TestNotifyUntold(t *testing.T) {
	var users []string
	for i := range 25_000 {
		users = append(users, fmt.Sprint("user", i))
	}
	requests := 0
	c := clientOf(func(w http.ResponseWriter, r *http.Request) error {
		if requests++; requests == 2 {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"status": "error", "message": "a token is needed", "updated": 0, "errors": 0}`)
			return nil
		}
		fmt.Fprint(w, `{"status": "ok", "message": "m", "updated": 10000, "errors": 0}`)
		return nil
	})
	got, err := c.Notify(t.Context(), users...)
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != 401 || refused.Message != "a token is needed" {
		t.Errorf("error %v", err)
	}
	if requests != 2 || got.Updated != 10_000 || !slices.Equal(got.Untold, users[10_000:]) {
		t.Errorf("%d requests, %d updated, %d untold", requests, got.Updated, len(got.Untold))
	}
}

func TestRetries(t *testing.T) {
	ok := `{"status": "ok", "message": "m", "updated": 1, "errors": 0}`
	type reply struct {
		status     int // 0: the connection breaks
		retryAfter string
		body       string
	}
	for _, c := range []struct {
		name     string
		replies  []reply // the last one is repeated
		attempts int
		requests int
		atLeast  time.Duration
		want     string // of the error; "" for none
	}{
		{"at once", []reply{{200, "", ok}}, 0, 1, 0, ""},
		{"broken twice", []reply{{}, {}, {200, "", ok}}, 0, 3, firstPause, ""},
		{"busy", []reply{{503, "7", `{}`}, {429, "3", `{}`}, {200, "", ok}}, 0, 3, 10 * time.Second, ""},
		{"a date", []reply{{503, "Sat, 01 Jan 2000 00:00:20 GMT", `{}`}, {200, "", ok}}, 0, 2, 20 * time.Second, ""},
		{"a proxy", []reply{{502, "", "<html>"}, {504, "", "<html>"}, {200, "", ok}}, 0, 3, firstPause, ""},
		{"for ever busy", []reply{{503, "", `{"message": "too many"}`}}, 0, 5, 0, "was answered with 503 Service Unavailable: too many"},
		{"for ever broken", []reply{{}}, 3, 3, 0, "no answer: broken"},
		{"no retry for 400", []reply{{400, "", `{"message": "bad"}`}}, 0, 1, 0, "400 Bad Request: bad"},
		{"no retry for 401", []reply{{401, "5", `{}`}}, 0, 1, 0, "401 Unauthorized, and not by rollcall as it seems"},
		{"no retry for 500", []reply{{500, "", `{"message": "internal error"}`}}, 0, 1, 0, "500 Internal Server Error: internal error"},
		{"no redirects", []reply{{307, "", ``}}, 0, 1, 0, "307 Temporary Redirect"},
		{"somebody else", []reply{{200, "", "hello"}}, 0, 1, 0, "the answer is not rollcall's"},
		{"other JSON", []reply{{200, "", `{"ok": true}`}}, 0, 1, 0, "the answer is not rollcall's"},
		{"a day is too long", []reply{{503, "86400", `{}`}, {200, "", ok}}, 0, 2, longestRetry, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				client := clientOf(func(w http.ResponseWriter, r *http.Request) error {
					if got := names(t, r); !slices.Equal(got, []string{"john"}) {
						t.Errorf("request %d names %q", requests, got)
					}
					now := c.replies[min(requests, len(c.replies)-1)]
					requests++
					if now.status == 0 {
						return errors.New("broken")
					}
					if now.retryAfter != "" {
						w.Header().Set("Retry-After", now.retryAfter)
					}
					w.Header().Set("Location", "http://elsewhere.test/")
					w.WriteHeader(now.status)
					fmt.Fprint(w, now.body)
					return nil
				})
				client.Attempts = c.attempts
				begun := time.Now()
				_, err := client.Notify(t.Context(), "john")
				if took := time.Since(begun); took < c.atLeast || took > c.atLeast+time.Minute {
					t.Errorf("took %v, want at least %v", took, c.atLeast)
				}
				if requests != c.requests {
					t.Errorf("%d requests, want %d", requests, c.requests)
				}
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			})
		})
	}
}

// A context that ends during a pause ends it, and one that would end in it ends it at once: the caller learns why.
func TestRetryContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clientOf(func(http.ResponseWriter, *http.Request) error { return errors.New("broken") })
		ctx, cancel := context.WithTimeout(t.Context(), firstPause/4)
		defer cancel()
		begun := time.Now()
		if _, err := c.Notify(ctx, "john"); err == nil || !strings.Contains(err.Error(), "broken") || time.Since(begun) != 0 {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, stop)
		if _, err := c.Notify(ctx, "john"); err == nil || time.Since(begun) != time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

// The vector is that of the Standard Webhooks project's own libraries.
func TestSignatureVector(t *testing.T) {
	key, err := signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if raw, err := signingKey("sesame"); err != nil || string(raw) != "sesame" {
		t.Errorf("a raw secret is %q, %v", raw, err)
	}
	for _, bad := range []string{"whsec_", "whsec_sesame!"} {
		if _, err := signingKey(bad); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Each attempt has its own id, the time of its own, and a signature that fits.
func TestSignedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := map[string]bool{}
		c := clientOf(func(w http.ResponseWriter, r *http.Request) error {
			id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
			if at != fmt.Sprint(time.Now().Unix()) || strings.Contains(id, ".") || len(id) < 20 || ids[id] {
				t.Errorf("id %q, timestamp %q", id, at)
			}
			ids[id] = true
			if got, want := r.Header.Get("webhook-signature"), signature([]byte("sesame"), id, at, []byte(body(t, r))); got != want {
				t.Errorf("signature %s, want %s", got, want)
			}
			if len(ids) == 1 {
				w.Header().Set("Retry-After", "2")
				w.WriteHeader(503)
				return nil
			}
			fmt.Fprint(w, `{"status": "ok", "message": "m", "updated": 1, "errors": 0}`)
			return nil
		})
		c.Secret = "sesame"
		if _, err := c.Notify(t.Context(), "john"); err != nil || len(ids) != 2 {
			t.Errorf("%d requests, %v", len(ids), err)
		}
	})
}

func TestRosters(t *testing.T) {
	var asked, sent, ifMatch string
	answer := `{"status": "ok", "message": "m", "updated": 1, "errors": 0, "users": {"john": {"result": "changed", "version": "v2"}}}`
	c := clientOf(func(w http.ResponseWriter, r *http.Request) error {
		asked = r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Content-Type")
		sent, ifMatch = body(t, r), r.Header.Get("If-Match")
		if ifMatch == `"old"` {
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, `{"status": "error", "message": "the roster has another version", "updated": 0, "errors": 1}`)
			return nil
		}
		fmt.Fprint(w, answer)
		return nil
	})
	ctx := t.Context()
	for _, c := range []struct {
		call              func() (Report, error)
		asked, sent, cond string
	}{
		{func() (Report, error) { return c.Put(ctx, "john", Roster{"marie@b": {Name: "Marie"}}) },
			"PUT /roster_admin/rosters/john?detail=1 application/json", `{"marie@b":{"name":"Marie"}}`, ""},
		{func() (Report, error) { return c.Put(ctx, "a/b@c", nil, IfVersion("v1")) },
			"PUT /roster_admin/rosters/a%2Fb%40c?detail=1 application/json", `{}`, `"v1"`},
		{func() (Report, error) { return c.Patch(ctx, "john", Patch{"marie@b": nil}) },
			"PATCH /roster_admin/rosters/john?detail=1 application/merge-patch+json", `{"marie@b":null}`, ""},
		{func() (Report, error) { return c.PatchMany(ctx, map[string]Patch{"john": {"marie@b": {}}}) },
			"PATCH /roster_admin/rosters?detail=1 application/merge-patch+json", `{"john":{"marie@b":{}}}`, ""},
		{func() (Report, error) { return c.Confirm(ctx, "john") },
			"POST /roster_admin/rosters/john/confirm?detail=1 ", ``, ""},
	} {
		report, err := c.call()
		if err != nil || asked != c.asked || sent != c.sent || ifMatch != c.cond || report.Users["john"].Version != "v2" {
			t.Errorf("got %s %s %s, %+v, %v; want %s %s", asked, sent, ifMatch, report, err, c.asked, c.sent)
		}
	}
	report, err := c.Put(ctx, "john", nil, IfVersion("old"))
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != http.StatusPreconditionFailed || !slices.Equal(report.Untold, []string{"john"}) {
		t.Errorf("got %+v, %v", report, err)
	}
	for _, user := range []string{"", ".", ".."} {
		if _, err := c.Put(ctx, user, nil); err == nil {
			t.Errorf("%q is taken for a user", user)
		}
	}
	answer = `{"host": "b", "user": "john", "version": "v2", "source": "fetch", "as_of": "2026-01-02T03:04:05Z", "age": 1, "stale": false,
		"online": true, "items": {"marie@b": {"name": "Marie"}}, "dropped": [{"key": "x@", "reason": "no"}], "held": {"removed": 30}}`
	got, err := c.Get(ctx, "john")
	want := Copy{Host: "b", User: "john", Version: "v2", Source: "fetch", AsOf: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Online: true,
		Roster: Roster{"marie@b": {Name: "Marie"}}, Dropped: []Dropped{{Key: "x@", Reason: "no"}}, Held: &HeldBack{Removed: 30}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || asked != "GET /roster_admin/rosters/john " {
		t.Errorf("%s, %v (-want +got)\n%s", asked, err, diff)
	}
}

// A conditional write whose answer was lost is not made again: the second would be refused, though the first arrived.
func TestConditionalIsNotRepeated(t *testing.T) {
	requests := 0
	c := clientOf(func(http.ResponseWriter, *http.Request) error {
		requests++
		return errors.New("broken")
	})
	if _, err := c.Put(t.Context(), "john", nil, IfVersion("v1")); err == nil || requests != 1 {
		t.Errorf("%d requests, %v", requests, err)
	}
}

func TestClientMistakes(t *testing.T) {
	for _, u := range []string{"", "127.0.0.1:5280", "ftp://x", "http://", "http://john:pw@x", "http://x?a=b"} {
		c := Client{URL: u}
		if _, err := c.Notify(t.Context(), "john"); err == nil || !strings.Contains(err.Error(), "Client.URL") || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", u, err)
		}
	}
	c := Client{URL: "http://x", Secret: "whsec_?"}
	if _, err := c.Notify(t.Context(), "john"); err == nil {
		t.Error("a secret that is none is taken")
	}
}
