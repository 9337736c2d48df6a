package bosh

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/c2s"
	"rollcall/internal/c2s/c2stest"
	"rollcall/internal/ns"
)

// Attack case 4: clients that begin a session and go away leave nothing behind.
func TestAbandonedSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := c2stest.NewServer(t, c2s.Options{PerAddress: 2000})
		h := Handler(srv, Options{Log: slog.New(slog.DiscardHandler)})
		const clients = 1000
		before := runtime.NumGoroutine()
		for i := range clients {
			body := fmt.Sprintf("<body xmlns='%s' rid='%d' to='localhost' hold='1' ver='1.6'/>", ns.BOSH, i+1)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
			if !strings.Contains(w.Body.String(), " sid='") {
				t.Fatal(w.Body)
			}
		}
		size := func() (sessions, untold int) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.sessions), len(h.untold)
		}
		if n, _ := size(); n != clients {
			t.Fatalf("%d sessions", n)
		}
		time.Sleep(33 * time.Second) // they did not sign in in time, and did not ask for the answer
		synctest.Wait()
		if n, untold := size(); n != maxUntold || untold != maxUntold {
			t.Errorf("%d sessions are kept, %d to be told of their end", n, untold)
		}
		if after := runtime.NumGoroutine(); after > before+5 {
			t.Errorf("%d goroutines, %d before", after, before)
		}
		time.Sleep(inactivity)
		synctest.Wait()
		if n, untold := size(); n != 0 || untold != 0 {
			t.Errorf("%d sessions are left, %d to be told of their end", n, untold)
		}
	})
}
