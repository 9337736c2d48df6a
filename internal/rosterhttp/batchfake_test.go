package rosterhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// bulk is the handler of a service that takes batches, and remembers them.
type bulk struct {
	answer func(w http.ResponseWriter, r *http.Request, asked []string, n int) // n counts requests from 1

	mu   sync.Mutex
	seen [][]string
	tags []map[string]string
}

func (b *bulk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Users []string          `json:"users"`
		ETags map[string]string `json:"etags"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || r.Method != "POST" || r.URL.Path != "/batch" {
		http.Error(w, fmt.Sprint("not a batch: ", r.Method, r.URL.Path, err), 400)
		return
	}
	b.mu.Lock()
	b.seen = append(b.seen, body.Users)
	b.tags = append(b.tags, body.ETags)
	n := len(b.seen)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	b.answer(w, r, body.Users, n)
}

func (b *bulk) requests() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

// numbered gives everybody one contact, whose name is the number of the request.
func numbered(w http.ResponseWriter, _ *http.Request, asked []string, n int) {
	docs := map[string]json.RawMessage{}
	for _, user := range asked {
		docs[user] = json.RawMessage(fmt.Sprintf(`{"marie@example.com":{"name":"%d"}}`, n))
	}
	if err := json.NewEncoder(w).Encode(docs); err != nil {
		panic(err)
	}
}

// batchInMemory starts a service in a synctest bubble that takes batches and nothing else.
func batchInMemory(t *testing.T, b *bulk, change ...func(*Config)) *Client {
	t.Helper()
	return inMemory(t, b.ServeHTTP, append([]func(*Config){func(c *Config) {
		c.URL, c.BatchURL = "", "http://app.invalid/batch"
	}}, change...)...)
}

// fetched is the end of a fetch of a test.
type fetched struct {
	res Result
	err error
}

// nameOf gives the name of the only contact.
func (f *fetched) nameOf(t *testing.T) string {
	t.Helper()
	if f.err != nil || f.res.Roster.Len() != 1 {
		t.Fatalf("%+v", f)
	}
	for item := range f.res.Roster.All() {
		return item.Name
	}
	return ""
}

// asking begins fetches, in order, and has them all in the queue, or further, when it returns. The results are
// there when the returned function does.
func asking(c *Client, ctx context.Context, requests ...Request) (ended func() []fetched) {
	out := make([]fetched, len(requests))
	var all sync.WaitGroup
	for i, r := range requests {
		all.Go(func() { out[i].res, out[i].err = c.Fetch(ctx, r) })
		synctest.Wait()
	}
	return func() []fetched {
		all.Wait()
		return out
	}
}

// users makes requests.
func users(names ...string) (out []Request) {
	for _, n := range names {
		out = append(out, Request{User: n})
	}
	return out
}

func wantRequests(t *testing.T, b *bulk, want ...string) {
	t.Helper()
	var got []string
	for _, r := range b.requests() {
		got = append(got, strings.Join(r, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the requests were %q\nwant              %q", got, want)
	}
}
