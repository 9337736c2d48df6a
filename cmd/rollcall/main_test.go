package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"rollcall/internal/admin"
	"rollcall/rosterapi"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rollcall": main})
}

// TestScripts runs each file of testdata: what a person types, and what comes back. Beside testscript's own commands:
//
//	exits CODE command...  run a command that must exit with CODE
//	ready URL              wait until a server answers there
//	service NAME           start a roster service; $NAME is its URL
//	rosters NAME           start the HTTP API over two rosters, one of them held; $NAME is its URL
//	app NAME               start an application made with rosterapi; $NAME is its URL; POST /rename changes John's Marie
//	post URL BODY          send it, as soon as somebody listens there; the answer must be 200
//
// $HTTP, $C2S and $FREE are ports of 127.0.0.1 that are free.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"HTTP", "C2S", "FREE"} {
				port, err := freePort()
				if err != nil {
					return err
				}
				env.Setenv(name, port)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "ready": ready, "service": service, "rosters": keptRosters, "app": app, "post": post,
		},
	})
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = strconv.Itoa(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get(args[0])
		if err == nil {
			ts.Check(resp.Body.Close())
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("nobody answers at %s: %v", args[0], err)
		}
	}
}

// service answers every fetch with one contact.
func service(ts *testscript.TestScript, neg bool, args []string) {
	serve(ts, args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"marie@localhost": {"name": "Marie"}}`)
	}))
}

// app has users and batches, and wants a token at /private/. There are some that are broken besides.
func app(ts *testscript.TestScript, neg bool, args []string) {
	var marie atomic.Value
	marie.Store("Marie")
	contacts := rosterapi.Handler{Roster: func(_ context.Context, user string) (rosterapi.Roster, error) {
		if user != "john" {
			return nil, rosterapi.ErrUnknownUser
		}
		return rosterapi.Roster{"marie@localhost": {Name: marie.Load().(string), Groups: []string{"Friends"}}}, nil
	}}
	private := contacts
	private.Token = "sesame"
	mux := http.NewServeMux()
	mux.Handle("/contacts/{user}", &contacts)
	mux.Handle("/batch", contacts.Batch())
	mux.Handle("/private/{user}", &private)
	mux.HandleFunc("/rename", func(http.ResponseWriter, *http.Request) { marie.Store("Marie Curie") })
	mux.Handle("/redirect/{user}", http.RedirectHandler("/login", http.StatusFound))
	mux.HandleFunc("/html/{user}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<form><input type=password></form>")
	})
	mux.HandleFunc("/escape/{user}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"marie@localhost": {"name": "\u009b31mMarie\u202e"}, "\u001b[2J@": {}}`)
	})
	serve(ts, args[0], mux)
}

// post is repeated until somebody listens.
func post(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Post(args[0], "application/json", strings.NewReader(args[1]))
		if err == nil {
			ts.Check(resp.Body.Close())
			if resp.StatusCode != http.StatusOK {
				ts.Fatalf("POST %s: %s", args[0], resp.Status)
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("nobody answers at %s: %v", args[0], err)
		}
	}
}

// serve sets the variable name to the URL of a server with h.
func serve(ts *testscript.TestScript, name string, h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	ts.Defer(func() {
		ts.Check(s.Close())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			ts.Fatalf("%v", err)
		}
	})
	ts.Setenv(name, "http://"+l.Addr().String())
}

func TestStatusTable(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := admin.Status{Version: "1.2.3", Ready: true, Started: now.Add(-27 * time.Hour), Hosts: []admin.HostStatus{
		{Host: "chat.example.com", Users: 1234, Sessions: 1500, Rosters: admin.RosterCounts{Known: 1200, Stale: 3, Unknown: 34, Held: 2},
			Service: admin.ServiceStatus{State: "down", Breaker: "open", Fetches: 9000, Failures: 12, LastSuccess: now.Add(-90 * time.Second),
				LastError: "the service answered 503\x1b[31m"}},
		{Host: "é.example", Service: admin.ServiceStatus{State: "unasked"}},
		{Host: "none.example", Service: admin.ServiceStatus{State: "none"}, Messages: &admin.MessageStatus{Stored: 12}},
		{Host: "ok.example", Users: 2, Sessions: 2, Rosters: admin.RosterCounts{Known: 2},
			Service:  admin.ServiceStatus{State: "ok", Breaker: "closed", Fetches: 2, LastSuccess: now},
			Messages: &admin.MessageStatus{Stored: 1200, Refused: 3, Waiting: 12, Recipients: 4, Archived: 900, Archives: 5},
			Services: map[string]admin.ServiceStatus{
				"webhooks": {State: "unasked"},
				"auth":     {State: "failing", Breaker: "closed", Fetches: 5, Failures: 1, LastSuccess: now.Add(-time.Minute), LastError: "no answer"}}},
	}, Database: &admin.DatabaseStatus{Commits: 10, Writes: 30, MeanMillis: 1.25, Failures: 1, Failed: 2, Queued: 3, QueuedBytes: 400, Bytes: 3 << 19}}
	want := `rollcall 1.2.3, ready, up 1d03h

HOST              USERS  SESSIONS  ROSTERS                                                                           SERVICE
chat.example.com   1234      1500  1200 known, 3 of them stale, 34 unknown, 2 held (rollcall roster show says what)  down (breaker open), last answer 1m30s ago; 9000 requests, 12 failed; the service answered 503?[31m
é.example             0         0  0 known                                                                           not asked yet
none.example          0         0  0 known                                                                           none: rosters are told
ok.example            2         2  2 known                                                                           ok; 2 requests

HOST          WHAT      HOW IT DOES
none.example  messages  12 stored
ok.example    messages  1200 stored, 3 refused; 12 wait for 4 users; 900 in the archives of 5 users
ok.example    auth      failing, last answer 1m00s ago; 5 requests, 1 failed; no answer
ok.example    webhooks  not asked yet
(all)         database  30 writes in 10 commits, 1.2 ms each; it has 1.5 MiB; 1 commits failed; 2 writes given up; 3 wait (400 bytes)
`
	var got strings.Builder
	if err := printStatus(&got, s, now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59*time.Second + 999*time.Millisecond: "59s", time.Minute: "1m00s",
		61 * time.Minute: "1h01m", 24 * time.Hour: "1d00h", 1000 * time.Hour: "41d16h",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:5280": "http://127.0.0.1:5280", ":5280": "http://localhost:5280", "0.0.0.0:1": "http://localhost:1",
		"[::]:1": "http://localhost:1", "[::1]:1": "http://[::1]:1", "xmpp.example:1": "http://xmpp.example:1",
	} {
		if got, err := baseURL("http", addr); got != want || err != nil {
			t.Errorf("baseURL(%q) = %q, %v, want %q", addr, got, err, want)
		}
	}
	if _, err := baseURL("http", ":0"); exitCode(err) != 2 {
		t.Errorf("port 0: %v", err)
	}
}

func TestColored(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		env      map[string]string
		want     bool
	}{
		{true, nil, true}, {true, map[string]string{"NO_COLOR": "", "TERM": "xterm"}, true}, {false, nil, false},
		{true, map[string]string{"NO_COLOR": "1"}, false}, {true, map[string]string{"TERM": "dumb"}, false},
	} {
		if got := colored(c.terminal, func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
