package rosterapi

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// book is an application: john has Marie, aaron nobody, and looking for eve fails.
func book(_ context.Context, user string) (Roster, error) {
	switch user {
	case "john", "a/b", "é":
		return Roster{"marie@localhost": {Name: "Marie of " + user}}, nil
	case "aaron":
		return nil, nil
	case "rich":
		all := Roster{}
		for i := range 100 {
			all[fmt.Sprintf("user%d@localhost", i)] = Item{Name: "Somebody"}
		}
		return all, nil
	case "eve":
		return nil, errors.New("the database is on fire")
	case "mallory":
		panic("oh")
	}
	return nil, ErrUnknownUser
}

func newHandler() *Handler {
	return &Handler{Roster: book, Log: slog.New(slog.DiscardHandler)}
}

func get(h http.Handler, method, target string, headers ...string) *http.Response {
	mux := http.NewServeMux()
	mux.Handle("/contacts/{user}", h)
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

// text is the body, decompressed.
func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	var body io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		body = z
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHandler(t *testing.T) {
	h := newHandler()
	for _, c := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/contacts/john", 200, `{"marie@localhost":{"name":"Marie of john"}}`},
		{"GET", "/contacts/a%2Fb", 200, `{"marie@localhost":{"name":"Marie of a/b"}}`},
		{"GET", "/contacts/%C3%A9", 200, `{"marie@localhost":{"name":"Marie of é"}}`},
		{"HEAD", "/contacts/john", 200, ``},
		{"GET", "/contacts/aaron", 200, `{}`},
		{"GET", "/contacts/%256Aohn", 404, "there is no such user; an empty roster would be {}\n"},
		{"GET", "/contacts/eve", 500, "the roster cannot be given; the application's log says why\n"},
		{"POST", "/contacts/john", 405, "use GET\n"},
	} {
		resp := get(h, c.method, c.target)
		if got := text(t, resp); resp.StatusCode != c.status || got != c.body {
			t.Errorf("%s %s: %s %q, want %d %q", c.method, c.target, resp.Status, got, c.status, c.body)
		}
		if c.status == 200 && (resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("ETag") == "") {
			t.Errorf("%s: %v", c.target, resp.Header)
		}
		if c.status == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow: %q", resp.Header.Get("Allow"))
		}
	}
	if get(h, "HEAD", "/contacts/john").Header.Get("Content-Length") != fmt.Sprint(len(`{"marie@localhost":{"name":"Marie of john"}}`)) {
		t.Error("HEAD does not tell the length")
	}
	h.UnknownIsEmpty = true
	if resp := get(h, "GET", "/contacts/nobody"); resp.StatusCode != 200 || text(t, resp) != "{}" {
		t.Errorf("an unknown user is answered %s", resp.Status)
	}
}

// Without a pattern the last segment names the user.
func TestHandlerWithoutPattern(t *testing.T) {
	for target, want := range map[string]int{"/x/y/john": 200, "/a%2Fb": 200, "/x/": 404, "/x/%252e": 404} {
		w := httptest.NewRecorder()
		newHandler().ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
}

func TestHandlerETag(t *testing.T) {
	h := newHandler()
	h.CacheControl = "max-age=60"
	tag := get(h, "GET", "/contacts/john").Header.Get("ETag")
	if other := get(h, "GET", "/contacts/aaron").Header.Get("ETag"); other == tag || !strings.HasPrefix(tag, `W/"`) {
		t.Errorf("ETags %s and %s", tag, other)
	}
	for value, want := range map[string]int{
		tag: 304, strings.TrimPrefix(tag, "W/"): 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200, tag + "x": 200,
	} {
		resp := get(h, "GET", "/contacts/john", "If-None-Match", value)
		if resp.StatusCode != want || resp.Header.Get("ETag") != tag || resp.Header.Get("Cache-Control") != "max-age=60" {
			t.Errorf("If-None-Match: %s: %s %v, want %d", value, resp.Status, resp.Header, want)
		}
		if want == 304 && text(t, resp) != "" {
			t.Error("304 has a body")
		}
	}
}

func TestHandlerGzip(t *testing.T) {
	h := newHandler()
	plain := get(h, "GET", "/contacts/rich")
	want := text(t, plain)
	for value, coding := range map[string]string{"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "gzip;q=0": "", "br": "", "gzip;q=x": ""} {
		resp := get(h, "GET", "/contacts/rich", "Accept-Encoding", value)
		if got := resp.Header.Get("Content-Encoding"); got != coding || resp.Header.Get("ETag") != plain.Header.Get("ETag") {
			t.Errorf("Accept-Encoding: %s: %q, want %q", value, got, coding)
		}
		if got := text(t, resp); got != want || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding: %s: %d bytes, %v", value, len(got), resp.Header)
		}
	}
	if get(h, "GET", "/contacts/john", "Accept-Encoding", "gzip").Header.Get("Content-Encoding") != "" {
		t.Error("a few bytes are compressed")
	}
}

func TestHandlerToken(t *testing.T) {
	h := newHandler()
	h.Token = "sesame"
	for value, want := range map[string]int{
		"Bearer sesame": 200, "bearer  sesame": 200, "": 401, "Bearer": 401, "Bearer sesam": 401, "Basic sesame": 401, "sesame": 401,
	} {
		resp := get(h, "GET", "/contacts/john", "Authorization", value)
		if resp.StatusCode != want || want == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("Authorization: %s: %s, want %d", value, resp.Status, want)
		}
	}
	if resp := get(h, "GET", "/contacts/john", "Authorization", "Bearer sesame", "Authorization", "Bearer x"); resp.StatusCode != 401 {
		t.Errorf("two headers: %s", resp.Status)
	}
	// The token comes before everything: nobody without it learns who exists.
	if resp := get(h, "DELETE", "/contacts/nobody"); resp.StatusCode != 401 {
		t.Errorf("DELETE: %s", resp.Status)
	}
}

func post(h http.Handler, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/batch", strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestBatch(t *testing.T) {
	h := newHandler()
	b := h.Batch()
	w := post(b, `{"users": ["john", "aaron", "eve", "mallory", "nobody", "etags", "john"]}`)
	var got map[string]json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	var tags map[string]string
	if err := json.Unmarshal(got["etags"], &tags); err != nil || len(tags) != 2 {
		t.Fatalf("etags %s: %v", got["etags"], err)
	}
	// A batch and a fetch have one ETag for one roster: the server may go from one to the other.
	if want := get(h, "GET", "/contacts/john").Header.Get("ETag"); tags["john"] != want {
		t.Errorf("ETag %s, a fetch has %s", tags["john"], want)
	}
	delete(got, "etags")
	want := map[string]json.RawMessage{"john": json.RawMessage(`{"marie@localhost":{"name":"Marie of john"}}`), "aaron": json.RawMessage(`{}`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	asked, err := json.Marshal(map[string]any{"users": []string{"john", "aaron"}, "etags": map[string]string{"john": tags["john"], "aaron": `W/"x"`}})
	if err != nil {
		t.Fatal(err)
	}
	if got := post(b, string(asked)).Body.String(); !strings.Contains(got, `"john":true`) || !strings.Contains(got, `"aaron":{}`) {
		t.Errorf("with ETags: %s", got)
	}
}

func TestBatchRefusals(t *testing.T) {
	h := newHandler()
	var many []string
	for i := range maxBatch + 1 {
		many = append(many, fmt.Sprint(i))
	}
	large, err := json.Marshal(map[string]any{"users": many})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		``: 400, `["john"]`: 400, `{"users": "john"}`: 400, string(large): 413, `{"users": ["` + strings.Repeat("x", batchBytes) + `"]}`: 413,
		`{}`: 200, `{"users": []}`: 200,
	} {
		if w := post(h.Batch(), body); w.Code != want {
			t.Errorf("%.40q: %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
	h.Token = "sesame"
	if w := post(h.Batch(), `{"users": ["john"]}`); w.Code != 401 {
		t.Errorf("without a token: %d", w.Code)
	}
	if w := post(h.Batch(), `{"users": ["john"]}`, "Authorization", "Bearer sesame"); w.Code != 200 {
		t.Errorf("with the token: %d", w.Code)
	}
}

// Many are looked up at a time, and no more than a few.
func TestBatchConcurrency(t *testing.T) {
	var mu sync.Mutex
	var users []string
	busy, most := 0, 0
	full := make(chan struct{})
	h := &Handler{Roster: func(context.Context, string) (Roster, error) {
		mu.Lock()
		busy++
		most = max(most, busy)
		if busy == batchCalls && most == batchCalls {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full // passes once there are as many as may be
		mu.Lock()
		busy--
		mu.Unlock()
		return nil, nil
	}}
	for i := range 50 {
		users = append(users, fmt.Sprint("user", i))
	}
	answer := h.documents(t.Context(), slices.Clone(users), nil)
	if len(answer) != 51 || most != batchCalls {
		t.Errorf("%d members, %d at a time", len(answer), most)
	}
}
