package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/certs/certtest"
)

// ask waits for a turn and says when it has come.
func ask(t *testing.T, turns *Turns, from string, come chan<- string) {
	var network netip.Prefix
	if from != "loopback" {
		network = netip.MustParsePrefix(from)
	}
	go func() {
		if err := turns.take(t.Context(), network); err != nil {
			come <- err.Error()
			return
		}
		come <- from
	}()
	synctest.Wait()
}

// A network that floods delays another by one handshake (attack case 16).
func TestNetworksTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		come := make(chan string, 10)
		for range 4 {
			ask(t, turns, "192.0.2.1/32", come)
		}
		ask(t, turns, "loopback", come)
		ask(t, turns, "192.0.2.9/32", come)
		for i, want := range []string{"192.0.2.1/32", "192.0.2.1/32", "loopback", "192.0.2.9/32", "192.0.2.1/32", "192.0.2.1/32"} {
			synctest.Wait()
			if got := <-come; got != want || len(come) > 0 {
				t.Fatalf("turn %d is that of %s and %d more, not %s", i, got, len(come), want)
			}
			turns.give()
		}
		if turns.free != 1 || turns.waiting != 0 || len(turns.from) != 0 || len(turns.order) != 0 {
			t.Errorf("left: %+v", turns)
		}
	})
}

// Those who wait are bounded, by network and in all, and who gives up leaves nothing.
func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		if err := turns.take(t.Context(), netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		var mu sync.Mutex
		refused, late := 0, 0
		for i := range 11 * (maxTurnsFromOne + 1) {
			from := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 11)}), 32)
			wg.Go(func() {
				err := turns.take(ctx, from)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, errTooManyHandshakes):
					refused++
				case errors.Is(err, context.DeadlineExceeded):
					late++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if late != maxTurns || refused != 11*(maxTurnsFromOne+1)-maxTurns {
			t.Errorf("%d waited and %d were refused", late, refused)
		}
		for range maxTurnsFromOne + 1 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if errors.Is(turns.take(ctx, netip.MustParsePrefix("198.51.100.0/24")), errTooManyHandshakes) {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if refused != 11*(maxTurnsFromOne+1)-maxTurns+1 {
			t.Errorf("%d were refused in all", refused)
		}
		turns.give()
		if turns.free != 1 || turns.waiting != 0 || len(turns.from) != 0 || len(turns.order) != 0 {
			t.Errorf("left: %d free, %d wait, %d networks", turns.free, turns.waiting, len(turns.order))
		}
	})
}

// counting is a configuration that notes how many handshakes compute at a time.
func counting(turns *Turns, base *tls.Config) (*tls.Config, *int) {
	var mu sync.Mutex
	most := 0
	taking := TakingTurns(base, turns)
	pick := taking.GetConfigForClient
	outer := taking.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		picked, err := pick(hello)
		turns.mu.Lock()
		now := 1 - turns.free
		turns.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		most = max(most, now)
		return picked, err
	}
	return outer, &most
}

// Handshakes of every kind give their turns back, those that fail as well: with a retry, resumed, of TLS 1.2, broken off at each
// place, and with bytes that come one by one.
func TestHandshakesGiveTurnsBack(t *testing.T) {
	f := newFixture(t, certtest.New(t, "localhost"))
	turns := newTurns(1)
	config, most := counting(turns, f.TLSConfig())
	retry := &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}} // Go sends a key of its first one only
	strict := config.Clone()
	inner := config.GetConfigForClient
	strict.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		picked, err := inner(hello)
		if err == nil {
			picked = picked.Clone()
			picked.CurvePreferences = []tls.CurveID{tls.CurveP384}
		}
		return picked, err
	}
	cache := tls.NewLRUClientSessionCache(1)
	for name, c := range map[string]struct {
		server, client *tls.Config
		bytes          int // that the client sends before it breaks off; 0: all
		slow           bool
		fails          bool
	}{
		"TLS 1.3":    {server: config, client: &tls.Config{ClientSessionCache: cache}},
		"again":      {server: config, client: &tls.Config{ClientSessionCache: cache}},
		"TLS 1.2":    {server: config, client: &tls.Config{MaxVersion: tls.VersionTLS12}},
		"retry":      {server: strict, client: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}},
		"slow retry": {server: strict, client: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}, slow: true},
		"slow":       {server: config, client: &tls.Config{}, slow: true},
		"no curve":   {server: strict, client: retry, fails: true},
		"too old":    {server: config, client: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, fails: true},
		"half":       {server: config, client: &tls.Config{}, bytes: 40, fails: true},
		"no more":    {server: config, client: &tls.Config{MaxVersion: tls.VersionTLS12}, bytes: 300, fails: true},
		"half retry": {server: strict, client: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}, bytes: 400, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.client.InsecureSkipVerify, c.client.ServerName = true, "localhost"
			err := handshakeOver(t, c.server, c.client, c.bytes, c.slow)
			if (err != nil) != c.fails {
				t.Errorf("the server's handshake: %v", err)
			}
			if turns.free != 1 || turns.waiting != 0 {
				t.Errorf("%d turns are free, %d wait", turns.free, turns.waiting)
			}
		})
	}
	if *most != 1 {
		t.Errorf("%d at a time", *most)
	}
}

// handshakeOver does a handshake over TCP and gives the server's error.
func handshakeOver(t *testing.T, server, client *tls.Config, bytes int, slow bool) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := Listen(l).Accept()
		if err != nil {
			done <- err
			return
		}
		s := tls.Server(c, server)
		err = s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("hello"))
		}
		c.Close()
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(&stuttering{raw, bytes, slow}, client)
	if c.Handshake() == nil {
		io.ReadAll(c)
	}
	raw.Close()
	return <-done
}

// stuttering is a connection that sends so many bytes and then breaks off, or sends one at a time.
type stuttering struct {
	net.Conn
	left int
	slow bool
}

func (s *stuttering) Write(p []byte) (n int, err error) {
	if s.left > 0 && len(p) >= s.left {
		s.Conn.Write(p[:s.left-1])
		s.Conn.Close()
		return 0, net.ErrClosed
	}
	if s.left > 0 {
		s.left -= len(p)
	}
	if !s.slow {
		return s.Conn.Write(p)
	}
	for i := range p {
		if _, err := s.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// A client that is told to send its first message once more takes a turn for it, too.
func TestRetryTakesATurn(t *testing.T) {
	f := newFixture(t, certtest.New(t, "localhost"))
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		config := f.TLSConfig()
		pick := config.GetConfigForClient
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			picked, err := pick(hello)
			picked = picked.Clone()
			picked.CurvePreferences = []tls.CurveID{tls.CurveP384}
			return picked, err
		}
		near, pipe := net.Pipe()
		defer near.Close()
		far := &queued{pipe, make(chan []byte, 100)}
		defer close(far.queue)
		go far.send()
		done := make(chan error, 1)
		go func() { done <- tls.Server(&Conn{Conn: far}, TakingTurns(config, turns)).Handshake() }()
		client := &patient{Conn: near, turns: turns}
		shaken := make(chan error, 1)
		go func() {
			c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}})
			shaken <- c.Handshake()
			io.ReadAll(c)
		}()
		synctest.Wait()
		if len(shaken) > 0 || !client.took {
			t.Fatalf("the handshake went on without a turn, or there was no retry: %v", client.took)
		}
		turns.give()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-shaken; err != nil {
			t.Error(err)
		}
		if turns.free != 1 {
			t.Errorf("%d turns are free", turns.free)
		}
	})
}

// queued is a connection whose writes do not wait for the peer to read.
type queued struct {
	net.Conn
	queue chan []byte
}

func (q *queued) Write(p []byte) (int, error) {
	q.queue <- bytes.Clone(p)
	return len(p), nil
}

func (q *queued) send() {
	for p := range q.queue {
		q.Conn.Write(p)
	}
}

// patient is a client's connection that takes the server's only turn before it sends its first message once more.
type patient struct {
	net.Conn
	turns *Turns
	wrote int
	took  bool
}

func (p *patient) Write(b []byte) (int, error) {
	// A record of a handshake message in clear; the change of cipher specifications before the second is another.
	if b[0] == 22 {
		if p.wrote++; p.wrote == 2 {
			p.took = p.turns.take(context.Background(), netip.Prefix{}) == nil
		}
	}
	return p.Conn.Write(b)
}
