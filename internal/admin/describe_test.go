package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"rollcall/internal/config"
)

// A described operation is a method at a path of openapi.json, with the schema of each of its answers.
type described struct {
	answers map[string]describedAnswer // by status
}

type describedAnswer struct {
	headers []string // that must be there
	types   map[string]*jsonschema.Schema
}

// operations is what openapi.json says, by "METHOD /path".
var operations = sync.OnceValue(func() map[string]described {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(description))
	if err != nil {
		panic(err)
	}
	strict(doc)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020) // what OpenAPI 3.1 has by default
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", doc); err != nil {
		panic(err)
	}
	all := map[string]described{}
	for path, item := range doc.(map[string]any)["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			d := described{map[string]describedAnswer{}}
			for status := range op.(map[string]any)["responses"].(map[string]any) {
				at := "#/paths/" + escape(path) + "/" + method + "/responses/" + status
				d.answers[status] = answerAt(compiler, doc, at)
			}
			all[strings.ToUpper(method)+" "+path] = d
		}
	}
	return all
})

// strict lets objects have no members beside those that are described.
func strict(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, props := v["properties"].(map[string]any)
		if _, open := v["additionalProperties"]; props && !open && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			strict(inner)
		}
	case []any:
		for _, inner := range v {
			strict(inner)
		}
	}
}

func escape(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(s)
}

// at follows a pointer, and then a reference.
func at(doc any, pointer string) (any, string) {
	v := doc
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "#/"), "/") {
		v = v.(map[string]any)[strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}").Replace(part)]
	}
	if ref, ok := v.(map[string]any)["$ref"].(string); ok {
		return at(doc, ref)
	}
	return v, pointer
}

func answerAt(compiler *jsonschema.Compiler, doc any, pointer string) describedAnswer {
	v, pointer := at(doc, pointer)
	a := describedAnswer{types: map[string]*jsonschema.Schema{}}
	headers, _ := v.(map[string]any)["headers"].(map[string]any)
	for name := range headers {
		h, _ := at(doc, pointer+"/headers/"+name)
		if h.(map[string]any)["required"] == true {
			a.headers = append(a.headers, name)
		}
	}
	content, _ := v.(map[string]any)["content"].(map[string]any)
	for typ := range content {
		a.types[typ] = compiler.MustCompile("openapi.json" + pointer + "/content/" + escape(typ) + "/schema")
	}
	return a
}

// operationOf finds what is described for a request, "" when nothing is.
func operationOf(r *http.Request) string {
	if rt, _, _ := match(r.Method, r.URL.EscapedPath()); rt != nil {
		return rt.method + " " + strings.ReplaceAll(rt.path, "...}", "}")
	}
	if r.URL.EscapedPath() == healthPath && (r.Method == "GET" || r.Method == "HEAD") {
		return r.Method + " " + healthPath
	}
	return ""
}

// holdToDescription compares an answer with what openapi.json says of it.
func holdToDescription(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	op := operationOf(r)
	status := strconv.Itoa(w.Code)
	typ, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	if op == "" { // an error without a described operation: 401, 404, 405
		var e answer
		if typ != "application/json" || json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Status != "error" {
			t.Errorf("%s %s: %s %s", r.Method, r.URL, status, w.Body)
		}
		return
	}
	a, ok := operations()[op].answers[status]
	if !ok {
		t.Errorf("%s: %s is not described: %s", op, status, w.Body)
		return
	}
	for _, name := range a.headers {
		if w.Header().Get(name) == "" {
			t.Errorf("%s: %s without %s", op, status, name)
		}
	}
	if w.Body.Len() == 0 || r.Method == "HEAD" {
		return
	}
	schema := a.types[typ]
	if schema == nil {
		t.Errorf("%s: %s has the type %q, which is not described", op, status, typ)
		return
	}
	if typ != "application/json" {
		return
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err == nil {
		err = schema.Validate(body)
	}
	if err != nil {
		t.Errorf("%s: %s is not as described: %v\n%s", op, status, err, w.Body)
	}
}

// TestEveryRouteIsDescribed and no other.
func TestEveryRouteIsDescribed(t *testing.T) {
	var have, want []string
	for op := range operations() {
		have = append(have, op)
	}
	want = append(want, "GET "+healthPath, "HEAD "+healthPath)
	for _, rt := range routes {
		want = append(want, rt.method+" "+strings.ReplaceAll(rt.path, "...}", "}"))
	}
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("routes and description differ (-routes +description)\n%s", diff)
	}
}

// TestEveryAnswerIsDescribed gets each status that is described for each operation, and compares each answer with its
// schema.
func TestEveryAnswerIsDescribed(t *testing.T) {
	const auth = "Authorization: Bearer " + adminToken
	const patchType = "Content-Type: " + mergePatch
	manyNames := "[" + strings.Repeat(`"john",`, 10_000) + `"john"]`
	large := `{"` + strings.Repeat("x", 2<<10) + `":{}}`
	full := setup{admin: []config.Secret{adminToken}, a: []config.Secret{aToken}, b: []config.Secret{bToken}, maxBytes: 1 << 10,
		metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprintln(w, "up 1")
		})}
	john := rostersPath + "/john?host=a.example"
	got := map[string][]string{}
	ask := func(s setup, before func(*fixture), method, url, body string, headers ...string) {
		f := start(t, s)
		f.a.kept = map[string]*keptRoster{"john": {version: 1, items: map[string]any{"marie@example.com": map[string]any{"name": "Marie"}}, held: true}}
		if before != nil {
			before(f)
		}
		w := f.do(method, url, body, headers...)
		r := httptest.NewRequest(method, url, nil)
		op := operationOf(r)
		got[op] = append(got[op], strconv.Itoa(w.Code))
	}
	// the ways to be refused that all have in common
	exhausted := func(f *fixture) { f.requests.take("token admin.token") }
	limited := full
	limited.rate = 1
	stopped := full
	stopped.notReady = true
	crossSite := []string{"Sec-Fetch-Site: cross-site"}
	samples := map[string]struct {
		url, body string
		headers   []string
	}{
		"POST /roster_admin/refresh":                {refreshPath + "?host=a.example&detail=1", `["john"]`, nil},
		"POST /profile_admin/refresh":               {profilesPath + "?host=a.example&detail=1", `["john"]`, nil},
		"GET /roster_admin/refresh/{user}":          {refreshPath + "/john?host=a.example", "", nil},
		"PATCH /roster_admin/rosters":               {rostersPath + "?host=a.example&detail=1", `{"john":{"a b":{}}}`, []string{patchType}},
		"GET /roster_admin/rosters/{user}":          {john, "", nil},
		"PUT /roster_admin/rosters/{user}":          {john + "&detail=1", `{"a b":{}}`, nil},
		"PATCH /roster_admin/rosters/{user}":        {john + "&detail=1", `{"aaron@example.com":{}}`, []string{patchType}},
		"POST /roster_admin/rosters/{user}/confirm": {rostersPath + "/john/confirm?host=a.example&detail=1", "", nil},
		"GET /admin/status":                         {statusPath, "", nil},
		"GET /admin/sessions":                       {sessionsPath, "", nil},
		"DELETE /admin/sessions/{jid}":              {sessionsPath + "/john@a.example/x", "", nil},
		"POST /admin/prebind":                       {prebindPath + "?host=a.example", `{"user":"john"}`, nil},
		"POST /admin/tokens":                        {tokensPath + "?host=a.example", `{"user":"john"}`, nil},
		"DELETE /admin/tokens/{user}":               {tokensPath + "/john?host=a.example", "", nil},
		"GET /admin/users":                          {usersPath + "?host=a.example", "", nil},
		"POST /admin/users":                         {usersPath + "?host=a.example", `{"user":"new","password":"x"}`, nil},
		"GET /admin/users/{user}":                   {usersPath + "/john?host=a.example", "", nil},
		"PATCH /admin/users/{user}":                 {usersPath + "/john?host=a.example", `{"disabled":true}`, nil},
		"DELETE /admin/users/{user}":                {usersPath + "/john?host=a.example", "", nil},
		"GET /admin/openapi.json":                   {describePath, "", nil},
		"GET /metrics":                              {metricsPath, "", nil},
		"GET /admin/events":                         {eventsPath, "", nil},
	}
	for op, s := range samples {
		method, _, _ := strings.Cut(op, " ")
		if op != "GET /admin/events" { // whose answer has no end: TestEvents
			ask(full, nil, method, s.url, s.body, append(s.headers, auth)...)
			ask(stopped, nil, method, s.url, s.body, append(s.headers, auth)...)
		} else {
			got[op] = append(got[op], "200")
		}
		ask(full, nil, method, s.url, s.body, s.headers...)
		ask(limited, exhausted, method, s.url, s.body, append(s.headers, auth)...)
		ask(setup{}, nil, method, s.url, s.body, append(s.headers, crossSite...)...)
		if _, async := operations()[op].answers["202"]; async {
			ask(full, nil, method, s.url, s.body, append(s.headers, auth, "Prefer: respond-async")...)
		}
		if strings.Contains(s.url, "host=a.example") {
			ask(full, nil, method, strings.Replace(s.url, "host=a.example", "host=c.example", 1), s.body, append(s.headers, auth)...)
			ask(full, nil, method, strings.Replace(s.url, "host=a.example", "host=a.example&host=b.example", 1), s.body, append(s.headers, auth)...)
		}
	}
	patch := []string{auth, patchType}
	for _, c := range []struct {
		method, url, body string
		headers           []string
	}{
		{"POST", refreshPath, manyNames, []string{auth}},
		{"POST", refreshPath, "[]", []string{auth, "Content-Encoding: gzip"}},
		{"POST", profilesPath, manyNames, []string{auth}},
		{"POST", profilesPath, "[]", []string{auth, "Content-Encoding: gzip"}},
		{"PATCH", rostersPath, "{}", []string{auth}},
		{"PATCH", rostersPath, "{" + strings.Repeat(" ", maxPatches) + "}", patch},
		{"PUT", john, large, []string{auth}},
		{"PUT", john, "{}", []string{auth, "Content-Type: text/html"}},
		{"PUT", john, "{}", []string{auth, `If-Match: "v0"`}},
		{"PATCH", john, large, patch},
		{"PATCH", john, "{}", []string{auth, "Content-Type: application/json-patch+json"}},
		{"PATCH", john, "{}", append(patch, `If-Match: "v0"`)},
		{"PATCH", rostersPath + "/aaron?host=a.example", "{}", patch},
		{"GET", rostersPath + "/broken?host=a.example", "", []string{auth}},
		{"GET", sessionsPath + "?limit=x", "", []string{auth}},
		{"GET", sessionsPath + "?host=c.example", "", []string{auth}},
		{"DELETE", sessionsPath + "/john@a.example", "", []string{auth}},
		{"DELETE", sessionsPath + "/nobody@a.example/x", "", []string{auth}},
		{"POST", prebindPath + "?host=a.example", `{"user":"full"}`, []string{auth}},
		{"POST", prebindPath + "?host=a.example", `{"user":"broken"}`, []string{auth}},
		{"POST", prebindPath + "?host=a.example", strings.Repeat(" ", maxPrebind+1), []string{auth}},
		{"POST", prebindPath + "?host=a.example", `{"user":"john"}`, []string{auth, "Content-Encoding: gzip"}},
		{"POST", tokensPath + "?host=a.example", `{"user":"broken"}`, []string{auth}},
		{"POST", tokensPath + "?host=a.example", strings.Repeat(" ", maxPrebind+1), []string{auth}},
		{"POST", tokensPath + "?host=a.example", `{"user":"john"}`, []string{auth, "Content-Encoding: gzip"}},
		{"DELETE", tokensPath + "/broken?host=a.example", "", []string{auth}},
		{"GET", usersPath + "?host=a.example&after=broken", "", []string{auth}},
		{"POST", usersPath + "?host=a.example", `{"user":"john","password":"x"}`, []string{auth}},
		{"POST", usersPath + "?host=a.example", `{"user":"broken","password":"x"}`, []string{auth}},
		{"POST", usersPath + "?host=a.example", strings.Repeat(" ", maxUserBody+1), []string{auth}},
		{"POST", usersPath + "?host=a.example", `{}`, []string{auth, "Content-Encoding: gzip"}},
		{"GET", usersPath + "/broken?host=a.example", "", []string{auth}},
		{"PATCH", usersPath + "/broken?host=a.example", `{"disabled":true}`, []string{auth}},
		{"PATCH", usersPath + "/john?host=a.example", strings.Repeat(" ", maxUserBody+1), []string{auth}},
		{"PATCH", usersPath + "/john?host=a.example", `{}`, []string{auth, "Content-Encoding: gzip"}},
		{"DELETE", usersPath + "/broken?host=a.example", "", []string{auth}},
		{"GET", healthPath, "", nil},
		{"HEAD", healthPath, "", nil},
	} {
		ask(full, nil, c.method, c.url, c.body, c.headers...)
	}
	ask(setup{}, nil, "GET", metricsPath, "")
	ask(stopped, nil, "GET", healthPath, "")
	ask(stopped, nil, "HEAD", healthPath, "")
	for _, m := range []string{"POST " + refreshPath, "POST " + profilesPath, "PATCH " + rostersPath, "PUT " + john, "PATCH " + john, "POST " + prebindPath, "POST " + tokensPath, "POST " + usersPath, "PATCH " + usersPath + "/john?host=a.example"} {
		method, url, _ := strings.Cut(m, " ")
		f := start(t, full)
		r := httptest.NewRequest(method, url, slowBody{})
		r.Header.Set("Authorization", "Bearer "+adminToken)
		r.Header.Set("Content-Type", mergePatch)
		if method == "PUT" {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		holdToDescription(t, r, w)
		got[operationOf(r)] = append(got[operationOf(r)], strconv.Itoa(w.Code))
	}
	// events: nobody can follow who is too many
	f := start(t, full)
	for range maxReaders {
		f.feed.join(0, func(*Host) bool { return true })
	}
	w := f.do("GET", eventsPath, "", auth)
	got["GET /admin/events"] = append(got["GET /admin/events"], strconv.Itoa(w.Code))

	for op, d := range operations() {
		for status := range d.answers {
			if !slices.Contains(got[op], status) {
				t.Errorf("%s: %s is described, but no request here gets it", op, status)
			}
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	f := start(t, setup{})
	w := f.do("GET", describePath, "")
	var doc struct{ OpenAPI string }
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Errorf("%v %+v", err, doc)
	}
}
