package demo

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
)

// What the sample application answers is read by rollcall without a complaint.
func TestContactsKeepTheContract(t *testing.T) {
	f := start(t)
	for _, p := range people {
		doc := f.list(p.ID)
		r, dropped, err := rosterdoc.Decode([]byte(doc), rosterdoc.Options{Owner: jid.MustParse(p.ID + "@localhost")})
		if err != nil || len(dropped) > 0 {
			t.Errorf("%s: %v, dropped %v", doc, err, dropped)
			continue
		}
		if want := len(firstLists()[p.ID]); r.Len() != want {
			t.Errorf("%s has %d contacts, not %d", p.ID, r.Len(), want)
		}
	}
	const want = `{"bob@localhost":{"name":"Bob Okafor","groups":["Work"]},"carol@localhost":{"name":"Carol Lindqvist","groups":["Climbing"]}}`
	if got := f.list("alice"); got != want {
		t.Errorf("alice: %s", got)
	}
}

func TestContactsAnswers(t *testing.T) {
	f := start(t)
	resp, _ := f.request("GET", "/contacts/alice", "")
	etag := resp.Header.Get("ETag")
	if len(etag) < 3 || etag[0] != '"' || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("ETag %q, type %q", etag, resp.Header.Get("Content-Type"))
	}
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"GET", "/contacts/alice", []string{"If-None-Match", etag}, http.StatusNotModified},
		{"GET", "/contacts/alice", []string{"If-None-Match", `"x", W/` + etag}, http.StatusNotModified},
		{"GET", "/contacts/alice", []string{"If-None-Match", `"x"`}, http.StatusOK},
		{"GET", "/contacts/bob", []string{"If-None-Match", etag}, http.StatusOK},
		{"HEAD", "/contacts/alice", nil, http.StatusOK},
		{"GET", "/contacts/eve", nil, http.StatusNotFound},
		{"GET", "/contacts/a%2Fb", nil, http.StatusNotFound},
		{"GET", "/contacts/%2e%2e%2falice", nil, http.StatusNotFound},
		{"GET", "/contacts/Alice", nil, http.StatusNotFound},
		{"POST", "/contacts/alice", nil, http.StatusMethodNotAllowed},
	} {
		if resp, body := f.request(c.method, c.path, "", c.header...); resp.StatusCode != c.status {
			t.Errorf("%s %s %q: %s %s, want %d", c.method, c.path, c.header, resp.Status, body, c.status)
		} else if c.status == http.StatusNotModified && (body != "" || resp.Header.Get("ETag") != etag) {
			t.Errorf("304 with %q and ETag %s", body, resp.Header.Get("ETag"))
		}
	}
	f.act("remove", `{"owner":"alice","contact":"bob"}`)
	if resp, _ := f.request("GET", "/contacts/alice", "", "If-None-Match", etag); resp.StatusCode != http.StatusOK {
		t.Errorf("after a change: %s", resp.Status)
	}
}

func TestSwitchedOff(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("mode", `{"mode":"unavailable"}`)
	if resp, body := f.request("GET", "/contacts/alice", ""); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("off: %s, Retry-After %q, %s", resp.Status, resp.Header.Get("Retry-After"), body)
	}
	page.line(func(l Line) bool { return l.Kind == "switch" })
	page.line(func(l Line) bool { return l.Kind == "fetch" && l.Status == 503 })
	f.act("mode", `{"mode":"on"}`)
	f.list("alice")
}

// A silent application holds the fetch, and answers it when it is switched on.
func TestSilent(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("mode", `{"mode":"silent"}`)
	answered := make(chan string)
	go func() { answered <- f.list("alice") }()
	page.line(func(l Line) bool { return l.Kind == "fetch" && l.Pending })
	select {
	case body := <-answered:
		t.Fatalf("answered while silent: %s", body)
	default:
	}
	f.act("mode", `{"mode":"on"}`)
	if body := <-answered; !strings.Contains(body, "bob@localhost") {
		t.Errorf("answered %s", body)
	}
	page.line(func(l Line) bool { return l.Kind == "fetch" && l.Status == 200 })
}

func TestSilentAskerGivesUp(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("mode", `{"mode":"silent"}`)
	ctx, giveUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", f.url+"/contacts/alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	begun, _ := page.line(func(l Line) bool { return l.Pending })
	giveUp()
	if err := <-gone; err == nil {
		t.Error("a silent application answered")
	}
	ended, _ := page.line(func(l Line) bool { return l.Number == begun.Number })
	if ended.Pending || !ended.Failed || ended.Status != 0 || !strings.Contains(ended.Note, "gave up") {
		t.Errorf("the line is %+v", ended)
	}
}

// A silent application holds a bounded number of fetches; those that it holds end with the demo.
func TestSilentIsBounded(t *testing.T) {
	f := start(t)
	page := f.follow("")
	f.act("mode", `{"mode":"silent"}`)
	statuses := make(chan int)
	for range maxHeld {
		go func() {
			resp, err := http.Get(f.url + "/contacts/bob")
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	for range maxHeld {
		page.line(func(l Line) bool { return l.Pending })
	}
	if resp, _ := f.request("GET", "/contacts/bob", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more than it holds: %s", resp.Status)
	}
	f.end()
	var got []int
	for range maxHeld {
		got = append(got, <-statuses)
	}
	if slices.Contains(got, http.StatusServiceUnavailable) {
		t.Errorf("held fetches ended with %v", got)
	}
}
