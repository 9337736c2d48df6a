package bosh_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/proxied"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func TestCrowded(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{Total: 1}, bosh.Options{})
	c, _ := s.create("")
	if a := s.post(t.Context(), "<body "+xmlns+" rid='1' to='localhost'/>"); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%+v, want 503", a)
	}
	c.bound("x", "")
	c, _ = s.create("")
	c.ask("type='terminate'", "")
}

// Attack case 44: who a request comes from, and whether it is secure, is told by trusted proxies alone.
func TestProxied(t *testing.T) {
	t.Parallel()
	trusted := proxied.Trusted{loopback}
	for _, tc := range []struct {
		proxies proxied.Trusted
		header  http.Header
		secure  bool // may sign in, and with PLAIN
		remote  string
	}{
		{nil, nil, true, ""}, // on this machine
		{nil, http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}, false, ""},
		{trusted, http.Header{"X-Forwarded-For": {"192.0.2.1"}}, false, "192.0.2.1"},
		{trusted, http.Header{"X-Forwarded-For": {"127.0.0.1"}}, false, "127.0.0.1"},
		{trusted, http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}, true, "192.0.2.1"},
	} {
		s := newServer(t, c2s.Options{RequireTLS: true}, bosh.Options{Proxies: tc.proxies})
		s.client.Transport = headed{s.client.Transport, tc.header}
		c, created := s.create("")
		if got := strings.Contains(created, "<mechanism>PLAIN</mechanism>"); got != tc.secure || strings.Contains(created, "-PLUS") {
			t.Errorf("%v: %s", tc.header, created)
		}
		if tc.secure {
			c.bound("x", "")
			if got := s.session("x").Info(); tc.remote != "" && (got.RemoteAddr != tc.remote || !got.Secure) || got.Transport != "bosh" {
				t.Errorf("%v: %+v", tc.header, got)
			}
		}
		c.ask("type='terminate'", "")
	}
}

// A session that began with TLS is not for requests without (section 19.1), and is not ended by them.
func TestSecureSession(t *testing.T) {
	t.Parallel()
	s := newServer(t, c2s.Options{}, bosh.Options{Proxies: proxied.Trusted{loopback}})
	plain := s.client.Transport
	tls := headed{plain, http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}}
	s.client.Transport = tls
	c := s.bind("x", "")
	s.client.Transport = plain
	if a := <-c.startRID(c.rid, "", message("1")); a.err == nil {
		t.Errorf("answered %+v", a)
	}
	s.client.Transport = tls
	c.expect(c.start("", message("2")), holding(echo("2", "x")))
}

type headed struct {
	http.RoundTripper
	header http.Header
}

func (h headed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range h.header {
		r.Header[name] = values
	}
	return h.RoundTripper.RoundTrip(r)
}

// Whatever a network does to requests and responses, each message arrives once, in order, both ways.
func TestBadNetwork(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) { badNetwork(t, s, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func badNetwork(t *testing.T, s *server, random *rand.Rand) {
	const messages = 60
	c := s.bind("x", "")
	var mu sync.Mutex // for random
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	// deliver sends a request until it is answered; now and then the connection breaks.
	deliver := func(body string) string {
		for {
			time.Sleep(time.Duration(roll(300)) * time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			if roll(3) == 0 {
				time.AfterFunc(time.Duration(roll(500))*time.Millisecond, cancel)
			}
			a := s.post(ctx, body)
			cancel()
			if a.err == nil && roll(6) != 0 && !strings.Contains(a.body, "type='error'") { // the response may be lost, too
				return a.body
			}
		}
	}
	var got strings.Builder
	pending := make(chan chan string, 1) // with the one that is being collected, two at a time
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for p := range pending {
			got.WriteString(<-p)
		}
	}()
	for i := range messages {
		body, answered := c.body(c.rid, "", message(fmt.Sprint(i))), make(chan string, 1)
		c.rid++
		pending <- answered
		go func() { answered <- deliver(body) }()
	}
	close(pending)
	<-collected
	for range 5 { // what the last answers had no room for
		got.WriteString(deliver(c.body(c.rid, "", "<presence xmlns='jabber:client'/>")))
		c.rid++
	}
	want := 0
	for _, part := range strings.Split(got.String(), "<message ")[1:] {
		if !strings.Contains(part, fmt.Sprintf("id='%d'", want)) {
			t.Fatalf("after %d messages came %s", want, part)
		}
		want++
	}
	if want != messages {
		t.Fatalf("%d of %d messages came back", want, messages)
	}
}
