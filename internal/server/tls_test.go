package server_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"rollcall/internal/certs/certtest"
	"rollcall/internal/config"
)

// Clients that come by WebSocket to the server's own https listener have every channel binding (XEP-0440): the server did not
// know which certificate they had seen.
func TestChannelBindingsOverHTTPS(t *testing.T) {
	dir := t.TempDir()
	pair := certtest.New(t, "localhost")
	pair.Write(t, dir)
	cfg, err := config.Parse(filepath.Join(dir, "rollcall.toml"), fmt.Appendf(nil, "data_dir = '%s'\n%s", dir, `
listen = { c2s = "", http = "", https = "127.0.0.1:0" }
tls = { cert = "cert.pem", key = "key.pem" }
[[host]]
name = "localhost"
auth.method = "accounts"
roster.url = "http://127.0.0.1:1/%s"
`))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg, slog.New(slog.DiscardHandler))
	ws, _, err := websocket.Dial(t.Context(), "wss://"+s.Addr("https").String()+"/xmpp-websocket", &websocket.DialOptions{
		Subprotocols: []string{"xmpp"},
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pair.Pool(), ServerName: "localhost"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>")); err != nil {
		t.Fatal(err)
	}
	for !t.Failed() {
		_, frame, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(frame), "features") {
			continue
		}
		for _, binding := range []string{"tls-exporter", "tls-server-end-point"} {
			if !strings.Contains(string(frame), "<channel-binding type='"+binding+"'/>") {
				t.Errorf("no %s in %s", binding, frame)
			}
		}
		return
	}
}
