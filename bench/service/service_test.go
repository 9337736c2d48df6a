package service

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServiceAnswersFetches(t *testing.T) {
	g, err := NewGraph(4, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve("127.0.0.1:0", g, 0)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	get := func(user string) (int, string) {
		resp, err := client.Get(fmt.Sprintf(s.URL(), user))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for range 2 { // the second time over the same connection
		if code, body := get("u1"); code != 200 || body != string(g.AppendRoster(nil, 1)) {
			t.Errorf("u1: %d %s", code, body)
		}
	}
	for _, user := range []string{"u4", "john"} {
		if code, _ := get(user); code != 404 {
			t.Errorf("%s: %d", user, code)
		}
	}
	if total, most := s.Requests(); total != 4 || most != 1 {
		t.Errorf("%d requests, at most %d at a time", total, most)
	}
	if times, user := s.MostForOne(); times != 2 || user != "u1" {
		t.Errorf("%s was asked for %d times", user, times)
	}
	s.Forget()
	total, most := s.Requests()
	if times, _ := s.MostForOne(); total != 0 || most != 0 || times != 0 {
		t.Errorf("%d requests, %d at a time, %d for one user after all was forgotten", total, most, times)
	}
	client.CloseIdleConnections()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Section 4 of the contract: a member for each user, null for one who is unknown; each user counts as fetched, the request once.
func TestServiceAnswersBatches(t *testing.T) {
	g, err := NewGraph(4, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve("127.0.0.1:0", g, 0)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	post := func(body string) (int, map[string]json.RawMessage, error) {
		resp, err := client.Post(s.BatchURL(), "application/json", strings.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		var got map[string]json.RawMessage
		err = json.NewDecoder(resp.Body).Decode(&got)
		return resp.StatusCode, got, err
	}
	for range 2 { // the second time over the same connection
		code, got, err := post(`{"users":["u1","u3","john","u4"],"etags":{"u1":"x"}}`)
		if err != nil || code != 200 || len(got) != 4 || string(got["u1"]) != string(g.AppendRoster(nil, 1)) ||
			string(got["u3"]) != string(g.AppendRoster(nil, 3)) || string(got["john"]) != "null" || string(got["u4"]) != "null" {
			t.Errorf("%d %s %v", code, got, err)
		}
	}
	for _, wrong := range []string{`{"users":[]}`, `["u1"]`, `{`} {
		if code, got, err := post(wrong); err == nil {
			t.Errorf("%s: %d %s", wrong, code, got)
		}
	}
	if total, _ := s.Requests(); total != 2 {
		t.Errorf("%d requests", total)
	}
	if times, user := s.MostForOne(); times != 2 || user != "u1" && user != "u3" {
		t.Errorf("%s was asked for %d times", user, times)
	}
	client.CloseIdleConnections()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Prosody asks for the connection to be closed.
func TestServiceClosesWhenAsked(t *testing.T) {
	g, err := NewGraph(4, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve("127.0.0.1:0", g, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /contacts/u0 HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(answer), "}") {
		t.Errorf("%q, %v", answer, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestNotify(t *testing.T) {
	answer := `{"status":"ok","message":"","updated":2,"errors":0}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var names []string
		if err := json.NewDecoder(r.Body).Decode(&names); err != nil || strings.Join(names, " ") != "u3 u5" {
			t.Errorf("%q, %v", names, err)
		}
		if r.Host != "chat.example" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("Host %q, Authorization %q", r.Host, r.Header.Get("Authorization"))
		}
		io.WriteString(w, answer)
	}))
	defer server.Close()
	n := NewNotifier(server.URL, "chat.example", "secret", 1)
	defer n.Close()
	if err := n.Notify(t.Context(), []int{3, 5}); err != nil {
		t.Error(err)
	}
	for _, answer = range []string{`{"updated":1,"errors":1}`, `{"updated":1}`, `no JSON`} {
		if err := n.Notify(t.Context(), []int{3, 5}); err == nil {
			t.Errorf("%s: no error", answer)
		}
	}
}

// Section 3 of the contract: a merge patch for many users.
func TestPatch(t *testing.T) {
	g, err := NewGraph(6, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	answer := `{"status":"ok","message":"","updated":2,"errors":0}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if typ := r.Header.Get("Content-Type"); r.Method != "PATCH" || typ != "application/merge-patch+json" || r.Host != "chat.example" {
			t.Errorf("%s, %s, Host %q", r.Method, typ, r.Host)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(body) {
			t.Errorf("%q, %v", body, err)
		}
		got = string(body)
		io.WriteString(w, answer)
	}))
	defer server.Close()
	n := NewNotifier(server.URL, "chat.example", "", 1)
	defer n.Close()
	for add, want := range map[bool]string{
		true:  `{"u3":{"x3@h":{"name":"A new friend","groups":{"Friends":true}}},"u5":{"x5@h":{"name":"A new friend","groups":{"Friends":true}}}}`,
		false: `{"u3":{"x3@h":null},"u5":{"x5@h":null}}`,
	} {
		if err := n.Patch(t.Context(), g, []int{3, 5}, add); err != nil || got != want {
			t.Errorf("sent %s, %v; want %s", got, err, want)
		}
	}
	answer = `{"updated":1,"errors":1}`
	if err := n.Patch(t.Context(), g, []int{3, 5}, true); err == nil {
		t.Error("one of two was not changed: no error")
	}
}

// A silent service keeps requests until it is in another mood, and a failing one answers all that come.
func TestMoods(t *testing.T) {
	g, err := NewGraph(4, 2, "h")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve("127.0.0.1:0", g, 0)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() int {
		resp, err := client.Get(fmt.Sprintf(s.URL(), "u1"))
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	s.SetMood(Failing)
	if code := get(); code != 503 {
		t.Errorf("failing: %d", code)
	}
	s.SetMood(Silent)
	answered := make(chan int)
	go func() { answered <- get() }()
	for s.under.Load() == 0 { // until the request has come
		runtime.Gosched()
	}
	select {
	case code := <-answered:
		t.Errorf("silent: %d", code)
	default:
	}
	s.SetMood(Well)
	if code := <-answered; code != 200 {
		t.Errorf("well again: %d", code)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
