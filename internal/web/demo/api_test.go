package demo

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestActions(t *testing.T) {
	const (
		alice = `{"bob@localhost":{"name":"Bob Okafor","groups":["Work"]},"carol@localhost":{"name":"Carol Lindqvist","groups":["Climbing"]}}`
		bob   = `{"alice@localhost":{"name":"Alice Moreau","groups":["Work"]},"dave@localhost":{"name":"Dave Tanaka","groups":["Band"]}}`
		dave  = `{"bob@localhost":{"name":"Bob Okafor","groups":["Band"]}}`
	)
	for _, c := range []struct {
		name, what, body string
		changed          string
		lists            map[string]string // afterwards
	}{
		{"add on both sides", "add", `{"owner":"dave","contact":"alice","both":true}`, `["dave","alice"]`, map[string]string{
			"dave":  `{"alice@localhost":{"name":"Alice Moreau"},"bob@localhost":{"name":"Bob Okafor","groups":["Band"]}}`,
			"alice": strings.TrimSuffix(alice, "}") + `,"dave@localhost":{"name":"Dave Tanaka"}}`,
		}},
		{"add on one side", "add", `{"owner":"dave","contact":"alice","name":" Al ","groups":["A"," A","B",""]}`, `["dave"]`, map[string]string{
			"dave":  `{"alice@localhost":{"name":"Al","groups":["A","B"]},"bob@localhost":{"name":"Bob Okafor","groups":["Band"]}}`,
			"alice": alice,
		}},
		{"remove on both sides", "remove", `{"owner":"alice","contact":"bob","both":true}`, `["alice","bob"]`, map[string]string{
			"alice": `{"carol@localhost":{"name":"Carol Lindqvist","groups":["Climbing"]}}`,
			"bob":   `{"dave@localhost":{"name":"Dave Tanaka","groups":["Band"]}}`,
		}},
		{"remove on one side", "remove", `{"owner":"dave","contact":"bob"}`, `["dave"]`, map[string]string{"dave": `{}`, "bob": bob}},
		{"rename", "change", `{"owner":"bob","contact":"dave","name":"D <&> é 🎸","both":true}`, `["bob"]`, map[string]string{
			"bob":  strings.Replace(bob, "Dave Tanaka", "D <&> é 🎸", 1),
			"dave": dave,
		}},
		{"no name", "change", `{"owner":"dave","contact":"bob","name":""}`, `["dave"]`, map[string]string{
			"dave": `{"bob@localhost":{"groups":["Band"]}}`,
		}},
		{"regroup on both sides", "change", `{"owner":"bob","contact":"dave","groups":["Café","Work"],"both":true}`, `["bob","dave"]`, map[string]string{
			"bob":  strings.Replace(bob, `["Band"]`, `["Café","Work"]`, 1),
			"dave": strings.Replace(dave, `["Band"]`, `["Café","Work"]`, 1),
		}},
		{"regroup on one side", "change", `{"owner":"bob","contact":"dave","groups":[]}`, `["bob"]`, map[string]string{
			"bob":  strings.Replace(bob, `,"groups":["Band"]`, ``, 1),
			"dave": dave,
		}},
		{"change nothing", "change", `{"owner":"bob","contact":"dave","name":"Dave Tanaka","groups":["Band"],"both":true}`, `[]`,
			map[string]string{"bob": bob, "dave": dave}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t)
			resp, body := f.request("POST", "/app/"+c.what, c.body)
			if want := `{"changed":` + c.changed + `}`; resp.StatusCode != http.StatusOK || body != want {
				t.Errorf("answered %s %s, want %s", resp.Status, body, want)
			}
			for id, want := range c.lists {
				if got := f.list(id); got != want {
					t.Errorf("%s has %s, want %s", id, got, want)
				}
			}
			f.act("reset", `{}`)
			if got := f.list("alice") + f.list("bob") + f.list("dave"); got != alice+bob+dave {
				t.Errorf("after a reset: %s", got)
			}
		})
	}
}

// With "both", what one side has already is left as it is.
func TestAddTheMissingSide(t *testing.T) {
	f := start(t)
	f.act("remove", `{"owner":"alice","contact":"bob"}`)
	_, body := f.request("POST", "/app/add", `{"owner":"bob","contact":"alice","both":true,"groups":["New"]}`)
	if body != `{"changed":["alice"]}` {
		t.Errorf("answered %s", body)
	}
	if got := f.list("bob"); !strings.Contains(got, `"alice@localhost":{"name":"Alice Moreau","groups":["Work"]}`) {
		t.Errorf("bob has %s", got)
	}
}

func TestRefusals(t *testing.T) {
	f := start(t)
	long := strings.Repeat("x", maxName+1)
	for _, c := range []struct {
		what, body string
		status     int
	}{
		{"add", `{"owner":"alice","contact":"bob","both":true}`, 409},
		{"add", `{"owner":"alice","contact":"alice"}`, 400},
		{"add", `{"owner":"eve","contact":"alice"}`, 404},
		{"add", `{"owner":"alice","contact":"eve"}`, 404},
		{"add", `{"owner":"alice","contact":"dave","name":"` + long + `"}`, 400},
		{"add", `{"owner":"alice","contact":"dave","groups":["` + long + `"]}`, 400},
		{"add", `{"owner":"alice","contact":"dave","groups":["1","2","3","4","5","6"]}`, 400},
		{"add", `{"owner":"alice","contact":"dave","groups":["a\u0000b"]}`, 400},
		{"remove", `{"owner":"alice","contact":"dave","both":true}`, 404},
		{"change", `{"owner":"alice","contact":"dave","name":"D"}`, 404},
		{"change", `{"owner":"alice","contact":"bob","name":"a\nb"}`, 400},
		{"change", `{"owner":"alice","contact":"bob","name":"` + long + `"}`, 400},
		{"mode", `{"mode":"off"}`, 400},
		{"mode", ``, 415},
		{"mode", `{"mode":"on"`, 400},
		{"mode", `{"mode":"on","more":1}`, 400},
		{"mode", `{"mode":"on"}{}`, 400},
		{"mode", `{"mode":"` + strings.Repeat("x", maxRequest) + `"}`, 413},
		{"nothing", `{}`, 405},
	} {
		resp, body := f.request("POST", "/app/"+c.what, c.body)
		if resp.StatusCode != c.status {
			t.Errorf("%s %.60s: %s %s, want %d", c.what, c.body, resp.Status, body, c.status)
		}
		if c.what != "nothing" && !strings.HasPrefix(body, `{"error":"`) {
			t.Errorf("%s %.60s: %s", c.what, c.body, body)
		}
	}
	if got, want := f.svc.state().People, New(Options{}).state().People; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("something has changed: %v", got)
	}
}

// Another site cannot do anything, neither by a request from its page nor by a name of its own for this machine.
func TestOtherSites(t *testing.T) {
	f := start(t)
	const add = `{"owner":"alice","contact":"dave"}`
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
	}{
		{"POST", "/app/add", add, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"POST", "/app/add", add, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"POST", "/app/add", add, []string{"Origin", "http://evil.example"}, http.StatusForbidden},
		{"POST", "/app/add", add, []string{"Origin", "null"}, http.StatusForbidden},
		{"POST", "/app/reset", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType},
		{"POST", "/app/add", add, []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{"POST", "/app/add", add, []string{"Host", "127.0.0.1.evil.example:80"}, http.StatusMisdirectedRequest},
		{"GET", "/app/state", "", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{"GET", "/", "", []string{"Host", "192.168.1.2"}, http.StatusMisdirectedRequest},
		{"GET", "/app/state", "", []string{"Host", "localhost:1"}, http.StatusOK},
		{"GET", "/app/state", "", []string{"Host", "demo.localhost"}, http.StatusOK},
		{"GET", "/app/state", "", []string{"Host", "[::1]:1"}, http.StatusOK},
		{"GET", "/app/state", "", []string{"Host", "127.0.0.2"}, http.StatusOK},
		{"POST", "/app/add", add, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
	} {
		if resp, body := f.request(c.method, c.path, c.body, c.header...); resp.StatusCode != c.status {
			t.Errorf("%s %s %q: %s %s, want %d", c.method, c.path, c.header, resp.Status, body, c.status)
		}
	}
}

func TestState(t *testing.T) {
	f := start(t)
	f.act("remove", `{"owner":"bob","contact":"alice"}`)
	st := f.svc.state()
	if st.Host != "localhost" || st.Mode != modeOn || len(st.People) != len(people) {
		t.Fatalf("%+v", st)
	}
	alice := st.People[0]
	want := []contactState{{"bob", "Bob Okafor", []string{"Work"}, false}, {"carol", "Carol Lindqvist", []string{"Climbing"}, true}}
	if alice.JID != "alice@localhost" || !slices.EqualFunc(alice.Contacts, want, func(a, b contactState) bool {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}) {
		t.Errorf("alice: %+v", alice)
	}
	resp, body := f.request("GET", "/app/state", "")
	if resp.Header.Get("Cache-Control") != "no-store" || !strings.Contains(body, `"jid":"bob@localhost"`) {
		t.Errorf("%q %s", resp.Header.Get("Cache-Control"), body)
	}
}
