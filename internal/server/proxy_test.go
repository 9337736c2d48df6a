package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"rollcall/internal/config"
	"rollcall/internal/server"
)

// A reverse proxy on this machine passes WebSockets on to a loopback http listener and says so in headers: TLS is its
// business, and the client is offered SCRAM.
func TestWebSocketBehindProxy(t *testing.T) {
	cfg, err := config.Parse("test", fmt.Appendf(nil, "data_dir = %q\nlisten.c2s = ''\n[[host]]\nname = 'localhost'\nroster.url = 'http://127.0.0.1:1/%%s'\n", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(t.Context(), cfg, server.Options{
		Log: slog.New(slog.DiscardHandler), Version: "test",
		Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	<-s.Ready()
	ws, _, err := websocket.Dial(ctx, "ws://"+s.Addr("http").String()+"/xmpp-websocket", &websocket.DialOptions{
		Subprotocols: []string{"xmpp"}, HTTPHeader: http.Header{"X-Forwarded-For": {"203.0.113.7"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	open := "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
	if err := ws.Write(ctx, websocket.MessageText, []byte(open)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<open", "<mechanism>SCRAM-SHA-256</mechanism>"} {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(frame), want) || strings.Contains(string(frame), "PLAIN") {
			t.Errorf("received %s", frame)
		}
	}
}
