package server

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// A fault that meets a request over HTTP ends that request, and its log line has nothing of what the panic was given: neither ours, nor
// that of net/http. Whoever ends a request by http.ErrAbortHandler has no fault.
func TestFaultOverHTTP(t *testing.T) {
	var mu sync.Mutex
	var ours, theirs strings.Builder
	to := func(b *strings.Builder) io.Writer {
		return writing(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return b.Write(p)
		})
	}
	s := &Server{log: slog.New(slog.NewTextHandler(to(&ours), nil))}
	app := httptest.NewUnstartedServer(s.recovered(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			t.Error(err)
		case r.URL.Path == "/fault":
			panic("cannot read " + string(body) + r.Header.Get("Authorization"))
		case r.URL.Path == "/abort":
			panic(http.ErrAbortHandler)
		}
	})))
	app.Config.ErrorLog = log.New(to(&theirs), "", 0)
	app.Start()
	for _, path := range []string{"/fault", "/abort", "/"} {
		req, err := http.NewRequest(http.MethodPost, app.URL+path, strings.NewReader("canary"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "canary")
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != (path == "/") {
			t.Errorf("%s: %v, %v", path, res, err)
		}
	}
	app.Close()
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(ours.String()+theirs.String(), "canary") || theirs.Len() > 0 {
		t.Errorf("our log:\n%s\nthat of net/http:\n%s", &ours, &theirs)
	}
	if got := ours.String(); strings.Count(got, "panic while answering a request over HTTP") != 1 || !strings.Contains(got, "http_fault_test.go") {
		t.Errorf("our log: %s", got)
	}
}

type writing func(p []byte) (int, error)

func (w writing) Write(p []byte) (int, error) { return w(p) }
