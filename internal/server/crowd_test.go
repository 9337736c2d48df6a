package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"rollcall/internal/xmpptest"
)

// Attack case 43: connections that say little are bounded for each address, and those that go make room.
func TestConnectionsOfOneAddress(t *testing.T) {
	o := xmpptest.Options{Config: []string{"limits.http_per_address = 3", "http.trusted_proxies = ['192.0.2.200', '127.0.0.1']"}}
	inWorld(t, o, func(t *testing.T, w *xmpptest.World) {
		dial := func(from string) net.Conn {
			t.Helper()
			c, err := w.DialHTTPFrom(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		// served tells whether a connection is answered.
		served := func(c net.Conn) bool {
			t.Helper()
			if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				if !errors.Is(err, io.ErrClosedPipe) {
					t.Fatal(err)
				}
				return false
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return false
			}
			res.Body.Close()
			return res.StatusCode == http.StatusOK
		}
		for _, from := range [][]string{{"203.0.113.7", "203.0.113.7"}, {"2001:db8::1", "2001:db8::2"}} {
			held := []net.Conn{dial(from[0]), dial(from[1]), dial(from[0])}
			if c := dial(from[1]); served(c) {
				t.Errorf("%s: a fourth connection is served", from[1])
			}
			if !served(held[1]) {
				t.Errorf("%s: a third one is not", from[1])
			}
			held[0].Close()
			synctest.Wait()
			if c := dial(from[1]); !served(c) {
				t.Errorf("%s: one that has gone makes no room", from[1])
			}
			if c := dial(from[1]); served(c) {
				t.Errorf("%s: one that has gone makes room for two", from[1])
			}
		}
		if got := strings.Count(w.Log(), "see limits.http_per_address"); got != 1 {
			t.Errorf("the log has %d lines of four refusals at a time:\n%s", got, w.Log())
		}

		// WebSocket counts until it begins, and not when it ends.
		for range 5 {
			c := dial("198.51.100.1")
			_, err := io.WriteString(c, "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("WebSocket: %v, %v", res, err)
			}
			synctest.Wait() // it is answered first
		}

		// Programs of this machine, and proxies, stand for many.
		for _, from := range []string{"127.0.0.1", "192.0.2.200"} {
			for range 5 {
				if c := dial(from); !served(c) {
					t.Errorf("%s is not served", from)
				}
			}
		}
	})
}
