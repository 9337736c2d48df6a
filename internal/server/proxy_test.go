package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"rollcall/internal/config"
)

// A reverse proxy on this machine passes WebSockets on to a loopback http listener and says so in headers: TLS is its
// business, and the client is offered SCRAM.
func TestWebSocketBehindProxy(t *testing.T) {
	cfg, err := config.Parse("test", fmt.Appendf(nil, "data_dir = %q\nlisten.c2s = ''\n[[host]]\nname = 'localhost'\nroster.url = 'http://127.0.0.1:1/%%s'\n", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg, slog.New(slog.DiscardHandler))
	ws, _, err := websocket.Dial(t.Context(), "ws://"+s.Addr("http").String()+"/xmpp-websocket", &websocket.DialOptions{
		Subprotocols: []string{"xmpp"}, HTTPHeader: http.Header{"X-Forwarded-For": {"203.0.113.7"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	open := "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(open)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<open", "<mechanism>SCRAM-SHA-256</mechanism>"} {
		_, frame, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(frame), want) || strings.Contains(string(frame), "PLAIN") {
			t.Errorf("received %s", frame)
		}
	}
}
