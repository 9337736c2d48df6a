package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/ns"
	"rollcall/internal/xmpptest"
)

// inWorld runs a test with a whole server, whose host takes any password.
func inWorld(t *testing.T, o xmpptest.Options, test func(t *testing.T, w *xmpptest.World)) {
	synctest.Test(t, func(t *testing.T) {
		w, err := xmpptest.Start(t, xmpptest.NewService(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		test(t, w)
	})
}

func dialHTTP(t *testing.T, w *xmpptest.World) net.Conn {
	t.Helper()
	c, err := w.DialHTTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// raw sends a request as it is, and gives status and body of the answer; 0 when there is none.
func raw(t *testing.T, w *xmpptest.World, request string) (int, string) {
	t.Helper()
	c := dialHTTP(t, w)
	go io.WriteString(c, request)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

const create = "<body xmlns='" + ns.BOSH + "' rid='1' to='localhost' ver='1.6'/>"

func post(path, headers, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", path, headers, len(body), body)
}

// BOSH is where clients look for it, and a server that takes any password answers only to its own name there.
func TestBOSHMounted(t *testing.T) {
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		for _, path := range []string{"/http-bind", "/http-bind/"} {
			if status, body := raw(t, w, post(path, "", create)); status != 200 || !strings.Contains(body, "<mechanism>PLAIN</mechanism>") {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		request := strings.Replace(post("/http-bind", "", create), "Host: localhost", "Host: evil.example", 1)
		if status, body := raw(t, w, request); status != http.StatusMisdirectedRequest {
			t.Errorf("another host: %d %s", status, body)
		}
	})
}

// A proxy on this machine, though it is trusted, makes no client local: neither may it notify without a token, nor sign in
// with any password, which is for programs on this machine.
func TestTrustedProxy(t *testing.T) {
	for _, tc := range []struct {
		name, headers string
		config        []string
		plain         bool
	}{
		{"local", "", nil, true},
		{"a proxy with TLS", "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n", nil, false},
		{"a proxy without", "X-Forwarded-For: 203.0.113.7\r\n", nil, false},
		{"a proxy that says we are local", "X-Forwarded-For: 127.0.0.1\r\n", nil, false},
		{"a proxy that is not trusted", "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n", []string{"http.trusted_proxies = []"}, false},
	} {
		inWorld(t, xmpptest.Options{Config: tc.config}, func(t *testing.T, w *xmpptest.World) {
			_, body := raw(t, w, post("/http-bind", tc.headers, create))
			if got := strings.Contains(body, "<mechanism>PLAIN</mechanism>"); got != tc.plain {
				t.Errorf("%s: %s", tc.name, body)
			}
			status, _ := raw(t, w, post("/roster_admin/refresh", tc.headers, "[]"))
			if want := map[bool]int{true: 200, false: 401}[tc.headers == ""]; status != want {
				t.Errorf("%s: a notification is answered with %d, want %d", tc.name, status, want)
			}
		})
	}
}

// Attack case 43: whoever sends slowly, or nothing, is left.
func TestSlowRequests(t *testing.T) {
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		for _, tc := range []struct {
			name, first string
			most        time.Duration
		}{
			{"headers", "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nX: ", 10 * time.Second},
			{"body of BOSH", "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n", 31 * time.Second},
			{"body of a notification", "POST /roster_admin/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n", 11 * time.Second},
			{"body that nobody wants", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n", 31 * time.Second},
			{"body for nobody", "PUT /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", 31 * time.Second},
			{"idle", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 2 * time.Minute},
		} {
			c := dialHTTP(t, w)
			go io.Copy(io.Discard, c)
			start := time.Now()
			if _, err := io.WriteString(c, tc.first); err != nil {
				t.Fatal(err)
			}
			for err := error(nil); err == nil && time.Since(start) < time.Hour; {
				time.Sleep(time.Second)
				if tc.name == "idle" {
					time.Sleep(3 * time.Minute)
				}
				_, err = io.WriteString(c, " ")
			}
			if took := time.Since(start); took > tc.most+time.Second && tc.name != "idle" || took > 4*time.Minute {
				t.Errorf("%s: held for %v", tc.name, took)
			}
		}
		if status, body := raw(t, w, post("/http-bind", "", create)); status != 200 {
			t.Errorf("afterwards: %d %s", status, body)
		}
	})
}

// Attack case 43, the other way around: a client that asks for much and reads nothing of it. One that reads slowly gets all of it.
func TestUnreadAnswers(t *testing.T) {
	const size = 8 << 20
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	inWorld(t, xmpptest.Options{HostConfig: []string{fmt.Sprintf("files.dir = %q", dir)}}, func(t *testing.T, w *xmpptest.World) {
		const file = "GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
		ask := func(requests string) net.Conn {
			c := dialHTTP(t, w)
			go io.WriteString(c, requests)
			return c
		}
		// The connection of a client that has not read for so long ends, with what it had in hand.
		held := func(c net.Conn, after time.Duration) bool {
			time.Sleep(after)
			c.SetReadDeadline(time.Now().Add(time.Second))
			n, err := io.Copy(io.Discard, c)
			return err != nil || n >= size
		}
		if held(ask(file), 31*time.Second) {
			t.Error("a file that nobody reads is sent on and on")
		}
		if held(ask(strings.Repeat("GET /console/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 10_000)), 4*time.Minute) {
			t.Error("answers that nobody reads are held")
		}
		slow := ask(file)
		for left := size; left > 0; {
			time.Sleep(5 * time.Second)
			n, err := slow.Read(make([]byte, min(left, 64<<10)))
			if left -= n; err != nil {
				t.Fatalf("a slow client: %v, and %d bytes had not come", err, left)
			}
		}
	})
}

// Attack case 44: requests that two servers could read differently, or that are too large.
func TestAmbiguousRequests(t *testing.T) {
	const start = "POST /http-bind HTTP/1.1\r\nHost: localhost\r\n"
	inWorld(t, xmpptest.Options{}, func(t *testing.T, w *xmpptest.World) {
		for name, request := range map[string]string{
			"two lengths":          start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
			"a length with a sign": start + "Content-Length: +5\r\n\r\nhello",
			"two encodings":        start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
			"unknown encoding":     start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
			"space before colon":   start + "Content-Length : 5\r\n\r\nhello",
			"folded header":        start + "X: a\r\n b\r\nContent-Length : 5\r\n\r\nhello",
			"NUL in a header":      start + "X: a\x00b\r\n\r\n",
			"large headers":        start + "X: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
			"no host":              "POST /http-bind HTTP/1.1\r\n\r\n",
			"two hosts":            start + "Host: evil.example\r\n\r\n",
		} {
			if status, body := raw(t, w, request); status < 400 || strings.Contains(body, "sid=") {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
		// Chunks whose lines end in LF alone do not make a request.
		if status, body := raw(t, w, start+"Transfer-Encoding: chunked\r\n\r\n"+fmt.Sprintf("%x\n%s\n0\n\n", len(create), create)); strings.Contains(body, "sid=") {
			t.Errorf("chunks with LF: %d %s", status, body)
		}
		// With both, the length is ignored and the connection is not used again: there is no second request to smuggle.
		c := dialHTTP(t, w)
		smuggled := "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
		go io.WriteString(c, start+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggled)
		answers, err := io.ReadAll(c)
		if err != nil || strings.Count(string(answers), "HTTP/1.1 ") > 1 {
			t.Errorf("a length and chunks: %q, %v", answers, err)
		}
		if log := w.Log(); strings.Contains(log, "evil.example\n") {
			t.Errorf("log: %s", log)
		}
	})
}

// A proxy in front of the listener for clients tells who they are; its clients are not local, and it may not be silent.
func TestProxyProtocol(t *testing.T) {
	inWorld(t, xmpptest.Options{Config: []string{"listen.proxy_protocol = ['127.0.0.1']"}}, func(t *testing.T, w *xmpptest.World) {
		const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' to='localhost' version='1.0'>"
		open := func(first string) string {
			c, err := w.DialC2S(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go io.WriteString(c, first)
			synctest.Wait()
			c.SetReadDeadline(time.Now().Add(time.Second))
			answer, _ := io.ReadAll(c)
			c.Close()
			synctest.Wait()
			return string(answer)
		}
		if got := open("PROXY TCP4 203.0.113.7 192.0.2.1 4660 5222\r\n" + header); !strings.Contains(got, "<stream:features>") || strings.Contains(got, "PLAIN") {
			t.Errorf("with a header: %s", got)
		}
		if log := w.Log(); !strings.Contains(log, "remote=203.0.113.7:4660") {
			t.Errorf("the log does not show the client:\n%s", log)
		}
		if got := open("PROXY TCP4 127.0.0.1 192.0.2.1 4660 5222\r\n" + header); !strings.Contains(got, "<stream:features>") || strings.Contains(got, "PLAIN") {
			t.Errorf("a client on the proxy's machine: %s", got)
		}
		if got := open(header); got != "" {
			t.Errorf("without a header: %s", got)
		}
	})
}
