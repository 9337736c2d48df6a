package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Attack case 4: connections that come, send a part of what begins a stream, a handshake or a request, and go, leave
// nothing behind: no descriptor, no goroutine, no memory. The server is built without the race detector, whose memory would
// be what is measured.
func TestConnectionCycles(t *testing.T) {
	plain := withoutRace(t)
	r := startWith(t, "[limits]\npre_auth_timeout = '2s'\n", "http://127.0.0.1:9/%s", "john")
	r.process.stop(t)
	r.process = startProcess(t, exec.Command(plain, "serve", "-c", r.config))
	r.process.waitHealthy(t, fmt.Sprintf("http://127.0.0.1:%d/healthz", r.http))

	start := r.resources()
	r.cycles(1000)
	warm := r.settled(start, 1<<62)
	r.cycles(6000)
	end := r.settled(start, warm.rss+warm.rss/10+4<<20)
	t.Logf("at the start %+v, after 1,000 connections %+v, after 7,000 %+v", start, warm, end)
}

// resources of the server's process.
type resources struct{ goroutines, descriptors, rss int }

// settled waits until the process has no more goroutines and descriptors than before, and its memory is within a bound.
func (r *rollcall) settled(before resources, rss int) (now resources) {
	r.t.Helper()
	const slack = 3 // this request's own
	deadline := time.Now().Add(patience)
	for {
		now = r.resources()
		if now.goroutines <= before.goroutines+slack && now.descriptors <= before.descriptors+slack && now.rss <= rss {
			return now
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the server has %+v, before it was %+v, and %d bytes of memory are allowed", now, before, rss)
		}
		time.Sleep(2 * time.Second) // it is asked, for it has no other way to tell; less often, for it gives memory back in quiet
	}
}

func (r *rollcall) resources() resources {
	r.t.Helper()
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", r.http))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	pid := r.process.cmd.Process.Pid
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		r.t.Skipf("no /proc: %v", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		r.t.Fatal(err)
	}
	return resources{r.number(string(metrics), `(?m)^go_goroutines (\d+)$`), len(fds), r.number(string(status), `VmRSS:\s+(\d+) kB`) << 10}
}

func (r *rollcall) number(text, pattern string) int {
	r.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		r.t.Fatalf("%s is not in\n%s", pattern, text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// cycles makes so many connections, one after the other.
func (r *rollcall) cycles(n int) {
	r.t.Helper()
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
	upgrade := "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
	body := "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='localhost' ver='1.6'/>"
	bosh := fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(body)) + body
	kinds := []struct {
		port   int
		send   string
		answer string // what is waited for before the connection is dropped
	}{
		{r.c2s, "", ""},
		{r.c2s, header[:40], ""},
		{r.c2s, header, "features>"},
		{r.c2s, header + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "proceed"},
		{r.c2s, header + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AG" + strings.Repeat("A", 5000), ""},
		{r.c2s, header + "<!-- -->", "</stream:stream>"},
		{r.c2sTLS, "", ""},
		{r.c2sTLS, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", ""},
		{r.c2sTLS, "plain", ""},
		{r.http, "", ""},
		{r.http, upgrade[:60], ""},
		{r.http, upgrade, "101 "},
		{r.http, bosh[:len(bosh)-20], ""},
		{r.http, bosh, "200 "},
		{r.https, "\x16\x03\x01", ""},
	}
	for i := range n {
		k := kinds[i%len(kinds)]
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", k.port))
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := io.WriteString(c, k.send); err != nil {
			r.t.Fatal(err)
		}
		if err := waitFor(c, k.answer); err != nil {
			r.t.Fatalf("%.60q is not answered with %q: %v", k.send, k.answer, err)
		}
		c.Close()
	}
}

// waitFor reads until something has come.
func waitFor(c net.Conn, what string) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var got []byte
	b := make([]byte, 4096)
	for !strings.Contains(string(got), what) {
		n, err := c.Read(b)
		if got = append(got, b[:n]...); err != nil && !strings.Contains(string(got), what) {
			return err
		}
	}
	return nil
}
