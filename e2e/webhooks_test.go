package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rollcall/internal/store"
)

// What the application was not there to hear it is told later, though the server was killed meanwhile.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		up    bool
		asked = make(chan struct{}, 1000)
		told  = make(chan string, 1000)
	)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			Type string
			Data struct{ User string }
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		asked <- struct{}{}
		if !up {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		told <- event.Type + " " + event.Data.User
	}))
	t.Cleanup(app.Close)
	s := startService(t)
	s.set("john", `{}`)
	r := startWith(t, "", s.rosterURL()+`"
webhooks.url    = "`+app.URL+`"
webhooks.secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
webhooks.events = ["user.online", "user.offline", "roster.applied"]
# "`, "john")
	r.service = s

	john := slixmppTLS.signIn(t, r, "john")
	john.roster()
	john.available("here")
	john.sees(john, "here")
	<-asked // in vain
	r.change("john", `{"marie@localhost": {}}`)
	john.pushed(item{JID: "marie@localhost", Subscription: "both"})
	john.quit()
	waitStored(t, filepath.Join(filepath.Dir(r.config), "data"), 3)
	r.kill()
	mu.Lock()
	up = true
	mu.Unlock()
	r.run()
	for _, want := range []string{"user.online john", "roster.applied john", "user.offline john"} {
		select {
		case got := <-told:
			if got != want {
				t.Errorf("the application was told %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the application was not told %q", want)
		}
	}
}

// waitStored waits until so many events are in the database of a server that runs: it has no other way to tell.
func waitStored(t *testing.T, dataDir string, events int) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{DataDir: dataDir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := db.CountEvents(t.Context(), "localhost")
		if err != nil {
			t.Fatal(err)
		}
		if n == events {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("there are %d events in the database, want %d", n, events)
		}
	}
}
