package rosterhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFetch measures processor time for each user whose roster of 50 contacts is fetched over loopback, by
// itself or in batches; "read" when the document is a new one and is read, "same" when it is recognised. The
// service is in the same process and counted too, but does next to nothing: it sends bytes that were made before.
func BenchmarkFetch(b *testing.B) {
	for _, size := range []int{1, 20, 100} {
		for _, same := range []bool{true, false} {
			name := fmt.Sprintf("users=%d/%s", size, map[bool]string{true: "same", false: "read"}[same])
			b.Run(name, func(b *testing.B) { benchmarkFetch(b, size, same) })
		}
	}
}

func benchmarkFetch(b *testing.B, size int, same bool) {
	doc := fiftyContacts()
	answer := doc
	requests := make([]Request, size)
	var members []string
	for i := range requests {
		requests[i] = Request{User: fmt.Sprintf("user%d", i)}
		if same {
			requests[i].Body = fingerprint([]byte(doc))
		}
		members = append(members, fmt.Sprintf("%q:%s", requests[i].User, doc))
	}
	if size > 1 {
		answer = "{" + strings.Join(members, ",") + "}"
	}
	addr := serveBytes(b, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer))
	cfg := Config{Host: "example.com", URL: "http://" + addr + "/%s", BatchSize: size}
	if size > 1 {
		cfg.URL, cfg.BatchURL = "", "http://"+addr+"/"
	}
	c, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	before := processorTime(b)
	for b.Loop() {
		var all sync.WaitGroup
		for _, r := range requests {
			all.Go(func() {
				if res, err := c.Fetch(b.Context(), r); err != nil || res.Same != same {
					b.Errorf("%+v, %v", res, err)
				}
			})
		}
		all.Wait()
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N*size)/1e3, "cpu-µs/user")
	c.Close() // all requests have been counted
	b.ReportMetric(float64(b.N*size)/float64(c.Health().Fetches), "users/request")
}

func fiftyContacts() string {
	var doc bytes.Buffer
	for i := range 50 {
		fmt.Fprintf(&doc, `,"contact%d@example.com": {"name": "Contact %d", "groups": ["Friends"]}`, i, i)
	}
	return "{" + doc.String()[1:] + "}"
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serveBytes is a service that gives every request the same answer.
func serveBytes(b *testing.B, answer string) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var all sync.WaitGroup
	b.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	bytes := []byte(answer)
	serve := func(conn net.Conn) {
		defer conn.Close()
		r := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := conn.Write(bytes); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(conn) })
		}
	})
	return l.Addr().String()
}
