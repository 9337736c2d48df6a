package rosterhttp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/jid"
	"rollcall/internal/rosterdoc"
)

// batchService is a real HTTP server that takes batches, and its client.
func batchService(t *testing.T, h http.HandlerFunc, change ...func(*Config)) *service {
	t.Helper()
	s := newService(h)
	s.srv.Start()
	s.connect(t, append([]func(*Config){func(c *Config) { c.URL, c.BatchURL = "", s.srv.URL+"/batch" }}, change...)...)
	return s
}

func TestBatchRequestAsSent(t *testing.T) {
	var bodies []string
	s := batchService(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(b))
		if r.ContentLength != int64(len(b)) {
			t.Errorf("the length is %d, said to be %d", len(b), r.ContentLength)
		}
		answer("application/json", `{"john":`+marie+`,"\u00e9lodie":{}}`)(w, r)
	}, func(c *Config) {
		c.Token, c.BatchURL = "s3cret", strings.Replace(c.BatchURL, "/batch", "/{host}/batch", 1)
	})
	for _, r := range []Request{
		john,
		{User: "John", ETag: `W/"7"`, Notified: true},
		{User: "\u00e9lodie", ETag: "\u00e9\\\u2028<"},
		{User: "john", ETag: "\xff"}, // JSON has no place for it
		{User: "john", ETag: strings.Repeat("x", maxETag+1)},
		{User: "john", ETag: "a\r\nb"},
	} {
		s.good(t, r)
	}
	for _, r := range s.requests() {
		if r.Method != "POST" || r.RequestURI != "/example.com/batch" {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
		want := http.Header{
			"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"rollcall/1.2"}, "Content-Length": r.Header["Content-Length"],
			"Authorization": {"Bearer s3cret"}, "Content-Type": {"application/json"},
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("headers %v\nwant    %v", r.Header, want)
		}
	}
	want := []string{
		`{"users":["john"]}`, `{"users":["john"],"etags":{"john":"W/\"7\""}}`, "{\"users\":[\"\u00e9lodie\"],\"etags\":{\"\u00e9lodie\":\"\u00e9\\\\\u2028<\"}}",
		`{"users":["john"]}`, `{"users":["john"]}`, `{"users":["john"]}`,
	}
	if fmt.Sprint(bodies) != fmt.Sprint(want) || s.conns != 1 {
		t.Errorf("on %d connections\n%s\nwant\n%s", s.conns, strings.Join(bodies, "\n"), strings.Join(want, "\n"))
	}
}

// In a batch the service can say of each user that nothing changed, and give each an ETag; its Cache-Control is
// for all.
func TestBatchETags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bulk{answer: func(w http.ResponseWriter, _ *http.Request, _ []string, _ int) {
			w.Header().Set("Cache-Control", "max-age=60, stale-if-error=600")
			w.Header().Set("Age", "10")
			w.Header().Set("ETag", "of the whole")
			fmt.Fprintf(w, `{"etags":{"john":"J2","marie":7,"zoe":"Z","aaron":null,"long":%q,"line":"a\nb"},
				"john":true,"aaron":true,"marie":{},"long":{},"line":%s,"zoe":5}`, strings.Repeat("x", maxETag+1), marie)
		}}
		c := batchInMemory(t, b)
		old := Fingerprint{1}
		f := asking(c, t.Context(), Request{User: "john", ETag: "J1", Body: old}, Request{User: "aaron", ETag: "A1", Body: old},
			Request{User: "marie", ETag: "M1"}, Request{User: "long"}, Request{User: "line"})()
		for i, want := range []struct {
			same bool
			etag string
		}{{true, "J2"}, {true, "A1"}, {false, ""}, {false, ""}, {false, ""}} {
			res := f[i].res
			if f[i].err != nil || res.NotModified != want.same || (res.Roster == nil) != want.same || res.ETag != want.etag ||
				res.MaxAge != 50*time.Second || res.StaleIfError != 10*time.Minute || want.same && res.Body != old {
				t.Errorf("%d: %+v", i, f[i])
			}
		}
		if got := fmt.Sprint(b.tags); got != "[map[aaron:A1 john:J1 marie:M1]]" {
			t.Errorf("the ETags sent were %s", got)
		}
		if h := c.Health(); h.Fetches != 1 || h.Failures != 0 || h.LastError != "" {
			t.Errorf("%+v", h)
		}
	})
}

// An answer that is no batch fails everybody in it.
func TestBatchAnswersThatFailAll(t *testing.T) {
	const good = `{"john":{},"aaron":{}}`
	for _, tc := range []struct {
		name    string
		h       http.HandlerFunc
		kind    Kind
		verdict verdict
		says    string
	}{
		{"404", status(404), Status, alive, "or it takes no POST"},
		{"405", status(405), Status, alive, "or it takes no POST"},
		{"401", status(401), Status, alive, "check roster.token"},
		{"429", status(429), Status, down, "it wants fewer requests"},
		{"500", status(500), Status, down, "look into its own log"},
		{"204", status(204), Status, alive, "a batch is answered with 200 and an object of users"},
		{"304", status(304), Status, alive, "a batch is answered with 200 and an object of users"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusTemporaryRedirect) }, Status, alive, "put it into roster.batch_url"},
		{"a page", answer("text/html", good), Type, alive, "a login or error page perhaps"},
		{"another encoding", encoded("br", good), Type, alive, "only gzip was asked for"},
		{"gzip that is none", encoded("gzip", good), Document, alive, "cannot be decompressed"},
		{"gzip cut off", encoded("gzip", pack(good)[:20]), Document, alive, "cannot be decompressed"},
		{"nothing", answer("application/json", ""), Document, alive, "it is empty"},
		{"no object", answer("application/json", `[{"john":{}},{"aaron":{}}]`), Document, alive, "the answer is an array, not an object"},
		{"null", answer("application/json", "null"), Document, alive, "the answer is null"},
		{"no JSON", answer("application/json", "john"), Document, alive, "not strict JSON"},
		{"cut off", answer("application/json", good[:len(good)-1]), Document, alive, "cut off after 21 bytes"},
		{"more behind it", answer("application/json", good+good), Document, alive, "goes on after its end"},
		{"a user twice", answer("application/json", `{"john":{},"aaron":{},"\u006aohn":null}`), Document, alive, `two members "john"`},
		{"a syntax error within a document", answer("application/json", `{"john":{"a@b":{"name":"x}},"aaron":{}}`), Document, alive, "not strict JSON"},
		{"a name that is no Unicode", answer("application/json", `{"john":{},"aaron":{},"\ud800":{}}`), Document, alive, "no batch"},
		{"a name in bad UTF-8", answer("application/json", "{\"john\":{},\"aaron\":{},\"\xff\":{}}"), Document, alive, "no batch"},
		{"ETags that are none", answer("application/json", `{"john":{},"aaron":{},"etags":["a","b"]}`), Document, alive, `its member "etags" is an array`},
		{"a user's document called etags", answer("application/json", `{"john":{},"aaron":{},"etags":{},"etags":{}}`), Document, alive, `two members "etags"`},
		{"two ETags for one", answer("application/json", `{"john":{},"aaron":{},"etags":{"john":"a","john":"b"}}`), Document, alive, `two ETags for "john"`},
		{"too large", answer("application/json", `{"john":{},"aaron":{},"x":"`+strings.Repeat("x", 2*(2048+perUser))+`"}`), TooLarge, alive, "lower roster.batch_size"},
		{"too large in gzip", encoded("gzip", pack(`{"john":{},"aaron":{},"x":"`+strings.Repeat("x", 2*(2048+perUser))+`"}`)), TooLarge, alive, "lower roster.batch_size"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counted := &counter{}
				c := inMemory(t, tc.h, func(c *Config) {
					c.URL, c.BatchURL, c.BatchSize, c.MaxBytes, c.Observe = "", "http://app.invalid/batch", 2, 2048, counted.observe
				})
				for _, f := range asking(c, t.Context(), users("john", "aaron")...)() {
					e := wantError(t, f.res, f.err, tc.kind, tc.says)
					if e.verdict() != tc.verdict || !strings.HasPrefix(e.Error(), "POST http://app.invalid/batch: ") || strings.Contains(e.Error(), "roster.url") {
						t.Errorf("verdict %d: %v", e.verdict(), e)
					}
				}
				synctest.Wait()
				if h := c.Health(); h.Fetches != 1 || h.Failures != 1 || h.ConsecutiveFailures != 1 || h.LastError == "" {
					t.Errorf("%+v", h)
				}
				counted.want(t, tc.kind.String()+":2", 1)
			})
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// A document that is no good fails its user alone.
func TestBatchAnswersThatFailOne(t *testing.T) {
	deep := strings.Repeat("[", 9) + strings.Repeat("]", 9)
	for _, tc := range []struct {
		name, john string // the beginning of john's member is added unless the test has it
		kind       Kind
		says       string
	}{
		{"nothing", ``, Missing, "the answer has no member for this user"},
		{"another spelling", `"John":{},`, Missing, "called as in the request"},
		{"null", `"john":null,`, Missing, "null for this user"},
		{"true, without an ETag", `"john":true,`, Document, "for whom no ETag was sent"},
		{"false", `"john":false,`, Document, "is a boolean"},
		{"a number", `"john":1,`, Document, "is a number"},
		{"a string", `"john":"{}",`, Document, "is a string"},
		{"an array", `"john":[],`, Document, "is an array"},
		{"a contact twice", `"john":{"a@b":{},"a@b":{}},`, Document, "duplicate"},
		{"bad UTF-8", "\"john\":{\"a@b\":{\"name\":\"\xff\"}},", Document, "UTF-8"},
		{"half a character", `"john":{"a@b":{"name":"\ud800"}},`, Document, "surrogate"},
		{"too deep", `"john":{"a@b":` + deep + `},`, Document, "nested deeper than 8"},
		{"too many contacts", `"john":{"a@b":{},"c@d":{},"e@f":{}},`, TooLarge, "more than 2 contacts"},
		{"too large", `"john":{"a@b":{"x":"` + strings.Repeat("x", 1024) + `"}},`, TooLarge, "more than 1024 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The others' members are around john's, and there is one that nobody asked for.
			body := `{"aaron":` + marie + `,` + tc.john + `"zoe":{"a@b":{},"a@b":{}},"bob":{"john":{}}}`
			synctest.Test(t, func(t *testing.T) { failOne(t, answer("application/json", body), tc.kind, tc.says) })
		})
	}
}

func failOne(t *testing.T, h http.HandlerFunc, kind Kind, says string) {
	counted := &counter{}
	c := inMemory(t, h, func(c *Config) {
		c.URL, c.BatchURL, c.MaxBytes, c.MaxItems, c.Observe = "", "http://app.invalid/batch", 1024, 2, counted.observe
	})
	f := asking(c, t.Context(), users("john", "aaron", "bob")...)()
	e := wantError(t, f[0].res, f[0].err, kind, says)
	if e.verdict() != alive || e.Status != 200 || !strings.HasPrefix(e.Error(), "POST http://app.invalid/batch: ") {
		t.Errorf("%+v", e)
	}
	if name := f[1].nameOf(t); name != "Marie" || f[2].err != nil || f[2].res.Roster.Len() != 1 {
		t.Errorf("%+v", f)
	}
	synctest.Wait()
	if h := c.Health(); h.Fetches != 1 || h.Failures != 0 || h.ConsecutiveFailures != 0 || h.LastError != e.Error() {
		t.Errorf("%+v", h)
	}
	results := []string{"ok:2", kind.String() + ":1"}
	slices.Sort(results)
	counted.want(t, strings.Join(results, " "), 1)
}

// Contacts that cannot be used are dropped from their user's roster, and counted.
func TestBatchDroppedContacts(t *testing.T) {
	counted := &counter{}
	s := batchService(t, answer("application/json", `{"john":{"a b":{},"marie@example.com/x":{},"john@example.com":{}}}`),
		func(c *Config) { c.Observe = counted.observe })
	if res := s.good(t, john); res.Roster.Len() != 1 || len(res.Dropped) != 3 {
		t.Errorf("%+v", res)
	}
	s.Close()
	if o := counted.all[0]; o.Dropped != 2 || !o.Batch || o.Users != 1 || o.Bytes == 0 || o.Took <= 0 {
		t.Errorf("%+v", o)
	}
	if log := s.log.String(); !strings.Contains(log, "user=john@example.com") || !strings.Contains(log, "dropped=2") || strings.Contains(log, "marie") {
		t.Errorf("the log has %s", log)
	}
}

func TestBatchGzip(t *testing.T) {
	s := batchService(t, encoded("gzip", pack(`{"john":`+marie+`}`)))
	if res := s.good(t, john); res.Roster.Len() != 1 || res.Bytes != len(marie) {
		t.Errorf("%+v", res)
	}
}

// What is no place in a URL is a name like any other in a body; the one that means something in an answer is
// asked for by itself.
func TestBatchNames(t *testing.T) {
	var posts []string
	s := batchService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			answer("application/json", `{"single@example.com":{"name":"`+r.URL.Path+`"}}`)(w, r)
			return
		}
		var body struct{ Users []string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		posts = append(posts, body.Users...)
		docs := map[string]json.RawMessage{}
		for _, u := range body.Users {
			docs[u] = json.RawMessage(`{"batch@example.com":{"name":"in a batch"}}`)
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(docs); err != nil {
			t.Error(err)
		}
	}, func(c *Config) { c.URL = strings.TrimSuffix(c.BatchURL, "/batch") + "/contacts/%s" })
	for _, name := range []string{".", "..", "users", "%2f", `a\b`, "null", "\u03c0", "etags", "ETags"} {
		want := "in a batch"
		if strings.EqualFold(name, "etags") {
			want = "/contacts/etags"
		}
		f := fetched{}
		f.res, f.err = s.Fetch(t.Context(), Request{User: name})
		if got := f.nameOf(t); got != want {
			t.Errorf("%q was asked for %s, want %s", name, got, want)
		}
	}
	if len(posts) != 7 {
		t.Errorf("asked for in batches: %q", posts)
	}
	without := batchService(t, answer("application/json", `{"etags":{}}`))
	without.bad(t, Request{User: "etags"}, Refused, `a user called "etags" cannot be asked for in a batch: set roster.url as well`)
	without.bad(t, Request{User: "a b"}, Refused, "there can be no such user")
	if n := len(without.requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// A document that is the one from before is not read again, and has nothing dropped; one byte of difference is
// enough to be another.
func TestSameDocument(t *testing.T) {
	body := marie
	single := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if body == "" {
			w.WriteHeader(204)
			return
		}
		w.Header().Set("ETag", "new")
		answer("application/json", body)(w, r)
	})
	batch := batchService(t, func(w http.ResponseWriter, r *http.Request) {
		doc := body
		if doc == "" {
			doc = "{}"
		}
		answer("application/json", `{"john": `+doc+` , "etags":{"john":"new"}}`)(w, r)
	})
	for name, s := range map[string]*service{"single": single, "batch": batch} {
		t.Run(name, func(t *testing.T) {
			body = marie
			first := s.good(t, john)
			again := s.good(t, Request{User: "john", Body: first.Body, ETag: "old"})
			if first.Same || first.Body == (Fingerprint{}) || !again.Same || again.Roster != nil || again.NotModified || again.Body != first.Body ||
				again.ETag != "new" || again.Bytes != len(marie) {
				t.Errorf("%+v\n%+v", first, again)
			}
			body = marie[:len(marie)-1] + " }"
			if res := s.good(t, Request{User: "john", Body: first.Body}); res.Same || res.Roster.Len() != 1 || res.Body == first.Body {
				t.Errorf("%+v", res)
			}
			body = ""
			empty := s.good(t, Request{User: "john", Body: first.Body})
			if again := s.good(t, Request{User: "john", Body: empty.Body}); empty.Same || empty.Roster.Len() != 0 || !again.Same {
				t.Errorf("%+v\n%+v", empty, again)
			}
		})
	}
}

// The hook is told of single requests too, made or not.
func TestObserve(t *testing.T) {
	counted := &counter{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("If-None-Match") {
		case "":
			answer("application/json", `{"a b":{}}`)(w, r)
		case "gone":
			w.WriteHeader(404)
		default:
			w.WriteHeader(304)
		}
	}, func(c *Config) { c.Observe = counted.observe })
	first := s.good(t, john)
	s.good(t, Request{User: "john", Body: first.Body})
	s.good(t, Request{User: "john", ETag: "x"})
	s.bad(t, Request{User: "john", ETag: "gone"}, Status, "404")
	s.bad(t, Request{User: ".."}, Refused, "")
	s.bad(t, Request{User: "a b"}, Refused, "")
	s.Close()
	s.bad(t, john, Canceled, "")
	counted.want(t, "canceled:1 not-modified:1 ok:1 refused:2 same:1 status:1", 4)
	if o := counted.all[0]; o.Batch || o.Users != 1 || o.Bytes != 10 || o.Dropped != 1 || o.Took <= 0 {
		t.Errorf("%+v", o)
	}
}

// FuzzBatchAnswer reads an answer twice: as the client does, and as encoding/json and rosterdoc do.
func FuzzBatchAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"john":{},"aaron":{"a@b":{}}}`, `{"john":true,"aaron":null,"etags":{"john":"x","aaron":1}}`, `{"john":{},"john":{}}`, `{`, ``, `[]`,
		`{"john":{"a@b":{"name":"\ud800"}},"aaron":{"a":1,"a":2}}`, `{"x":[{"john":{}}],"\u006aohn" : {"items":[]} }`, `{"etags":null}{`, "\"\xff\"", `{"etags":[]}`,
	} {
		f.Add([]byte(seed))
	}
	c, err := New(Config{Host: "example.com", BatchURL: "http://app.invalid/"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	asked := []*wanted{
		{Request: Request{User: "john", ETag: "x"}, owner: jid.MustParse("john@example.com")},
		{Request: Request{User: "aaron"}, owner: jid.MustParse("aaron@example.com")},
	}
	index := map[string]int{"john": 0, "aaron": 1}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		a, err := splitAnswer(body, index)
		if !bytes.Equal(body, before) {
			t.Fatal("the answer was changed")
		}
		var plain map[string]json.RawMessage
		plainErr := json.Unmarshal(body, &plain)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("a long error: %v", err)
			}
			return // stricter than encoding/json, which takes duplicates and bad UTF-8
		}
		if plainErr != nil || plain == nil {
			t.Fatalf("taken, but encoding/json says: %v", plainErr)
		}
		for i, w := range asked {
			var res Result
			fail := c.userAnswer(w, a.docs[i], &res)
			raw, ok := plain[w.User]
			roster, _, want := rosterdoc.Decode(raw, rosterdoc.Options{Owner: w.owner})
			switch {
			case !ok || string(raw) == "null":
				if fail == nil || fail.Kind != Missing {
					t.Errorf("%s is not there: %+v %v", w.User, res, fail)
				}
			case string(raw) == "true":
				if (fail == nil) != (i == 0) || res.NotModified != (i == 0) {
					t.Errorf("%s is unchanged: %+v %v", w.User, res, fail)
				}
			case want != nil:
				if fail == nil {
					t.Errorf("%s has a document that rosterdoc refuses: %v", w.User, want)
				}
			case fail != nil || len(rosterdoc.Diff(roster, res.Roster)) > 0:
				t.Errorf("%s: %+v %v", w.User, res, fail)
			}
		}
	})
}
