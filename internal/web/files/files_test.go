package files

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site is a folder beside which there are things that must not be served.
type site struct {
	*Handler
	t    *testing.T
	dir  string // the folder
	logs bytes.Buffer
}

const secret = "canary: outside"

func newSite(t *testing.T, change func(*Options)) *site {
	t.Helper()
	base := t.TempDir()
	s := &site{t: t, dir: filepath.Join(base, "www")}
	for name, text := range map[string]string{
		"secret.txt": secret, "www/index.html": "<p>start</p>", "www/app.js": "export default 1;", "www/data": "0123456789",
		"www/docs/index.htm": "docs", "www/empty/sub/x.txt": "x", "www/.htpasswd": "hidden", "www/.git/config": "hidden",
		"www/a b/ü&<>.txt": "odd", "www/.well-known/x.txt": "known", "www/docs/.well-known/y": "hidden",
		"www/index.html.d/a": "in a folder", "www-more/x": secret,
	} {
		s.write(filepath.Join(base, name), text)
	}
	for name, to := range map[string]string{
		"out": "../secret.txt", "abs": filepath.Join(base, "secret.txt"), "up": "..", "in": "app.js", "loop": "loop",
		"deep": "docs/../../secret.txt",
	} {
		if err := os.Symlink(to, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(s.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: s.dir, Path: "/files/", Index: []string{"index.html", "index.htm"}, Policy: "object-src 'none'",
		Log: slog.New(slog.NewTextHandler(&s.logs, nil))}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Handler = h
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// get asks for a path as it stands in a request line, behind a mux as in the server. Headers are "Name: value".
func (s *site) get(path string, headers ...string) *httptest.ResponseRecorder {
	return s.ask("GET", path, headers...)
}

func (s *site) ask(method, path string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	mux := http.NewServeMux()
	mux.Handle(s.opts.Path, s.Handler)
	r := httptest.NewRequest(method, path, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), secret) || strings.Contains(w.Body.String(), "hidden") {
		s.t.Errorf("%s %s: got what is not to be seen: %s", method, path, w.Body)
	}
	return w
}

func TestFiles(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct{ path, body, contentType string }{
		{"/files/", "<p>start</p>", "text/html; charset=utf-8"},
		{"/files/index.html", "<p>start</p>", "text/html; charset=utf-8"},
		{"/files/app.js", "export default 1;", "text/javascript; charset=utf-8"},
		{"/files/app.js?v=1", "export default 1;", "text/javascript; charset=utf-8"},
		{"/files/data", "0123456789", "application/octet-stream"},
		{"/files/docs/", "docs", "text/html; charset=utf-8"},
		{"/files/a%20b/%C3%BC&%3C%3E.txt", "odd", "text/plain; charset=utf-8"},
		{"/files/in", "export default 1;", "application/octet-stream"}, // a link within the folder
		{"/files/.well-known/x.txt", "known", "text/plain; charset=utf-8"},
	} {
		w := s.get(c.path)
		if w.Code != 200 || w.Body.String() != c.body || w.Header().Get("Content-Type") != c.contentType {
			t.Errorf("%s: %d %q as %s", c.path, w.Code, w.Body, w.Header().Get("Content-Type"))
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Security-Policy") != "object-src 'none'" {
			t.Errorf("%s: headers %v", c.path, w.Header())
		}
		if head := s.ask("HEAD", c.path); head.Code != 200 || head.Body.Len() > 0 || head.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d, %d bytes, %v", c.path, head.Code, head.Body.Len(), head.Header())
		}
	}
	if s.logs.Len() > 0 {
		t.Errorf("logged:\n%s", &s.logs)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{
		"/files/nothing", "/files/app.js/", "/files/data/x", "/files/empty/", "/files/.htpasswd", "/files/.git/config", "/files/.git/",
		"/files/docs/.well-known/y", "/files/out", "/files/abs", "/files/up/", "/files/up/secret.txt", "/files/deep", "/files/loop",
		"/files/pipe", "/files/%2e%2e/secret.txt", "/files/..%2fsecret.txt", "/files/%2e%2e%2fsecret.txt", "/files/..%5csecret.txt",
		"/files/docs/..%2f..%2fsecret.txt", "/files/%2fetc/passwd", "/files//etc/passwd", "/files/a%00b", "/files/a%0ab",
		"/files/../www-more/x", "/files/" + strings.Repeat("a", 5000), "/files/app.js%20", "/files/APP.JS", "/files/./.htpasswd",
	} {
		w := s.get(path)
		for n := 0; w.Code == 301 || w.Code == 307 || w.Code == 308; n++ { // what the mux makes of dots and slashes
			if n == 3 {
				t.Fatalf("%s is led around for ever, to %s", path, w.Header().Get("Location"))
			}
			w = s.get(w.Header().Get("Location"))
		}
		if w.Code != 404 && w.Code != 400 {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	if w := s.get("/files/pipe"); w.Code != 404 {
		t.Errorf("a pipe: %d", w.Code)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if w := s.ask(method, "/files/app.js"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if !strings.Contains(s.logs.String(), "path=/files/out") {
		t.Errorf("the log does not tell the operator of a link that leads out:\n%s", &s.logs)
	}
}

func TestValidatorsAndRanges(t *testing.T) {
	s := newSite(t, nil)
	first := s.get("/files/data")
	tag, modified := first.Header().Get("ETag"), first.Header().Get("Last-Modified")
	if tag == "" || modified == "" || first.Header().Get("Accept-Ranges") != "bytes" {
		t.Fatalf("headers %v", first.Header())
	}
	for _, c := range []struct {
		header, body string
		code         int
	}{
		{"If-None-Match: " + tag, "", 304},
		{"If-Modified-Since: " + modified, "", 304},
		{`If-None-Match: "other"`, "0123456789", 200},
		{"Range: bytes=2-4", "234", 206},
		{"Range: bytes=-2", "89", 206},
		{"Range: bytes=20-", "invalid range: failed to overlap\n", 416},
	} {
		if w := s.get("/files/data", c.header); w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("%s: %d %q", c.header, w.Code, w.Body)
		}
	}
	if w := s.get("/files/data", "Range: bytes=2-4", `If-Range: "other"`); w.Code != 200 {
		t.Errorf("a range of another version: %d", w.Code)
	}
	file := filepath.Join(s.dir, "data")
	s.write(file, "9876543210")
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if w := s.get("/files/data", "If-None-Match: "+tag); w.Code != 200 || w.Body.String() != "9876543210" {
		t.Errorf("after a change: %d %q", w.Code, w.Body)
	}
}

func TestFolders(t *testing.T) {
	s := newSite(t, nil)
	for path, want := range map[string]string{
		"/files/docs": "./docs/", "/files/docs?a=b": "./docs/?a=b", "/files/a%20b": "./a%20b/",
	} {
		if w := s.get(path); w.Code != 301 || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %s", path, w.Code, w.Header().Get("Location"))
		}
	}

	s = newSite(t, func(o *Options) { o.Listing = true; o.Index = nil; o.Path = "/" })
	page := s.get("/").Body.String()
	for _, want := range []string{`href="./docs/"`, `href="./app.js"`, `href="./a%20b/"`, `href="./in"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the list has no %s:\n%s", want, page)
		}
	}
	for _, no := range []string{"htpasswd", ".git", "pipe", "out", "abs", "secret", "../"} {
		if strings.Contains(page, `"./`+no) || strings.Contains(page, `"`+no+`"`) {
			t.Errorf("the list has %s:\n%s", no, page)
		}
	}
	odd := s.get("/a%20b/")
	if b := odd.Body.String(); !strings.Contains(b, "ü&amp;&lt;&gt;.txt") || !strings.Contains(b, `href="./%C3%BC&amp;%3C%3E.txt"`) || !strings.Contains(b, `href="../"`) {
		t.Errorf("odd names:\n%s", b)
	}
	if p := odd.Header().Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") {
		t.Errorf("a list has the policy %q", p)
	}
}

// A release may be put in place by renaming its folder, or by changing a link.
func TestFolderIsReplaced(t *testing.T) {
	s := newSite(t, nil)
	if err := os.Rename(s.dir, s.dir+".old"); err != nil {
		t.Fatal(err)
	}
	if w := s.get("/files/app.js"); w.Code != 500 {
		t.Errorf("without the folder: %d", w.Code)
	}
	s.write(s.dir+".new/app.js", "new")
	if err := os.Symlink(s.dir+".new", s.dir); err != nil {
		t.Fatal(err)
	}
	if w := s.get("/files/app.js"); w.Code != 200 || w.Body.String() != "new" {
		t.Errorf("with another: %d %q", w.Code, w.Body)
	}
}

func TestNewNamesTheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, file + "/none"} {
		if _, err := New(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v", dir, err)
		}
	}
}
