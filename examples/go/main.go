// An application that owns contacts, with net/http and rosterapi. See examples/README.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log"
	"maps"
	"net/http"
	"os"
	"sync"

	"rollcall/rosterapi"
)

var (
	mu    sync.Mutex
	users = map[string]rosterapi.Roster{"john": {"aaron@localhost": {Name: "Aaron"}}, "marie": {}}
)

func contactsOf(_ context.Context, user string) (rosterapi.Roster, error) {
	mu.Lock()
	defer mu.Unlock()
	contacts, ok := users[user]
	if !ok {
		return nil, rosterapi.ErrUnknownUser
	}
	return maps.Clone(contacts), nil
}

func main() {
	contacts := &rosterapi.Handler{Roster: contactsOf, Token: os.Getenv("ROSTER_TOKEN")}
	rollcall := &rosterapi.Client{URL: cmp.Or(os.Getenv("ROLLCALL"), "http://127.0.0.1:5280"), Token: os.Getenv("ADMIN_TOKEN")}

	http.Handle("GET /contacts/{user}", contacts)         // roster.url = "http://127.0.0.1:9099/contacts/%s"
	http.Handle("POST /contacts-batch", contacts.Batch()) // roster.batch_url = "http://127.0.0.1:9099/contacts-batch"
	http.HandleFunc("PUT /contacts/{user}/{contact}", func(w http.ResponseWriter, r *http.Request) {
		user, contact, item := r.PathValue("user"), r.PathValue("contact"), rosterapi.Item{}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&item); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		if users[user] == nil {
			users[user] = rosterapi.Roster{}
		}
		users[user][contact] = item
		mu.Unlock() // saved: rollcall is going to ask before it answers
		if _, err := rollcall.Notify(r.Context(), user); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:9099"), nil))
}
