package tcp

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/certs"
	"rollcall/internal/certs/certtest"
)

// watched tells which meter its bytes are counted by.
type watched struct {
	*transport
	meter chan *c2s.Meter
}

func (w watched) Measure(m *c2s.Meter) {
	w.transport.Measure(m)
	w.meter <- m
}

// What comes over a socket is counted, and what comes through TLS; a handshake is not.
func TestEveryByteIsMeasured(t *testing.T) {
	pair := certtest.New(t, "localhost")
	certFile, keyFile := pair.Write(t, t.TempDir())
	store, err := certs.New(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, direct := range map[string]bool{"plain": false, "TLS": true} {
		ctx, cancel := context.WithCancel(t.Context())
		// A byte a second: whatever is read beyond the burst is owed for as long as the test may take.
		srv := c2s.New(ctx, c2s.Options{Log: slog.New(slog.DiscardHandler), Pace: c2s.Pace{Rate: 1, Burst: 100}})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		tk, err := srv.Admit(netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		w := watched{newTransport(server, &Options{Direct: direct, TLS: store.TLSConfig(ALPN), WriteStall: time.Minute, epoch: time.Now()}), make(chan *c2s.Meter, 1)}
		srv.Start(tk, w)
		meter := <-w.meter
		var to io.Writer = client
		if direct {
			c := tls.Client(client, &tls.Config{RootCAs: pair.Pool(), ServerName: "localhost", NextProtos: []string{ALPN}})
			if err := c.HandshakeContext(ctx); err != nil {
				t.Fatal(err)
			}
			to = c
		}
		if owed := meter.Owed(); owed > 0 {
			t.Errorf("%s: %v are owed before anything was sent", name, owed)
		}
		if _, err := to.Write([]byte("<?xml version='1.0'?>" + strings.Repeat(" ", 160))); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); meter.Owed() <= 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: what was sent is not counted", name)
			}
		}
		client.Close()
		l.Close()
		cancel()
		srv.Wait()
	}
}
