package admin

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/config"
)

const aJohn = rostersPath + "/john"

// TestWrites has section 3's PUT and PATCH for one user, one after the other on the same rosters.
func TestWrites(t *testing.T) {
	f := start(t, setup{oneHost: true, maxBytes: 100})
	ok := `200 {"status":"ok","message":"roster update complete","updated":1,"errors":0}`
	patch := "Content-Type: application/merge-patch+json"
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		want, etag               string
	}{
		{"patch of nothing known", "PATCH", aJohn, `{}`, []string{patch}, `409 {"status":"error","message":"\"john\": has no roster here","updated":0,"errors":1}`, ""},
		{"condition on nothing known", "PUT", aJohn, `{}`, []string{"If-Match: *"}, `412 {"status":"error","message":"\"john\": the roster has another version than If-Match says`, ""},
		{"put", "PUT", aJohn, `{"marie@example.com":{"name":"Marie"}}`, []string{"Content-Type: application/json"}, ok, `"v1"`},
		{"by bare JID, chunked types", "PUT", rostersPath + "/John@A.example", "{}", []string{"Content-Type: application/json; charset=utf-8"}, ok, `"v2"`},
		{"as curl -d says it", "PUT", aJohn, "{}", []string{"Content-Type: application/x-www-form-urlencoded"}, ok, `"v3"`},
		{"patch", "PATCH", aJohn, `{"marie@example.com":{}}`, []string{patch + "; charset=utf-8"}, ok, `"v4"`},
		{"any version", "PATCH", aJohn, `{"marie@example.com":null}`, []string{patch, "If-Match: *"}, ok, `"v5"`},
		{"this version", "PATCH", aJohn, ` {}`, []string{patch, `If-Match: "v5"`}, ok, `"v6"`},
		{"an older version", "PUT", aJohn, `{}`, []string{`If-Match: "v5"`}, `412 {"status":"error","message":"\"john\": the roster has another version than If-Match says: it is \"v6\"","updated":0,"errors":1}`, ""},
		{"a weak version", "PUT", aJohn, `{}`, []string{`If-Match: W/"v6"`}, `412 {"status":"error","message":"If-Match has a weak entity tag`, ""},
		{"a bare version", "PUT", aJohn, `{}`, []string{`If-Match: v6`}, `400 {"status":"error","message":"If-Match is no entity tag; write one version in quotes`, ""},
		{"two versions", "PUT", aJohn, `{}`, []string{`If-Match: "v5", "v6"`}, `400 {`, ""},
		{"something left out", "PUT", aJohn, `{"a b":{}}`, nil, `200 {"status":"ok","message":"roster update complete; left out: 1 (add ?detail=1 to see which and why)","updated":1,"errors":0}`, `"v7"`},
		{"in detail", "PUT", aJohn + "?detail=1", `{"a b":{}}`, nil, `200 {"status":"ok","message":"roster update complete","updated":1,"errors":0,"users":{"john":{"result":"changed","added":1,"removed":0,"changed":0,"version":"v8","dropped":[{"key":"a b","reason":"has no valid address"}]}}}`, `"v8"`},

		{"no body", "PUT", aJohn, ``, nil, `400 {"status":"error","message":"the body is missing; send the whole roster, such as {`, ""},
		{"an array", "PUT", aJohn, `[]`, nil, `400 {"status":"error","message":"the body is an array; send the whole roster`, ""},
		{"null", "PATCH", aJohn, `null`, []string{patch}, `400 {"status":"error","message":"the body is null; send what changes`, ""},
		{"no JSON", "PUT", aJohn, `x`, nil, `400 {"status":"error","message":"the body is not JSON; send`, ""},
		{"cut off", "PUT", aJohn, `{"a":`, nil, `400 {"status":"error","message":"\"john\": the document is refused`, ""},
		{"too large", "PUT", aJohn, `{` + strings.Repeat(" ", 100) + `}`, nil, `413 {"status":"error","message":"the body is larger than 100 bytes`, ""},
		{"compressed", "PUT", aJohn, `{}`, []string{"Content-Encoding: gzip"}, `415 {`, ""},
		{"a patch by PUT", "PUT", aJohn, `{}`, []string{patch}, `415 {"status":"error","message":"a merge patch is sent with PATCH`, ""},
		{"a page by PUT", "PUT", aJohn, `{}`, []string{"Content-Type: text/html"}, `415 {`, ""},
		{"a patch without type", "PATCH", aJohn, `{}`, nil, `415 {"status":"error","message":"a PATCH needs the header Content-Type: application/merge-patch+json`, ""},
		{"a patch of another type", "PATCH", aJohn, `[]`, []string{"Content-Type: application/json-patch+json"}, `415 {`, ""},

		{"no name", "PUT", rostersPath + "/a%2Fb", `{}`, nil, `400 {"status":"error","message":"\"a/b\" cannot be a user's name","updated":0,"errors":1}`, ""},
		{"unknown host", "PUT", rostersPath + "/john@c.example", `{}`, nil, `404 {`, ""},
		{"unknown host in the query", "PUT", aJohn + "?host=c.example", `{}`, nil, `404 {`, ""},
		{"busy", "PATCH", rostersPath + "/busy", `{}`, []string{patch}, `503 {"status":"error","message":"\"busy\": the server has too much to do`, ""},
		{"a failed refresh", "PATCH", rostersPath + "/bad", `{}`, []string{patch}, `503 {"status":"error","message":"\"bad\": the service answered 503","updated":0,"errors":1}`, ""},
	} {
		w := f.do(c.method, c.path, c.body, c.headers...)
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(strings.TrimSuffix(got, "\n"), c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if got := w.Header().Get("ETag"); got != c.etag {
			t.Errorf("%s: ETag %s, want %s", c.name, got, c.etag)
		}
		if w.Code == 503 && w.Header().Get("Retry-After") == "" || c.method == "PATCH" && w.Code == 415 && w.Header().Get("Accept-Patch") != mergePatch {
			t.Errorf("%s: headers %v", c.name, w.Header())
		}
	}
	f.API.wg.Wait()
	if f.room.TryAcquire(memoryBudget + 1) {
		t.Fatal("a budget without bounds")
	}
	if !f.room.TryAcquire(memoryBudget) {
		t.Error("memory is not given back")
	}
}

// TestPatchMany has the PATCH for many users.
func TestPatchMany(t *testing.T) {
	users := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(`"u%d":{}`, i)
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	ok := func(updated, errors int) string {
		return fmt.Sprintf(`200 {"status":"ok","message":"roster update complete","updated":%d,"errors":%d}`, updated, errors)
	}
	for _, c := range []struct{ name, query, body, want, wrote string }{
		{"two", "", ` { "john" : {"x@y":{}} , "aaron":{ } } `, ok(2, 0), `patch aaron { }|patch john {"x@y":{}}`},
		{"none", "", `{}`, ok(0, 0), ""},
		{"two hosts", "", `{"john":{},"john@b.example":{}}`, ok(2, 0), "patch john {}"},
		{"the query's host", "?host=b.example", `{"john":{}}`, ok(1, 0), ""},
		{"one is not known", "", `{"john":{},"nobody":{}}`, ok(1, 1), "patch john {}|patch nobody {}"},
		{"all fail", "", `{"nobody":{},"bad":{}}`, `200 {"status":"error","message":"\"`, "patch bad {}|patch nobody {}"},
		{"null for a user", "", `{"john":null,"aaron":{}}`, ok(1, 1), "patch aaron {}"},
		{"only null", "", `{"john":null}`, `200 {"status":"error","message":"\"john\": null would delete the user; to empty a roster, PUT {} to /roster_admin/rosters/USER","updated":0,"errors":1}`, ""},
		{"a number for a user", "", `{"john":7}`, `200 {"status":"error","message":"\"john\": the patch is a number, not an object`, ""},
		{"one is too large", "", `{"john":{"` + strings.Repeat("x", 200) + `":{}},"aaron":{}}`, ok(1, 1), "patch aaron {}"},
		{"a name that is none", "", `{"a/b":{},"john":{}}`, ok(1, 1), "patch john {}"},
		{"unknown host", "", `{"john@c.example":{}}`, `404 {`, ""},
		{"in detail", "?detail=1", `{"john":{},"J@c.example":{},"nobody":{}}`, `200 {"status":"ok","message":"roster update complete","updated":1,"errors":2,"users":{` +
			`"J@c.example":{"result":"error","added":0,"removed":0,"changed":0,"error":"is of a host that is not served here"},` +
			`"john":{"result":"changed","added":0,"removed":0,"changed":0,"version":"v1"},` +
			`"nobody":{"result":"error","added":0,"removed":0,"changed":0,"error":"has no roster here"}}}`, "patch john {}|patch nobody {}"},
		{"the same user twice", "", `{"john":{},"JOHN":{}}`, `400 {"status":"error","message":"two members of the object name the same user`, ""},
		{"the same name twice", "", `{"john":{},"john":{}}`, `400 {"status":"error","message":"the body is not JSON`, ""},
		{"ten thousand", "", users(10_000), `200 {"status":"error"`, ""},
		{"more", "", users(10_001), `413 {`, ""},
		{"no body", "", "  ", `400 {"status":"error","message":"the body is missing; send an object such as`, ""},
		{"an array", "", `[]`, `400 {"status":"error","message":"the body is an array; send`, ""},
		{"cut off", "", `{"john":{}`, `400 {"status":"error","message":"the body is cut off`, ""},
		{"cut off in a name", "", `{"jo`, `400 {"status":"error","message":"the body is cut off`, ""},
		{"something follows", "", `{} {}`, `400 {"status":"error","message":"something follows the object`, ""},
		{"bad UTF-8", "", "{\"jo\xff\":{}}", `400 {`, ""},
		{"deep", "", `{"john":` + strings.Repeat(`{"a":`, 20_000) + `1` + strings.Repeat(`}`, 20_000) + `}`, `400 {`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, setup{maxBytes: 100})
			for _, s := range []*service{f.a, f.b} {
				s.kept = map[string]*keptRoster{"john": {}, "aaron": {}}
			}
			w := f.do("PATCH", rostersPath+c.query, c.body, "Host: a.example", "Content-Type: "+mergePatch)
			if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(strings.TrimSuffix(got, "\n"), c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			wrote := f.a.written()
			slices.Sort(wrote)
			if c.name != "ten thousand" && strings.Join(wrote, "|") != c.wrote {
				t.Errorf("wrote %q, want %q", wrote, c.wrote)
			}
			if c.name == "ten thousand" && len(wrote) != 10_000 {
				t.Errorf("wrote %d", len(wrote))
			}
		})
	}
	f := start(t, setup{oneHost: true})
	if w := f.do("PATCH", rostersPath, "{}", "Content-Type: "+mergePatch, `If-Match: "v1"`); w.Code != 400 || !strings.Contains(w.Body.String(), "one user's roster") {
		t.Errorf("If-Match: %d %s", w.Code, w.Body)
	}
}

// A host whose Rosters can do no more than refresh has none of these routes.
func TestHostThatOnlyRefreshes(t *testing.T) {
	f := start(t, setup{oneHost: true})
	f.hosts["a.example"].Rosters = refresher(nil)
	for _, m := range []string{"GET", "PUT", "PATCH"} {
		if w := f.do(m, aJohn, "{}", "Content-Type: "+mergePatch); w.Code != 404 {
			t.Errorf("%s: %d %s", m, w.Code, w.Body)
		}
	}
	if w := f.do("PATCH", rostersPath, `{"john":{}}`, "Content-Type: "+mergePatch); w.Code != 200 || !strings.Contains(w.Body.String(), `"errors":1`) {
		t.Errorf("many: %d %s", w.Code, w.Body)
	}
}

func TestShowAndConfirm(t *testing.T) {
	f := start(t, setup{oneHost: true})
	for _, path := range []string{aJohn, aJohn + "/confirm"} {
		method := map[bool]string{true: "POST", false: "GET"}[strings.HasSuffix(path, "confirm")]
		if w := f.do(method, path, ""); w.Code != 404 {
			t.Errorf("%s %s of nothing: %d %s", method, path, w.Code, w.Body)
		}
	}
	f.do("PUT", aJohn, `{"marie@example.com":{"name":"Marie"}}`)
	f.a.keptOf("john").held = true
	w := f.do("GET", "/roster_admin/rosters/J%6Fhn", "")
	var v RosterView
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if v.Host != "a.example" || v.User != "john" || v.Version != "v1" || w.Header().Get("ETag") != `"v1"` || v.Held == nil || v.Held.Removed != 30 {
		t.Errorf("%+v, ETag %s", v, w.Header().Get("ETag"))
	}
	if diff := cmp.Diff(`{"marie@example.com":{"name":"Marie"}}`, string(v.Items)); diff != "" {
		t.Errorf("items (-want +got)\n%s", diff)
	}
	for i, want := range []string{`{"result":"changed","added":0,"removed":30`, `{"result":"unchanged"`} {
		if w := f.do("POST", aJohn+"/confirm?detail=1", ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("time %d: %d %s", i+1, w.Code, w.Body)
		}
	}
	if w := f.do("GET", rostersPath+"/broken", ""); w.Code != 500 || strings.Contains(w.Body.String(), "fire") || !strings.Contains(f.log.String(), "fire") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRefreshInDetail(t *testing.T) {
	f := start(t, setup{oneHost: true})
	w := f.do(post, refreshPath+"?detail=1", `["JOHN","bad","nobody","a/b"]`)
	want := `{"status":"ok","message":"roster update complete","updated":2,"errors":2,"users":{` +
		`"JOHN":{"result":"changed","added":1,"removed":0,"changed":2},` +
		`"a/b":{"result":"error","added":0,"removed":0,"changed":0,"error":"cannot be a user's name"},` +
		`"bad":{"result":"error","added":0,"removed":0,"changed":0,"error":"the service answered 503"},` +
		`"nobody":{"result":"offline","added":0,"removed":0,"changed":0}}}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if w := f.do(post, refreshPath+"?detail=0", `["john"]`); strings.Contains(w.Body.String(), "users") {
		t.Errorf("not asked for: %s", w.Body)
	}
}

// What is held is not as the service has it, so it is one of the rest; and it is no change.
func TestHeld(t *testing.T) {
	f := start(t, setup{oneHost: true})
	f.hosts["a.example"].Rosters = guarded{}
	w := f.do(post, refreshPath+"?detail=1", `["john"]`)
	if got := w.Body.String(); w.Code != 200 || !strings.Contains(got, `{"status":"error","message":"\"john\": held: so many contacts`) ||
		!strings.Contains(got, `"updated":0,"errors":1,"users":{"john":{"result":"held","added":0,"removed":30,"changed":0,"error":"held:`) {
		t.Errorf("%d %s", w.Code, got)
	}
	if log := f.log.String(); !strings.Contains(log, " held=1 errors=1 items_added=0 items_removed=0") {
		t.Errorf("%s", log)
	}
}

// A write that was answered with 202 goes on, in its turn, within the memory budget, and also while the server stops.
func TestRespondAsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		free := f.a.hold("john")
		w := f.do("PUT", aJohn, `{"first@example.com":{}}`, "Prefer: wait=5, Respond-Async;x=1")
		if w.Code != 202 || w.Header().Get("Preference-Applied") != "respond-async" ||
			w.Body.String() != `{"status":"ok","message":"roster update accepted","updated":0,"errors":0}`+"\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		synctest.Wait()
		if f.room.TryAcquire(memoryBudget) {
			t.Error("what goes on has no share of the budget")
		}
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- f.do("PUT", aJohn, `{"second@example.com":{}}`) }()
		synctest.Wait()
		f.API.cancel() // the server is told to stop; what was promised is still done
		if w := <-answered; w.Code != 503 {
			t.Errorf("the one behind it: %d %s", w.Code, w.Body)
		}
		closed := make(chan struct{})
		go func() {
			f.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close does not wait")
		default:
		}
		close(free)
		<-closed
		if got, want := f.a.written(), []string{`put john {"first@example.com":{}}`}; !slices.Equal(got, want) {
			t.Errorf("wrote %q, want %q", got, want)
		}
		if !strings.Contains(f.log.String(), `msg="roster put"`) {
			t.Errorf("no line in the log: %s", f.log)
		}
	})
}

// A refresh that was answered with 202 is given up some time after the server has begun to stop.
func TestAsyncEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		f.hosts["a.example"].Rosters = waiting{}
		if w := f.do(post, refreshPath, `["john","a b"]`, "Prefer: respond-async"); w.Code != 202 || !strings.Contains(w.Body.String(), `"updated":0,"errors":1`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := f.do("GET", refreshPath+"/john", "", "Prefer: respond-async"); w.Code != 202 || strings.Contains(w.Body.String(), "updated") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		began := time.Now()
		f.Close()
		if took := time.Since(began); took != grace {
			t.Errorf("it took %v", took)
		}
	})
}

// "Writes for one user apply in the order of arrival."
func TestWritesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		f.a.kept = map[string]*keptRoster{"john": {}, "aaron": {}}
		free := f.a.hold("john")
		async := []string{"Prefer: respond-async", "Content-Type: " + mergePatch}
		f.do("PATCH", aJohn, `{"n":1}`, async...)
		f.do("PATCH", rostersPath, `{"aaron":{"n":2},"john":{"n":2}}`, async...)
		f.do("PATCH", aJohn, `{"n":3}`, async...)
		synctest.Wait()
		if got := f.a.written(); !slices.Equal(got, []string{`patch aaron {"n":2}`}) {
			t.Errorf("before: %q", got)
		}
		close(free)
		synctest.Wait()
		want := []string{`patch aaron {"n":2}`, `patch john {"n":1}`, `patch john {"n":2}`, `patch john {"n":3}`}
		if diff := cmp.Diff(want, f.a.written()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if n := len(f.lanes.last); n != 0 {
			t.Errorf("%d lanes are left", n)
		}
	})
}

// A write that gave up waiting for its turn lets nobody overtake those before it.
func TestWriteThatGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, setup{oneHost: true})
		free := f.a.hold("john")
		f.do("PUT", aJohn, `{"n":1}`, "Prefer: respond-async")
		time.Sleep(time.Second)
		if w := f.do("PUT", aJohn, `{"n":2}`); w.Code != 503 || !strings.Contains(w.Body.String(), "not done in time") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		f.do("PUT", aJohn, `{"n":3}`, "Prefer: respond-async")
		synctest.Wait()
		if got := f.a.written(); len(got) != 0 {
			t.Errorf("overtaken: %q", got)
		}
		close(free)
		synctest.Wait()
		if got, want := f.a.written(), []string{`put john {"n":1}`, `put john {"n":3}`}; !slices.Equal(got, want) {
			t.Errorf("wrote %q, want %q", got, want)
		}
	})
}

func TestAuditLineOfAWrite(t *testing.T) {
	f := start(t, setup{admin: []config.Secret{adminToken}})
	f.do("PUT", aJohn, `{"canary@example.com":{"name":"canary"}}`, "Host: a.example", "Authorization: Bearer "+adminToken)
	for _, want := range []string{"level=INFO", `msg="roster put"`, "peer=127.0.0.1:40000", "by=token", "credential=admin.token", "names=1",
		"users=john", "changed=1", "items_added=1", "items_removed=0", "items_changed=0", "errors=0", "took="} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("no %s in %s", want, f.log)
		}
	}
	if strings.Contains(f.log.String(), "canary") {
		t.Errorf("a token or a roster shows: %s", f.log)
	}
}

// FuzzPatches: whatever the body, patches are taken only from an object of strict JSON, and each is a piece of it.
func FuzzPatches(f *testing.F) {
	for _, s := range []string{`{"john":{"a":null}}`, `{}`, `[]`, `{"a":1}`, `{"a":{},"a":{}}`, `{"a":{}}x`, "{\"\xff\":{}}", ` { "a" : { } } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		patches, err := decodePatches(body)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil || len(patches) != len(want) {
			t.Fatalf("%q: %d patches, encoding/json has %d, %v", body, len(patches), len(want), err)
		}
		for _, p := range patches {
			if string(p.doc) != string(want[p.name]) {
				t.Errorf("%q: %q has %q, encoding/json has %q", body, p.name, p.doc, want[p.name])
			}
		}
	})
}
