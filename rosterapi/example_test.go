package rosterapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"rollcall/rosterapi"
)

// An application's own database.
var friends = map[string]map[string]string{"john": {"marie@localhost": "Marie"}, "aaron": {}}

func contactsOf(_ context.Context, user string) (rosterapi.Roster, error) {
	known, ok := friends[user]
	if !ok {
		return nil, rosterapi.ErrUnknownUser
	}
	roster := rosterapi.Roster{}
	for address, name := range known {
		roster[address] = rosterapi.Item{Name: name, Groups: []string{"Friends"}}
	}
	return roster, nil
}

func ExampleHandler() {
	contacts := &rosterapi.Handler{Roster: contactsOf, Token: "sesame"} // roster.token = "sesame"
	mux := http.NewServeMux()
	mux.Handle("/contacts/{user}", contacts)        // roster.url = "http://127.0.0.1:9099/contacts/%s"
	mux.Handle("/contacts-batch", contacts.Batch()) // roster.batch_url = "http://127.0.0.1:9099/contacts-batch"

	r := httptest.NewRequest("GET", "/contacts/john", nil)
	r.Header.Set("Authorization", "Bearer sesame")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 200 {"marie@localhost":{"name":"Marie","groups":["Friends"]}}
}

func ExampleClient_Notify() {
	server := &rosterapi.Client{URL: "http://127.0.0.1:5280", Token: "sesame"} // admin.token = "sesame"
	report, err := server.Notify(context.Background(), "john", "marie")
	if err != nil {
		log.Printf("%v; to be told again: %v", err, report.Untold)
	}
	for user, r := range report.Users {
		log.Printf("%s: %s, +%d -%d ~%d", user, r.Result, r.Added, r.Removed, r.Changed)
	}
}

// Two people become friends, and neither roster has to be fetched.
func ExampleClient_PatchMany() {
	server := &rosterapi.Client{URL: "http://127.0.0.1:5280"}
	_, err := server.PatchMany(context.Background(), map[string]rosterapi.Patch{
		"john":  {"marie@localhost": {Name: new("Marie")}},
		"marie": {"john@localhost": {Name: new("John")}},
	})
	if err != nil {
		log.Print(err)
	}
}

// A change is made to what was read, or not at all.
func ExampleIfVersion() {
	server := &rosterapi.Client{URL: "http://127.0.0.1:5280"}
	ctx := context.Background()
	known, err := server.Get(ctx, "john")
	if err != nil {
		log.Fatal(err)
	}
	delete(known.Roster, "marie@localhost")
	_, err = server.Put(ctx, "john", known.Roster, rosterapi.IfVersion(known.Version))
	var refused *rosterapi.Error
	if errors.As(err, &refused) && refused.Status == http.StatusPreconditionFailed {
		log.Print("somebody else was faster: read again")
	}
}

func ExampleDecode() {
	document := []byte(`{"marie@localhost": {"name": "Marie"}, "aaron@": {}}`)
	roster, dropped, err := rosterapi.Decode(document, "john@localhost")
	fmt.Println(roster["marie@localhost"].Name, err)
	for _, d := range dropped {
		fmt.Println(d.Key, d.Reason)
	}
	// Output:
	// Marie <nil>
	// aaron@ has no valid address: the domainpart is empty
}
