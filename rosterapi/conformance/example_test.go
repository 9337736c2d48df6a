package conformance_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"rollcall/rosterapi"
	"rollcall/rosterapi/conformance"
)

// What `rollcall check` does, in short. In a test it is conformance.Test(t, conformance.Config{…}).
func ExampleRun() {
	mux := http.NewServeMux()
	mux.Handle("/contacts/{user}", &rosterapi.Handler{Roster: func(_ context.Context, user string) (rosterapi.Roster, error) {
		return rosterapi.Roster{"marie@localhost": {Name: "Marie"}, "marie@": {}}, nil
	}})
	app := httptest.NewServer(mux)
	defer app.Close()

	report, err := conformance.Run(context.Background(), conformance.Config{URL: app.URL + "/contacts/%s", User: "john"})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Status == conformance.Fail {
			fmt.Println(r.ID+":", r.Hint)
		}
	}
	// Output: contacts: clients will not see 1 contact: marie@ has no valid address: the domainpart is empty
}
