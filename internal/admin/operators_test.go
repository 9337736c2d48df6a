package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/config"
)

func TestSessions(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
	for _, c := range []struct {
		query, token string
		code         int
		want         string // the users shown
		total        int
	}{
		{"", adminToken, 200, "aaron john john josé", 4}, // john at both hosts
		{"?host=a.example", adminToken, 200, "aaron john josé", 3},
		{"?host=a.example&limit=2", adminToken, 200, "aaron john", 3},
		{"?limit=0", adminToken, 200, "", 4},
		{"?user=JOHN&host=a.example", adminToken, 200, "john", 1},
		{"?user=john@a.example", adminToken, 200, "john", 1},
		{"?user=nobody@a.example", adminToken, 200, "", 0},
		{"", bToken, 200, "john", 1},
		{"?host=a.example", bToken, 403, "", 0},
		{"?user=john@a.example", bToken, 404, "", 0},
		{"?host=c.example", adminToken, 404, "", 0},
		{"?user=john", adminToken, 404, "", 0},
		{"?user=a/b&host=a.example", adminToken, 404, "", 0},
		{"?limit=1001", adminToken, 400, "", 0},
		{"?limit=-1", adminToken, 400, "", 0},
	} {
		w := f.do("GET", sessionsPath+c.query, "", "Authorization: Bearer "+c.token)
		var list SessionList
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		var users []string
		for _, s := range list.Sessions {
			user, _, _ := strings.Cut(s.JID, "@")
			users = append(users, user)
		}
		if w.Code != c.code || strings.Join(users, " ") != c.want || list.Total != c.total {
			t.Errorf("%s: %d %s", c.query, w.Code, w.Body)
		}
	}
}

func TestEndSession(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
	for _, c := range []struct {
		jid, token string
		code       int
	}{
		{"john@a.example/x", adminToken, 200},
		{"john@a.example%2Fx", adminToken, 200},
		{"JOHN@A.example/x/y%20z", adminToken, 200},
		{"john@a.example", adminToken, 400},
		{"a.example/x", adminToken, 404},
		{"@/x", adminToken, 400},
		{"nobody@a.example/x", adminToken, 404},
		{"john@c.example/x", adminToken, 404},
		{"john@a.example/x", bToken, 403},
	} {
		if w := f.do("DELETE", sessionsPath+"/"+c.jid, "", "Authorization: Bearer "+c.token); w.Code != c.code {
			t.Errorf("%s: %d %s, want %d", c.jid, w.Code, w.Body, c.code)
		}
	}
	if want := []string{"john@a.example/x", "john@a.example/x", "john@a.example/x/y z"}; !slices.Equal(f.a.gone, want) {
		t.Errorf("ended %q, want %q", f.a.gone, want)
	}
	if n := strings.Count(f.log.String(), "session ended by an operator"); n != 3 {
		t.Errorf("%d lines:\n%s", n, f.log)
	}
}

func TestMetrics(t *testing.T) {
	shown := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "up 1")
	})
	for _, c := range []struct {
		name    string
		setup   setup
		headers []string
		code    int
	}{
		{"loopback", setup{metrics: shown}, nil, 200},
		{"the admin's", setup{metrics: shown, admin: []config.Secret{adminToken}}, []string{"Authorization: Bearer " + adminToken}, 200},
		{"a host's", setup{metrics: shown, admin: []config.Secret{adminToken}, a: []config.Secret{aToken}}, []string{"Authorization: Bearer " + aToken}, 403},
		{"loopback, where a host has a token", setup{metrics: shown, a: []config.Secret{aToken}}, nil, 403},
		{"elsewhere", setup{metrics: shown}, []string{"Peer: 192.0.2.1:1"}, 401},
		{"none to show", setup{}, nil, 404},
	} {
		f := start(t, c.setup)
		mux := http.NewServeMux()
		f.Register(mux)
		if _, pattern := mux.Handler(httptest.NewRequest("GET", metricsPath, nil)); pattern != metricsPath {
			t.Errorf("not in the mux: %q", pattern)
		}
		if w := f.do("GET", metricsPath, "", c.headers...); w.Code != c.code {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}

// listener reads a feed over a real connection.
type listener struct {
	t    *testing.T
	body io.ReadCloser
	scan *bufio.Scanner
}

func listen(t *testing.T, url string, headers ...string) *listener {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+eventsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	return &listener{t, resp.Body, bufio.NewScanner(resp.Body)}
}

// next reads an event; nil at the end.
func (l *listener) next() *Event {
	for l.scan.Scan() {
		if data, ok := strings.CutPrefix(l.scan.Text(), "data: "); ok {
			var e Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				l.t.Fatal(err)
			}
			return &e
		}
	}
	return nil
}

func TestEvents(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}, b: []config.Secret{bToken}})
	server := httptest.NewServer(f)
	defer server.Close()
	auth := "Authorization: Bearer " + adminToken
	f.do(post, refreshPath, `["john","bad","john@b.example"]`, auth, "Host: a.example")
	all := listen(t, server.URL, auth)
	ofB := listen(t, server.URL, "Authorization: Bearer "+bToken)
	f.do("PUT", rostersPath+"/aaron@b.example", `{"x@y":{}}`, auth)
	f.do(post, refreshPath, `["a/b"]`, auth, "Host: a.example")
	f.do("DELETE", sessionsPath+"/john@b.example/x", "", "Authorization: Bearer "+bToken)

	seen := map[string]*Event{}
	for range 5 {
		e := all.next()
		if e == nil {
			t.Fatal("the stream ended")
		}
		seen[e.What+" "+e.Host] = e
		if e.ID < 1 || e.Time.IsZero() || e.Peer != "127.0.0.1:40000" || e.By != "token" || e.Took < 0 {
			t.Errorf("%+v", e)
		}
	}
	short := func(e *Event) string {
		if e == nil {
			return "none"
		}
		return fmt.Sprintf("%v %d %d %d %d %d %s", e.Users, e.Names, e.Changed, e.Errors, e.Added, e.Altered, e.Reason)
	}
	for key, want := range map[string]string{
		"refresh a.example": `[john bad] 2 1 1 1 2 "bad": the service answered 503`, "refresh b.example": "[john] 1 1 0 1 2 ",
		"put b.example": "[aaron] 1 1 0 1 0 ", "refresh ": `[a/b] 1 0 1 0 0 "a/b": cannot be a user's name`,
		"session ended b.example": "[john@b.example/x] 1 0 0 0 0 ",
	} {
		if got := short(seen[key]); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	for _, want := range []string{"refresh", "put", "session ended"} {
		if e := ofB.next(); e == nil || e.What != want || e.Host != "b.example" {
			t.Errorf("the host's own: %+v, want %s", e, want)
		}
	}
	later := listen(t, server.URL, auth, "Last-Event-ID: 4")
	if e := later.next(); e == nil || e.ID != 5 {
		t.Errorf("after number 4: %+v", e)
	}
	f.Close() // ends the streams
	for _, l := range []*listener{all, ofB, later} {
		if e := l.next(); e != nil {
			t.Errorf("after the end: %+v", e)
		}
	}
	if w := f.do("GET", eventsPath, "", auth); w.Code != 503 {
		t.Errorf("after the end: %d", w.Code)
	}
}

// stuck is a ResponseWriter whose client reads nothing: its writes fail when their deadline has come.
type stuck struct {
	*httptest.ResponseRecorder
	deadline time.Time
	writes   int
}

func (s *stuck) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *stuck) Write(p []byte) (int, error) {
	s.writes++
	time.Sleep(time.Until(s.deadline))
	return 0, context.DeadlineExceeded
}

func (f *fixture) readers() int {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	return len(f.feed.readers)
}

func TestSlowReadersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		w := &stuck{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("GET", "http://127.0.0.1"+eventsPath, nil)
		r.RemoteAddr = "127.0.0.1:1"
		ended := make(chan struct{})
		go func() {
			f.ServeHTTP(w, r)
			close(ended)
		}()
		synctest.Wait()
		if f.readers() != 1 {
			t.Fatal("nobody reads")
		}
		for range readerQueue + 1 {
			f.feed.publish(Event{})
		}
		if f.readers() != 0 {
			t.Error("the slow reader is kept")
		}
		began := time.Now()
		<-ended
		if took := time.Since(began); took > readerStall || w.writes != 1 {
			t.Errorf("%v, %d writes", took, w.writes)
		}
		kept := f.feed.join(0, func(*Host) bool { return true })
		if first := (<-kept.queue).ID; len(kept.queue) != keptEvents-1 || first != f.feed.last-keptEvents+1 {
			t.Errorf("%d more events are kept, from %d", len(kept.queue), first)
		}
	})
}

// A feed without news shows that it is there.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1"+eventsPath, nil)
		r.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			f.ServeHTTP(w, r)
			close(ended)
		}()
		time.Sleep(2*heartbeat + time.Second)
		cancel()
		<-ended
		if want := ": rollcall\n\n: still here\n\n: still here\n\n"; w.Body.String() != want {
			t.Errorf("got %q, want %q", w.Body, want)
		}
		if f.readers() != 0 {
			t.Error("the reader is kept")
		}
	})
}
