package c2s_test

import (
	"context"
	"log/slog"
	"net"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/c2s/tcp"
	"rollcall/internal/c2s/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEach runs a test over every transport. dial connects one more client to the test's server.
func onEach(t *testing.T, o c2s.Options, test func(t *testing.T, hosts *c2stest.Hosts, dial func() *c2stest.Peer)) {
	t.Helper()
	for name, listen := range map[string]func(*testing.T, *c2s.Server) func() *c2stest.Peer{
		"tcp":       listenTCP,
		"websocket": listenWebSocket,
		"bosh":      listenBOSH,
	} {
		t.Run(name, func(t *testing.T) {
			hosts := c2stest.NewHosts(t)
			o.Hosts = hosts
			srv, _ := c2stest.NewServer(t, o)
			test(t, hosts, listen(t, srv))
		})
	}
}

func listenTCP(t *testing.T, srv *c2s.Server) func() *c2stest.Peer {
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- tcp.Serve(ctx, l, srv, tcp.Options{Log: slog.New(slog.DiscardHandler)}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return func() *c2stest.Peer {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c2stest.NewStream(t, c)
	}
}

func listenWebSocket(t *testing.T, srv *c2s.Server) func() *c2stest.Peer {
	h := httptest.NewServer(websocket.Handler(srv, websocket.Options{Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(h.Close)
	return func() *c2stest.Peer { return c2stest.NewWebSocket(t, h.URL, h.Client(), nil) }
}

func listenBOSH(t *testing.T, srv *c2s.Server) func() *c2stest.Peer {
	h := httptest.NewServer(bosh.Handler(srv, bosh.Options{Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(h.Close)
	return func() *c2stest.Peer { return c2stest.NewBOSH(t, h.URL, h.Client()) }
}
